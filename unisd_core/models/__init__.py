"""Models: fetching, loading, LoRA, and weights as they are trained, saved and merged."""
