"""What a run reads, compared with what it read before it was interrupted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from actors.checkpoints import folder as checkpoints
from pipelines.training.inputs import FILE, Inputs, check_inputs, check_prompts
from pipelines.training.resume import recover
from pipelines.training.run import TrainingRun
from tests.support.checkpoints import make
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.views.builder import ViewBuilder
from unisd_core.views.retrieval import Retrieval

ROWS = [{"prompt": f"Say {n}.", "reference": f"{n}", "uid": f"r{n}"} for n in range(9)]
TESTS = [{"prompt": f"Say {n}!", "reference": f"{n}", "uid": f"t{n}"} for n in range(3)]


class Place:
    """A model, rows and a run of them; ``begin`` prepares it as the command does."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, folder / "model"
        shutil.copytree(model, self.model)
        self.write("train", ROWS)
        self.write("test", TESTS)

    def write(self, name: str, rows: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / f"{name}.jsonl").write_text(lines)

    def config(self, **settings: Any) -> Config:
        files = {name: str(self.folder / f"{name}.jsonl") for name in ("train", "test")}
        return Config.model_validate(
            {
                "task": "custom",
                "custom": files,
                "model": {"name_or_path": str(self.model), "max_view_length": 1000},
                "output_dir": str(self.folder / "runs"),
                **settings,
            }
        )

    def begin(self, **settings: Any) -> Path:
        return TrainingRun.prepare(self.config(**settings), resume=False, began=0.0).path

    def save(self, step: int = 2) -> None:
        checkpoints.save(self.folder / "runs" / "unisd" / "checkpoints", make(step), keep=2)

    def edit(self, name: str) -> None:
        """Change a file of the model by a space that means nothing to its reader."""
        path = self.model / name
        path.write_text(path.read_text() + " ")


@pytest.fixture
def place(tmp_path: Path, tiny_model: Path) -> Place:
    made = Place(tmp_path, tiny_model)
    made.begin()
    made.save()
    return made


def test_the_same_rows_and_model_go_on(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.begin()
    assert capsys.readouterr().out == "goes on from the checkpoint of step 2\n"


def changed(number: int, **fields: Any) -> list[dict[str, Any]]:
    return [*ROWS[:number], {**ROWS[number], **fields}, *ROWS[number + 1 :]]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (changed(4, reference="5"), r"row 5 \(.*train\.jsonl:5\) has another reference and answer"),
        (changed(4, prompt="Say: 4."), r"row 5 \(.*train\.jsonl:5\) has another prompt"),
        (ROWS[:-1], "1 row was removed at the end, after row 8"),
        (ROWS[1:], r"a row before row 1 \(.*train\.jsonl:1\) was removed"),
        (
            [*ROWS, {"prompt": "?", "reference": "!", "uid": "n"}],
            r"row 10 \(.*train\.jsonl:10\) was added",
        ),
    ],
)
def test_a_run_does_not_go_on_when_its_rows_were_edited(
    place: Place, rows: list[dict[str, Any]], said: str
) -> None:
    place.write("train", rows)
    with pytest.raises(UserError, match=f"step 2: the training set of task custom.*{said}; rest"):
        place.begin()
    # Nor the next time.
    with pytest.raises(UserError, match=said):
        place.begin()
    place.write("train", ROWS)
    place.begin()


