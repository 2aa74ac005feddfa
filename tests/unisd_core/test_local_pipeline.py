"""The loop of ``unisd_core/local.py`` is what the actors compute at staleness 0."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from actors.admission.gate import Gate
from actors.admission.ledger import Ledger
from actors.generator.completions import rollout_sampling
from actors.generator.types import Request
from actors.learner.job import LearnerJob
from actors.learner.loop import Learner
from actors.learner.worker_group import WorkerGroup
from actors.stream import generate, score
from actors.stream.agree import Agree
from actors.stream.generate import Generate
from actors.stream.score import Score
from actors.supervision.incidents import IncidentLog
from actors.weights.update import WeightUpdate
from tests.support.direct_client import DirectClient
from tests.unisd_core.test_local import SUMS, config
from unisd_core.common.completion import Completion
from unisd_core.common.visits import VisitingOrder
from unisd_core.config.run import Config
from unisd_core.local import train
from unisd_core.models.model_files import open_model
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row
from unisd_core.training.student import Student
from unisd_core.views.prompt_table import PromptTable
from unisd_core.views.sampling import sample_prompts, training_prompts

METHODS: dict[str, dict[str, Any]] = {
    "all five mechanisms": {},
    "shares of completions": {
        "rollout": {"teacher_share": 0.4, "gold_share": 0.3},
        "views": {"negatives": {"per_row": 3}},
    },
    "filters": {"filter": {"lowest_agreement": 0.5, "min_tokens": 2}},
    "thresholds of the batch before": {
        "teacher": {"kind": "live"},
        "objective": {
            "divergence": {"clip": None, "clip_quantile": 0.7},
            "agreement": {"scale": "running"},
        },
    },
    "all weights": {
        "model": {"finetune": "full"},
        "generator": {"transport": "merged"},
        "teacher": {"ema_decay": 0.5, "ema_every": 2},
        "training": {"learning_rate": 1e-3},
    },
}


class Recording:
    """Samples as the local loop does, and answers like a pool with what was sampled."""

    def __init__(self, settings: Config, stop_token_ids: tuple[int, ...]) -> None:
        self.settings, self.stops = settings, stop_token_ids
        self.known: dict[int, tuple[list[int], Completion]] = {}

    def sample(self, network: Any, prompts: pa.Table, positions: Any, version: int) -> pa.Table:
        rollouts = sample_prompts(
            network, prompts, positions, version, config=self.settings, stop_token_ids=self.stops
        )
        for row in rollouts.to_pylist():
            read = row["prompt_ids"] if row["source"] == "student" else row["view_ids"][0]
            self.known[row["position"]] = read, Completion(
                row["completion_ids"], row["logprobs"], row["finish_reason"],
                version, version, replica=0,
            )  # fmt: skip
        return rollouts

    async def generate(self, requests: list[Request], version: int) -> list[Completion]:
        answers = []
        for request in requests:
            prompt_ids, completion = self.known[int(request.key.split("/")[0])]
            assert request.prompt_ids == prompt_ids and completion.version_first == version
            answers.append(completion)
        return answers


class Store:
    """Keeps the teacher that was published last."""

    def __init__(self) -> None:
        self.teacher: WeightUpdate | None = None

    async def keep(self, bucket: Any) -> list[Any]:
        return [bucket]

    async def publish(self, _: Any, teacher: WeightUpdate | None, *__: Any) -> list[Any]:
        self.teacher = teacher or self.teacher
        return []

    async def teacher_if_not(self, version: int, student: int = 0) -> WeightUpdate | None:
        stale = self.teacher is not None and self.teacher.version != version
        return self.teacher if stale else None


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages of this process instead of Ray's actors."""
    context = SimpleNamespace(current_actor=None, get_actor_id=lambda: "scorer")
    monkeypatch.setattr(generate, "ray", SimpleNamespace(get=lambda value: value))
    monkeypatch.setattr(score, "ray", SimpleNamespace(get_runtime_context=lambda: context))
    monkeypatch.setattr(score, "restarted", lambda: False)
    monkeypatch.setattr(score, "lower_priority", lambda: None)


