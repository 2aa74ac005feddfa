"""Checkpoints: written, verified, pruned and mirrored beside the training."""
