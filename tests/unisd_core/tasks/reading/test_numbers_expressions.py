"""Answers whose digits are no number of their own, and numbers in unusual spelling."""

import pytest

from unisd_core.tasks.reading.numbers import (
    NotOneNumber,
    extract_number,
    reference_number,
    same_number,
)

SPELLINGS: list[tuple[str, float]] = [
    # LaTeX fractions.
    (r"\boxed{\frac12}", 0.5),
    (r"\boxed{\frac 1 2}", 0.5),
    (r"\boxed{\frac1{2}}", 0.5),
    (r"\boxed{\frac{1}2}", 0.5),
    (r"\boxed{ \frac { 3 } { 4 } }", 0.75),
    (r"\boxed{\dfrac{3}{4}}", 0.75),
    (r"\boxed{\tfrac34}", 0.75),
    (r"\boxed{-\frac{1}{2}}", -0.5),
    (r"\boxed{\frac{-1}{2}}", -0.5),
    (r"\boxed{\frac{1}{-2}}", -0.5),
    (r"\boxed{11\frac{1}{2}}", 11.5),
    (r"\boxed{1\,\frac12}", 1.5),
    (r"\boxed{\frac{1{,}000}{4}}", 250),
    (r"\boxed{\left(\frac{3}{4}\right)}", 0.75),
    (r"\boxed{\frac{3}{4}\text{ cups}}", 0.75),
    # LaTeX type, spaces and units.
    (r"\boxed{\text{42}}", 42),
    (r"\boxed{\mathbf{42}}", 42),
    (r"\boxed{\text{about } 42}", 42),
    (r"\boxed{\text{Ann has } 42 \text{ pens}}", 42),
    (r"\boxed{42\,\mathrm{km}}", 42),
    (r"\boxed{42~\text{km/h}}", 42),
    (r"\boxed{42\text{ m}^2}", 42),
    (r"\boxed{42 \text{ square feet}}", 42),
    (r"\boxed{90^\circ}", 90),
    (r"\boxed{45^{\circ}\text{C}}", 45),
    (r"\boxed{15\%}", 15),
    (r"\boxed{\$1{,}234.50}", 1234.5),
    (r"\boxed{10,\!000}", 10000),
    (r"\boxed{1\,000\,000}", 1e6),
    (r"\boxed{1 000 000}", 1e6),
    (r"\boxed{x = 42}", 42),
    (r"\boxed{AB = 42}", 42),
    (r"\boxed{f(3) = 42}", 42),
    (r"\boxed{x_1 = 42}", 42),
    (r"\boxed{6 \cdot 7 = 42}", 42),
    (r"\boxed{\sqrt{16} = 4}", 4),
    (r"\boxed{2\sqrt{3} \approx 3.46}", 3.46),
    (r"The answer is $2\sqrt{3} \approx 3.46$.", 3.46),
    (r"\boxed{-42}", -42),
    (r"\boxed{- 42}", -42),
    (r"\boxed{+42}", 42),
    (r"\boxed{(42)}", 42),
    (r"\boxed{\boxed{42}}", 42),
    (r"\fbox{42}", 42),
    (r"\boxed 42", 42),
    (r"\boxed{42", 42),
    (r"The answer is \boxed{}. I mean \boxed{42} of 7", 42),
    (r"I put it into \boxed{answer}. It is 42", 42),
    (r"\\boxed{42}", 42),
    (r"\[ \boxed{42} \] as 6 \cdot 7 = 42", 42),
    (r"\boxed{\text{(C) } 42}", 42),
    (r"\boxed{2^{10}}", 1024),
    (r"\boxed{10^{6}}", 1e6),
    (r"\boxed{1.5 \times 10^{3}}", 1500),
    (r"\boxed{6.02e3}", 6020),
    (r"\boxed{0.333\ldots}", 0.333),
    # Scales.
    ("$1.5M", 1.5e6),
    ("$1.5 M", 1.5e6),
    ("$5m", 5e6),
    ("€5k", 5000),
    ("$2bn", 2e9),
    ("$3 billion", 3e9),
    ("5k", 5000),
    ("5K people", 5000),
    ("5 hundred", 500),
    ("3 hundred thousand", 3e5),
    ("2.5 lakh", 250000),
    ("2 crore", 2e7),
    ("5万", 50000),
    ("5km", 5),
    ("5 m", 5),
    # Thousands, other scripts, signs.
    ("1 000 000", 1e6),
    ("1\u2009000\u2009000", 1e6),
    ("1,00,000", 1e5),
    ("12,34,567.5", 1234567.5),
    ("1_000", 1000),
    ("\u0661\u066c\u0662\u0663\u0664\u066b\u0665", 1234.5),
    ("\u0967\u0968", 12),
    ("\uff14\uff12", 42),
    ("\U0001d7d2\U0001d7d0", 42),
    ("4\u200b2", 42),
    ("#### \u20135", -5),
    ("#### - 5", -5),
    ("Answer: \u2010 5", -5),
    ("The answer is negative 5.", -5),
    ("The answer is minus 5.", -5),
    # Vulgar fractions and mixed numbers.
    ("½", 0.5),
    ("1½", 1.5),
    ("1 ½ cups", 1.5),
    ("-½", -0.5),
    ("\u2153", 1 / 3),
    ("\u215e", 0.875),
    ("3\u20444", 0.75),
    ("10\u2076", 1e6),
    ("42 m\u00b2", 42),
    # Money.
    ("50¢", 50),
    ("\uffe050", 50),
    ("50 cents", 50),
    ("$0.50, that is 50¢", 0.5),
    ("$0.50 = 50¢", 0.5),
    ("50¢ ($0.50)", 0.5),
    ("$3 and 50¢", 3.5),
    ("3 dollars and 50 cents", 3.5),
    ("The answer is Rs. 500.", 500),
    ("The answer is US$5.", 5),
    ("The answer is USD 5", 5),
    ("The answer is 5€", 5),
    ("The answer is ₹1,00,000.", 1e5),
    # A statement goes on.
    ("The answer is 42!", 42),
    ("The answer is 42-inch.", 42),
    ("The answer is 42 and 3 friends share it.", 42),
    ("The answer is 42, 7 for each of 6.", 42),
    ("x = 5 + 2 = 7", 7),
    ("> 42", 42),
    ("- 42", 42),
]

