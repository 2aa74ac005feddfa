"""The letters A and I, which are words too, read as any other letter is."""

from __future__ import annotations

import pytest

from unisd_core.tasks.reading.choices import extract_choice

FORMS = [
    "{0}", "{0}.", "{0})", "({0})", "**{0}**", "[{0}]", "`{0}`", "\u201c{0}\u201d", "#### {0}",
    "Answer: {0}", "Answer: {0}.", "Answer: {0} The heart", "Answer: {0} the heart",
    "Answer: {0}. The heart", "Answer: {0}) heart", "Answer: ({0}) heart", "Answer: {0}, heart",
    "Answer: {0} - heart", "Answer: {0} \u2013 heart", "Answer: {0}: heart",
    "Answer: {0} (heart)", "Answer: {0} -> heart", "Answer: {0} | heart", "Answer: {0} Heart",
    "Answer: {0} 42", "Answer: {0} because it pumps", "Answer: {0} is the heart",
    "Answer: {0}\nIt pumps blood.", "Answer: {0}\nheart", "Answer: {0}\n\nExplanation: heart",
    "Answer: {0} Explanation: it pumps", "**Answer: {0}** The heart", "**Answer:** {0} The heart",
    "Answer: **{0}** heart", "Answer: **{0}. heart**", "Answer: Option {0} heart",
    "Answer: option ({0})", "Final answer: {0} The heart", "Ans: {0} The heart", "ANSWER={0}",
    "The answer is {0}", "The answer is {0}, the heart.", "The answer is {0} the heart.",
    "The correct answer is {0} the heart", "The correct answer is {0} Heart.",
    "The correct answer is {0} since it pumps", "The correct answer is: {0} The heart",
    "The best choice is {0} as it pumps.", "The correct option is {0}; it pumps.",
    "The answer is most likely {0} the heart", "The right answer here is {0} The heart",
    "The answer is option {0} heart", "The answer is \\boxed{{{0}}}.",
    "$\\boxed{{{0} The heart}}$", "\\boxed{{\\text{{{0}. heart}}}}",
    "\\boxed{{\\textbf{{({0})}} heart}}", "\\( \\boxed{{{0}}} \\)", "\\({0}\\)", "\\[ {0} \\]",
    "\\text{{{0}}}", "\\fbox{{}} \\boxed{{{0}: heart}}", "I choose {0} because it pumps.",
    "I choose {0}, the heart.", "I'd go with {0} since it pumps", "I choose {0} The heart",
    "I would pick {0} Heart", "I select {0}.", "I am going with {0}!",
    "I would choose {0}. B is a lens.", "I'll go with {0}; C is too small.",
    "I choose {0} rather than D", "It must be {0}; it pumps.", "It is {0} because it pumps.",
    "It's {0} the heart", "So it has to be {0}, I think.", "Therefore {0}: the heart pumps.",
    "{0} because it pumps", "{0} The heart", "{0} the heart", "{0} - heart", "{0}. heart",
    "{0}: heart", "{0}) heart", "({0}) heart", "{0} is correct", "{0} must be the right answer.",
    "{0} is the heart", "{0} is the only one that pumps.", "{0} seems right, since it pumps.",
    "Option {0} fits best", "Option {0} the heart", "Choice {0}: heart", "option {0}",
    "None of the others, but {0} comes close.", "My choice: {0} Heart", "Letter: {0} The heart",
    "B is wrong, so {0} because it pumps", "Not B but {0} the heart.", "Not B. {0} is right.",
    "Between B and {0}, I prefer {0}.", "Rule out B and D because they sit still. So {0}.",
    '{{"answer": "{0}"}}', '{{"answer": "{0} The heart"}}', '{{"answer": "{0}. heart"}}',
    '{{"answer":"{0}","why":"it pumps"}}', "{{'answer': '{0}'}}", '{{"answer": ["{0}"]}}',
    '```json\n{{"answer": "{0}"}}\n```', 'answer: "{0}"', "<answer>{0}</answer>",
    "<answer>{0} The heart</answer>", "<answer>\n{0}\n</answer>", "<choice>{0}</choice>",
    "| Answer | {0} |", "> {0}", "- {0}", "A) x\nB) y\nC) z\n\nAnswer: {0} The heart",
    "Antwort: {0}", "Antwort: {0} weil es pumpt", "Die richtige Antwort: {0}) Herz",
    "R\u00e9ponse : {0} le c\u0153ur", "Respuesta: {0}", "Respuesta: {0}) coraz\u00f3n",
    "Resposta: ({0})", "Risposta: {0}.",
    "\u041e\u0442\u0432\u0435\u0442: {0} \u0441\u0435\u0440\u0434\u0446\u0435",
    "\u7b54\u6848\uff1a{0}", "\u7b54\u6848\u662f{0}\u3002", "\u7b54\u6848\u662f {0} \u5fc3\u810f",
    "\u6b63\u786e\u7b54\u6848\u662f\uff08{0}\uff09", "\u7b54\u3048\u306f{0}\u3067\u3059",
    "\uc815\ub2f5\uc740 {0}\uc785\ub2c8\ub2e4", "\u9009{0}", "Answer\uff1a{0} The heart",
    "<think>Answer: D</think>{0}", "<think>\nIt is D.\n</think>\n\nAnswer: {0} The heart",
    "It is D.</think>\nI choose {0} because it pumps.",
    "[THINK]D[/THINK]The answer is {0} the heart",
    "<reasoning>I pick C.</reasoning>\n<answer>{0}</answer>",
]  # fmt: skip
"""Phrasings that name the letter at {0} and no other."""


