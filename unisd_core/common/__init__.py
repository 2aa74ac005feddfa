"""Helpers without a room of their own: errors, table schemas, processes, imports, text tables."""
