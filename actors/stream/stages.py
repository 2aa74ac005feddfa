"""The stages of the Ray Data stream: generate, score, agree.

The stream carries chunks of rollouts, one Arrow table each. Its source is a list of empty slots:
which prompts fill a slot is decided by the gate when there is room, so that prompts lost
to a filter or a fault are replaced and no stage waits for rows that never come.

Many processes import this file, because the stream refers to its classes; torch is imported where
it is used.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError

from actors.admission.ledger import Ticket
from actors.generator.engine import Sampling, give_way
from actors.generator.types import Request, Sampled
from actors.runtime.calls import ask, first_line, restarted
from actors.runtime.metrics import record
from unisd_core.common.fast_imports import importing
from unisd_core.common.schema import SCORED, TRAJECTORY
from unisd_core.config.method import Config
from unisd_core.scoring.agreement_columns import weighed
from unisd_core.scoring.rollout_filter import RolloutFilter


class Generate:
    """Asks the gate for prompts and the pool for completions; stamps both into the rows."""

    def __init__(
        self, config: Config, gate: Any, pool: Any, prompts: ray.ObjectRef, sampling: Sampling
    ) -> None:
        self.config, self.gate, self.pool = config, gate, pool
        self.prompts: pa.Table = ray.get(prompts)
        self.sampling = sampling
        self.stream = ask(gate.open_stream.remote(), "the gate")

    async def __call__(self, slots: pa.Table) -> AsyncIterator[pa.Table]:
        (slot,) = slots["slot"].to_pylist()
        tickets = await self.gate.admit.remote(self.stream, slot, self.config.rollout.chunk)
        if not tickets:
            return
        prompts = self.prompts.take([ticket.row for ticket in tickets])
        visits = [self._visit(ticket, prompts, index) for index, ticket in enumerate(tickets)]
        version = max(ticket.min_version for ticket in tickets)
        requests = [visit.request for visit in visits if visit.request is not None]
        try:
            sampled = await self.pool.generate.remote(requests, version) if requests else []
        except (RayError, TimeoutError, RuntimeError) as error:
            # Others take their place; the gate puts an end to a run of failures.
            lost = [(ticket.position, ticket.attempt) for ticket in tickets]
            await self.gate.fail.remote(lost, first_line(error))
            return
        answers = iter(sampled)
        yield trajectories(
            prompts,
            [
                gold(visit.ticket, prompts["gold_ids"][index].as_py())
                if visit.request is None
                else next(answers)
                for index, visit in enumerate(visits)
            ],
            position=[ticket.position for ticket in tickets],
            attempt=[ticket.attempt for ticket in tickets],
            source=[visit.source for visit in visits],
            negative=[visit.negative for visit in visits],
        )

    def _visit(self, ticket: Ticket, prompts: pa.Table, index: int) -> Visit:
        """Whose completion this visit takes, and its wrong reference; both depend on the seed and
        the position alone."""
        rollout = self.config.rollout
        rng = random.Random(f"{self.config.seed}/{ticket.position}")
        source = _source(rng.random(), rollout.teacher_share, rollout.gold_share)
        sampling = dataclasses.replace(self.sampling, seed=rng.getrandbits(62))
        negatives = prompts["negative_ids"][index].as_py() or []
        negative = rng.choice(negatives) if negatives else None
        if source == "gold":
            return Visit(ticket, source, None, negative)
        student = source == "student"
        ids = prompts["prompt_ids"][index] if student else prompts["view_ids"][index][0]
        request = Request(f"{ticket.position}/{ticket.attempt}", ids.as_py(), sampling)
        return Visit(ticket, source, request, negative)


@dataclass(frozen=True)
class Visit:
    """What one ticket asks for; ``request`` is None where the reference is the completion.
    ``negative`` is the prompt of the negative view, (P,), if the row has one."""

    ticket: Ticket
    source: str
    request: Request | None
    negative: list[int] | None


def _source(draw: float, teacher_share: float, gold_share: float) -> str:
    """Whose completion, for ``draw`` uniform in [0, 1)."""
    if draw < gold_share:
        return "gold"
    return "teacher" if draw < gold_share + teacher_share else "student"


def gold(ticket: Ticket, ids: list[int]) -> Sampled:
    """The reference as a completion. Nobody sampled it, so it has no behaviour log-probs and is as
    old as its ticket allows at most: it never goes stale."""
    version = ticket.min_version
    return Sampled(ids, [0.0] * len(ids), "stop", version, version, -1)


def trajectories(
    prompts: pa.Table,
    sampled: Sequence[Sampled],
    *,
    position: Sequence[int],
    attempt: Sequence[int],
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
        "position": position,
        "attempt": attempt,
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


class Score:
    """Reads each completion through the teacher's views (architecture, step 3).

    Tells the watch when it begins and ends, which replaces it where it hangs; Ray Data then gives
    the chunk to its successor.
    """

    def __init__(self, config: Config, model_dir: str, store: Any, watch: Any) -> None:
        with importing():
            from unisd_core.scoring.scorer import TeacherScorer

        if not config.scorer.gpus:
            give_way()
        self.scorer = TeacherScorer(config, model_dir)
        self.store, self.watch = store, watch
        self.limit_s = config.scorer.timeout_s
        context = ray.get_runtime_context()
        self.actor, self.name = context.current_actor, context.get_actor_id()
        if restarted():
            watch.note.remote("scorer", "back")

    def __call__(self, table: pa.Table) -> pa.Table:
        if table.num_rows == 0:
            return SCORED.empty_table()
        self.watch.begin.remote(self.name, "scorer", self.actor, self.limit_s)
        try:
            return self._score(table)
        finally:
            self.watch.end.remote(self.name)

    def _score(self, table: pa.Table) -> pa.Table:
        if not self.scorer.idle:
            newest = self.store.teacher_if_not.remote(self.scorer.version)
            update = ask(newest, "the weight store")
            if update is not None:
                self.scorer.load(update)
        scored = self.scorer.score(table)
        record("scored_tokens", sum(map(len, scored["completion_ids"])))
        return scored


class Agree:
    """Collects the surviving rows of a global batch, weighs them, and emits them together.

    One actor sees every row in order, so weights and scale do not depend on the number of scorers.
    The watch attends to it, since the rows it holds are lost with it.
    """

    def __init__(self, config: Config, gate: Any, model_dir: str, watch: Any) -> None:
        self.config, self.gate, self.watch = config, gate, watch
        self.attended = False
        self.waiting: list[pa.Table] = []
        begin = ask(gate.counters.remote(), "the gate")
        self.batch: int = begin["version"]
        self.scale: float | None = begin["agreement_scale"]
        self.filter = RolloutFilter(config, model_dir)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        if not self.attended:
            self._be_attended()
        if table.num_rows:
            self.waiting.append(self._admissible(table))
        size = self.config.training.batch
        ready = pa.concat_tables(self.waiting) if self.waiting else SCORED.empty_table()
        while ready.num_rows >= size:
            yield self._weigh(ready.slice(0, size))
            ready = ready.slice(size)
        self.waiting = [ready] if ready.num_rows else []

    def _be_attended(self) -> None:
        # Not before the first chunk: then the stream it comes with has its number.
        stream = ask(self.gate.counters.remote(), "the gate")["stream"]
        actor, limit = ray.get_runtime_context().current_actor, self.config.scorer.timeout_s
        self.watch.attend.remote("agreement stage", actor, self.gate, stream, limit)
        self.attended = True

    def _admissible(self, table: pa.Table) -> pa.Table:
        """Rows that pass the filter and that the gate still wants; the rest is reported to it."""
        reasons = self.filter.reasons(table)
        rows = table.select(["position", "attempt", "version_first"]).to_pylist()
        passing = [index for index, reason in enumerate(reasons) if reason is None]
        visits = [tuple(rows[index].values()) for index in passing]
        dropped = [
            (row["position"], row["attempt"], reason)
            for row, reason in zip(rows, reasons, strict=True)
            if reason is not None
        ]
        wanted = ask(self.gate.arrive.remote(visits, dropped), "the gate")
        kept = [index for index, keep in zip(passing, wanted, strict=True) if keep]
        # The type is given because none may be left.
        return table.take(pa.array(kept, pa.int64()))

    def _weigh(self, table: pa.Table) -> pa.Table:
        table, self.scale = weighed(table, self.config, self.batch, self.scale)
        self.batch += 1
        return table
