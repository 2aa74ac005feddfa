"""Trajectories as they are shown: pieces of text with the weight of their tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unisd_core.reporting.page.svg import number
from unisd_core.reporting.page.tokens import Decode, token_texts

TOKENS = 256
"""Of a completion."""
PROMPT_TOKENS = 600


@dataclass(frozen=True)
class TextPiece:
    """Consecutive tokens that are shown together; means where there are several."""

    text: str
    weight: float
    logprob: float | None
    auxiliary: float | None
    """Mean log-prob under the auxiliary views."""
    negative: float | None

    @property
    def shade(self) -> float:
        """How far the weight is from 1, in [0, 1]."""
        return min(1.0, abs(self.weight - 1))

    @property
    def kind(self) -> str:
        """Style of weights below, at and above 1."""
        if self.shade < 0.005:
            return "same"
        return "more" if self.weight > 1 else "low" if self.weight < 0.5 else "less"

    @property
    def words(self) -> str:
        """The numbers in one line."""
        known = {
            "weight": self.weight,
            "log-prob": self.logprob,
            "auxiliary": self.auxiliary,
            "negative": self.negative,
        }
        return ", ".join(
            f"{name} {number(value)}" for name, value in known.items() if value is not None
        )


@dataclass(frozen=True)
class ShownTrajectory:
    """One trajectory; ``cut`` counts the tokens that are not shown."""

    uid: str
    step: int
    age: int
    source: str
    finish_reason: str
    prompt: str
    pieces: list[TextPiece]
    cut: int
    tokens: int
    weight: float
    """Mean over the tokens."""


def samples(rows: Sequence[Mapping[str, Any]], decode: Decode | None) -> list[ShownTrajectory]:
    """The rows (schema ``SCORED``) that are whole, as they are shown."""
    found = []
    for row in rows:
        try:
            found.append(_sample(row, decode))
        except (TypeError, ValueError, IndexError, KeyError, OverflowError):
            continue  # a row of another form
    return found


def _sample(row: Mapping[str, Any], decode: Decode | None) -> ShownTrajectory:
    ids = row["completion_ids"]
    pieces = list(_pieces(row, ids[:TOKENS], decode))
    weights = row["token_weights"]
    prompt = row["prompt_ids"]
    shown = "".join(text for text, _ in token_texts(prompt[-PROMPT_TOKENS:], decode))
    return ShownTrajectory(
        uid=str(row["uid"]),
        step=row["batch"] + 1,
        age=row["batch"] - row["version_first"],
        source=str(row["source"]),
        finish_reason=str(row["finish_reason"]),
        prompt=("… " if len(prompt) > PROMPT_TOKENS else "") + shown,
        pieces=pieces,
        cut=max(0, len(ids) - TOKENS),
        tokens=len(ids),
        weight=row["sequence_weight"] * sum(weights) / max(1, len(weights)),
    )


def _pieces(row: Mapping[str, Any], ids: list[int], decode: Decode | None) -> Iterator[TextPiece]:
    views = row["auxiliary_logprobs"] or []
    start = 0
    for text, count in token_texts(ids, decode):
        span = slice(start, start + count)
        start += count
        weight = _mean(row["token_weights"][span])
        if weight is None:
            raise ValueError("a token without a weight")
        yield TextPiece(
            text,
            weight * row["sequence_weight"],
            # Nobody sampled a reference.
            None if row["source"] == "gold" else _mean(row["logprobs"][span]),
            _mean([value for view in views for value in view[span]]),
            _mean((row["negative_logprobs"] or [])[span]),
        )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None
