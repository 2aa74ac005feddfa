"""Data synthesis: its stages, and the actors they use."""
