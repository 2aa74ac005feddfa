"""The stages of the Ray Data stream: generate, score, agree.

The stream carries chunks of rollouts, one Arrow table each. Its source is a list of empty slots:
which prompts fill a slot is decided by the gate when there is room, so that prompts lost
to a filter or a fault are replaced and no stage waits for rows that never come.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.exceptions import RayError

from actors.calls import ask, first_line
from actors.engine import Sampling
from actors.ledger import Ticket
from actors.messages import Request, Sampled
from actors.teacher_scorer import TeacherScorer
from unisd_core.config import Config
from unisd_core.objective.agreement import agreement_weights, mean_token_agreement
from unisd_core.schema import SCORED, TRAJECTORY
from unisd_core.views import auxiliary_count


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
        rows = self.prompts.take([ticket.row for ticket in tickets]).to_pylist()
        requests = [self._request(*pair) for pair in zip(tickets, rows, strict=True)]
        version = max(ticket.min_version for ticket in tickets)
        visits = [(ticket.position, ticket.attempt) for ticket in tickets]
        try:
            done = await self.pool.generate.remote([request for request, _ in requests], version)
        except (RayError, TimeoutError, RuntimeError) as error:
            # Others take their place; the gate puts an end to a run of failures.
            await self.gate.fail.remote(visits, first_line(error))
            return
        yield pa.Table.from_pylist(
            [
                _trajectory(ticket, row, source, sampled)
                for ticket, row, (_, source), sampled in zip(
                    tickets, rows, requests, done, strict=True
                )
            ],
            schema=TRAJECTORY,
        )

    def _request(self, ticket: Ticket, row: dict[str, Any]) -> tuple[Request, str]:
        """The prompt of the student, or of the teacher for the off-policy share of the visits."""
        rng = random.Random(f"{self.config.seed}/{ticket.position}")
        on_policy = rng.random() < self.config.rollout.on_policy_fraction
        sampling = Sampling(
            self.sampling.temperature,
            self.sampling.top_p,
            self.sampling.max_tokens,
            rng.getrandbits(62),
            self.sampling.stop_token_ids,
        )
        ids = row["prompt_ids"] if on_policy else row["view_ids"][0]
        key = f"{ticket.position}/{ticket.attempt}"
        return Request(key, ids, sampling), "student" if on_policy else "teacher"


def _trajectory(
    ticket: Ticket, row: dict[str, Any], source: str, sampled: Sampled
) -> dict[str, Any]:
    return {
        "position": ticket.position,
        "attempt": ticket.attempt,
        "uid": row["uid"],
        "row": row["row"],
        "prompt_ids": row["prompt_ids"],
        "view_ids": row["view_ids"],
        "completion_ids": sampled.token_ids,
        "logprobs": sampled.logprobs,
        "version_first": sampled.version_first,
        "version_last": sampled.version_last,
        "finish_reason": sampled.finish_reason,
        "source": source,
        "replica": sampled.replica,
    }


class Score:
    """Reads each completion through the teacher's views (architecture, step 3)."""

    def __init__(self, config: Config, model_dir: str, store: Any) -> None:
        self.scorer = TeacherScorer(config, model_dir)
        self.store = store

    def __call__(self, table: pa.Table) -> pa.Table:
        if table.num_rows == 0:
            return SCORED.empty_table()
        update = ask(self.store.teacher_if_not.remote(self.scorer.version), "the weight store")
        if update is not None:
            self.scorer.load(update)
        return self.scorer.score(table)


class Agree:
    """Collects the surviving rows of a global batch, weighs them, and emits them together.

    One actor sees every row in order, so weights and scale do not depend on the number of scorers.
    """

    def __init__(self, config: Config, gate: Any) -> None:
        self.config, self.gate = config, gate
        self.waiting: list[pa.Table] = []
        self.batch = ask(gate.counters.remote(), "the gate")["version"]

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        if table.num_rows:
            self.waiting.append(self._admissible(table))
        size = self.config.training.batch
        ready = pa.concat_tables(self.waiting) if self.waiting else SCORED.empty_table()
        while ready.num_rows >= size:
            yield self._weigh(ready.slice(0, size))
            ready = ready.slice(size)
        self.waiting = [ready] if ready.num_rows else []

    def _admissible(self, table: pa.Table) -> pa.Table:
        """Rows that pass the filter and that the gate still wants; the rest is reported to it."""
        reasons = filter_reasons(table, self.config)
        rows = table.select(["position", "attempt", "version_first"]).to_pylist()
        passing = [index for index, reason in enumerate(reasons) if reason is None]
        visits = [tuple(rows[index].values()) for index in passing]
        dropped = [
            (row["position"], row["attempt"], reason)
            for row, reason in zip(rows, reasons, strict=True)
            if reason is not None
        ]
        wanted = ask(self.gate.arrive.remote(visits, dropped), "the gate")
        return table.take([index for index, keep in zip(passing, wanted, strict=True) if keep])

    def _weigh(self, table: pa.Table) -> pa.Table:
        """Agreement weights over the whole batch (paper, section 2.1)."""
        lengths = [len(ids) for ids in table["completion_ids"]]
        if auxiliary_count(self.config):
            weights = agreement_weights(_auxiliary(table), self.config.objective.agreement)
            tokens, sequences = weights.token_weights, weights.sequence_weight
        else:
            tokens, sequences = [np.ones(length) for length in lengths], np.ones(len(lengths))
        columns = {
            "token_weights": pa.array(list(map(np.float32, tokens)), pa.list_(pa.float32())),
            "sequence_weight": pa.array(np.float32(sequences)),
            "batch": pa.array([self.batch] * len(lengths), pa.int32()),
        }
        self.batch += 1
        for name, column in columns.items():
            table = table.set_column(table.schema.get_field_index(name), SCORED.field(name), column)
        return table


def filter_reasons(table: pa.Table, config: Config) -> list[str | None]:
    """For each row why it is left out, or None."""
    agreement = None
    if config.filter.min_agreement > 0:
        agreement = mean_token_agreement(_auxiliary(table), config.objective.agreement)
    reasons: list[str | None] = []
    for index, row in enumerate(table.select(["completion_ids", "finish_reason"]).to_pylist()):
        if not row["completion_ids"]:
            reasons.append("empty completion")
        elif config.filter.drop_truncated and row["finish_reason"] == "length":
            reasons.append("truncated")
        elif agreement is not None and agreement[index] < config.filter.min_agreement:
            reasons.append("views disagree")
        else:
            reasons.append(None)
    return reasons


def _auxiliary(table: pa.Table) -> list[np.ndarray]:
    """Per row the (K, T) log-probs of the sampled tokens under the auxiliary views."""
    return [
        np.asarray(views, dtype=np.float32) for views in table["auxiliary_logprobs"].to_pylist()
    ]
