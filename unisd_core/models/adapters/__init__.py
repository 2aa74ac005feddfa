"""Adapters: what the settings of one mean, which model it belongs to, and its merge into that."""
