"""Adapters of other programs: what their settings mean, and which model they belong to."""
