"""Auxiliary contexts the model writes: instructions (docs/method.md, "Auxiliary contexts").

Unlike a solved example, an instruction passes through the model, which may copy an answer into
it. So it is checked twice: when written, against the examples it was written from, and
when it is given to a row, against that row's own answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unisd_core.common.thoughts import after_thought
from unisd_core.config.method import InductionConfig
from unisd_core.tasks.row import Row
from unisd_core.views.example_pool import ExamplePool
from unisd_core.views.random_examples import permutation
from unisd_core.views.writing import (
    Writing,
    WritingRequest,
    WritingSettings,
    draw_seed,
    write_all,
)

KIND = "induction/1"
"""Raise the number whenever ``META_PROMPT`` changes."""

META_PROMPT = (
    "Here are solved examples of one kind of task.\n\n{examples}\n\n"
    "Write one general instruction of three to four sentences that helps someone else with any "
    "task of this kind: how to read it, what to look for, and in what form to answer. Do not "
    "solve, repeat or mention any of the examples. Write the instruction alone."
)


@dataclass(frozen=True)
class Instruction:
    """A written instruction and the rows (indices into the pool) it was written from."""

    text: str
    sources: tuple[int, ...]


class Induced(NamedTuple):
    """Contexts of a row: ``instructions``, and solved ``examples`` where those did not suffice;
    together K."""

    instructions: list[str]
    examples: list[str]


def induced_contexts(
    pool: ExamplePool, row: Row, written: Sequence[Instruction], count: int, seed: int
) -> Induced:
    """``count`` contexts for ``row``: distinct instructions whose examples do not ask the row's
    question and whose text does not hold its answer, drawn by ``seed`` and uid; a random solved
    example takes each place that is left.

    Raises UserError when the row has fewer admissible examples than it needs.
    """
    texts = _draw(pool, row, written, count, seed)
    missing = count - len(texts)
    if not missing:
        return Induced(texts, [])
    rng = random.Random(f"{seed}:examples:{row.uid}")
    examples = pool.choose(row, permutation(rng, len(pool.rows)), missing)
    if examples is None:
        raise pool.too_few(row, missing)
    return Induced(texts, examples)


def write_instructions(
    pool: ExamplePool, settings: InductionConfig, seed: int, writing: Writing
) -> tuple[list[Instruction], dict[str, int]]:
    """Up to ``settings.pool`` instructions, and the counts of the writing."""
    groups = list(_groups(len(pool.rows), settings, seed)) if pool.rows else []
    requests = [_request(pool, group, number, seed) for number, group in enumerate(groups)]
    outcome = write_all(
        requests,
        writing,
        WritingSettings(settings.temperature, settings.max_tokens, settings.retries),
    )
    return [value for value in outcome.values if value], dict(outcome.counts("induction"))


def _groups(size: int, settings: InductionConfig, seed: int) -> Iterator[tuple[int, ...]]:
    """Indices of the examples of each instruction; no row twice before every row was used."""
    rng = random.Random(f"{seed}:induction")
    order: list[int] = []
    for _ in range(settings.pool):
        if len(order) < min(settings.examples, size):
            order = list(permutation(rng, size))
        yield tuple(order[: settings.examples])
        order = order[settings.examples :]


def _request(
    pool: ExamplePool, group: tuple[int, ...], number: int, seed: int
) -> WritingRequest[Instruction]:
    def accept(text: str) -> Instruction | None:
        flat = after_thought(text).strip()
        if not flat or any(pool.gives_away(pool.rows[source], flat) for source in group):
            return None
        return Instruction(flat, group)

    shown = [f"Example {n}:\n{pool.demonstrations[i]}" for n, i in enumerate(group, start=1)]
    return WritingRequest(
        kind=KIND,
        prompt=META_PROMPT.format(examples="\n\n".join(shown)),
        seed=draw_seed(seed, "induction", number),
        accept=accept,
    )


def _draw(
    pool: ExamplePool, row: Row, written: Sequence[Instruction], count: int, seed: int
) -> list[str]:
    """At most ``count`` distinct admissible texts for ``row`` in random order."""
    question = pool.question(row)
    texts: list[str] = []
    order = list(written)
    random.Random(f"{seed}:induction:{row.uid}").shuffle(order)
    for instruction in order:
        if len(texts) == count:
            break
        asked = {pool.question(pool.rows[source]) for source in instruction.sources}
        if question in asked or instruction.text in texts:
            continue
        if not pool.gives_away(row, instruction.text):
            texts.append(instruction.text)
    return texts