NO_NUMBER = [
    # LaTeX expressions.
    r"\boxed{2\sqrt{3}}",
    r"\boxed{2 \sqrt 3}",
    r"\boxed{\sqrt{2}}",
    r"\boxed{\sqrt[3]{2}}",
    r"\boxed{\frac{\pi}{4}}",
    r"\boxed{\frac{3\pi}{4}}",
    r"\boxed{\frac{\sqrt{3}}{2}}",
    r"\boxed{\frac{x}{2}}",
    r"\boxed{\frac{1}{2}\pi}",
    r"\boxed{3\pi}",
    r"\boxed{\pi/4}",
    r"\boxed{[2,5)}",
    r"\boxed{(2,5)}",
    r"\boxed{(2, 5)}",
    r"\boxed{[2, \infty)}",
    r"\boxed{(-\infty, 5]}",
    r"\boxed{\{2, 5\}}",
    r"\boxed{2, 5}",
    r"\boxed{3,5,7}",
    r"\boxed{2 \text{ or } 5}",
    r"\boxed{2 \text{ and } 5}",
    r"\boxed{x = 2 \text{ or } x = 5}",
    r"\boxed{x=2, y=5}",
    r"\boxed{3+4i}",
    r"\boxed{4i}",
    r"\boxed{3x}",
    r"\boxed{2x+1}",
    r"\boxed{y = 2x + 3}",
    r"\boxed{2x = 10}",
    r"\boxed{x^2 = 4}",
    r"\boxed{x + y = 4}",
    r"\boxed{2^{n}}",
    r"\boxed{3 \cdot 2^{4}}",
    r"\boxed{2^{1/2}}",
    r"\boxed{(-2)^3}",
    r"\boxed{5!}",
    r"\boxed{\binom{5}{2}}",
    r"\boxed{\log_2 8}",
    r"\boxed{\log_{2}{8}}",
    r"\boxed{\ln 5}",
    r"\boxed{\sin 30^\circ}",
    r"\boxed{e^{2}}",
    r"\boxed{2e^3}",
    r"\boxed{\pm 5}",
    r"\boxed{±5}",
    r"\boxed{x \geq 5}",
    r"\boxed{x > 5}",
    r"\boxed{> 5}",
    r"\boxed{2 < x < 5}",
    r"\boxed{\neq 5}",
    r"\boxed{3:4}",
    r"\boxed{3 : 4}",
    r"\boxed{1011_2}",
    r"\boxed{1011_{2}}",
    r"\boxed{0.\overline{3}}",
    r"\boxed{5 \pmod{7}}",
    r"\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}",
    r"\boxed{5 + 3}",
    r"\boxed{6 \times 7}",
    r"\boxed{10 - 20}",
    r"\boxed{|5|}",
    r"\boxed{1/0}",
    r"\boxed{9^{999}}",
    r"\boxed{\text{no solution}}",
    r"x = 5 does not hold: \boxed{\text{none}}",
    r"\boxed{\text{A}} of 4",
    # The same elsewhere.
    r"#### 2\sqrt{3}",
    r"#### \frac{\pi}{4}",
    "#### [2,5)",
    "#### (2, 5)",
    "#### 3+4i",
    "#### 3 or 5",
    r"The answer is $2\sqrt{3}$.",
    r"The answer is \(\sqrt{2}\).",
    r"The answer is $\pi/4$.",
    "The answer is 2√3.",
    "The answer is √2.",
    "The answer is 3π.",
    "The answer is π/4.",
    "The answer is sqrt(2).",
    "The answer is 2*sqrt(3).",
    "The answer is 3x.",
    "The answer is 3x + 2.",
    "The answer is x + 2.",
    "The answer is 5 + 3.",
    "The answer is 10-20.",
    "The answer is 7 minus 5.",
    "The answer is 3 or 5.",
    "The answer is 3 to 5.",
    "The answer is 3, 5 and 7.",
    "The answer is x = 3 or x = 5.",
    "The answer is [2, 5).",
    "The answer is (2,5).",
    "The answer is 3:30 pm.",
    "The answer is 1 hour 30 minutes.",
    "The answer is 5 feet and 3 inches.",
    "Answer: 3, 5, 7",
    "Answer: 2⁄0",
    r"So x = 2\sqrt{3}",
    "So x = 2√3",
    "So z = 3+4i",
    "So z = 3 - 4i",
    "So the point is (2, 5).",
    "The interval is [2,5).",
    "so x = 3 or x = 5.",
    "f(x) = 3x + 5",
    "x > 5",
    "6 * 7",
    "2¹ⁿ x³ + 5",
    # Thoughts.
    "<think>The answer is 5.",
    "<think>The answer is 5.</think>",
    "<think>42</think>I cannot tell.",
    "[THINK]#### 42",
]  # fmt: skip

