"""Settings that meet in the runs of a campaign: each choice of each kind within a few seeds."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SLOW = "teacher.ema_decay=0.9"
CHOICES: Mapping[str, Sequence[Sequence[str]]] = {
    "filter": (
        ["filter.lowest_agreement=0.25"],
        [],
        ["filter.min_agreement=0.05", "filter.min_tokens=1"],
    ),
    "scale": (["objective.agreement.scale=running"], ["objective.agreement.scale=batch"]),
    "teacher": ([SLOW], ["teacher.kind=live"], ["teacher.kind=frozen"]),
    "validation": (["evaluation.eval_steps=4", "evaluation.validation_rows=16"], []),
}
ALL_WEIGHTS = ["model.finetune=full", "generator.transport=merged"]
ADAPTER = ["model.finetune=lora", "generator.transport=adapter"]


@dataclass(frozen=True)
class Settings:
    """Overrides of one run. ``learns`` where the tiny model can learn its task under them: as it
    does undisturbed, with all of its weights and a teacher that follows it slowly."""

    overrides: list[str]
    learns: bool


def settings_of(seed: int) -> Settings:
    """The settings that the run of ``seed`` meets its faults with."""
    rng = random.Random(f"settings meet/{seed}")
    chosen = [override for choices in CHOICES.values() for override in rng.choice(choices)]
    trained = ADAPTER if seed % 3 == 2 else ALL_WEIGHTS
    return Settings([*chosen, *trained], trained is ALL_WEIGHTS and SLOW in chosen)
