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
from unisd_core.views.induction import Instruction, induced_contexts, write_instructions
from unisd_core.views.random_examples import random_examples
from unisd_core.views.retrieval import Retrieval
from unisd_core.views.writing import Writing

EXAMPLE_HEADER = "Reference example of another question, already solved:"
INSTRUCTION_HEADER = "General instruction for this kind of task:"

__all__ = ["EXAMPLE_HEADER", "INSTRUCTION_HEADER", "ContextSource", "Contexts", "build_contexts"]


class Contexts(NamedTuple):
    """K texts for each row, and what was written for them (empty where nothing was)."""

    texts: list[list[str]]
    counts: Mapping[str, int]


class ContextSource:
    """Makes K = ``views.num_auxiliary`` context texts for a row, each an example or instruction
    under a header, from at most ``views.pool_rows`` of ``rows``.

    Contexts are independent of the order of ``rows`` and never show a row's own question
    or its answer (see ``ExamplePool`` for answers that many rows share). Raises UserError when
    instructions are wanted and nothing can write them; they are written here and now.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        task: Task,
        views: ViewsConfig,
        seed: int,
        writing: Writing | None = None,
    ) -> None:
        if views.auxiliary == "induction" and writing is None:
            raise UserError(
                "views.auxiliary=induction needs the model to write instructions, and no "
                "generator is at hand here; choose random or retrieval"
            )
        self._views, self._seed = views, seed
        self._pool = ExamplePool(rows, task, views.pool_rows)
        self.counts: dict[str, int] = {}
        """``induction.written``, ``.cached``, ``.failed`` and ``.replaced`` (by solved examples
        in the contexts made so far)."""
        self._instructions: list[Instruction] = []
        self._retrieval: Retrieval | None = None
        if views.auxiliary == "induction" and writing is not None:
            self._instructions, self.counts = write_instructions(
                self._pool, views.induction, seed, writing
            )
            self.counts["induction.replaced"] = 0
        elif views.auxiliary == "retrieval":
            self._retrieval = Retrieval(self._pool, views.embedding_model)

    def texts(self, rows: Sequence[Row]) -> list[list[str]]:
        """The K texts of each row, which need not be of those that examples are drawn from. Raises
        UserError when these are too few for a row."""
        count = self._views.num_auxiliary
        if self._views.auxiliary == "induction":
            return [self._induced(row) for row in rows]
        if self._retrieval is not None:
            examples = self._retrieval.examples(rows, count)
        else:
            examples = random_examples(self._pool, rows, count, self._seed)
        return [_headed(EXAMPLE_HEADER, found) for found in examples]

    def _induced(self, row: Row) -> list[str]:
        found = induced_contexts(
            self._pool, row, self._instructions, self._views.num_auxiliary, self._seed
        )
        self.counts["induction.replaced"] += len(found.examples)
        return [
            *_headed(INSTRUCTION_HEADER, found.instructions),
            *_headed(EXAMPLE_HEADER, found.examples),
        ]


def build_contexts(
    rows: Sequence[Row], task: Task, views: ViewsConfig, seed: int, writing: Writing | None = None
) -> Contexts:
    """The contexts of all ``rows``, with examples from them; see ``ContextSource``."""
    source = ContextSource(rows, task, views, seed, writing)
    return Contexts(source.texts(rows), source.counts)


def _headed(header: str, texts: Sequence[str]) -> list[str]:
    return [f"{header}\n\n{text}" for text in texts]
