import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisd_core.common.errors import UserError
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

PLANET = {
    "id": "p1",
    "question": "Which planet is largest?",
    "choices": ["Mars", "Jupiter", "Venus", "Earth"],
    "answer_index": 1,
    "rationale": "Planets differ in size.\nJupiter is larger than Mars.",
    "lecture_chars": 24,
    "hint": "never shown",
    "subject": "astronomy",
}


def rows_of(tmp_path: Path, name: str, *records: dict[str, Any], seed: int = 0) -> list[Row]:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "train.jsonl").write_text(text, encoding="utf-8")
    return load_task(name, str(tmp_path), seed).rows("train")


def planet(**changes: Any) -> dict[str, Any]:
    return {**PLANET, **changes}


def test_prompt_and_gold_show_lecture_options_and_form(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "scienceqa", PLANET)
    options = dict(line.split(". ", 1) for line in row.prompt.splitlines() if line[1:3] == ". ")
    assert sorted(options.values()) == sorted(PLANET["choices"])
    assert list(options) == ["A", "B", "C", "D"]
    assert "Context: Planets differ in size.\n" in row.prompt
    assert row.prompt.endswith("\nReasoning: <explanation>\nAnswer: <A/B/C/D>")
    assert "never shown" not in row.prompt
    assert "larger than Mars" not in row.prompt
    letter = next(x for x, text in options.items() if text == "Jupiter")
    assert row.reference == f"Reasoning: Jupiter is larger than Mars.\nAnswer: {letter}"
    assert (row.uid, row.category) == ("scienceqa/train/p1", "astronomy")
    assert "Which planet is largest?" in row.retrieval_text
    assert "Venus" in row.retrieval_text


def test_without_rationale_only_the_letter_is_asked_and_given(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "arc_easy", planet(rationale=None, lecture_chars=None))
    assert row.reference == f"Answer: {row.details['letter']}"
    assert "Reasoning" not in row.prompt
    assert row.hint == ""


def test_option_order_depends_on_seed_and_row_only(tmp_path: Path) -> None:
    records = [planet(id=f"p{i}") for i in range(60)]
    first = rows_of(tmp_path, "cos_e", *records)
    assert first == rows_of(tmp_path, "cos_e", *records)
    assert {row.details["letter"] for row in first} == set("ABCD")
    # A row keeps its order when others are added before it.
    assert rows_of(tmp_path, "cos_e", *records[30:]) == first[30:]
    other = rows_of(tmp_path, "cos_e", *records, seed=1)
    assert [r.uid for r in other] == [r.uid for r in first]
    assert [r.prompt for r in other] != [r.prompt for r in first]


def test_score_follows_the_shuffled_letter(tmp_path: Path) -> None:
    task = load_task("cos_e", str(tmp_path), 0)
    for row in rows_of(tmp_path, "cos_e", *[planet(id=str(i)) for i in range(8)]):
        for letter in "ABCD":
            score = task.score(row, f"Reasoning: so.\nAnswer: {letter}")
            assert score.correct == (row.details["options"]["ABCD".index(letter)] == "Jupiter")
            assert score.extracted
        assert not task.score(row, "no idea").extracted
        assert not task.score(row, "Answer: E").correct


def test_texts_of_the_options_tell_the_letter_from_the_article(tmp_path: Path) -> None:
    options = ["planet", "lens", "moon", "sun"]
    rows = rows_of(tmp_path, "cos_e", *[planet(id=str(i), choices=options) for i in range(8)])
    task = load_task("cos_e", str(tmp_path), 0)
    for row in rows:
        first, second = row.details["options"][:2]
        assert task.score(row, f"Answer: A {first}").correct == (row.details["letter"] == "A")
        assert task.score(row, f"Answer: A {first}").extracted
        assert not task.score(row, f"Answer: A {second}").extracted
        assert not task.score(row, f"<think>Answer: {row.details['letter']}").extracted


def test_an_option_listed_twice_is_right_under_both_letters(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "cos_e", planet(choices=["Mars", "Jupiter", "Jupiter ", "Earth"]))
    task = load_task("cos_e", str(tmp_path), 0)
    right = [x for x in "ABCD" if task.score(row, f"Answer: {x}").correct]
    assert len(right) == 2
    for seed in range(20):
        wrong = task.wrong_reference(row, random.Random(seed))
        assert wrong is not None
        assert not task.score(row, wrong.reference).correct


def test_wrong_reference_exchanges_the_options_in_the_explanation(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "scienceqa", PLANET)
    task = load_task("scienceqa", str(tmp_path), 0)
    golds = set()
    for seed in range(30):
        wrong = task.wrong_reference(row, random.Random(seed))
        assert wrong is not None
        assert not task.score(row, wrong.reference).correct
        assert (wrong.uid, wrong.prompt, wrong.details) == (row.uid, row.prompt, row.details)
        golds.add(wrong.reference.partition("\nAnswer: ")[0])
    assert golds == {
        "Reasoning: Mars is larger than Jupiter.",
        "Reasoning: Venus is larger than Mars.",
        "Reasoning: Earth is larger than Mars.",
    }


