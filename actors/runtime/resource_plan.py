"""Resource plan: what a run reserves in Ray, known before anything starts. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.config.stages import LearnerConfig, PlacementConfig, ScorerConfig

COORDINATOR_CPUS = 0.1
"""Logical CPUs of a stage that only passes messages."""


@dataclass(frozen=True)
class StageResources:
    """``count`` actors of one stage, what each reserves, and where they go."""

    stage: str
    count: int
    cpus: float
    gpus: float = 0
    placed: PlacementConfig | None = None


def resource_plan(config: Config) -> list[StageResources]:
    """Every actor that reserves resources, by stage. Gate, prompt desk, store and pool reserve
    none."""
    return [
        *generating_plan(config),
        StageResources("generate stage", 1, COORDINATOR_CPUS),
        _workers("scorer", config.scorer),
        StageResources("agreement stage", 1, COORDINATOR_CPUS),
        _workers("learner", config.learner),
    ]


def _workers(stage: str, settings: ScorerConfig | LearnerConfig) -> StageResources:
    return StageResources(stage, settings.workers, settings.cpus, settings.gpus, settings)


def synthesis_plan(config: Config) -> list[StageResources]:
    """Every actor of a data synthesis that reserves resources, by stage."""
    return [
        *generating_plan(config),
        StageResources("reading stage", 1, COORDINATOR_CPUS),
        StageResources("sampling stage", 1, COORDINATOR_CPUS),
        _workers("scorer", config.scorer),
        StageResources("writing stage", 1, COORDINATOR_CPUS),
    ]


def generating_plan(config: Config) -> list[StageResources]:
    """The generator replicas that a run needs to begin, and what sends them weights."""
    generator = config.generator
    fixed = generator.least == generator.most
    replicas = StageResources(
        "generator" if fixed else f"generator (to {generator.most})",
        generator.least,
        generator.cpus,
        generator.gpus * generator.tensor_parallel_size,
        generator,
    )
    if generator.transport != "nccl":
        return [replicas]
    return [replicas, StageResources("weight sender", 1, 0, generator.sender_gpus)]


def local_cpus(config: Config, cores: int) -> int:
    """Logical CPUs of a cluster on this machine alone: its cores, or what all actors of any
    pipeline reserve where that is more, for there they share the cores whatever they reserve."""
    generator = config.generator
    largest = max(_total(plan)[0] for plan in (resource_plan(config), synthesis_plan(config)))
    joining = (generator.most - generator.least) * generator.cpus
    return max(cores, math.ceil(largest + joining))


def render_plan(plan: list[StageResources]) -> str:
    """The plan as a table with a total."""
    lines = [f"{'stage':16s} actors   CPUs   GPUs  nodes"]
    for share in plan:
        lines.append(
            f"{share.stage:16s} {share.count:6d} {share.count * share.cpus:6.1f} "
            f"{share.count * share.gpus:6.1f}  {_where(share)}".rstrip()
        )
    cpus, gpus = _total(plan)
    lines.append(f"{'total':16s} {sum(s.count for s in plan):6d} {cpus:6.1f} {gpus:6.1f}")
    return "\n".join(lines) + "\n"


def _where(share: StageResources) -> str:
    if share.placed is None:
        return ""
    spread = "spread" if share.placed.placement == "spread" else ""
    return " ".join(filter(None, (share.placed.node_resource, spread)))


def check_plan(plan: list[StageResources], nodes: Sequence[Mapping[str, float]]) -> None:
    """Raise UserError when the ``nodes`` have too few CPUs or GPUs between them, or none of them
    has room for an actor; otherwise actors would wait for ever."""
    for name, needed in zip(("CPU", "GPU"), _total(plan), strict=True):
        have = sum(node.get(name, 0.0) for node in nodes)
        if needed > have + _ROUNDING:
            raise UserError(
                f"the plan needs {needed:.1f} {name}s but the cluster has {have:.1f}; lower "
                f"generator.replicas, scorer.workers, learner.workers or their {name.lower()}s "
                "(--dry-run prints the plan)"
            )
    for share in plan:
        need = {"CPU": share.cpus, "GPU": share.gpus}
        need |= share.placed.custom_resources if share.placed else {}
        if not any(_holds(node, need) for node in nodes):
            wanted = ", ".join(f"{amount:g} {name}" for name, amount in need.items() if amount)
            raise UserError(
                f"no node of the cluster has room for one actor of the {share.stage} ({wanted}); "
                "lower its cpus, gpus or tensor_parallel_size, or check its node_resource"
            )


_ROUNDING = 1e-9


def _holds(node: Mapping[str, float], need: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) + _ROUNDING >= amount for name, amount in need.items())


def _total(plan: list[StageResources]) -> tuple[float, float]:
    return (
        sum(share.count * share.cpus for share in plan),
        sum(share.count * share.gpus for share in plan),
    )
