import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.tasks.reading.choices import extract_choice

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
    # Refused letters, and what is said instead.
    ("Not B. C is right.", "C"),
    ("It is not B.", None),
    ("B is wrong, so C", "C"),
    ("B is wrong.", None),
    ("C, because B is wrong.", "C"),
    ("C. Not B.", "C"),
    ("The answer is C, not B.", "C"),
    ("The answer isn't B, it is C.", "C"),
    ("The answer cannot be B. It must be D.", "D"),
    ("The correct answer is not A but C.", "C"),
    ("Answer: not B", None),
    ("Answer: not B but C", "C"),
    ("Answer: neither A nor B", None),
    ("Answer: B is incorrect, so C.", "C"),
    ("I would rule out A and B. That leaves D.", "D"),
    ("C is correct. A, B and D are wrong.", "C"),
    ("C is correct because A and B do not fit.", "C"),
    ("I choose C over B.", "C"),
    ("C rather than B", "C"),
    ("Answer: A. No, wait, B.", "B"),
    ("Answer: A\nCorrection: the answer is B", "B"),
    ("Answer: B (not C)", "B"),
    # Headings, markdown and LaTeX.
    ("Final answer: B", "B"),
    ("Final Answer\nB", "B"),
    ("## Answer\n\nB", "B"),
    ("**Final Answer**\n\n**B**", "B"),
    ("The answer is\n\nB", "B"),
    ("Answer: \\text{B}", "B"),
    ("\\boxed{B}", "B"),
    ("The final answer is $\\boxed{\\textbf{(B)}}$.", "B"),
    ("The final answer is \\(B\\).", "B"),
    ("\\[\\boxed{\\mathrm{B}}\\]", "B"),
    ("So \\boxed{B} it is, A is too small.", "B"),
    # Other scripts.
    ("Answer: \uff22", "B"),
    ("\uff21\uff4e\uff53\uff57\uff45\uff52\uff1a\uff22", "B"),
    ("\u7b54\u6848\uff1aB", "B"),
    ("\u7b54\u6848\u662fB\u3002", "B"),
    ("\u6b63\u786e\u7b54\u6848\u662f\uff08B\uff09", "B"),
    ("Antwort: B", "B"),
    ("R\u00e9ponse : B", "B"),
    ("\u041e\u0442\u0432\u0435\u0442: B", "B"),
    ("Answer: \u0412", None),
    ("\u24b7", None),
    # Small letters.
    ("answer is b", "B"),
    ("the answer is b.", "B"),
    ("option b", "B"),
    ("b", "B"),
    ("b)", "B"),
    ("(b)", "B"),
    ("b. tube", "B"),
    ("a", "A"),
    ("a.", "A"),
    ("i think a dog", None),
    # Words of one letter.
    ("I", None),
    ("A", "A"),
    ("A.", "A"),
    ("A)", "A"),
    ("A is right", "A"),
    ("A is a dog", "A"),
    ("Answer: A dog", None),
    # No choice, or more than one.
    ("Answer: none of the above", None),
    ("None of the above", None),
    ("None of the options A, B, C, D fits.", None),
    ("None of the above, but E comes close.", "E"),
    ("All of the above", None),
    ("Answer: B and C", None),
    ("Answer: both A and B", None),
    ("Answer: B or maybe C", None),
    ("The answer is either B or C.", None),
    ("Answer: Z. Hm, B", "B"),
    # Letters of something else.
    ("G is best", None),
    ("Vitamin C", None),
    ("He eats vitamin C daily, so B", "B"),
    ("U.S.A. and B.C.", None),
    ("Plan B failed", None),
    # Lists of options.
    ("A) lens\nB) tube\nC) home\n\nAnswer: C) home", "C"),
    ("A) lens B) tube C) home", None),
    ("The options are A, B, C and D.", None),
    ("A: too small\nB: fits\nC: too large\nSo B.", "B"),
    ("A: too small. B: fits. C: too large.", None),
    ("- A. wrong\n- B. right\n- C. wrong\n\n**B**", "B"),
    ("| A | B | C |\n|---|---|---|\n\nAnswer: B", "B"),
    # Verdicts.
    (
        "Option A is incorrect.\nOption B is incorrect.\n"
        "Option C is correct.\nOption D is incorrect.",
        "C",
    ),
    ("Option C is correct. Option D is incorrect.", "C"),
    # Other words for an answer.
    ("Letter: D", "D"),
    ("My choice: D", "D"),
    ("Choice D", "D"),
    ("Option: D", "D"),
    ("I'd pick D!", "D"),
    ("D, I think.", "D"),
    ("It's B.", "B"),
    ('{"answer": "B"}', "B"),
    ("{'answer': 'B'}", "B"),
    ("<answer>B</answer>", "B"),
    ("Answer = B", "B"),
    ("Answer is: B", "B"),
    ("ANSWER IS B", "B"),
    ("Ans: B", "B"),
    ("Answer B", "B"),
    ("Answer\tB", "B"),
    ("Answer: the second one (B)", "B"),
    ("Answer: tube (B)", "B"),
    ("Answer: tube, that is B", "B"),
    ("The best answer would be choice (B), the tube.", "B"),
    ("The answer is choice B", "B"),
    ("The answer is most likely B", "B"),
    ("The right answer here is B", "B"),
    ("The answer to this question is B.", "B"),
    ("The answer must therefore be B.", "B"),
    ("B is the answer.", "B"),
    ("B is the correct answer.", "B"),
    ("(B) is the correct answer, since (A) is too small.", "B"),
    ("Therefore, B.", "B"),
    ("The correct answer: B", "B"),
    ("The correct letter is B", "B"),
    ("So the right one is B.", "B"),
    # What follows the letter.
    ("Answer: B\nI hope this helps. A", "B"),
    ("Answer: B?", "B"),
    ("Answer: B!", "B"),
    ("Answer: B; C is too large", "B"),
    ("Answer: B\u2014the tube", "B"),
    ("Answer:  B  ", "B"),
    ("Answer:\u00a0B", "B"),
    ("Answer: \u200bB", "B"),
    ("Answer: C++ is a language", None),
    ("Answer: C# is a language", None),
    ("Answer: B-flat", None),
    ("Answer: B'", "B"),
    ("Answer: E=mc2", None),
    ("Answer: D = 3", None),
    # Thoughts are not read, and one that never ends is no answer.
    ("<think>The answer is A.</think>\n\nC", "C"),
    ("<think>A or B? B is wrong.</think>The answer is D.", "D"),
    ("The answer is A.</think>Answer: B", "B"),
    ("<think>A</think>B<think>C</think>D", "D"),
    ("<thinking>\nAnswer: A\n</thinking>\n**Answer:** B", "B"),
    ("<think>\n\n</think>\n\nB. tube", "B"),
    ("[THINK]Answer: A[/THINK]Answer: B", "B"),
    ("<think>The answer is A.", None),
    ("Answer: A\n<think>Or is it B?", None),
    ("<think>A</think>", None),
    # What models of several families write.
    ("The best answer is B.", "B"),
    ("The final answer is: $\\boxed{\\text{B}}$", "B"),
    ("**Final Answer:**\n\\[\n\\boxed{B}\n\\]", "B"),
    ("### Final Answer\n\\[ \\boxed{\\text{B. tube}} \\]", "B"),
    ("The correct answer is:\n\n**B) tube**", "B"),
    ("The correct answer is **B. tube**.\n\nA is a lens, and C is a home.", "B"),
    ("\\boxed{B}\n\nC would be a home.", "B"),
    ("\\boxed{A}? No: \\boxed{B}", "B"),
    ("<answer>\nB\n</answer>\nC is a home.", "B"),
    ('```json\n{\n  "reasoning": "C is a home.",\n  "answer": "B"\n}\n```', "B"),
    ("answer => B", "B"),
    ("I would choose B. A is a lens.", "B"),
    ("I choose A or B.", None),
    ("the answer is b because it bends", "B"),
    ("the answer is b, since it bends", "B"),
]


