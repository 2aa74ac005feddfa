"""Settings of where rows come from: custom data, and data synthesis."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from unisd_core.config.base import Section


class CustomConfig(Section):
    """Custom rows, for task=custom."""

    train: str | None = None
    """JSONL or Parquet file with the training rows of task=custom (columns: docs/data.md)."""
    test: str | None = None
    """File with the test rows; None sets test_rows of the training rows aside."""
    test_rows: int = Field(100, ge=1)
    """Rows set aside where there is no test file: those whose uids come first by digest.
    Rows that ask the same question stay together."""
    metric: Literal["exact_match", "choice", "numeric", "math", "json_call", "python_tests"] = (
        "exact_match"
    )
    """How an answer is compared with the row's."""
    contradictions: Literal["refuse", "keep"] = "refuse"
    """Rows of one prompt with other references, and rows of one uid that differ: end the run by
    naming them, or are all kept. Exact copies of a row count once in any case."""
    max_completion_length: int = Field(256, ge=1)
    """Decoding limit; it should fit every reference."""


class SynthesisConfig(Section):
    """Data synthesis (pipelines/synthesize.py)."""

    samples: int = Field(1, ge=1)
    """Completions sampled for each prompt."""
    keep: int = Field(0, ge=0)
    """Completions of a prompt that are kept at most, those whose views agree most; 0 keeps all."""
    duplicates: Literal["off", "prompt", "all"] = "off"
    """Leave out near-duplicates: among the completions of one prompt, or of prompt and completion
    together among all rows of the output (an index of some kilobytes for each row kept)."""
    similarity: float = Field(0.8, gt=0, le=1)
    """Jaccard similarity of two texts, as sets of runs of five characters, from which on they count
    as duplicates; all: estimated by MinHash."""
    shard_prompts: int = Field(256, ge=1)
    """Prompts of one output file. Agreement is scaled, and filter.lowest_agreement taken, over its
    rows; a killed run samples the files it had not finished anew."""
    prompt_column: str = "prompt"
    """Column of --input with the user turn."""
    reference_column: str = "reference"
    """Column of --input with the reference answer; rows may all be without it."""
    export: Literal["off", "messages", "prompt_completion"] = "messages"
    """Columns of the file that can be trained on: chat messages, or prompt and completion."""
    export_format: Literal["jsonl", "parquet"] = "jsonl"
    """Kind of that file."""
