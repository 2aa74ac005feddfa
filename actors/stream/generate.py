"""Generate: the stage that asks the gate for prompts and the pool for completions.

The stream carries chunks of rollouts, one Arrow table each. It begins with empty slots: the gate
decides which prompts fill a slot once there is room, so that prompts lost to a filter or a fault
are replaced and no stage waits for rows that never come. No torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence

import pyarrow as pa
import ray
from ray.exceptions import RayError

from actors.admission.gate import GateClient
from actors.admission.ledger import Outcome
from actors.admission.prompts import PromptDeskClient
from actors.generator.pool import PoolClient
from actors.generator.types import Request, Sampling
from actors.runtime.calls import remote_reason
from unisd_core.common.schema import fitting
from unisd_core.common.visits import Visit
from unisd_core.config.run import Config
from unisd_core.views.rollouts import RolloutPlan, plan_rollout, planned_rollouts


class Generate:
    """Fills slots: with prompts as the gate admits them, with completions as the pool samples."""

    def __init__(
        self,
        config: Config,
        gate: GateClient,
        pool: PoolClient,
        prompts: PromptDeskClient,
        uids: ray.ObjectRef[Sequence[str]],
        sampling: Sampling,
    ) -> None:
        self.config, self.gate, self.pool, self.prompts = config, gate, pool, prompts
        self.sampling = sampling
        self.stream = gate.open_stream(ray.get(uids))

    async def __call__(self, slots: pa.Table) -> AsyncIterator[pa.Table]:
        (slot,) = slots["slot"].to_pylist()
        admitted = await self.gate.admit.remote(self.stream, slot, self.config.rollout.chunk_size)
        if not admitted:
            return
        prompts = await self.prompts.take.remote([admission.row for admission in admitted])
        too_long = {
            admission.visit: f"over {limit}"
            for admission, limit in zip(admitted, prompts["left_out"].to_pylist(), strict=True)
            if limit is not None
        }
        if too_long:
            await self.gate.close.remote(too_long, Outcome.FILTERED)
            admitted = [admission for admission in admitted if admission.visit not in too_long]
            prompts = fitting(prompts)
        if not admitted:
            return
        visits = [admission.visit for admission in admitted]
        plans = [
            plan_rollout(self.config, visit.position, prompts, index)
            for index, visit in enumerate(visits)
        ]
        version = max(admission.min_version for admission in admitted)
        asked = [self._request(*pair) for pair in zip(visits, plans, strict=True)]
        requests = [request for request in asked if request is not None]
        try:
            sampled = await self.pool.generate.remote(requests, version) if requests else []
        except (RayError, TimeoutError, RuntimeError) as error:
            # Others take their place; the gate puts an end to a run of failures.
            losses = dict.fromkeys(visits, remote_reason(error))
            await self.gate.close.remote(losses, Outcome.FAILED)
            return
        # A reference is as old as its admission allows at most, so that it never goes stale.
        oldest = [admission.min_version for admission in admitted]
        yield planned_rollouts(prompts, plans, visits, sampled, oldest)

    def _request(self, visit: Visit, plan: RolloutPlan) -> Request | None:
        if plan.prompt_ids is None:
            return None
        sampling = dataclasses.replace(self.sampling, seed=plan.seed)
        return Request(f"{visit.position}/{visit.attempt}", plan.prompt_ids, sampling)
