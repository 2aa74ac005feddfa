"""Prompts with completions as token ids, and batches of similar length to read them in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unisd_core.common.errors import UserError
from unisd_core.models.acceleration.prefix_tree import by_tokens, predicting, right_padded


class PromptCompletion(NamedTuple):
    """A completion after its prompt. The completion counts with the token that ends the turn,
    where it has one; the prompt, of one token at least, is read but not measured."""

    prompt_ids: Sequence[int]
    completion_ids: Sequence[int]


@dataclass(frozen=True)
class TextLimits:
    """How much is read at one time, and at all."""

    batch_tokens: int = 8192
    """Tokens of a forward pass, what texts begin with alike counted once; a longer text is read
    alone."""
    chunk_tokens: int = 256
    """Completion tokens whose logits exist at one time."""
    max_tokens: int | None = None
    """Texts of more tokens, prompt included, are left out and counted; none is ever cut."""


class LeftOut(NamedTuple):
    """Texts that were not read, by reason."""

    empty: int
    """Without a completion."""
    too_long: int


@dataclass(frozen=True)
class Selection:
    """Which of B texts are read."""

    rows: list[int]
    """Their indices, by length."""
    tokens_B: npt.NDArray[np.int64]
    """Completion tokens; 0 for a text that is left out."""
    left_out: LeftOut


@dataclass(frozen=True)
class Batch:
    """B texts, padded on the right, with N completion tokens."""

    rows: list[int]
    ids_BT: Tensor
    """int64, with ``prefix_tree.PADDING`` behind shorter texts."""
    token_N: Tensor
    """Completion tokens, text after text."""
    starts: list[int]
    """Where each completion begins."""
    counts: list[int]
    """Tokens of each completion."""

    @property
    def predicting_BT(self) -> Tensor:
        """The N places that predict ``token_N``: each is one before its token."""
        return predicting(self.ids_BT, self.starts)

    def row_sums(self, value_N: Tensor) -> list[float]:
        """Sum of ``value_N`` over each completion, in float64."""
        return [float(part.sum()) for part in value_N.double().cpu().split(self.counts)]


def select(texts: Sequence[PromptCompletion], limits: TextLimits) -> Selection:
    """Leave out what cannot be read.

    Raises ValueError for no texts or an empty prompt, since nothing would predict the first
    token after it, and UserError when no text is left.
    """
    if not texts:
        raise ValueError("no texts to read")
    if not all(len(text.prompt_ids) for text in texts):
        raise ValueError("a text has an empty prompt")
    limit = limits.max_tokens
    empty = {row for row, text in enumerate(texts) if not len(text.completion_ids)}
    long = {row for row, text in enumerate(texts) if limit is not None and _length(text) > limit}
    rows = sorted(set(range(len(texts))) - empty - long, key=lambda row: (_length(texts[row]), row))
    left_out = LeftOut(len(empty), len(long - empty))
    if not rows:
        raise UserError(
            f"none of {len(texts)} texts can be measured: {left_out.empty} have no completion, "
            f"{left_out.too_long} are too long; check the completions or raise max_tokens={limit}"
        )
    tokens_B = np.zeros(len(texts), dtype=np.int64)
    tokens_B[rows] = [len(texts[row].completion_ids) for row in rows]
    return Selection(rows, tokens_B, left_out)


def batches(
    texts: Sequence[PromptCompletion], rows: Sequence[int], limits: TextLimits
) -> Iterator[Batch]:
    """The texts ``rows`` names, given by length, in batches of up to ``batch_tokens``."""
    for group in by_tokens(rows, lambda row: _ids(texts[row]), limits.batch_tokens):
        yield _batch(texts, group)


def _batch(texts: Sequence[PromptCompletion], rows: list[int]) -> Batch:
    chosen = [texts[row] for row in rows]
    return Batch(
        rows=rows,
        ids_BT=right_padded([_ids(text) for text in chosen]),
        token_N=torch.tensor([token for text in chosen for token in text.completion_ids]),
        starts=[len(text.prompt_ids) for text in chosen],
        counts=[len(text.completion_ids) for text in chosen],
    )


def _ids(text: PromptCompletion) -> list[int]:
    return [*text.prompt_ids, *text.completion_ids]


def _length(text: PromptCompletion) -> int:
    return len(text.prompt_ids) + len(text.completion_ids)
