"""Auxiliary contexts from K other rows drawn at random (docs/method.md, "Auxiliary contexts")."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from unisd_core.tasks.row import Row
from unisd_core.views.example_pool import ExamplePool


def random_examples(
    pool: ExamplePool, rows: Sequence[Row], count: int, seed: int
) -> list[list[str]]:
    """``count`` demonstrations for each row, drawn without replacement.

    The draw depends on ``seed``, the row's uid and the set of rows, not on their order.
    Raises UserError when a row has fewer admissible examples.
    """
    found: list[list[str]] = []
    for row in rows:
        rng = random.Random(f"{seed}:examples:{row.uid}")
        examples = pool.choose(row, permutation(rng, len(pool.rows)), count)
        if examples is None:
            raise pool.too_few(row, count)
        found.append(examples)
    return found


def permutation(rng: random.Random, size: int) -> Iterator[int]:
    """A random order of ``range(size)``, made only as far as it is read."""
    moved: dict[int, int] = {}
    for end in range(size - 1, -1, -1):
        place = rng.randint(0, end)
        yield moved.get(place, place)
        moved[place] = moved.get(end, end)
