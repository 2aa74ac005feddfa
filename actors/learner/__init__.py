"""Learner: the Ray Train workers that take one optimizer step per batch."""
