"""Scoring: views of the teacher on sampled completions, agreement weights and filters."""
