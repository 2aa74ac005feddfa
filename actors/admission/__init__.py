"""Admission: which prompts may be sampled now, and what became of each."""
