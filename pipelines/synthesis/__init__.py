"""Parts of the synthesis pipeline."""
