"""Custom rows: a file with prompts and references, and one of several metrics."""
