"""Generators: vLLM replicas, the pool that routes requests to them, and new weights on arrival."""
