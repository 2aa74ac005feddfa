"""Generate: asks the gate for prompts and the pool for completions.

The stream carries chunks of rollouts, one Arrow table each. Its source is a list of empty slots:
the gate decides which prompts fill a slot once there is room, so that prompts lost to a filter or
a fault are replaced and no stage waits for rows that never come. No torch.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError

from actors.admission.gate import GateClient
from actors.admission.ledger import Admission, Outcome
from actors.generator.pool import PoolClient
from actors.generator.types import Completion, Request, Sampling
from actors.runtime.calls import remote_reason
from unisd_core.common.schema import TRAJECTORY
from unisd_core.common.visits import Visit
from unisd_core.config.run import Config


class Generate:
    """Asks the gate for prompts and the pool for completions; stamps both into the rows."""

    def __init__(
        self,
        config: Config,
        gate: GateClient,
        pool: PoolClient,
        prompts: ray.ObjectRef[pa.Table],
        sampling: Sampling,
    ) -> None:
        self.config, self.gate, self.pool = config, gate, pool
        self.prompts: pa.Table = ray.get(prompts)
        self.sampling = sampling
        self.stream = gate.open_stream(self.prompts["uid"].to_pylist())

    async def __call__(self, slots: pa.Table) -> AsyncIterator[pa.Table]:
        (slot,) = slots["slot"].to_pylist()
        admitted = await self.gate.admit.remote(self.stream, slot, self.config.rollout.chunk_size)
        if not admitted:
            return
        prompts = self.prompts.take([admission.row for admission in admitted])
        planned = [self._plan(*pair, prompts) for pair in enumerate(admitted)]
        visits = [admission.visit for admission in admitted]
        version = max(admission.min_version for admission in admitted)
        requests = [rollout.request for rollout in planned if rollout.request is not None]
        try:
            sampled = await self.pool.generate.remote(requests, version) if requests else []
        except (RayError, TimeoutError, RuntimeError) as error:
            # Others take their place; the gate puts an end to a run of failures.
            losses = dict.fromkeys(visits, remote_reason(error))
            await self.gate.close.remote(losses, Outcome.FAILED)
            return
        answers = iter(sampled)
        yield trajectories(
            prompts,
            [
                gold(rollout.admission, prompts["gold_ids"][index].as_py())
                if rollout.request is None
                else next(answers)
                for index, rollout in enumerate(planned)
            ],
            visits=visits,
            source=[rollout.source for rollout in planned],
            negative=[rollout.negative for rollout in planned],
        )

    def _plan(self, index: int, admission: Admission, prompts: pa.Table) -> PlannedRollout:
        """Whose completion this visit takes, and its wrong reference; both depend on the seed and
        the position alone."""
        rollout, visit = self.config.rollout, admission.visit
        rng = random.Random(f"{self.config.seed}/{visit.position}")
        source = _source(rng.random(), rollout.teacher_share, rollout.gold_share)
        sampling = dataclasses.replace(self.sampling, seed=rng.getrandbits(62))
        negatives = prompts["negative_ids"][index].as_py() or []
        negative = rng.choice(negatives) if negatives else None
        if source == "gold":
            return PlannedRollout(admission, source, None, negative)
        student = source == "student"
        ids = prompts["prompt_ids"][index] if student else prompts["view_ids"][index][0]
        request = Request(f"{visit.position}/{visit.attempt}", ids.as_py(), sampling)
        return PlannedRollout(admission, source, request, negative)


@dataclass(frozen=True)
class PlannedRollout:
    """What one admission asks for; ``request`` is None where the reference is the completion.
    ``negative`` is the prompt of the negative view, (P,), if the row has one."""

    admission: Admission
    source: str
    request: Request | None
    negative: list[int] | None


def _source(draw: float, teacher_share: float, gold_share: float) -> str:
    """Whose completion, for ``draw`` uniform in [0, 1)."""
    if draw < gold_share:
        return "gold"
    return "teacher" if draw < gold_share + teacher_share else "student"


def gold(admission: Admission, ids: list[int]) -> Completion:
    """The reference as a completion. Nobody sampled it, so it has no behaviour log-probs and is as
    old as its admission allows at most: it never goes stale."""
    version = admission.min_version
    return Completion(ids, [0.0] * len(ids), "stop", version, version, -1)


def trajectories(
    prompts: pa.Table,
    sampled: Sequence[Completion],
    *,
    visits: Sequence[Visit],
    source: Sequence[str],
    negative: Sequence[list[int] | None] = (),
) -> pa.Table:
    """``TRAJECTORY`` rows, for each of ``prompts`` with its answer; ``negative`` holds prompts of
    negative views. What stays as it is stays in Arrow: taking it out was most of what the
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
        "completion_ids": [answer.token_ids for answer in sampled],
        "logprobs": [answer.logprobs for answer in sampled],
        "version_first": [answer.version_first for answer in sampled],
        "version_last": [answer.version_last for answer in sampled],
        "finish_reason": [answer.finish_reason for answer in sampled],
        "source": source,
        "replica": [answer.replica for answer in sampled],
        "sampled_from": [answer.began for answer in sampled],
        "sampled_until": [answer.ended for answer in sampled],
        "view_ids": views,
    }
    return pa.Table.from_pydict(columns, schema=TRAJECTORY)
