"""Configuration: typed settings, presets and overrides. Needs no torch."""