THOUGHTS = [
    ("<think>The answer is 5.</think>\n\n7", 7),
    ("The answer is 5.</think>7", 7),
    ("<think>\n#### 5\n</think>\nThe answer is 7.", 7),
    ("<think>\\boxed{5}</think> So 6 + 1 = 7", 7),
    ("[THINK]#### 5[/THINK]7", 7),
    ("<think></think>\n\n#### 7", 7),
]


def test_tables_are_large_enough() -> None:
    assert len({text for text, _ in SPELLINGS}) >= 80
    assert len(set(NO_NUMBER)) >= 80


@pytest.mark.parametrize(("text", "number"), SPELLINGS + THOUGHTS)
def test_a_number_is_read_in_any_spelling(text: str, number: float) -> None:
    found = extract_number(text)
    assert found is not None
    assert same_number(found, number), found


@pytest.mark.parametrize("text", NO_NUMBER)
def test_an_expression_is_not_read_as_one_of_its_digits(text: str) -> None:
    assert extract_number(text) is None


REFERENCES: list[tuple[str, float]] = [
    ("42", 42),
    ("-42.", -42),
    ("$1,200", 1200),
    ("42 apples", 42),
    ("**42**", 42),
    ("½", 0.5),
    ("3/4", 0.75),
    ("0,5", 0.5),
    ("2,5 km", 2.5),
    ("12,50 €", 12.5),
    ("15%", 15),
    ("50¢", 50),
    ("5k", 5000),
    ("It costs $1,200.", 1200),
    ("It is 42.", 42),
    ("So, in the end, Ann's well-known total is 42 pens.", 42),
    ("Each box holds 7 pens, so 6 * 7 = 42.", 42),
    ("Each box holds 7.\n6 * 7 = 42 pens", 42),
    ("Therefore x = 42.", 42),
    (r"\boxed{42}", 42),
    (r"First 2\sqrt{3}, then $\boxed{x = 42}$.", 42),
    (r"$\frac{3}{4}$", 0.75),
    (r"$5$", 5),
    ("#### 42", 42),
    ("6 * 7 = <<6*7=42>>42\n#### 42", 42),
    ("#### 6 * 7 = 42", 42),
    ("#### Final answer\n42", 42),
    ("The answer is 42.", 42),
    ("The answer is 42, because 6 * 7 = 42.", 42),
    ("Answer: 42 (that is what 6 * 7 gives)", 42),
    ("Answer:\n42", 42),
    ("1. Buy pens.\n2. She has 42.", 42),
    ("<think>Is it 5 or 6?</think>\n42", 42),
]
REFUSED = [
    *(
        text
        for text in NO_NUMBER
        if "think" not in text.lower() and any(x in text for x in "0123456789")
    ),
    r"\boxed{2^{10}}",
    r"\boxed{10^6}",
    "2^{10}",
    r"2\sqrt{3}",
    r"\frac{\pi}{4}",
    "[2,5)",
    "2,5",
    r"\boxed{2,5}",
    "7 - 5",
    "10-20",
    "3,5,7",
    "3 5",
    "She has 42 pens, 7 a box",
    "He had 5, ate 2, so 3 remain.",
    "The answer is that Ann has 5 of 42.",
    "#### 42 of 50",
    "<think>42</think>\n#### 3 or 5",
]


