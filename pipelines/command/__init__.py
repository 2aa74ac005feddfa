"""Command line: what all pipelines share."""
