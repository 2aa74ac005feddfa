"""Wrong numbers in references with a thought, and in unusual spelling."""

import random

import pytest

from unisd_core.tasks.reading.numbers import with_wrong_number


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("<think>6 * 7 = 42</think>\n42", "<think>6 * 7 = {0}</think>\n{0}"),
        (
            "<think>It is 42.\nSure.</think>\n6*7 = 42\n#### 42",
            "<think>It is {0}.\nSure.</think>\n6*7 = {0}\n#### {0}",
        ),
        ("<think>I see.</think>\n\\boxed{42}", "<think>I see.</think>\n\\boxed{{{0}}}"),
    ],
)  # fmt: skip
def test_a_wrong_number_follows_from_the_thought_before_it(text: str, wrong: str) -> None:
    found = {with_wrong_number(text, random.Random(seed)) for seed in range(40)}
    assert found == {wrong.format(number) for number in (41, 43, 44, 84)}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (r"\boxed{\frac{3}{4}}", {r"\boxed{1.75}", r"\boxed{2.75}", r"\boxed{1.50}"}),
        ("#### ½", {"#### 1.50", "#### 2.50", "#### 1"}),
        ("#### 1 000", {"#### 1001", "#### 999", "#### 1002", "#### 2000"}),
        ("#### $5k", {"#### $5001", "#### $4999", "#### $5002", "#### $10000"}),
    ],
)
def test_a_wrong_number_replaces_any_spelling(text: str, wrong: set[str]) -> None:
    assert {with_wrong_number(text, random.Random(seed)) for seed in range(60)} == wrong
