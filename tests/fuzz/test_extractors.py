"""Readers of what a model writes: each returns, in time, whatever the text."""

from __future__ import annotations

import atexit
import math

from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.harness import always, fuzz
from tests.fuzz.phrases import (
    ANSWERS,
    CALLS,
    CODE,
    FORMULAS,
    LONG,
    NUMBERS,
    completions,
    json_calls,
)
from unisd_core.tasks.code.extraction import extract_code, find_script
from unisd_core.tasks.code.mistakes import as_reference
from unisd_core.tasks.code.source import defines, parse
from unisd_core.tasks.custom.math_process import MathProcess
from unisd_core.tasks.minitools.calls import read_calls
from unisd_core.tasks.minitools.mistakes import read_wrong_calls
from unisd_core.tasks.multiple_choice.data import last_sentences
from unisd_core.tasks.reading.call import Reading
from unisd_core.tasks.reading.call_comparison import argument_score
from unisd_core.tasks.reading.choices import extract_choice
from unisd_core.tasks.reading.expressions import find_expression
from unisd_core.tasks.reading.numbers import (
    Amount,
    NotOneNumber,
    extract_number,
    reference_number,
    with_wrong_number,
)
from unisd_core.tasks.reading.tool_calls import find_calls, write_calls
from unisd_core.tasks.toolalpaca.documentation import documented_tools
from unisd_core.tasks.toolalpaca.mistakes import read_wrong_answer
from unisd_core.tasks.toolalpaca.react import read_thought

MATH = MathProcess(cpu_s=0.5)
atexit.register(MATH.close)
STUB = 'import math\n\ndef f(x):\n    """ One more. """\n'


def check_reading(reading: Reading) -> None:
    """Calls that are clean can be compared with themselves."""
    assert all(isinstance(call.action, str) for call in reading.calls)
    if reading.clean:
        assert argument_score(reading.calls, reading.calls) == 1.0


