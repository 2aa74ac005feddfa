"""Faster forward and backward passes with the same results."""
