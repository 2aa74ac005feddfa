"""Perplexity of completions under a model: how well it fits the references, and how close a
trained model stayed to its base (docs/evaluation.md, "Perplexity")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unisd_core.common.errors import UserError
from unisd_core.evaluation.forward_pass import ForwardPass
from unisd_core.evaluation.texts import LeftOut, PromptCompletion, TextLimits, batches, select
from unisd_core.evaluation.token_sums import TokenSums
from unisd_core.objective.divergence import sampled_logprobs


@dataclass(frozen=True, eq=False)
class Perplexity:
    """Log-probs of completions under one model, and the perplexities they make."""

    logprobs: TokenSums
    """Nats, by text; teacher-forced, at temperature 1."""
    left_out: LeftOut

    @property
    def over_tokens(self) -> float:
        """exp(-mean log-prob of a token), all texts together: the paper's."""
        return float(np.exp(-self.logprobs.mean))

    @property
    def over_rows(self) -> float:
        """Mean of the perplexities of the texts, each its own: the released code's."""
        return float(np.nanmean(np.exp(-self.logprobs.row_means_B)))

    def interval(self, resamples: int, seed: int) -> tuple[float, float]:
        """95 % bootstrap interval of ``over_tokens`` over resampled texts."""
        low, high = self.logprobs.interval(resamples, seed)
        return float(np.exp(-high)), float(np.exp(-low))


def gold_fit(
    model: ForwardPass, texts: Sequence[PromptCompletion], limits: TextLimits | None = None
) -> Perplexity:
    """PPLfit: perplexity of the references, as completions of the student's prompt.

    Over the tokens of the references alone. They are expected with the token that ends the turn,
    as ``ViewBuilder.completion`` makes them, so that a model which does not know where to stop fits
    worse. Raises UserError for an empty reference and where all are too long.
    """
    for number, text in enumerate(texts):
        if not len(text.completion_ids):
            raise UserError(f"row {number}: the reference has no tokens; give it an answer")
    return _perplexity(model, texts, limits or TextLimits())


def retention(
    base: ForwardPass, texts: Sequence[PromptCompletion], limits: TextLimits | None = None
) -> Perplexity:
    """PPLret: perplexity under the base model of what the trained model wrote.

    ``texts`` are prompts with the trained model's completions. Low where it still writes what the
    base would write. Completions without tokens are left out. Raises UserError when none is left.
    """
    return _perplexity(base, texts, limits or TextLimits())


@torch.inference_mode()
def _perplexity(
    model: ForwardPass, texts: Sequence[PromptCompletion], limits: TextLimits
) -> Perplexity:
    selection = select(texts, limits)
    logprob_B = np.zeros(len(texts))
    for batch in batches(texts, selection.rows, limits):
        states_NH, token_N = model.predicting(batch)
        logprob_N = sampled_logprobs(states_NH, model.head_VH, token_N, limits.chunk_tokens)
        logprob_B[batch.rows] = batch.row_sums(logprob_N)
    return Perplexity(TokenSums(logprob_B, selection.tokens_B), selection.left_out)