def test_table_is_large_enough() -> None:
    assert len({text for text, _ in PHRASINGS}) >= 200


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


@given(st.permutations("ABCDE"), st.sampled_from(["{0} is wrong, so {1}.", "Not {0} but {1}."]))
def test_a_refused_letter_is_not_chosen(order: list[str], form: str) -> None:
    assert extract_choice(form.format(*order), "ABCDE") == order[1]


def test_long_text_is_read_in_linear_time() -> None:
    pieces = [
        "*", "(", " ", "Answer: ", "answer is ", "\n", "A", "$", "Answer: A or ", "A ", "B\n",
        "A, ", "A and ", "not ", "option ", "A is ", "A) ", "no, ", "A) x B) ", "B.\n", "\u7b54",
        "(A) ", "I choose A ", "A heart ", "A Heart\n", "answer: a ", "\\boxed{", "\\boxed{A}", "{",
        "\u7b54\u6848", "<think>", "<think>A</think>", "A because ", "is A ", "word",
    ]  # fmt: skip
    started = time.process_time()
    for piece in pieces:
        for start in ("", "Answer: A", "answer is"):
            extract_choice(start + piece * 10_000, "ABCD", ["heart", "a lens", "the home", "x"])
    # About four seconds; quadratic backtracking takes over ten for one of them alone.
    assert time.process_time() - started < 20
