"""Rollouts by their position: the prompt visited there, its source, its seed and its views. No
torch.

A run visits its prompts in a fixed order and plans each visit from the seed and the position
alone, so that neither timing nor the number of processes changes what is sampled.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from unisd_core.common.completion import Completion
from unisd_core.common.schema import TRAJECTORY
from unisd_core.common.visits import Visit
from unisd_core.config.run import Config


@dataclass(frozen=True)
class RolloutPlan:
    """What is sampled at one position."""

    source: str
    """Whose completion: "student", "teacher" or "gold"."""
    prompt_ids: list[int] | None
    """(P,) what the model reads; None where the reference is the completion."""
    seed: int
    """Of the draws."""
    negative: list[int] | None
    """(P,) prompt of the negative view, if the row has one."""


def plan_rollout(config: Config, position: int, prompts: pa.Table, index: int) -> RolloutPlan:
    """The rollout at ``position``, whose prompt is row ``index`` of ``prompts`` (``PROMPT``); it
    depends on the seed and the position alone."""
    rng = random.Random(f"{config.seed}/{position}")
    source = _source(rng.random(), config.rollout.teacher_share, config.rollout.gold_share)
    seed = rng.getrandbits(62)
    negatives = prompts["negative_ids"][index].as_py() or []
    negative = rng.choice(negatives) if negatives else None
    if source == "gold":
        return RolloutPlan(source, None, seed, negative)
    student = source == "student"
    ids = prompts["prompt_ids"][index] if student else prompts["view_ids"][index][0]
    return RolloutPlan(source, ids.as_py(), seed, negative)


def _source(draw: float, teacher_share: float, gold_share: float) -> str:
    """Whose completion, for ``draw`` uniform in [0, 1)."""
    if draw < gold_share:
        return "gold"
    return "teacher" if draw < gold_share + teacher_share else "student"


def planned_rollouts(
    prompts: pa.Table,
    plans: Sequence[RolloutPlan],
    visits: Sequence[Visit],
    sampled: Sequence[Completion],
    versions: Sequence[int],
) -> pa.Table:
    """``TRAJECTORY`` rows of all ``plans``; ``sampled`` holds the completions of those that the
    model was asked for, in order.

    A reference in the place of a completion has no behaviour log-probs, since nobody sampled it,
    and is as old as its entry in ``versions``.
    """
    answers = iter(sampled)
    completions = [
        _reference(prompts["gold_ids"][index].as_py(), versions[index])
        if plan.prompt_ids is None
        else next(answers)
        for index, plan in enumerate(plans)
    ]
    return trajectories(
        prompts,
        completions,
        visits=visits,
        source=[plan.source for plan in plans],
        negative=[plan.negative for plan in plans],
    )


def _reference(ids: list[int], version: int) -> Completion:
    return Completion(ids, [0.0] * len(ids), "stop", version, version, -1)


def trajectories(
    prompts: pa.Table,
    completions: Sequence[Completion],
    *,
    visits: Sequence[Visit],
    source: Sequence[str],
    negative: Sequence[list[int] | None] = (),
) -> pa.Table:
    """``TRAJECTORY`` rows, for each of ``prompts`` with its completion; ``negative`` holds prompts
    of negative views. What stays as it is stays in Arrow: taking it out was most of what the
    generating stage did."""
    views: Any = prompts["view_ids"]
    if any(negative):
        views = [
            ids + ([other] if other else [])
            for ids, other in zip(views.to_pylist(), negative, strict=True)
        ]
    columns = {
        "position": [visit.position for visit in visits],
        "attempt": [visit.attempt for visit in visits],
        "uid": prompts["uid"],
        "row": prompts["row"],
        "prompt_ids": prompts["prompt_ids"],
        "completion_ids": [completion.token_ids for completion in completions],
        "logprobs": [completion.logprobs for completion in completions],
        "version_first": [completion.version_first for completion in completions],
        "version_last": [completion.version_last for completion in completions],
        "finish_reason": [completion.finish_reason for completion in completions],
        "source": source,
        "replica": [completion.replica for completion in completions],
        "sampled_from": [completion.began for completion in completions],
        "sampled_until": [completion.ended for completion in completions],
        "view_ids": views,
    }
    return pa.Table.from_pydict(columns, schema=TRAJECTORY)
