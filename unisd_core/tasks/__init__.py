"""Tasks: rows with reference answers, and the scoring of answers; registry.py names them all."""
