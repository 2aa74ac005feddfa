"""Contexts of the auxiliary views, chosen or written once per run: solved examples of other rows,
or general instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from unisd_core.common.errors import UserError
from unisd_core.config.method import ViewsConfig
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row
from unisd_core.views.example_pool import ExamplePool
from unisd_core.views.induction import induced_contexts
from unisd_core.views.random_examples import random_examples
from unisd_core.views.retrieval import retrieved_examples
from unisd_core.views.writing import Writing

EXAMPLE_HEADER = "Reference example of another question, already solved:"
INSTRUCTION_HEADER = "General instruction for this kind of task:"

__all__ = ["EXAMPLE_HEADER", "INSTRUCTION_HEADER", "Contexts", "build_contexts"]


class Contexts(NamedTuple):
    """K texts for each row, and what was written for them (empty where nothing was)."""

    texts: list[list[str]]
    counts: Mapping[str, int]


def build_contexts(
    rows: Sequence[Row], task: Task, views: ViewsConfig, seed: int, writing: Writing | None = None
) -> Contexts:
    """K = ``views.num_auxiliary`` context texts for each row, each an example or instruction under
    a header.

    Contexts are independent of the order of ``rows`` and never show a row's own question
    or its answer (see ``ExamplePool`` for answers that many rows share). Raises UserError when
    ``rows`` are too few, or when instructions are wanted and nothing can write them.
    """
    pool = ExamplePool(rows, task)
    if views.auxiliary == "induction":
        if writing is None:
            raise UserError(
                "views.auxiliary=induction needs the model to write instructions, and no "
                "generator is at hand here; choose random or retrieval"
            )
        induced = induced_contexts(pool, rows, views.num_auxiliary, views.induction, seed, writing)
        texts = [
            [*_headed(INSTRUCTION_HEADER, instructions), *_headed(EXAMPLE_HEADER, examples)]
            for instructions, examples in zip(induced.instructions, induced.examples, strict=True)
        ]
        return Contexts(texts, induced.counts)
    if views.auxiliary == "random":
        examples = random_examples(pool, rows, views.num_auxiliary, seed)
    else:
        examples = retrieved_examples(pool, rows, views.num_auxiliary, views.embedding_model)
    return Contexts([_headed(EXAMPLE_HEADER, found) for found in examples], {})


def _headed(header: str, texts: Sequence[str]) -> list[str]:
    return [f"{header}\n\n{text}" for text in texts]
