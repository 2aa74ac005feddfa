from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.unisd_core.tasks.toolalpaca.folder import FIND, QUESTION, call, row, write_folder
from unisd_core.common.errors import UserError
from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.reading.tool_calls import find_calls
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.toolalpaca import data
from unisd_core.tasks.toolalpaca.data import read_examples

KIEL = Call("findBoat", {"harbour": "Kiel", "length": 9, "kind": "sail"})
REACT = 'Action: findBoat\nAction Input: {"harbour": "Kiel", "length": 9, "kind": "sail"}'


def test_a_built_prompt_is_the_stored_one(tmp_path: Path) -> None:
    bare = {"name": "Boats", "instruction": QUESTION, "golden_answer": [FIND]}
    folder = write_folder(tmp_path, test=[row()], eval_real=[bare])
    (stored,), (built,) = read_examples(folder, "test"), read_examples(folder, "eval_real")
    assert (built.prompt, built.calls) == (stored.prompt, (KIEL,))


def test_simulated_rows_that_are_test_rows_are_left_out(tmp_path: Path) -> None:
    rows = [row(in_test_68=True), row(in_test_68=False), row(in_test_68=True)]
    folder = write_folder(tmp_path, eval_simulated=rows)
    assert [example.index for example in read_examples(folder, "eval_simulated")] == [1]


@pytest.mark.parametrize(
    ("response", "thought"),
    [
        ([f"Thought: I look in Kiel.\n{REACT}"], "I look in Kiel."),
        (["Thought: I look", "in Kiel.", REACT], "I look in Kiel."),
        (f"I look in Kiel.\n{REACT}", "I look in Kiel."),
        (REACT, ""),
    ],
)
def test_a_training_reference_is_read_from_its_response(
    tmp_path: Path, response: Any, thought: str
) -> None:
    rows = [row(golden_answer=None, golden_response=response)]
    (example,) = read_examples(write_folder(tmp_path, train=rows), "train")
    assert (example.thought, example.calls) == (thought, (KIEL,))


def test_an_empty_response_gives_way_to_the_answer(tmp_path: Path) -> None:
    rows = [row(golden_response=[""]), row(golden_response=None), row()]
    for example in read_examples(write_folder(tmp_path, train=rows), "train"):
        assert (example.thought, example.calls) == ("", (KIEL,))


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('{"a": ${a from f}}', {"a": "${a from f}"}),
        ('{"a": [${some a}], "b": 1}', {"a": ["${some a}"], "b": 1}),
        ('{"a": ${a of b}", "c": ${d}"}', {"a": "${a of b}", "c": "${d}"}),
        ('{"a": ${a from f, "b": ${b from f}}', {"a": "${a from f}", "b": "${b from f}"}),
        ('{"a": "costs: ${x}"}', {"a": "costs: ${x}"}),
    ],
)
def test_open_values_are_read_as_text(tmp_path: Path, text: str, arguments: dict[str, Any]) -> None:
    folder = write_folder(tmp_path, test=[row(call("findBoat", text))])
    assert read_examples(folder, "test")[0].calls == (Call("findBoat", arguments),)


def test_unreadable_training_references_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = row(golden_response=["Thought: there is no tool for this"])
    folder = write_folder(tmp_path, train=[row(), bad, row(), row(call("findBoat", "{"))])
    with caplog.at_level(logging.WARNING):
        examples = read_examples(folder, "train")
    assert [example.index for example in examples] == [0, 2]
    assert "2 of 4 rows left out" in caplog.text
    assert "train.jsonl:2" in caplog.text


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"golden_answer": [call("findBoat", "{'a': 1}")]}, r"test\.jsonl:1.*no JSON object"),
        ({"golden_answer": []}, "'golden_answer' must be a list of calls"),
        ({"golden_answer": "findBoat"}, "'golden_answer' must be a list of calls"),
        ({"golden_answer": ["findBoat"]}, "entry 0 of 'golden_answer'"),
        ({"golden_answer": [FIND, {"Action": "x"}]}, "entry 1 of 'golden_answer'"),
        ({"golden_answer": [{**FIND, "Action": " "}]}, "entry 0 of 'golden_answer'"),
        ({"golden_answer": [{**FIND, "Action_Input": {}}]}, "entry 0 of 'golden_answer'"),
        ({"golden_response": 3}, "field 'golden_response'"),
        ({"prompt": None}, "field 'prompt'"),
        ({"instruction": ""}, "field 'instruction'"),
        ({"name": 3}, "field 'name'"),
    ],
)
def test_a_malformed_row_is_named_in_one_line(
    tmp_path: Path, fields: dict[str, Any], complaint: str
) -> None:
    folder = write_folder(tmp_path, test=[row(**fields)])
    with pytest.raises(UserError, match=complaint) as error:
        read_examples(folder, "test")
    assert "test.jsonl:1" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_built_prompt_needs_is_asked_for(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path, eval_simulated=[row(in_test_68=0)], eval_real=[row(name="Cars")]
    )
    with pytest.raises(UserError, match=r"eval_simulated\.jsonl:1: field 'in_test_68'"):
        read_examples(folder, "eval_simulated")
    with pytest.raises(UserError, match=r"eval_real\.jsonl:1: tools\.jsonl has no 'Cars'"):
        read_examples(folder, "eval_real")
    template = tmp_path / "toolalpaca" / "prompt_template.txt"
    write = (tmp_path / "toolalpaca" / "eval_real.jsonl").write_text
    write('{"name": "Boats", "instruction": "?", "golden_answer": []}', encoding="utf-8")
    for text in ("{tools}", "{0}", "{", "{q.answer}"):
        template.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"prompt_template\.txt: must be a template of name"):
            read_examples(folder, "eval_real")
    template.unlink()
    with pytest.raises(UserError, match=r"prompt_template\.txt: cannot be read"):
        read_examples(folder, "eval_real")


def test_where_the_splits_come_from_is_said(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, test=[row()])
    with pytest.raises(UserError, match=r"no toolalpaca/train\.jsonl; .* on the hub only"):
        read_examples(folder, "train")
    with pytest.raises(UserError, match=r"eval_real is not on the hub; set data_dir"):
        read_examples(None, "eval_real")
    with pytest.raises(UserError, match=r"not a folder"):
        read_examples(str(tmp_path / "nowhere"), "train")
    assert load_task("toolalpaca", None, 0).test_splits == ("test",)
    assert load_task("toolalpaca", folder, 0).test_splits == ("test", "eval_simulated", "eval_real")


def test_the_hub_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path, train=[row(golden_response=[REACT])], test=[row()])

    def from_hub(source: data.HubSource, split: str) -> list[data.Record]:
        assert source.repository == "Ahren09/ToolAlpaca"
        return data.read_folder(folder, "toolalpaca", split)

    monkeypatch.setattr(data, "read_hub", from_hub)
    for split in ("train", "test"):
        hub, local = load_task("toolalpaca", None, 0), load_task("toolalpaca", folder, 0)
        assert hub.rows(split) == local.rows(split)
        assert find_calls(hub.rows(split)[0].reference).calls == (KIEL,)