@pytest.mark.parametrize(("text", "number"), REFERENCES)
def test_a_reference_is_read_as_the_number_it_states(text: str, number: float) -> None:
    amount = reference_number(text)
    assert amount is not None
    assert same_number(amount.number, number), amount
    found = extract_number(text)
    assert found is not None and same_number(found, number), found


@pytest.mark.parametrize("text", REFUSED)
def test_a_reference_that_holds_more_than_a_number_is_refused(text: str) -> None:
    with pytest.raises(NotOneNumber) as caught:
        reference_number(text)
    assert "\n" not in caught.value.args[0]


@pytest.mark.parametrize(
    "text", ["", "many", "<think>42</think>", "<think>42", "The answer is no."]
)
def test_a_reference_without_a_number_has_none(text: str) -> None:
    assert reference_number(text) is None


def test_cents_are_hundredths_where_dollars_are_wanted() -> None:
    assert extract_number("50¢") == 50
    assert extract_number("50¢", dollars=True) == 0.5
    assert extract_number(r"\boxed{50\text{ cents}}", dollars=True) == 0.5
    assert reference_number("$0.50") == (0.5, True)
    assert reference_number("3 dollars") == (3, True)
    assert reference_number("$0.50$") == (0.5, False)
    assert reference_number("0.50") == (0.5, False)
