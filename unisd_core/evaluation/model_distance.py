"""Distance of a trained model from its base on the same text, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from unisd_core.evaluation.forward_pass import ForwardPass
from unisd_core.evaluation.perplexity import Perplexity
from unisd_core.evaluation.texts import PromptCompletion, TextLimits, batches, select
from unisd_core.evaluation.token_sums import TokenSums
from unisd_core.objective.divergence import linear_divergence


@dataclass(frozen=True, eq=False)
class ModelDistance:
    """Both models on the same completions, text by text in the given order."""

    jsd: TokenSums
    """Jensen-Shannon divergence of the two next-token distributions: nats, half of the mixture
    from each, over the whole vocabulary; at most ln 2."""
    trained: Perplexity
    base: Perplexity


@torch.inference_mode()
def model_distance(
    trained: ForwardPass,
    base: ForwardPass,
    texts: Sequence[PromptCompletion],
    limits: TextLimits | None = None,
) -> ModelDistance:
    """Token divergence between two models, and both perplexities, from one reading by each.

    On the trained model's completions ``base`` is the retention, and on the base model's
    ``trained`` is the reverse pass (docs/evaluation.md, "Perplexity"). The models share a device
    and a vocabulary. Arithmetic is float32, or float64 for float64 states; in float32 rounding
    leaves up to about 1e-7 where the two are equal.

    Raises ValueError for vocabularies of different size, UserError when no text can be read.
    """
    if len(trained.head_VH) != len(base.head_VH):
        raise ValueError(f"vocabularies of {len(trained.head_VH)} and {len(base.head_VH)} tokens")
    limits = limits or TextLimits()
    selection = select(texts, limits)
    jsd_B, trained_B, base_B = np.zeros((3, len(texts)))
    for batch in batches(texts, selection.rows, limits):
        trained_NH, token_N = trained.predicting(batch)
        base_NH, _ = base.predicting(batch)
        terms = linear_divergence(
            trained_NH,
            base_NH,
            trained.head_VH,
            token_N,
            alpha=0.5,
            teacher_head_VH=base.head_VH,
            chunk_tokens=limits.chunk_tokens,
            logprob_grad=False,
        )
        jsd_B[batch.rows] = batch.row_sums(terms.divergence_N)
        trained_B[batch.rows] = batch.row_sums(terms.student_logprob_N)
        base_B[batch.rows] = batch.row_sums(terms.teacher_logprob_N)
    tokens_B, left_out = selection.tokens_B, selection.left_out
    return ModelDistance(
        jsd=TokenSums(jsd_B, tokens_B),
        trained=Perplexity(TokenSums(trained_B, tokens_B), left_out),
        base=Perplexity(TokenSums(base_B, tokens_B), left_out),
    )
