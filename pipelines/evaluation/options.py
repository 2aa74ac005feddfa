"""EvaluateOptions: what an evaluation is asked beside its settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluateOptions:
    """The options of ``pipelines/evaluate.py``, by the names they have on the command line."""

    tasks: str | None = None
    """Tasks, all their test splits or one, as ``cos_e,minitools:unseen``; None: config.task."""
    weights: str | None = None
    """A run, an adapter or a model folder; None: the untrained config.model."""
    baseline: str | None = None
    """Folder of an earlier evaluation to compare with row by row."""
    samples: int = 1
    """Answers to each row."""
    temperature: float | None = None
    """None: 0, or 0.7 for several samples."""
    pass_at: str | None = None
    """Values of k for pass@k, as ``1,5``; None: the number of samples."""
    perplexity: bool = False
    """Also read references and answers: gold fit, retention, distance to the base."""
    out: str | None = None
    """Folder of the results; None: <output_dir>/evaluations/<weights>."""
    any_base: bool = False
    """Use an adapter also on another model than the one it was trained on."""
