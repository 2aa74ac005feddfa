"""Supervision: incidents, liveness of actors, and replacement of those that hang."""
