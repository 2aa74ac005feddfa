"""Contexts of the auxiliary views: solved examples of other rows, chosen once per run."""

from __future__ import annotations

from collections.abc import Sequence

from unisd_core.config import Views
from unisd_core.contexts.exclusion import ExamplePool
from unisd_core.contexts.random_examples import random_examples
from unisd_core.contexts.retrieval import retrieved_examples
from unisd_core.tasks.base import Row, Task

EXAMPLE_HEADER = "Reference example of another question, already solved:"

__all__ = ["EXAMPLE_HEADER", "build_contexts"]


def build_contexts(rows: Sequence[Row], task: Task, views: Views, seed: int) -> list[list[str]]:
    """K = ``views.count`` context texts for each row, each one example under a header.

    Contexts are independent of the order of ``rows`` and never show a row's own question
    or its gold answer (see ``ExamplePool`` for golds that many rows share). Raises UserError when
    ``rows`` are too few.
    """
    pool = ExamplePool(rows, task)
    if views.auxiliary == "random":
        examples = random_examples(pool, rows, views.count, seed)
    else:
        examples = retrieved_examples(pool, rows, views.count, views.embedding_model)
    return [[f"{EXAMPLE_HEADER}\n\n{text}" for text in texts] for texts in examples]
