"""Every preset loads, says where it comes from, and switches on what its name says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.ablation.grid import load_grid
from pipelines.command.cli import PRESETS_DIR
from tests.unisd_core.objective.test_terms import gradient, micro_batch
from unisd_core.config.method import AgreementConfig, ObjectiveConfig
from unisd_core.config.run import Config
from unisd_core.objective.agreement import agreement_weights
from unisd_core.training.teacher import TeacherWeights

NAMES = sorted(path.stem for path in PRESETS_DIR.glob("*.yaml"))
MODELS = sorted(f"models/{path.stem}" for path in (PRESETS_DIR / "models").glob("*.yaml"))


def preset(name: str) -> Config:
    return Config.from_preset(name)


def terms(config: Config) -> set[str]:
    """What a preset trains with."""
    objective, rollout = config.objective, config.rollout
    on = {
        "divergence": objective.divergence.weight > 0,
        "agreement": objective.agreement.level != "off",
        "contrast": objective.contrastive.weight > 0,
        "features": objective.features.weight > 0,
        "cross-entropy": objective.cross_entropy.weight > 0,
        "clip": objective.divergence.clip is not None,
        "entry clip": objective.divergence.clip_entries is not None,
        "ema": config.teacher.kind == "ema",
        "gold": rollout.gold_share > 0,
    }
    return {name for name, active in on.items() if active}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sft", {"cross-entropy", "gold"}),
        ("ssd", {"cross-entropy"}),
        ("sdft", {"divergence"}),
        ("gkd", {"divergence", "gold"}),
        ("opsd", {"divergence", "entry clip"}),
        ("ema", {"divergence", "ema"}),
        ("contrastive", {"divergence", "contrast"}),
        ("match_joint", {"divergence", "features"}),
        ("match_repr", {"features"}),
        ("clip", {"divergence", "clip"}),
        ("unisd_full", {"divergence", "agreement", "contrast", "features", "clip", "ema"}),
        ("unisd_paper", {"divergence", "agreement", "contrast", "features", "clip", "ema"}),
        ("unisd_released", {"divergence", "agreement", "contrast", "features", "ema"}),
        *(
            (f"agreement_{level}_{source}", {"divergence", "agreement"})
            for level in ("token", "sequence")
            for source in ("random", "retrieval", "induction")
        ),
    ],
)
def test_each_preset_is_its_row_of_the_table(name: str, expected: set[str]) -> None:
    config = preset(name)
    assert terms(config) == expected
    assert config.name == name
    if name.startswith("agreement"):
        _, level, source = name.split("_")
        assert (config.objective.agreement.level, config.views.auxiliary) == (level, source)


@pytest.mark.parametrize("name", [*NAMES, *MODELS])
def test_every_preset_says_where_its_settings_come_from(name: str) -> None:
    assert (PRESETS_DIR / f"{name}.yaml").read_text().startswith("# ")
    preset(name)


def test_there_is_a_preset_for_each_of_the_papers_models() -> None:
    paths = {preset(name).model.name_or_path for name in MODELS}
    assert paths == {
        *(f"Qwen/Qwen2.5-{size}-Instruct" for size in ("0.5B", "1.5B", "3B", "7B")),
        "meta-llama/Llama-3.1-8B-Instruct",
        "google/gemma-3-4b-it",
    }


def test_the_grid_runs_every_method_with_the_same_rows_batch_and_steps() -> None:
    grid = load_grid("minitools", [], PRESETS_DIR)
    assert {cell.preset for cell in grid.cells} == set(NAMES) - {"demo"}
    budgets = {
        (
            cell.config.training.max_steps,
            cell.config.training.batch_size,
            cell.config.evaluation.rows,
        )
        for cell in grid.cells
    }
    assert len(budgets) == 1
    seeds = {
        label: [c.config.seed for c in grid.cells if c.label == label] for label in grid.labels
    }
    assert all(seeds[label] == [0, 1, 2] for label in ("sft", "sdft", "gkd", "unisd_full"))


class TestPublishedNoOps:
    """What does nothing in the released code does nothing under unisd_released (or, for sequence
    weights, in the published form), and acts under unisd_full."""

    @pytest.mark.parametrize(("name", "moves"), [("unisd_released", False), ("unisd_full", True)])
    def test_the_average_teacher(self, name: str, moves: bool) -> None:
        start = {"lora_B": torch.zeros(3)}
        teacher = TeacherWeights(preset(name).teacher, start)
        student = {"lora_B": torch.ones(3)}
        for step in range(1, 21):
            teacher.after_step(step, student)
        assert (teacher.metrics(student)["teacher_moved"] > 0) == moves

    @pytest.mark.parametrize(("name", "acts"), [("unisd_paper", False), ("unisd_full", True)])
    def test_sequence_weights(self, name: str, acts: bool) -> None:
        settings = preset(name).objective
        settings = settings.model_copy(
            update={
                "agreement": settings.agreement.model_copy(update={"level": "sequence"}),
                "contrastive": ObjectiveConfig().contrastive.model_copy(update={"weight": 0.0}),
                "features": ObjectiveConfig().features.model_copy(update={"weight": 0.0}),
            }
        )
        batch = micro_batch([4, 6])
        even = batch.sequence_weight_R.new_ones(2)
        weighted, plain = (
            gradient(type(batch)(**{**vars(batch), "sequence_weight_R": weights}), settings)
            for weights in (torch.tensor([0.5, 1.5], dtype=torch.float64), even)
        )
        assert torch.allclose(weighted, plain) != acts

    @pytest.mark.parametrize(("name", "acts"), [("unisd_released", False), ("unisd_full", True)])
    def test_token_weights(self, name: str, acts: bool) -> None:
        settings: AgreementConfig = preset(name).objective.agreement
        views = np.random.default_rng(0).normal(size=(3, 200)) * np.linspace(0.1, 3, 200)
        (weights,) = agreement_weights([views], settings).token_weights
        assert (np.ptp(weights) > 0.05) == acts