def through_the_stages(
    settings: Config, model: Path, pool: Recording, run: Path, task: Task = SUMS
) -> tuple[Student, Ledger]:
    """The student that gate, stages and learner make of what ``pool`` sampled, and the account."""
    files = open_model(settings)
    prompts = training_prompts(files, task, settings)
    watchdog, store = DirectClient(IdleWatchdog()), DirectClient(Store())
    training = settings.training
    gate = DirectClient(
        Gate(
            prompts.num_rows,
            training.batch_size,
            0,
            training.max_steps,
            settings.seed,
            watchdog=watchdog,
            stall_timeout_s=5.0,
        )  # fmt: skip
    )
    run.mkdir()
    job: Any = LearnerJob(settings, model, run, gate, store, watchdog)  # type: ignore[arg-type]
    learner = Learner(job, WorkerGroup(rank=0, size=1, limit_s=1.0))
    learner.begin()
    sampling = rollout_sampling(settings, files.stop_token_ids)
    desk: Any = DirectClient(Desk(prompts))
    generating = Generate(settings, gate, DirectClient(pool), desk, prompts.uids, sampling)  # type: ignore[arg-type]
    scoring = Score(settings, str(model), store, watchdog)  # type: ignore[arg-type]
    agreeing = Agree(settings, gate, str(model), watchdog)  # type: ignore[arg-type]
    agreeing.monitored = True  # which needs an actor
    slot = 0
    while learner.version < learner.last_step:
        for rollouts in asyncio.run(_tables(generating, slot)):
            for batch in agreeing(scoring(rollouts)):
                learner.step(batch)
        slot += 1
    learner.finish()
    return learner.state.student, gate.actor.ledger


class Desk:
    """A desk in the process that has the rows."""

    def __init__(self, prompts: PromptTable) -> None:
        self.prompts = prompts

    async def take(self, indices: list[int]) -> pa.Table:
        return self.prompts.take(indices)


class IdleWatchdog(IncidentLog):
    """A watchdog that looks at nobody."""

    async def begin(self, *_: Any) -> None: ...

    async def end(self, *_: Any) -> None: ...


async def _tables(stage: Generate, slot: int) -> list[pa.Table]:
    return [table async for table in stage(pa.table({"slot": [slot]}))]


@pytest.mark.parametrize("method", METHODS)
def test_the_pipeline_at_staleness_0_trains_the_same_weights(
    tiny_model: Path, tmp_path: Path, no_ray: None, method: str
) -> None:
    changes = {section: dict(values) for section, values in METHODS[method].items()}
    changes["training"] = {"max_staleness": 0, "max_steps": 4} | changes.get("training", {})
    settings = config(tiny_model, outputs={"tensorboard": False}, learner={"threads": 1}, **changes)
    pool = Recording(settings, open_model(settings).stop_token_ids)
    local = train(settings, task=SUMS, sample=pool.sample).weights()
    piped = through_the_stages(settings, tiny_model, pool, tmp_path / "run")[0].weights()
    start = Student(settings, tiny_model).weights()
    moved = max(float((local[name] - start[name]).abs().max()) for name in start)
    apart = max(float((local[name] - piped[name]).abs().max()) for name in start)
    assert apart <= 1e-6 < 1e-3 < moved
    filtered = len(pool.known) - settings.training.max_steps * settings.training.batch_size
    assert (filtered > 0) == (method == "filters")


def test_rows_over_a_limit_are_skipped_at_their_turn_and_accounted_once(
    tiny_model: Path, tmp_path: Path, no_ray: None
) -> None:
    rows = [
        Row(f"What is {n} + {n}?{' Quickly!' * 9 * (n % 3 == 0)}", str(2 * n))
        for n in range(11, 23)
    ]
    task = Task.from_rows(rows, "numeric")
    limits = {"max_prompt_length": 100, "name_or_path": str(tiny_model)}
    training = {"max_staleness": 0, "max_steps": 5}
    settings = config(tiny_model, model=limits, training=training, outputs={"tensorboard": False})
    pool = Recording(settings, open_model(settings).stop_token_ids)
    local = train(settings, task=task, sample=pool.sample).weights()
    student, ledger = through_the_stages(settings, tiny_model, pool, tmp_path / "run", task)
    piped = student.weights()
    assert max(float((local[name] - piped[name]).abs().max()) for name in local) <= 1e-6
    assert set(ledger.reasons) == {"filtered: over model.max_prompt_length"}
    visits, per_step = ledger.counters(), settings.training.batch_size
    assert visits["consumed"] == 5 * per_step == len(pool.known)
    assert visits["admitted"] == visits["consumed"] + visits["filtered"]
    order = VisitingOrder(12, settings.seed)
    for position in range(visits["admitted"]):
        too_long = rows[order.row_of(position)].prompt.endswith("Quickly!")
        assert (position in pool.known) != too_long
