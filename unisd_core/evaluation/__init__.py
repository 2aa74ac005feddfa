"""Evaluation: outcomes on test sets, intervals, comparisons, perplexities."""
