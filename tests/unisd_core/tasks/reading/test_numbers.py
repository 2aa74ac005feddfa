import contextlib
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisd_core.tasks.reading.numbers import (
    NotOneNumber,
    extract_number,
    reference_number,
    same_number,
    with_wrong_number,
    without_marks,
)

PHRASINGS: list[tuple[str, float | None]] = [
    # The asked form.
    ("6 boxes of 7.\n#### 42", 42),
    ("####42", 42),
    ("#### $1,234.50", 1234.5),
    ("#### -5", -5),
    ("#### \u22125", -5),
    ("#### 42 apples", 42),
    ("#### **42**", 42),
    ("#### 6 * 7 = 42", 42),
    ("#### 42 = 6 * 7", 42),
    ("#### 3/4", 0.75),
    ("#### 15%", 15),
    ("\uff03\uff03\uff03\uff03 \uff14\uff12", 42),
    # The last mark counts; a heading is none.
    ("#### 41\nNo, I forgot one.\n#### 42", 42),
    ("The answer is 41.\n#### 42", 42),
    ("#### 1. Count the boxes\nThere are 6.\n#### 2. Multiply\nThe answer is 42.", 42),
    ("#### Step 3\nSo there are 42 left.", 42),
    ("#### Final answer\n42", 42),
    ("#### Answer: 42 (6 boxes of 7)", 42),
    # Statements.
    ("The answer is 42.", 42),
    ("The answer is: **$42**.", 42),
    ("Answer: 42", 42),
    ("Answer\uff1a42", 42),
    ("**Answer:** 42", 42),
    ("**Answer**: 42 dollars for 7 days", 42),
    ("Answer:\n\n42", 42),
    ("### Final Answer\n\n42 pens, 7 a box", 42),
    ("The correct answer should be about 42 km, 6 times 7.", 42),
    ("The answer to the question is therefore 42, because 6 * 7 = 42 and 7 > 6.", 42),
    ("The answer, in dollars: 42 (for 6 hours)", 42),
    ("Answer: 5 + 3 = 8, as 5 comes first", 8),
    ("Answer: 5 apples + 3 apples = 8 apples, not 9", 8),
    ("Answer: 42 apples - 6 boxes of 7", 42),
    ("The answer is that Ann has 5 and Bob has 7, so 12 in total. They are 2.", 12),
    ("The answer is x = 42. Check it 2 times.", 42),
    ("First the answer is 41. No, the answer is 42, I had 1 less.", 42),
    ("The answer is not 41. It is 42", 42),
    ("The answer is 42. The 3 friends share it.", 42),
    ("The answers are 1 and 2, in total 3", 3),
    # LaTeX.
    ("So \\boxed{42} is what 6 * 7 gives.", 42),
    ("\\[ \\boxed{x = 42} \\] for 7 days", 42),
    ("$\\boxed{\\frac{3}{4}}$ of 8", 0.75),
    ("\\boxed{-\\dfrac{1}{2}} of 8", -0.5),
    ("\\boxed{1\\frac{1}{2}} of 8", 1.5),
    ("\\boxed{\\$1{,}234} in 7 days", 1234),
    ("\\boxed{42\\text{ km}} in 7 days", 42),
    ("\\boxed{41}. Sorry: \\boxed{42}, 1 more", 42),
    ("2.5 \\times 10^{3}", 2500),
    # The last number.
    ("First 6, then 7, so 42", 42),
    ("She has 3 boxes with 14 each, 42 in total.", 42),
    ("3 + 4 = 7", 7),
    ("It falls to -3 degrees", -3),
    ("10-20", 20),
    ("7 - 5", 5),
    ("It costs \u20ac1.234,50", 1234.5),
    ("1.234.567 people", 1234567),
    ("1'234 francs", 1234),
    ("1\u202f234 m", 1234),
    ("0,5 l", 0.5),
    ("0.333", 0.333),
    (".5", 0.5),
    ("$1,000,000", 1000000),
    ("1e3 m", 1000),
    ("3 million people", 3000000),
    ("1 1/2 cups", 1.5),
    ("\u0664\u0662", 42),
    ("42km", 42),
    ("3,5,7", 7),
    # Digits that are no answer.
    ("There are 42 left after the 3rd day", 42),
    ("The area is 42 m^2", 42),
    ("The area is 42 m^{2}", 42),
    ("The area is 42 m2 and x_1 is free", 42),
    ("1. Buy 42 pens.\n2. Go home.", 42),
    ("It is 42, see step 3", 42),
    ("Done in 42 minutes...", 42),
    # Nothing.
    ("", None),
    ("no idea", None),
    ("1/0", None),
    ("#### ", None),
    ("The answer is unknown.", None),
    ("9" * 5000, None),
]


