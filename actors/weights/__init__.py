"""Weights: policy versions on their way from the learner to replicas and scorers."""
