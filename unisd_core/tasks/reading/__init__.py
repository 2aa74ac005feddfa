"""Readers: the letter, number or call that an answer settles on, whatever stands around it."""