def test_test_rows_and_validation_rows_are_compared_too(tmp_path: Path, tiny_model: Path) -> None:
    place = Place(tmp_path, tiny_model)
    validating = {"evaluation": {"eval_steps": 10, "validation_rows": 8}}
    place.begin(**validating)
    place.save()
    place.write("test", [*TESTS[:2], {**TESTS[2], "reference": "3"}])
    with pytest.raises(UserError, match=r"the test set 'test' of task custom .*row 3 "):
        place.begin(**validating)
    place.write("test", TESTS)
    before = Inputs.load(tmp_path / "runs" / "unisd" / FILE)
    assert {name: len(digests.parts_NP) for name, digests in before.rows.items()} == {
        "training set": 1, "validation set": 8, "test set 'test'": 3
    }  # fmt: skip
    for number in range(9):
        place.write("train", changed(number, hint="Count."))
        with pytest.raises(
            UserError, match=rf"the (training|validation) set.*train\.jsonl:{number + 1}\)"
        ):
            place.begin(**validating)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("chat_template.jinja", "chat template"),
        ("tokenizer.json", "tokenizer"),
        ("tokenizer_config.json", "tokenizer"),
        ("config.json", "model configuration"),
        ("generation_config.json", "model configuration"),
    ],
)
def test_a_run_does_not_go_on_with_another_model_of_the_same_name(
    place: Place, name: str, part: str
) -> None:
    place.edit(name)
    with pytest.raises(UserError, match=f"model has another {part} than before; restore"):
        place.begin()


def test_other_weights_in_the_same_folder_are_noticed(place: Place) -> None:
    path = place.model / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="model has another set of weights than before"):
        place.begin()


@pytest.mark.parametrize("steps", [[], [0]])
def test_rows_may_change_while_nothing_was_trained(
    tmp_path: Path, tiny_model: Path, steps: list[int]
) -> None:
    place = Place(tmp_path, tiny_model)
    place.begin()
    for step in steps:
        place.save(step)
    place.write("train", ROWS[1:])
    place.begin()
    place.save()
    place.begin()


def test_a_new_machine_compares_with_what_the_mirror_kept(tmp_path: Path, tiny_model: Path) -> None:
    place = Place(tmp_path, tiny_model)
    mirrored = {"training": {"checkpoint_mirror": (tmp_path / "mirror").as_uri()}}
    run = place.begin(**mirrored)
    place.save()
    shutil.copytree(run / "checkpoints", tmp_path / "mirror" / "unisd", dirs_exist_ok=True)
    shutil.rmtree(run)
    place.write("train", changed(3, reference="33"))
    with pytest.raises(UserError, match=r"row 4 \(.*train\.jsonl:4\) has another reference"):
        place.begin(**mirrored)
    place.write("train", ROWS)
    assert place.begin(**mirrored) == run


def test_a_run_of_a_version_that_kept_no_digests_goes_on_with_as_many_rows(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    record = place.folder / "runs" / "unisd" / FILE
    record.unlink()
    place.write("train", ROWS[1:])
    with pytest.raises(UserError, match="it was trained on 9 rows, now there are 8; restore"):
        place.begin()
    place.write("train", ROWS)
    place.begin()
    assert "are not on record; they are from now on" in capsys.readouterr().out
    assert record.exists()


def test_digests_that_cannot_be_read_are_one_line(place: Place) -> None:
    record = place.folder / "runs" / "unisd" / FILE
    record.write_bytes(record.read_bytes()[:40])
    with pytest.raises(UserError, match=r"inputs\.safetensors: cannot be read .*start a new run"):
        place.begin()


def test_recovering_says_the_step(place: Place) -> None:
    run = TrainingRun.prepare(place.config(), resume=False, began=0.0)
    assert recover(run.config, run.folder) == 2
    check_inputs(run.setup, run.folder, 2)


def test_other_token_ids_of_the_same_rows_are_noticed(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin() -> None:
        run = TrainingRun.prepare(place.config(), resume=False, began=0.0)
        check_prompts(run.setup, run.folder, run.setup.training_prompts(), run.step)

    begin()
    begin()
    assert "not those" not in capsys.readouterr().out
    with monkeypatch.context() as patched:
        patched.setattr(
            Retrieval, "examples", lambda self, rows, count: [["x"] * count] * len(rows)
        )
        begin()
        assert "contexts or wrong references are not those" in capsys.readouterr().out
    with monkeypatch.context() as patched:
        patched.setattr(ViewBuilder, "teacher", lambda self, row: [1, 2, 3])
        with pytest.raises(UserError, match="step 2: the rows, template .* give other prompts"):
            begin()