def test_wrong_reference_names_the_wrong_option_where_the_right_one_is_not_named(
    tmp_path: Path,
) -> None:
    plain = planet(rationale="It is a gas giant.", lecture_chars=None)
    (row,) = rows_of(tmp_path, "cos_e", plain)
    task = load_task("cos_e", str(tmp_path), 0)
    wrong = task.wrong_reference(row, random.Random(0))
    assert wrong is not None
    letter = wrong.reference[-1]
    text = row.details["options"]["ABCD".index(letter)]
    assert wrong.reference == (
        f'Reasoning: Of the options, "{text}" fits the question best.\nAnswer: {letter}'
    )


def test_no_wrong_reference_where_every_option_is_right(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "cos_e", planet(choices=["Jupiter", "Jupiter"]))
    assert load_task("cos_e", str(tmp_path), 0).wrong_reference(row, random.Random(0)) is None


def test_demonstration_is_a_solved_example_without_instruction(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "scienceqa", PLANET)
    shown = load_task("scienceqa", str(tmp_path), 0).demonstration(row)
    letter = row.details["letter"]
    assert shown.startswith("Question: Which planet is largest?\nA) ")
    assert f"{letter}) Jupiter\n" in shown
    assert shown.endswith(f"\nAnswer: {letter}\nExplanation: Jupiter is larger than Mars.")


def test_a_long_explanation_keeps_its_conclusion(tmp_path: Path) -> None:
    long = " ".join(f"Sentence {i} says some more about planets." for i in range(40))
    records = [
        planet(id="a", rationale=f"{long} So it is Jupiter.", lecture_chars=None),
        planet(id="b", rationale="word " * 200 + "Jupiter", lecture_chars=None),
    ]
    sentences, words = rows_of(tmp_path, "cos_e", *records)
    for row in (sentences, words):
        assert 200 < len(row.hint) <= 360
        assert row.hint.endswith("Jupiter." if row is sentences else "Jupiter")
    assert sentences.hint.startswith("Sentence")
    assert words.hint.startswith("word")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": None}, "'question' must be text"),
        ({"choices": "Mars"}, "'choices' must be a list of texts"),
        ({"choices": ["Mars"]}, "'choices' must hold 2 to 10 texts"),
        ({"choices": ["Mars", " "]}, "'choices' must hold 2 to 10 texts"),
        ({"answer_index": 4}, "'answer_index' must be an integer from 0 to 3, found 4"),
        ({"answer_index": "1"}, "'answer_index' must be an integer"),
        ({"lecture_chars": 10_000}, "'lecture_chars' must be an integer"),
        ({"rationale": 3}, "'rationale' must be text or null"),
        ({"id": "same"}, "id 'same' is already used at"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=r"train\.jsonl:2: ") as caught:
        rows_of(tmp_path, "cos_e", planet(id="same"), planet(**{"id": "other", **changes}))
    assert message in str(caught.value)


class Hub(list[dict[str, Any]]):
    """Rows as the hub's dataset object gives them."""

    @property
    def data(self) -> Any:
        nulls = [row.get("image") is None for row in self]
        flags = SimpleNamespace(is_null=lambda: SimpleNamespace(to_pylist=lambda: nulls))
        return SimpleNamespace(column=lambda name: flags)

    def remove_columns(self, names: list[str]) -> "Hub":
        return Hub({k: v for k, v in row.items() if k not in names} for row in self)


