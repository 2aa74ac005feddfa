"""Parts of an evaluation, and input it refuses before an engine starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.command.cli import run_main
from pipelines.evaluate import main, options_of, parser
from pipelines.evaluation.plan import EvaluationPlan
from pipelines.evaluation.results import Scoreboard
from tests.support.tiny import make_tiny_model
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config, LoraConfig
from unisd_core.evaluation.held_out import HeldOutSet
from unisd_core.evaluation.outcomes import Outcomes, score_outcomes
from unisd_core.models.completion_cache import CompletionText
from unisd_core.models.load import load_base
from unisd_core.models.lora import adapter_state, add_lora, save_adapter


@pytest.fixture
def make(tiny_model: Path, tmp_path: Path) -> Any:
    """A plan for the tiny model from a command line."""

    def plan(*arguments: str) -> EvaluationPlan:
        args = parser().parse_intermixed_args(
            [*arguments, f"model.name_or_path={tiny_model}", "evaluation.rows=6"]
        )
        if args.out is None:
            args.out = str(tmp_path / "out")
        return EvaluationPlan.make(Config.from_preset(None, args.overrides), options_of(args))

    return plan


def right_on(plan: EvaluationPlan, rows: int) -> tuple[HeldOutSet, Outcomes]:
    """The first test set, with right answers to its first ``rows`` rows."""
    task, test_set = plan.test_sets()[0]
    answers = [
        CompletionText(row.reference if number < rows else "I do not know.", True)
        for number, row in enumerate(test_set.rows)
    ]
    return test_set, score_outcomes(task, test_set.rows, [answers])


def test_splits_are_those_that_are_named(make: Any) -> None:
    named = make("--tasks", "minitools:unseen, minitools")
    found = [(task.name, split) for task, split in named.sets]
    assert found == [("minitools", "unseen"), ("minitools", "seen"), ("minitools", "unseen")]


def test_several_samples_have_seeds_of_their_own_and_one_is_greedy(make: Any) -> None:
    one, several = make(), make("--samples", "2")
    assert (one.temperature, one.pass_at) == (0.0, ())
    assert (several.temperature, several.pass_at) == (0.7, (2,))
    task, test_set = several.test_sets()[0]
    first, second = (several.sampling(task, test_set, number) for number in range(2))
    seeds = [sampling.seed for sampling in [*first, *second]]
    assert None not in seeds
    assert len(set(seeds)) == len(seeds)
    assert first == make("--samples", "2").sampling(task, test_set, 0)


def test_files_and_the_comparison_with_an_earlier_evaluation(make: Any, tmp_path: Path) -> None:
    before = Scoreboard(make("--out", str(tmp_path / "before")))
    before.add(*right_on(before.plan, 2))
    before.finish({})
    after = Scoreboard(make("--baseline", str(tmp_path / "before"), "--samples", "1"))
    after.add(*right_on(after.plan, 5))
    after.finish({})
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    score = results["test_sets"]["minitools_seen"]
    assert score["accuracy"]["value"] == pytest.approx(5 / 6)
    assert score["difference"]["value"] == pytest.approx(3 / 6)
    assert "+50.0" in (tmp_path / "out" / "report.txt").read_text()


def test_weights_differ_by_the_scale_of_an_adapter(
    make: Any, tiny_model: Path, tmp_path: Path
) -> None:
    lora = LoraConfig(r=4, target_modules=("q_proj",))
    state = adapter_state(add_lora(load_base(tiny_model), lora, 0))
    digests = set()
    for alpha in (8.0, 16.0):
        folder = tmp_path / f"adapter-{alpha}"
        scaled = lora.model_copy(update={"lora_alpha": alpha})
        save_adapter(state, scaled, tiny_model, folder)
        digests.add(make("--weights", str(folder)).weights)
    assert len(digests - {make().weights}) == 2


def test_an_adapter_of_another_model_is_used_where_it_is_wanted(
    make: Any, tiny_model: Path, tmp_path: Path
) -> None:
    lora = LoraConfig(r=4, target_modules=("q_proj",))
    state = adapter_state(add_lora(load_base(tiny_model), lora, 0))
    base = make_tiny_model(tmp_path / "base", num_hidden_layers=1)
    save_adapter(state, lora, base, tmp_path / "adapter")
    with pytest.raises(UserError, match=r"base_model_name_or_path.* --any-base"):
        make("--weights", str(tmp_path / "adapter"))
    assert make("--weights", str(tmp_path / "adapter"), "--any-base").trained is not None


def test_a_folder_belongs_to_one_model_and_decoding(make: Any) -> None:
    board = Scoreboard(make())
    board.add(*right_on(board.plan, 1))
    board.finish({})
    Scoreboard(make())
    with pytest.raises(UserError, match="choose another --out"):
        Scoreboard(make("--samples", "2"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "nothing"], "unknown name 'nothing'"),
        (["--tasks", "minitools:train"], "no such test split; it has seen, unseen"),
        (["--samples", "0"], "--samples 0"),
        (["--samples", "2", "--temperature", "0"], "--temperature 0"),
        (["--pass-at", "x"], "--pass-at x"),
        (["--samples", "2", "--pass-at", "3"], "--pass-at 3"),
        (["--baseline", "nowhere"], "--baseline nowhere"),
        (["--weights", "nowhere"], "nowhere: neither a run folder"),
    ],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], tiny_model: Path, arguments: list[str], message: str
) -> None:
    assert run_main(main, parser(), [*arguments, f"model.name_or_path={tiny_model}"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
