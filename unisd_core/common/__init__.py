"""Shared helpers: errors, table schemas, processes, imports, text tables."""
