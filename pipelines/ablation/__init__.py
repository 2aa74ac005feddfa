"""Ablation: grids of runs, their results and their figure."""
