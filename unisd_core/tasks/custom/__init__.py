"""Rows of one's own: a file with prompts and references, and one of several metrics."""