@fuzz(50)
@given(
    completions(ANSWERS),
    st.sampled_from(["AB", "ABCD", "ABCDEFGHIJ"]),
    st.sampled_from([(), ("heart", "The heart", "5-year plan"), ("", "\n", "because " * 40)]),
)
@example("Answer: " * (LONG // 8), "ABCD", ())
@example("A" + " " * LONG, "ABCD", ())
@example("Answer: A" + " heart" * LONG, "ABCD", ("heart " * 40,))
@example("I choose A heart " * (LONG // 16), "ABCD", ("heart",))
def test_choices(text: str, letters: str, options: tuple[str, ...]) -> None:
    found = always("answers: choice", extract_choice, text, letters, options)
    assert found is None or (len(found) == 1 and found in letters)


@fuzz(50)
@given(completions(NUMBERS + ANSWERS))
@example("1" * LONG)
@example("1 " * (LONG // 2))
@example("answer" + " " * LONG + "42")
@example("Answer: 1" + "word" * (LONG // 4))
@example("\\boxed{" * (LONG // 7))
@example("\\boxed{9^{999}}")
def test_numbers(text: str) -> None:
    found = always("answers: number", extract_number, text)
    assert found is None or (isinstance(found, float) and math.isfinite(found))
    assert extract_number(f"<think>\n{text}") is None or "/" in text


@fuzz(50)
@given(completions(NUMBERS + ANSWERS))
@example("It is 1" + "word" * (LONG // 4))
def test_numbers_of_references(text: str) -> None:
    amount = always("answers: reference number", stated_number, text)
    assert amount is None or math.isfinite(amount.number)


@fuzz(50)
@given(completions(NUMBERS + ANSWERS + FORMULAS))
@example("$" * LONG)
@example("\\[" * (LONG // 2))
@example("\\boxed{" * (LONG // 7))
@example("answer is " * (LONG // 10))
def test_expressions(text: str) -> None:
    found = always("answers: expression", find_expression, text)
    assert found is None or 0 <= found.start <= found.end <= len(text)


@fuzz(10)
@given(st.lists(completions(FORMULAS).map(lambda text: text[:200]), min_size=1, max_size=4))
@example(["9^{9^{9^{9}}}", "("])
def test_comparisons_of_expressions(texts: list[str]) -> None:
    found = MATH.compare([("1", text) for text in texts])
    assert len(found) == len(texts)
    assert all(one.answer_read or not one.equal for one in found)


def stated_number(text: str) -> Amount | None:
    """``reference_number``, None where it refuses the text."""
    try:
        return reference_number(text)
    except NotOneNumber as error:
        assert "\n" not in error.args[0]
        return None


@fuzz(25)
@given(completions(NUMBERS + ANSWERS), st.randoms(use_true_random=False))
def test_wrong_numbers(text: str, rng) -> None:
    changed = always("answers: wrong number", with_wrong_number, text, rng)
    assert changed is None or changed != text


@fuzz(50)
@given(completions(CALLS) | json_calls())
@example("[" * LONG)
@example('{"a":' * (LONG // 5))
@example("Action" + " " * LONG)
@example("Action: f\nAction Input: {" + '"a": {' * 2000)
@example("[f(" * (LONG // 3))
@example("[f(a=" + "-" * LONG + "1)]")
@example("f(a=" + "1+" * (LONG // 2) + "1)")
@example("a." * (LONG // 2) + "b(c=1)")
@example("[f(a='" + "\\'" * (LONG // 2))
@example("<function=f>" + "<parameter=x>" * (LONG // 13))
@example("<tool_call>" * (LONG // 11))
@example("f{" * (LONG // 2))
@example("\n" * LONG + "f{}")
@example("```tool_code\n" * (LONG // 13))
def test_calls(text: str) -> None:
    check_reading(always("answers: calls", find_calls, text))


@fuzz(30)
@given(completions(CALLS) | json_calls())
@example("Action:" + " " * LONG + "\n")
@example(" " * LONG + "x\nAction: f\nAction Input: {}")
@example("Action: f\n" + "\n" * LONG)
@example('Action: f\nAction Input: {"a": ' + "[" * 900 + "]" * 900 + "}")
def test_strict_calls(text: str) -> None:
    reading = always("answers: strict calls", read_calls, text)
    check_reading(reading)
    wrong = always("answers: strict calls", read_wrong_calls, text, ["find_boat"], 1)
    assert wrong is None or write_calls(wrong)


@fuzz(30)
@given(completions(CALLS) | json_calls())
@example("Thought" + " " * LONG)
@example("Thought: a\n" * (LONG // 11))
def test_wrong_calls_and_their_thought(text: str) -> None:
    thought = always("answers: thought", read_thought, text)
    assert "\n" not in thought
    known = {"find_boat", "add", "x"}
    found = always("answers: wrong calls", read_wrong_answer, text, known, 2)
    assert found is None or {call.action for call in found[1]} <= known


@fuzz(30)
@given(completions(CODE), st.sampled_from(["", STUB]))
@example("```\n" * (LONG // 4), "")
@example("(" * LONG, "")
@example("-" * LONG, STUB)
@example(" " * LONG + "return", STUB)
@example('{"code": ' + "[" * LONG, "")
@example('{"code": ' + "1" * 5000 + "}", "")
@example("f = 1\n" * (LONG // 6), STUB)
@example("```\nf = g\n```\n" * (LONG // 14), "")
@example("<code>f = f\n" * (LONG // 12), "")
@example("f(" * (LONG // 2), STUB)
def test_programs(text: str, stub: str) -> None:
    found = always("answers: program", extract_code, text, "f", stub, ["g"])
    assert found is None or defines(found, "f")


@fuzz(30)
@given(completions(CODE))
@example("```\nprint(input())\n```\n" * (LONG // 23))
@example("def g():\n  input()\ng()\n" * (LONG // 24))
def test_scripts(text: str) -> None:
    found = always("answers: script", find_script, text)
    assert found is None or parse(found.code) is not None


@fuzz(25)
@given(completions(CODE))
@example("x = " + "1" * 5000)
@example("x = " + "-" * 900 + "1")
def test_programs_written_again(text: str) -> None:
    written = always("answers: program written again", as_reference, text)
    assert written is None or isinstance(written, str)


@fuzz(25)
@given(
    completions((*CALLS, "findBoat: Find.\n", "Parameters: {", "Begin!", "sink: x\nParameters: {}"))
)
@example("a:\nParameters: {" * (LONG // 15))
def test_documentation(text: str) -> None:
    tools = always("answers: documentation", documented_tools, text)
    assert all(isinstance(x, str) for tool in tools.values() for x in tool.values())


@fuzz(15)
@given(completions(ANSWERS), st.integers(1, 400))
@example("a. " * (LONG // 3), 360)
@example("." + " " * LONG, 360)
def test_last_sentences(text: str, limit: int) -> None:
    assert len(always("answers: sentences", last_sentences, text, limit)) <= limit
