"""Parts of the evaluation pipeline."""
