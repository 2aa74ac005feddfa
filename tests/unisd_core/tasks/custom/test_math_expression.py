"""The metric of expressions: equal whatever the form, in time whatever the text."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from tests.unisd_core.tasks.custom.rows import task_of
from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.custom.math_process import MathProcess, PairVerdict
from unisd_core.tasks.custom.metrics import METRICS
from unisd_core.tasks.reading.expressions import find_expression
from unisd_core.tasks.row import Row

EQUAL: list[tuple[str, str]] = [
    (r"2\sqrt{3}", r"\boxed{2\sqrt{3}}"),
    (r"2\sqrt{3}", r"\boxed{\sqrt{12}}"),
    (r"2\sqrt{3}", r"The answer is $2\sqrt{3}$."),
    (r"2\sqrt{3}", "#### 2√3"),
    (r"2\sqrt{3}", "2*sqrt(3)"),
    (r"2\sqrt{3}", "The answer is 2√3."),
    (r"2\sqrt{3}", r"So it is $2\sqrt3$ cm."),
    (r"2\sqrt{3}", r"\boxed{2\sqrt{3}\text{ cm}}"),
    (r"2\sqrt{3}", r"\boxed{3.4641016}"),
    (r"\frac{\pi}{4}", r"\boxed{\pi/4}"),
    (r"\frac{\pi}{4}", "π/4"),
    (r"\frac{\pi}{4}", "Answer: pi/4"),
    (r"\frac{\pi}{4}", r"\[\boxed{\dfrac{\pi}{4}}\]"),
    ("[2,5)", r"\boxed{[2, 5)}"),
    ("[2,5)", "#### [2,5)"),
    ("[2,5)", r"$x\in[2,5)$"),
    ("(2,5)", "The point is $(2, 5)$."),
    ("(2,5)", r"\boxed{\left(2,5\right)}"),
    ("1024", r"\boxed{2^{10}}"),
    ("1024", "2^10"),
    ("1024", "2¹⁰"),
    ("1024", "1,024"),
    ("1024", "1 024"),
    ("1024", "1024 bytes"),
    ("1024", "It has 1024 bytes."),
    ("3+4i", "4i+3"),
    ("3+4i", r"\boxed{3+4i}"),
    (r"\frac12", "0.5"),
    (r"\frac12", "½"),
    (r"\frac12", "50%"),
    (r"\frac12", "1/2"),
    (r"\frac12", r"\boxed{\frac { 1 } { 2 }}"),
    (r"\frac12", r"\boxed{\frac{2}{4}}"),
    ("x=5", "5"),
    ("x=5", r"\boxed{x = 5}"),
    ("x=5", "So x = 5."),
    ("42", "x = 42"),
    (r"\{1,2\}", r"\boxed{\{2,1\}}"),
    (r"\{1,2\}", r"\boxed{1, 2}"),
    (r"\{1,2\}", "1 or 2"),
    (r"\{1,2\}", "The answer is $1$ or $2$."),
    ("x^2+2x+1", "(x+1)^2"),
    ("x^2+2x+1", "$(x+1)(x+1)$"),
    (r"\text{Yes}", r"\boxed{\text{Yes}}"),
    (r"\text{Yes}", r"\boxed{yes}"),
    ("1234", "1,234"),
    ("1234", "$1{,}234$"),
    ("1234", r"\$1234"),
    ("-3", "-3"),
    ("-3", "−3"),
    ("x>5", "5 < x"),
    ("x>5", "$x > 5$"),
    ("42", r"<think>\boxed{41}</think>\boxed{42}"),
    ("42", r"\boxed{41} no, \boxed{42}"),
    ("42", "The answer is 41.\n#### 42"),
    ("42", "6 * 7 = 42"),
    ("42", r"$6 \cdot 7 = 42$"),
    ("42", r"\boxed{42"),
    ("42", "It is 42 pens."),
    ("42", "**42**"),
    ("42", "Answer:\n42"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{pmatrix}1\\2\end{pmatrix}}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{bmatrix}1\\2\end{bmatrix}}"),
    ("2,3", r"\boxed{3,2}"),
    ("2,3", r"\boxed{2\text{ and }3}"),
    ("2,3", "x = 2 or x = 3"),
    ("42", r"[THINK]41[/THINK]\boxed{42}"),
    ("42", "#### 42 pens"),
    ("1234", "$1,234"),
    ("1234", "1234.0"),
    (r"\frac12", r"\boxed{0.50}"),
    ("[2,5)", r"\boxed{\left[2,5\right)}"),
    (r"2\sqrt{3}", r"\(2\sqrt{3}\)"),
    (r"2\sqrt{3}", r"\boxed{x = 2\sqrt{3}}"),
    (r"\frac{\pi}{4}", r"Therefore the area is $\frac{\pi}{4}$ and we are done."),
    ("x^2+2x+1", "f(x) = (x+1)^2"),
]
DIFFERENT: list[tuple[str, str]] = [
    (r"2\sqrt{3}", r"\boxed{2}"),
    (r"2\sqrt{3}", r"\boxed{3\sqrt{2}}"),
    (r"\frac{\pi}{4}", "4"),
    ("[2,5)", "(2,5)"),
    ("[2,5)", "2.5"),
    ("(2,5)", r"\boxed{(5,2)}"),
    ("3+4i", "4"),
    ("3+4i", "3-4i"),
    ("x=5", r"\boxed{y = 5}"),
    ("x^2+2x+1", "x^2+2x+2"),
    (r"\text{Yes}", r"\boxed{no}"),
    ("1234", "1.234"),
    ("-3", "3"),
    ("x>5", "x < 5"),
    ("42", r"<think>\boxed{42}</think>41"),
    ("42", r"<think>\boxed{42}"),
    ("42", ""),
    ("42", r"\boxed{}"),
    ("42", "no idea"),
    ("42", r"\boxed{42_8}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"$$\begin{pmatrix}2\\1\end{pmatrix}$$"),
    ("2,3", r"\boxed{2}"),
    ("2,3", "2.3"),
    ("5", "5 \\pmod{7}"),
    ("7", r"\boxed{7\pmod{5}}"),
    ("1011", "\\boxed{1011_2}"),
]


def scored(pairs: list[tuple[str, str]]) -> list[tuple[str, str, bool]]:
    metric = METRICS["math"]()
    found = [find_expression(reference) for reference, _ in pairs]
    assert None not in found
    details = [{"latex": one.latex} for one in found if one]
    scores = metric.score_many(details, [text for _, text in pairs])
    assert all(score.extracted or not score.correct for score in scores)
    return [(*pair, score.correct) for pair, score in zip(pairs, scores, strict=True)]


def test_table_is_large_enough() -> None:
    assert len(set(EQUAL + DIFFERENT)) >= 80


def test_equal_expressions_are_right_in_any_form() -> None:
    assert [(a, b) for a, b, correct in scored(EQUAL) if not correct] == []


def test_other_expressions_are_wrong() -> None:
    assert [(a, b) for a, b, correct in scored(DIFFERENT) if correct] == []


def test_rows_are_checked_when_they_are_read(tmp_path: Path) -> None:
    task, (root, interval) = task_of(
        tmp_path,
        "math",
        {"prompt": "1", "reference": r"So it is $\boxed{2\sqrt{3}}$."},
        {"prompt": "2", "reference": "<think>Is it (2,5]?</think>[2,5)", "answer": "[2,5)"},
    )
    assert task.score(root, r"\sqrt{12}").correct
    assert task.score(interval, "[2, 5)").correct
    assert not task.parseable(root, "I have no idea")
    assert task.parseable(root, r"\boxed{\pi}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"reference": r"\boxed{1011_2}"}, "math-verify can compare"),
        ({"reference": r"\boxed{\frac{1}{}"}, "math-verify can compare"),
        ({"reference": "I do not know what to say."}, "no expression can be read"),
        ({"reference": "<think>4"}, "no expression can be read"),
        ({"reference": r"\boxed{4}", "answer": "5"}, "does not score the reference as right"),
    ],
)
def test_a_row_that_cannot_be_compared_is_named(
    tmp_path: Path, row: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=r"train\.jsonl:2: ") as caught:
        task_of(tmp_path, "math", {"prompt": "1", "reference": "4"}, {"prompt": "x", **row})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "reference",
    [
        r"So it is $\boxed{2\sqrt{3}}$.",
        "<think>So [2,5).</think>[2,5)",
        "The answer is 3+4i.",
        r"\boxed{\pi}",
        "6 * 7 = 42\n#### 42",
    ],
)
def test_a_wrong_reference_is_another_expression_in_the_same_place(reference: str) -> None:
    task = Task.from_rows([Row("What?", reference)], "math")
    (row,) = task.rows("train")
    for seed in range(4):
        wrong = task.wrong_reference(row, random.Random(seed))
        assert wrong is not None
        score = task.score(row, wrong.reference)
        assert score.extracted and not score.correct
        assert wrong.reference.count("\n") == reference.count("\n")
        assert wrong.reference[:7] == reference[:7] or len(reference) < 12


def test_the_thought_before_a_wrong_expression_concludes_it() -> None:
    task = Task.from_rows([Row("What?", "<think>So [2,5).</think>[2,5)")], "math")
    wrong = task.wrong_reference(task.rows("train")[0], random.Random(0))
    assert wrong is not None
    answer = wrong.reference.rpartition(">")[2]
    assert wrong.reference == f"<think>So {answer}.</think>{answer}"


def test_what_takes_too_long_is_not_equal_and_the_next_pair_is_compared() -> None:
    process = MathProcess(cpu_s=0.5)
    started = time.monotonic()
    # Warm, or the first comparison would take most of the time.
    process.compare([("1", "1")])
    found = process.compare([("1", "9^{9^{9^{9}}}"), (r"\sqrt{4}", "2"), ("1", "10^{10^{10}}!")])
    process.close()
    lost = PairVerdict(False, False)
    assert (found[0], found[2]) == (lost, lost)
    assert found[1].equal
    assert time.monotonic() - started < 60


def test_threads_share_one_process() -> None:
    process = MathProcess()
    found: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda n=n: found.append(
                process.compare([(f"{n}", f"{n}"), ("1", "2")])[0].equal
            )
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.close()
    assert found == [True] * 4
