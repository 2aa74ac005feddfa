"""SynthesizeOptions: what a synthesis is asked beside its settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SynthesizeOptions:
    """The options of ``pipelines/synthesize.py``, by the names they have on the command line."""

    output: str
    """A folder or any fsspec URL."""
    input: str | None = None
    """A .jsonl or .parquet file, or hub:OWNER/NAME[:CONFIG]:SPLIT; None: the training rows of
    config.task."""
    weights: str | None = None
    """A run, an adapter or a model folder to sample from; None: config.model."""
    any_base: bool = False
    """Use an adapter also on another model than the one it was trained on."""
