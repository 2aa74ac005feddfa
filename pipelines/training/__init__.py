"""Parts of a training run: setup, evaluation, validation, result."""