HUB_ROWS = {
    ("Salesforce/cos_e", "v1.11", "train"): {
        "id": "x", "question": "Which?", "choices": ["no", "yes", "may"], "answer": "yes",
        "abstractive_explanation": "yes it is", "extractive_explanation": "is",
    },
    ("derek-thomas/ScienceQA", None, "train"): {
        "question": "Which?", "choices": ["no", "yes"], "answer": 1, "lecture": "On words.",
        "solution": "yes it is", "hint": "", "image": None,
    },
    ("allenai/ai2_arc", "ARC-Easy", "train"): {
        "id": "x", "question": "Which?", "answerKey": "2",
        "choices": {"text": ["no", "yes"], "label": ["1", "2"]},
    },
    ("allenai/ai2_arc", "ARC-Challenge", "train"): {
        "id": "x", "question": "Which?", "answerKey": "B",
        "choices": {"text": ["no", "yes"], "label": ["A", "B"]},
    },
    ("openlifescienceai/medmcqa", None, "train"): {
        "id": "x", "question": "Which?", "opa": "no", "opb": "yes", "opc": "may", "opd": "can",
        "cop": 1, "exp": "yes it is", "subject_name": "Anatomy",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ["cos_e", "scienceqa", "medmcqa", "arc_easy", "arc_challenge"])
def test_hub_fields_are_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def load_dataset(repository: str, configuration: str | None, split: str) -> Hub:
        return Hub([HUB_ROWS[repository, configuration, split]])

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    (row,) = load_task(name, None, 0).rows("train")
    answer = row.details["options"]["ABCD".index(row.details["letter"])]
    assert answer == "yes"
    assert row.uid == f"{name}/train/{'row-0' if name == 'scienceqa' else 'x'}"
    assert ("yes it is" in row.reference) == (not name.startswith("arc"))
    assert ("Context: On words." in row.prompt) == (name == "scienceqa")


def test_rows_with_a_hidden_label_are_left_out_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = HUB_ROWS["openlifescienceai/medmcqa", None, "train"]
    rows = [row, {**row, "id": "hidden", "cop": -1}, {**row, "id": "y", "cop": 3}]
    hub = SimpleNamespace(load_dataset=lambda *names, split: Hub(rows))
    monkeypatch.setitem(sys.modules, "datasets", hub)
    found = load_task("medmcqa", None, 0).rows("validation")
    assert [row.uid for row in found] == ["medmcqa/validation/x", "medmcqa/validation/y"]
    assert found[1].details["options"]["ABCD".index(found[1].details["letter"])] == "can"
    assert found[1].category == "Anatomy"
    assert "medmcqa/validation: 1 of 3 rows left out" in caplog.text


def test_a_model_is_asked_to_argue_for_each_wrong_letter_in_turn(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "scienceqa", PLANET)
    task = load_task("scienceqa", str(tmp_path), 0)
    letters = []
    for number in range(6):
        request = task.negative_request(row, random.Random(0), number)
        assert request is not None
        wrong = request.read("**Reasoning:** It is hot.\nSo it grew.\n\nAnswer: no idea")
        assert wrong is not None
        letter = wrong.reference[-1]
        option = row.details["options"]["ABCD".index(letter)]
        assert f"sure that {letter} ({option}) is right" in request.prompt
        assert PLANET["question"] in request.prompt
        assert request.kind == f"scienceqa/mistaken-{letter}/1"
        assert wrong.reference == f"Reasoning: It is hot. So it grew.\nAnswer: {letter}"
        assert wrong.hint == "It is hot. So it grew."
        assert (wrong.uid, wrong.prompt, wrong.details) == (row.uid, row.prompt, row.details)
        letters.append(letter)
    assert letters[:3] == letters[3:]
    assert set(letters) == set("ABCD") - {row.details["letter"]}


def test_arguments_that_are_empty_or_end_at_the_right_letter_are_refused(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "scienceqa", PLANET)
    request = load_task("scienceqa", str(tmp_path), 0).negative_request(row, random.Random(0), 0)
    assert request is not None
    right = row.details["letter"]
    for text in ("", " \n", "Answer: B", f"Clearly the answer is {right}."):
        assert request.read(text) is None, text
    for text in ("<think>It is hot.", "<think>It is hot.</think>\nAnswer: B"):
        assert request.read(text) is None, text
    said = request.read(f"<think>The answer is {right}.</think>It is hot.")
    assert said is not None
    assert said.hint == "It is hot."
    long = request.read("Some words to fill it. " * 60)
    assert long is not None
    assert len(long.hint) <= 360


@settings(max_examples=60, deadline=None)
@given(text=st.text(), ending=st.sampled_from(["", "Answer: A", "The answer is (B).", "C or D"]))
def test_any_argument_is_refused_or_a_wrong_reference(
    tmp_path_factory: pytest.TempPathFactory, text: str, ending: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (row,) = rows_of(folder, "scienceqa", PLANET)
    task = load_task("scienceqa", str(folder), 0)
    request = task.negative_request(row, random.Random(0), 0)
    assert request is not None
    wrong = request.read(f"{text} {ending}")
    if wrong is not None:
        score = task.score(row, wrong.reference)
        assert score.extracted
        assert not score.correct
        assert wrong.reference.count("\n") == row.reference.count("\n")


def test_nothing_is_written_where_the_reference_is_a_letter_or_none_is_wrong(
    tmp_path: Path,
) -> None:
    plain = planet(rationale=None, lecture_chars=None)
    for name, record in (("arc_easy", plain), ("cos_e", planet(choices=["Jupiter", "Jupiter"]))):
        (row,) = rows_of(tmp_path, name, record)
        task = load_task(name, str(tmp_path), 0)
        assert task.negative_request(row, random.Random(0), 0) is None
