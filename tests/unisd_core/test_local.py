"""The whole method in one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.local import train
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row
from unisd_core.training.student import Student
from unisd_core.views.sampling import sample_prompts

SUMS = Task.from_rows([Row(f"What is {n} + {n}?", str(2 * n)) for n in range(11, 19)], "numeric")


def config(folder: Path, **changes: Any) -> Config:
    tree: dict[str, Any] = {
        "model": {"name_or_path": str(folder)},
        "rollout": {"max_completion_length": 6, "chunk_size": 2},
        "views": {"num_auxiliary": 2},
        "training": {"max_steps": 3, "batch_size": 4, "learning_rate": 1e-2, "warmup_ratio": 0},
        # Threads are set for the whole process, so also for the tests that come after.
        "scorer": {"threads": 1},
    }
    for section, values in changes.items():
        tree[section] = tree.get(section, {}) | values
    return Config.model_validate(tree)


def moved(student: Student, settings: Config, model: Path) -> float:
    before, after = Student(settings, model).weights(), student.weights()
    return max(float((after[name] - before[name]).abs().max()) for name in before)


def test_each_step_samples_scores_weighs_and_updates(tiny_model: Path) -> None:
    settings = config(tiny_model)
    lines: list[tuple[int, dict[str, float]]] = []
    student = train(settings, task=SUMS, on_step=lambda *line: lines.append(line))
    assert [step for step, _ in lines] == [1, 2, 3]
    assert all(metrics["tokens"] > 0 and metrics["grad_norm"] > 0 for _, metrics in lines)
    distances = [metrics["teacher_moved"] for _, metrics in lines]
    assert 0 < distances[0] < distances[1] < distances[2], "the average follows"
    # A student that samples for itself agrees with itself.
    assert all(metrics["engine_learner_logprob_gap"] < 1e-3 for _, metrics in lines)
    assert moved(student, settings, tiny_model) > 1e-3
    again = train(settings, task=SUMS).weights()
    assert all(torch.equal(again[name], tensor) for name, tensor in student.weights().items())


def test_filtered_rollouts_are_replaced(tiny_model: Path) -> None:
    settings = config(tiny_model, training={"max_steps": 1})
    visited: list[int] = []

    def sample(network, prompts: pa.Table, positions, version: int) -> pa.Table:
        visited.extend(positions)
        rollouts = sample_prompts(
            network, prompts, positions, version, config=settings, stop_token_ids=[1]
        )
        cut = ["length" if position < 3 else "stop" for position in positions]
        column = rollouts.schema.get_field_index("finish_reason")
        return rollouts.set_column(column, rollouts.schema.field(column), pa.array(cut))

    dropping = config(tiny_model, training={"max_steps": 1}, filter={"drop_truncated": True})
    train(dropping, task=SUMS, sample=sample)
    assert visited == list(range(7)), "chunks of two, and of one where one is missing"


def test_filters_that_leave_nothing_end_the_training(tiny_model: Path) -> None:
    settings = config(tiny_model, filter={"min_tokens": 7})
    with pytest.raises(UserError, match="^filter: left out all of the last 82 rollouts"):
        train(settings, task=SUMS)


def test_batches_that_cannot_be_learned_from_end_the_training(tiny_model: Path) -> None:
    settings = config(tiny_model, training={"skip_grad_norm": 1e-9, "max_bad_batches": 1})
    with pytest.raises(UserError, match=r"^2 batches in a row .*gradient norm .*max_bad_batches"):
        train(settings, task=SUMS)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"finetune": "full"}, "generator": {"transport": "merged"}},
        {"objective": {"divergence": {"clip": None, "clip_quantile": 0.5}}},
        {"objective": {"divergence": {"weight": 0}, "contrastive": {"weight": 0},
                       "features": {"weight": 0}, "agreement": {"level": "off"},
                       "cross_entropy": {"weight": 1.0}}, "rollout": {"gold_share": 1.0}},
    ],
    ids=["all weights", "moving clip", "references alone"],
)  # fmt: skip
def test_other_methods_train_too(tiny_model: Path, changes: dict[str, Any]) -> None:
    rate = {"learning_rate": 1e-3}
    settings = config(tiny_model, training=rate, **changes)
    assert moved(train(settings, task=SUMS), settings, tiny_model) > 1e-4


def test_scorer_agreement_and_optimizer_step_need_no_ray(tiny_model: Path) -> None:
    code = f"""
import sys
sys.modules |= dict.fromkeys(["ray", "vllm"])  # importing them fails
from tests.unisd_core.test_local import SUMS, config
from unisd_core import Student, TeacherScorer, agree, load_model, sample
settings = config({str(tiny_model)!r})
model = load_model(settings)
student, scorer = Student(settings, model), TeacherScorer(settings, model)
before = student.weights()
sums = student.update(agree(scorer.score(sample(model, SUMS, settings)), settings))
changed = [name for name, tensor in student.weights().items() if (before[name] != tensor).any()]
assert sums["tokens"] > 0 and changed
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
