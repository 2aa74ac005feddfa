"""The resource plan: what a run reserves in Ray, known before anything starts. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from unisd_core.config import Config
from unisd_core.errors import UserError

COORDINATOR_CPUS = 0.1
"""Logical CPUs of a stage that only passes messages."""


@dataclass(frozen=True)
class Share:
    """``count`` actors of one stage and what each reserves."""

    stage: str
    count: int
    cpus: float
    gpus: float


def resource_plan(config: Config) -> list[Share]:
    """Every actor that reserves resources, by stage. Gate, store and pool reserve none."""
    return [
        generator_share(config),
        Share("generate stage", 1, COORDINATOR_CPUS, 0),
        Share("scorer", config.scorer.workers, config.scorer.cpus, config.scorer.gpus),
        Share("agreement stage", 1, COORDINATOR_CPUS, 0),
        Share("learner", config.learner.workers, config.learner.cpus, config.learner.gpus),
    ]  # fmt: skip


def synthesis_plan(config: Config) -> list[Share]:
    """Every actor of a data synthesis that reserves resources, by stage."""
    return [
        generator_share(config),
        Share("reading stage", 1, COORDINATOR_CPUS, 0),
        Share("sampling stage", 1, COORDINATOR_CPUS, 0),
        Share("scorer", config.scorer.workers, config.scorer.cpus, config.scorer.gpus),
        Share("writing stage", 1, COORDINATOR_CPUS, 0),
    ]


def generator_share(config: Config) -> Share:
    """The generator replicas that a run needs to begin."""
    generator = config.generator
    fixed = generator.least == generator.most
    return Share(
        "generator" if fixed else f"generator (to {generator.most})",
        generator.least,
        generator.cpus,
        generator.gpus * generator.tensor_parallel,
    )


def render_plan(plan: list[Share]) -> str:
    """The plan as a table with a total."""
    lines = [f"{'stage':16s} actors   CPUs   GPUs"]
    for share in plan:
        lines.append(
            f"{share.stage:16s} {share.count:6d} {share.count * share.cpus:6.1f} "
            f"{share.count * share.gpus:6.1f}"
        )
    cpus, gpus = _total(plan)
    lines.append(f"{'total':16s} {sum(s.count for s in plan):6d} {cpus:6.1f} {gpus:6.1f}")
    return "\n".join(lines) + "\n"


def check_plan(plan: list[Share], available: dict[str, float]) -> None:
    """Raise UserError when the cluster has too few CPUs or GPUs; otherwise actors would wait for
    ever."""
    for name, needed in zip(("CPU", "GPU"), _total(plan), strict=True):
        have = available.get(name, 0.0)
        if needed > have + 1e-9:
            raise UserError(
                f"the plan needs {needed:.1f} {name}s but the cluster has {have:.1f}; lower "
                f"generator.replicas, scorer.workers, learner.workers or their {name.lower()}s "
                "(--dry-run prints the plan)"
            )


def _total(plan: list[Share]) -> tuple[float, float]:
    return (
        sum(share.count * share.cpus for share in plan),
        sum(share.count * share.gpus for share in plan),
    )