PRONOUN = {"So it has to be {0}, I think."}
"""Where a comma may follow the pronoun as well."""

WORDS = [
    "Answer: A heart is a muscle", "Answer: A contact lens", "Answer: a contact lens",
    "The answer is A dog.", "The answer is a Frenchman.", "Answer: A 5-year plan",
    "Answer: A 10 km run", "Answer: A so-called heart", "Answer: A to-do list",
    "Answer: A who's who", "A heart pumps blood.", "A Frenchman found it.", "A dog, I think",
    "It is A dog", "option a person might take", "the letter I wrote to you", "answer: a the-heart",
    "Answer: I do not know", "Answer: I think so", "Answer: I would say the heart",
    "The answer is I cannot tell", "I was there, and so was I. But no.", "I believe so.",
    "Tom and I, of course, do not know.", "I", "Antwort: lens", "\u7b54\u6848\u4e0d\u662fA",
    "<think>Answer: A", "<think>I choose A because it pumps.</think>I cannot tell.",
    "[THINK]A", "Answer: <think>A</think>",
]  # fmt: skip
"""Texts that name no letter of "ABCDEFGH"."""

OPTIONS = ["heart", "the brain", "Contact lens", "A dog", "5-year plan", "42 km"]

WITH_OPTIONS = [
    ("Answer: A heart", "A"),
    ("Answer: A heart is a muscle", "A"),
    ("The answer is A Heart.", "A"),
    ("A Heart", "A"),
    ("A Heart\nIt pumps.", "A"),
    ("A heart", None),
    ("I choose A heart", "A"),
    ("<answer>A heart</answer>", "A"),
    ("Answer: A contact lens", None),
    ("Answer: A dog", None),
    ("The answer is A Dog.", None),
    ("Answer: A 5-year plan", None),
    ("Answer: A brain", None),
    ("Answer: A cat", None),
    ("Answer: A Cat", "A"),
    ("C fits. A heart pumps blood.", "C"),
    ("A heart pumps blood.", None),
    ("Answer: A. brain", "A"),
    ("Answer: A because a brain thinks", "A"),
]


def read(form: str, letter: str) -> str | None:
    return extract_choice(form.format(letter), "ABCDEFGHIJ")


def test_the_tables_are_large_enough() -> None:
    assert len(set(FORMS)) >= 120
    assert set(FORMS) >= PRONOUN


@pytest.mark.parametrize("form", FORMS)
def test_a_letter_that_is_a_word_is_read_where_another_one_is(form: str) -> None:
    letters = "EFGA" if form in PRONOUN else "EFGAI"
    assert [read(form, letter) for letter in letters] == list(letters)


@pytest.mark.parametrize("text", WORDS)
def test_article_and_pronoun_are_no_choice(text: str) -> None:
    assert extract_choice(text, "ABCDEFGH") is None


@pytest.mark.parametrize(("text", "letter"), WITH_OPTIONS)
def test_texts_of_the_options_tell_the_letter_from_the_article(
    text: str, letter: str | None
) -> None:
    assert extract_choice(text, "ABCDEF", OPTIONS) == letter


def test_options_that_differ_in_case_are_told_apart() -> None:
    options = ["thank you", "Thank you"]
    assert extract_choice("Answer: A thank you", "AB", options) == "A"
    assert extract_choice("Answer: A Thank you", "AB", options) is None
    assert extract_choice("Answer: A THANK YOU", "AB", options) == "A"
    assert extract_choice("Answer: A Heart", "ABC", ["+", "-", ""]) == "A"


def test_a_text_without_a_letter_names_none_whichever_option_it_is() -> None:
    options = ["A moose", "A heron", "Two hares", "The lens"]
    for text in (*options, *(f"Answer: {option}" for option in options)):
        assert extract_choice(text, "ABCD", options) is None
    for letter, option in zip("ABCD", options, strict=True):
        assert extract_choice(f"Answer: {letter} {option}", "ABCD", options) == letter
        assert extract_choice(f"{letter}. {option}", "ABCD", options) == letter


def test_the_longer_of_two_options_decides() -> None:
    options = ["contact", "contact lens", "contact lens case"]
    assert extract_choice("Answer: A contact", "ABC", options) == "A"
    assert extract_choice("Answer: A contact", "ABC", options[::-1]) is None
    assert extract_choice("Answer: A contact lens", "ABC", options) is None
    assert extract_choice("Answer: A contact lens", "ABC", options[::-1]) is None
    assert extract_choice("Answer: A contact lens case", "ABC", options[::-1]) == "A"
