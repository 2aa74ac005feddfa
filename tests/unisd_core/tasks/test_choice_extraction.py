import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.tasks.choice_extraction import extract_choice

PHRASINGS = [
    # The asked form and its decorations.
    ("Reasoning: Fish swim.\nAnswer: B", "B"),
    ("Answer: B.", "B"),
    ("answer: b", "B"),
    ("ANSWER: C", "C"),
    ("Answer:B", "B"),
    ("Answer:\n\nD", "D"),
    ("Answer\uff1aB", "B"),
    ("Answer - C", "C"),
    ("Answer: (B)", "B"),
    ("Answer: [C]", "C"),
    ("Answer: <D>", "D"),
    ('Answer: "B"', "B"),
    ("Answer: `B`", "B"),
    ("Answer: B) tube", "B"),
    ("Answer: B. tube", "B"),
    ("Answer: B - tube", "B"),
    ("Answer: (B) tube", "B"),
    ("Answer: option D", "D"),
    ("Answer: Option (D)", "D"),
    ("Answer: A", "A"),
    ("Answer: A. contact lens", "A"),
    ("Answer: A because it sticks", "A"),
    ("Answer: A, contact lens", "A"),
    ("Answer: a", "A"),
    ("Answer: a) contact lens", "A"),
    ("**Answer: B**", "B"),
    ("**Answer:** B", "B"),
    ("**Answer**: **B**", "B"),
    ("Answer: **B. tube**", "B"),
    ("__Answer:__ *B*", "B"),
    ("### Final Answer: C", "C"),
    ("> Answer: C", "C"),
    ("Answer: $\\boxed{C}$", "C"),
    ("Answer: \\boxed{\\text{C}}", "C"),
    ("It floats. Answer: E", "E"),
    ("Answer: B\n\nExplanation: A fish is not a bird.", "B"),
    # The last field wins.
    ("Answer: A\nWait, that is wrong.\nAnswer: C", "C"),
    ("Answer: A is tempting. Answer: D", "D"),
    ("Answer: <letter>\nReasoning: It melts.\nAnswer: B", "B"),
    ("Answer: B\nAnswer: Z", "B"),
    ("The answer is A.\nAnswer: B", "B"),
    # The article and the pronoun are no choices.
    ("Answer: A contact lens", None),
    ("Answer: a contact lens", None),
    ("The answer is a dog.", None),
    ("The answer is A dog.", None),
    ("A dog barks and I think so.", None),
    ("A contact lens is worn in the eye.", None),
    ("Answer: I do not know", None),
    # Sentences.
    ("The answer is B.", "B"),
    ("So the correct answer is (C).", "C"),
    ("The correct option is **D**", "D"),
    ("I think the best choice is option B, not C.", "B"),
    ("The answer is: C", "C"),
    ("The answer must be D", "D"),
    ("The answer is A.", "A"),
    ("The answer is A because it melts", "A"),
    ("First I said the answer is A. No, the answer is C.", "C"),
    ("The answer is not B.", None),
    ("Answer: A or B\nAnswer: B", "B"),
    # A line that is one option, against a list of them.
    ("B. tube", "B"),
    ("(C) home", "C"),
    ("B", "B"),
    ("**D) home**", "D"),
    ("I choose this one:\nC. home\nsince it fits", "C"),
    ("A. lens\nB. tube\nC. home", None),
    ("A. lens\nB. tube\nC. home\nI choose B", "B"),
    # Standing alone.
    ("I would go with C", "C"),
    ("It must be (A) since lenses stick.", "A"),
    ("I choose A.", "A"),
    ("Between B and C, I prefer C", "C"),
    ("Option A fits best", "A"),
    # Nothing, or too much.
    ("Answer: A or B", None),
    ("Answer: A/B/C/D/E", None),
    ("Answer: A, B", None),
    ("Answer: F", None),
    ("Answer: lens", None),
    ("Answer: Because", None),
    ("", None),
    ("Don't know. It's hard, isn't it?", None),
]


def test_table_is_large_enough() -> None:
    assert len(PHRASINGS) >= 40


@pytest.mark.parametrize(("text", "letter"), PHRASINGS)
def test_phrasings(text: str, letter: str | None) -> None:
    assert extract_choice(text, "ABCDE") == letter


def test_only_letters_of_the_question() -> None:
    assert extract_choice("Answer: D", "ABC") is None
    assert extract_choice("Answer: D", "ABCD") == "D"


@given(st.text(), st.integers(2, 10))
def test_any_text_gives_a_letter_of_the_question_or_none(text: str, count: int) -> None:
    letters = "ABCDEFGHIJ"[:count]
    letter = extract_choice(text, letters)
    assert letter is None or (len(letter) == 1 and letter in letters)


FRAGMENTS = ["Answer", ":", " ", "\n", "A", "B", "b", "(", ")", "**", "or", "is", "the", ".", "\\"]


@given(st.lists(st.sampled_from(FRAGMENTS)), st.sampled_from("ABCD"))
def test_a_final_answer_line_decides_whatever_came_before(parts: list[str], letter: str) -> None:
    text = "".join(parts) + f"\nSo.\nAnswer: {letter}"
    assert extract_choice(text, "ABCD") == letter


def test_long_text_is_read_in_linear_time() -> None:
    pieces = ["*", "(", " ", "Answer: ", "answer is ", "\n", "A", "$", "Answer: A or ", "A ", "B\n"]
    started = time.perf_counter()
    for piece in pieces:
        for start in ("", "Answer: A", "answer is"):
            extract_choice(start + piece * 20_000, "ABCD")
    # Quadratic backtracking takes over five seconds for one of them.
    assert time.perf_counter() - started < 5
