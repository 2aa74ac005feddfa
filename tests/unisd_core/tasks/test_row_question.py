"""Rows that ask the same: one pair for each kind of task, and what is made of it."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest

from tests.unisd_core.tasks.code.samples import FULL, HUMANEVAL, SANITIZED
from tests.unisd_core.tasks.custom.rows import task_of, write_rows
from tests.unisd_core.tasks.toolalpaca.folder import DOCUMENTATION, TEMPLATE, call, write_folder
from unisd_core.config.method import ViewsConfig
from unisd_core.tasks.base import Task
from unisd_core.tasks.multiple_choice.listing import split_options, unordered
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row, question_key
from unisd_core.tasks.splits import asked_in_training, set_aside
from unisd_core.views.contexts import build_contexts

NOUNS = ["planet", "river", "metal", "bird", "poet", "town", "fruit", "tree"]
FILES = {
    "cos_e": "train", "scienceqa": "train", "medmcqa": "train", "arc_easy": "train",
    "arc_challenge": "train", "gsm8k": "train", "mbpp": "full_train", "humaneval": "test",
}  # fmt: skip
"""Tasks that read one file of rows, and its name."""


def record(name: str, number: int, noun: str, twin: bool = False) -> dict[str, Any]:
    """A row about ``noun``; its ``twin`` asks the same in another form."""

    def said(text: str) -> str:
        return f" {text.upper()}\u00a0 " if twin else text

    if name == "gsm8k":
        return {
            "question": said(f"How many {noun}s are 6 * {number}?"),
            "answer": f"#### {6 * number}",
        }
    if name == "mbpp":
        return {**FULL, "task_id": number, "text": said(f"Write a function for the {noun}.")}
    if name == "humaneval":
        # Case and spacing are part of a program, so that only the uid differs.
        stub = HUMANEVAL["prompt"].replace("Every number", f"Every {noun}")
        return {**HUMANEVAL, "task_id": f"HumanEval/{number}", "prompt": stub}
    options = ["Mars", "Nile", "iron", "finch", f"the {noun}"]
    order = options[::-1] if twin else options
    return {
        "id": str(number), "question": said(f"Which {noun} is caf\u00e9?"), "choices": order,
        "answer_index": order.index("iron"), "rationale": "Because.", "hint": None, "subject": "x",
    }  # fmt: skip


def rows_with_twin(name: str, root: Path) -> tuple[Task, list[Row]]:
    """Eight rows of a task, and a ninth that asks what the first does."""
    if name == "toolalpaca":
        golden = [call("listHarbours", {})]
        fields = {"name": "Boats", "golden_answer": golden}
        records = [
            {
                **fields,
                "instruction": question,
                "prompt": TEMPLATE.format(name="B", description="b", nl=DOCUMENTATION, q=question),
            }
            for question in [*(f"Which {noun}?" for noun in NOUNS), "WHICH  planet?"]
        ]
        task = load_task(name, write_folder(root, test=records), 0)
        return task, task.rows("test")
    if name == "minitools":
        task = load_task(name, None, 0)
        rows = task.rows("train")[:8]
        tools, request = rows[0].prompt.rpartition("\n")[::2]
        turned = "\n".join([*reversed(tools.splitlines()), request])
        return task, [*rows, dataclasses.replace(rows[0], uid="twin", prompt=turned)]
    folder = root / name
    folder.mkdir()
    records = [record(name, n, noun) for n, noun in enumerate(NOUNS)]
    records.append(record(name, len(NOUNS), NOUNS[0], twin=True))
    if name == "gsm8k":
        records[-1]["question"] = records[0]["question"].upper()
    write_rows(folder / f"{FILES[name]}.jsonl", *records)
    task = load_task(name, str(root), 0)
    return task, task.rows("train" if task.trains else "test")


@pytest.mark.parametrize("name", [*FILES, "toolalpaca", "minitools"])
def test_a_question_that_occurs_twice_is_one_question(name: str, tmp_path: Path) -> None:
    task, rows = rows_with_twin(name, tmp_path)
    first, twin = rows[0], rows[-1]
    assert first.uid != twin.uid
    keys = [question_key(row) for row in rows]
    assert keys[0] == keys[-1]
    assert len(set(keys)) == 8
    for kind in ("random", "retrieval"):
        views = ViewsConfig.model_validate({"auxiliary": kind, "num_auxiliary": 2})
        found = build_contexts(rows, Shown(task), views, 0)
        assert all("[uid:" + twin.uid not in text for text in found.texts[0])
        assert all("[uid:" + first.uid not in text for text in found.texts[-1])
    for count in range(1, 8):
        train, aside = set_aside(rows, count, "")
        assert len(train) + len(aside) == 9
        assert not {question_key(row) for row in train} & {question_key(row) for row in aside}


class Shown(Task):
    """A task whose examples name their row, and whose answers are no secret."""

    def __init__(self, task: Task) -> None:
        self.name = task.name

    def rows(self, split: str) -> list[Row]:
        raise NotImplementedError

    def secret(self, row: Row) -> str:
        return ""

    def demonstration(self, row: Row) -> str:
        return f"[uid:{row.uid}"

    def score(self, row: Row, completion: str) -> Any:
        raise NotImplementedError


def test_mbpp_asks_the_same_in_both_forms_of_its_rows(tmp_path: Path) -> None:
    (tmp_path / "mbpp").mkdir()
    write_rows(tmp_path / "mbpp" / "full_train.jsonl", {**FULL, "text": SANITIZED["prompt"]})
    write_rows(tmp_path / "mbpp" / "sanitized_test.jsonl", SANITIZED)
    task = load_task("mbpp", str(tmp_path), 0)
    (train,), (test,) = task.rows("train"), task.rows("test")
    assert question_key(train) == question_key(test)


LISTED = [
    "Which is a fruit?\nA. brick\nB. red plum\nC. saw\nAnswer with the letter.",
    "Which is a fruit?\nA. saw\nB. brick\nC. red plum\nAnswer with the letter.",
    "Which is a  FRUIT?\n(A) red plum\n(B) saw\n(C) brick\nAnswer with the letter.",
]


@pytest.mark.parametrize("choices", [False, True])
def test_custom_rows_ask_the_same_with_their_options_in_another_order(
    tmp_path: Path, choices: bool
) -> None:
    order = [
        ["brick", "red plum", "saw"],
        ["saw", "brick", "red plum"],
        ["red plum", "saw", "brick"],
    ]
    records = [
        {
            "prompt": prompt,
            "reference": f"Answer: {'ABC'[options.index('red plum')]}",
            **({"choices": options} if choices else {}),
        }
        for prompt, options in zip(LISTED, order, strict=True)
    ]
    other = {**records[0], "prompt": LISTED[0].replace("fruit", "tool")}
    _, rows = task_of(tmp_path, "choice", *records, other)
    assert len({question_key(row) for row in rows}) == 2
    assert len({question_key(row) for row in rows[:3]}) == 1
    held = Task.from_rows(
        [Row(r["prompt"], r["reference"], choices=r.get("choices", ())) for r in records], "choice"
    ).rows("train")
    assert len({question_key(row) for row in held}) == 1


def test_the_order_of_a_list_counts_where_no_letter_is_asked_for(tmp_path: Path) -> None:
    records = [{"prompt": prompt, "reference": "x"} for prompt in LISTED[:2]]
    _, rows = task_of(tmp_path, "exact_match", *records)
    assert len({question_key(row) for row in rows}) == 2
    again = {"prompt": LISTED[0].upper(), "reference": "y"}
    _, rows = task_of(tmp_path, "exact_match", records[0], again)
    assert len({question_key(row) for row in rows}) == 1


def test_a_question_of_ones_own_is_kept() -> None:
    rows = [Row(f"Version {n}", str(n), question="One thing?") for n in range(3)]
    held = Task.from_rows(rows).rows("train")
    assert [row.question for row in held] == ["One thing?"] * 3
    assert Row("Why?", "x").question == "Why?"
    assert dataclasses.replace(rows[0], reference="y").question == "One thing?"


@pytest.mark.parametrize(
    ("prompt", "rest", "options"),
    [
        ("Q?\nA. x\nB. y", "Q?\n", ["x", "y"]),
        ("Q?\nA) x, B) y; (C) z\nGo.", "Q?\n\nGo.", ["x", "y", "z"]),
        ("Vitamin A. Which?\nA: x\nB: y\nC: z", "Vitamin A. Which?\n", ["x", "y", "z"]),
        ("Q?\nA. x\nmore\nB. y", "Q?\n", ["x\nmore", "y"]),
        ("Plan A. Go.", "Plan A. Go.", []),
        ("", "", []),
    ],
)
def test_options_are_read_from_the_prompt(prompt: str, rest: str, options: list[str]) -> None:
    assert split_options(prompt) == (rest, options)


def test_known_choices_are_taken_out_of_any_line() -> None:
    one = unordered("Pick: A) a b B) a C) c now.", ["a b", "a", "c"])
    two = unordered("Pick: A) c B) a b C) a now.", ["c", "a b", "a"])
    assert " ".join(one.split()) == " ".join(two.split())
    assert one != unordered("Take: A) a b B) a C) c now.", ["a b", "a", "c"])


def questions(*sizes: int) -> list[Row]:
    return [
        Row(f"question {n}", f"{n}, {copy}") for n, size in enumerate(sizes) for copy in range(size)
    ]


def test_a_question_with_more_rows_than_there_is_room_for_is_passed_over() -> None:
    rows = questions(1, 2, 3, 9)
    for count in range(1, 9):
        train, aside = set_aside(rows, count, "")
        assert 0 < len(aside) <= count
        assert sum(row.prompt == "question 3" for row in train) == 9
    random.Random(0).shuffle(shuffled := list(rows))
    assert {r.uid for r in set_aside(shuffled, 5, "")[1]} == {
        r.uid for r in set_aside(rows, 5, "")[1]
    }


def test_as_many_rows_as_asked_for_are_set_aside_where_each_question_occurs_once() -> None:
    rows = questions(*[1] * 20)
    assert [len(set_aside(rows, count, "")[1]) for count in range(20)] == list(range(20))


def test_rows_whose_question_is_trained_on_are_counted() -> None:
    train, test = questions(1, 1), [Row("QUESTION  1", "x"), Row("question 7", "y")]
    assert asked_in_training(test, train) == 1
    assert asked_in_training(test, []) == 0
