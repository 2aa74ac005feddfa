"""Numerals: how numbers are spelled and written, and what may stand beside them."""