def test_table_is_large_enough() -> None:
    assert len({text for text, _ in PHRASINGS}) >= 60


@pytest.mark.parametrize(("text", "number"), PHRASINGS)
def test_phrasings(text: str, number: float | None) -> None:
    found = extract_number(text)
    if number is None or found is None:
        assert found is number
    else:
        assert same_number(found, number), found


def test_tolerance_is_absolute_above_one_and_relative_below() -> None:
    assert same_number(42.00005, 42)
    assert not same_number(42.001, 42)
    assert not same_number(1_000_001, 1_000_000)
    assert same_number(0, 0)
    assert not same_number(0.00002, 0.00001)
    assert not same_number(-42, 42)


@given(st.text())
def test_any_text_is_read_without_raising(text: str) -> None:
    assert extract_number(text) is None or isinstance(extract_number(text), float)


FRAGMENTS = [
    "####",
    "Answer",
    ":",
    " is ",
    "\\boxed{",
    "}",
    "4",
    "2",
    "1,",
    "/",
    "-",
    "\n",
    ".",
    "x",
]


@given(st.lists(st.sampled_from(FRAGMENTS)), st.integers(-(10**9), 10**9))
def test_a_final_mark_decides_whatever_came_before(parts: list[str], number: int) -> None:
    assert extract_number("".join(parts) + f"\n#### {number}") == number
    assert extract_number("".join(parts) + f"\n#### {number:,}") == number


@given(st.floats(-1e9, 1e9), st.integers(0, 4))
def test_written_numbers_are_read_back(number: float, places: int) -> None:
    written = f"{number:,.{places}f}"
    found = extract_number(f"The answer is ${written}.".replace("$-", "-$"))
    assert found is not None
    assert same_number(found, float(written.replace(",", "")))


SOLUTION = "He buys 6 boxes.\nEach has 7 pens, so 6*7 = 42 pens.\nThat is all.\n#### 42"


def test_a_wrong_number_replaces_the_right_one_where_it_is_concluded_and_stated() -> None:
    found = {with_wrong_number(SOLUTION, random.Random(seed)) for seed in range(40)}
    assert found == {SOLUTION.replace("42", wrong) for wrong in ("43", "41", "44", "84")}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("#### 1,234", {"#### 1,235", "#### 1,233", "#### 1,236", "#### 2,468"}),
        ("Answer: $0.50", {"Answer: $1.50", "Answer: $2.50", "Answer: $1.00"}),
        ("#### -$3", {"#### -$2", "#### -$4", "#### -$1", "#### -$6"}),
        ("#### 0", {"#### 1", "#### 2"}),
        ("#### 3/4", {"#### 1.75", "#### 2.75", "#### 1.50"}),
    ],
)
def test_wrong_numbers_keep_sign_and_style(text: str, wrong: set[str]) -> None:
    assert {with_wrong_number(text, random.Random(seed)) for seed in range(60)} == wrong


def test_no_wrong_number_where_there_is_none() -> None:
    assert with_wrong_number("no idea", random.Random(0)) is None


@settings(deadline=None)
@given(st.sampled_from(PHRASINGS), st.text(max_size=20), st.integers())
def test_a_wrong_number_never_scores_as_right(
    phrasing: tuple[str, float | None], before: str, seed: int
) -> None:
    text = before + phrasing[0]
    wrong = with_wrong_number(text, random.Random(seed))
    if wrong is not None:
        right, found = extract_number(text), extract_number(wrong)
        assert right is not None
        assert found is not None
        assert not same_number(found, right)


def test_calculator_marks_are_taken_out() -> None:
    assert without_marks("48/2 = <<48/2=24>>24 and << left") == "48/2 = 24 and << left"


def test_long_text_is_read_in_linear_time() -> None:
    pieces = [
        "####", "#### ", "answer ", "Answer: ", "\\boxed{", "1", "1,", "1.1,", "1 ", "1/", "-",
        "<<", "= 1 ", "+1", "1 a+", "1.\n", " ", "\n", "\\frac{", "$", "(", "1^", "1x10^",
        "answer is 1+", "\\boxed{1", "\\text{a}", "1 000 ", "$5 50¢ ", "word ", "hours 3 ", "[2,",
        "½", "minus ", "x = ", "1 or ",
    ]  # fmt: skip
    started = time.process_time()
    for piece in pieces:
        for start in ("", "Answer: 1", "#### "):
            extract_number(start + piece * 5_000)
            with contextlib.suppress(NotOneNumber):
                reference_number(start + piece * 5_000)
    # About five seconds; quadratic reading takes over ten for one of them alone.
    assert time.process_time() - started < 20
