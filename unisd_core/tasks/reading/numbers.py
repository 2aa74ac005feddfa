"""Reads the number an answer settles on, and writes answers with another one.

Three kinds of evidence, strongest first; within a kind the last one counts, since a model that
corrects itself means the correction:

1. ``#### 42``, unless it is a numbered heading.
2. a statement: ``The answer is 42``, ``Answer: 42``, ``\\boxed{42}``. Of ``Answer: 6 * 7 = 42`` the
   result counts, of ``The answer is that Ann has 5 of 42`` the last number.
3. the last number that is no label of a line, ordinal, index or exponent.

Where that evidence holds an expression (``2\\sqrt{3}``, ``[2,5)``, ``3+4i``) or several numbers,
the answer is none of its digits: there is no number. Only what follows a thought counts. Currency
and units are skipped; a percent sign is a unit, and so are cents where no dollars are named.
"""

from __future__ import annotations

import math
import random
import re
from collections import deque
from typing import NamedTuple

from unisd_core.common.thoughts import after_thought
from unisd_core.tasks.reading.numerals.beside import alone, in_expression, number_at
from unisd_core.tasks.reading.numerals.spelling import (
    names_dollars,
    spelled_plainly,
    without_marks,
)
from unisd_core.tasks.reading.numerals.written import NUMBER, is_list, numbers, value

__all__ = [
    "Amount", "NotOneNumber", "extract_number", "reference_number", "same_number",
    "with_wrong_number", "without_marks",
]  # fmt: skip

TOLERANCE = 1e-4
"""Largest difference at which two numbers are the same (as in the released code); relative for
numbers below 1."""

_HASHES = re.compile(r"(?<!#)####(?!#)")
_HEADING = re.compile(r"[.):]\s+\S")
_STATEMENT = re.compile(
    r"\\f?box(?:ed)?\s?(?:(?P<box>\{)|(?=\d))|\banswer\b(?:(?P<title>[*_ \t]{0,8}\n)"
    r"|[^\n.:=\d]{0,40}?(?:\b(?:is|are|be|equals)\b|[:=\uff1a]))",
    re.IGNORECASE,
)
_BRACE = re.compile(r"\\?[{}]|\n\n")
_PLACE = re.compile(
    r"[\s.$\u2026?_*]*(?:(?:(?:your|the|final|numerical?|numeric)\s)*(?:answer|number|result|value)"
    r"(?:\shere)?)?[\s.$\u2026?_*]*",
    re.IGNORECASE,
)
_NOT = re.compile(r"\s{0,8}(?:not|no)\b", re.IGNORECASE)
_CHAIN = re.compile(
    r"(?P<unit>\s?[a-z%]{1,15})??\s?(?P<sign>[-+*/\u00d7\u00f7\u00b7=\u2248x]|\\times|\\div|\\cdot)"
    r"\s?[$\u20ac\u00a3\u00a5]?(?=[-\d.])"
)
_MATHS = re.compile(r"[-+\s]{0,3}(?:\\(?:sqrt|pi|d?frac|infty|pm|log|ln|sin|cos|tan|\{)|[√∛π∞±|])")
_OTHER = re.compile(
    r"\s?(?:,|;|\s?\b(?:or|and|to)\b)\s{0,3}(?:(?:or|and)\s)?(?:[A-Za-z]\s?=\s?)?[-+$]{0,2}\d[\d.,/]*"
    r"(?:\s?[^\W\d_]{1,15})?(?=[\s*$)]*(?:[.,;!?]\s|[.!?]?\Z|\n|\s(?:or|and)\s\d))"
)
_HOLDS = re.compile(r"\d|\\(?:sqrt|pi|infty)(?![A-Za-z])|[√π∞]")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_WINDOW = 300
_LONGEST_BOX = 400
_LABEL = re.compile(
    r"^[ \t#>*-]{0,12}\d{1,2}[.)](?=[ \t]+\S)|\b(?:step|question|problem|part|example)\s?\d+",
    re.IGNORECASE | re.MULTILINE,
)
# What only the plain spelling makes a number.
_SPELLED = re.compile(
    r"-?(?:\d\s?)?(?:\\[dtc]?frac\s?(?:\{[\d .,-]{1,20}\}|\d)\s?(?:\{[\d .,-]{1,20}\}|\d)"
    r"|[\u00bc-\u00be\u2150-\u215e])"
    r"|(?<![\w.,])\d{1,3}(?:(?:\{,\}|\\[,;: ]|,\\!|['\u2019\u00a0\u202f\u2009 ])\d{3})+(?![\d-])"
)
_ASIDE = re.compile(
    r"[,;(]\s?(?=[^\W\d_]{2})(?!or\b|and\b)|\s(?=(?:because|since|as|so|in total)\b)"
)


class Amount(NamedTuple):
    """What a reference settles on."""

    number: float
    dollars: bool
    """Whether it is an amount of dollars or of a like currency: cents are hundredths of it."""


class NotOneNumber(ValueError):
    """A reference that settles on an expression or on several numbers; ``args[0]`` quotes it."""


def extract_number(text: str, dollars: bool = False) -> float | None:
    """The finite number that ``text`` settles on, or None. Reads any text without raising.

    ``dollars``: the number is wanted in dollars, so that 50¢ is 0.5 and not 50.
    """
    plain = spelled_plainly(after_thought(text), dollars)
    for found in (_marked, _stated, _unlabelled, _last):
        if (number := found(plain)) is not None:
            return number if math.isfinite(number) else None
    return None


def reference_number(text: str) -> Amount | None:
    """The number of a reference, or None where it holds none. Stricter than ``extract_number``:
    where the answer stands there is nothing beside it but sign, unit and currency.

    Raises NotOneNumber otherwise.
    """
    content = _deciding(spelled_plainly(after_thought(text)))
    if content is None:
        return None
    match = alone(content, strict=True)
    number = value(match) if match else None
    if number is None:
        raise NotOneNumber(" ".join(content.split()))
    return Amount(number, names_dollars(content))


def same_number(found: float, wanted: float) -> bool:
    """Whether ``found`` is ``wanted`` within ``TOLERANCE``."""
    return abs(found - wanted) <= TOLERANCE * min(1.0, abs(wanted))


def with_wrong_number(text: str, rng: random.Random) -> str | None:
    """``text`` with the number it settles on replaced by a wrong one of the same sign and style,
    both where it is stated and on the line before that which draws the conclusion.

    None where the number stands in ``text`` in no form that can be replaced.
    """
    right = extract_number(text)
    if right is None:
        return None
    near = [right + 1, right - 1, right + 2, right * 2]
    wrong = rng.choice([x for x in near if (x > 0 if right >= 0 else x < 0) and math.isfinite(x)])
    answer = after_thought(text)
    thought = text[: len(text) - len(answer)]
    changed = _rewritten(thought, right, wrong) + _rewritten(answer, right, wrong)
    found = extract_number(changed)
    return None if found is None or same_number(found, right) else changed


# The readers below return a number, NaN where the answer is an expression or several numbers, and
# None where they find nothing.


def _marked(text: str) -> float | None:
    for mark in reversed(list(_HASHES.finditer(text))):
        found = _whole(_line(text, mark.end()))
        if found is not None:
            return found
        found, end = _direct(text, mark.end())
        if found is not None and not _HEADING.match(text, end):
            return math.nan if _OTHER.match(text, end) else found
    return None


def _stated(text: str) -> float | None:
    for statement in reversed(list(_STATEMENT.finditer(text))):
        boxed = statement[0].startswith("\\")
        found = _boxed(text, statement) if boxed else _said(text, statement)
        if found is not None:
            return found
    return None


def _boxed(text: str, statement: re.Match[str]) -> float | None:
    content = _content(text, statement)
    if _PLACE.fullmatch(content):
        return None
    return _number(alone(content))


def _said(text: str, statement: re.Match[str]) -> float | None:
    start = statement.end()
    if _NOT.match(text, start):
        return None
    found, end = _direct(text, start)
    if found is not None:
        if math.isnan(found):
            return _concluded(_sentence(text, start))
        return math.nan if _OTHER.match(text, end) else found
    if statement["title"]:
        return None
    return _last(_sentence(text, start))


def _unlabelled(text: str) -> float | None:
    return _last(_LABEL.sub("", text))


def _last(text: str) -> float | None:
    found = deque(numbers(text), maxlen=2)
    if not found:
        return None
    match, number = found[-1]
    several = len(found) == 2 and _OTHER.match(text, found[0][0].end())
    return math.nan if several or in_expression(text, match) else number


def _concluded(sentence: str) -> float:
    """The number behind the last "=" of a sentence that begins with an expression."""
    side = re.split(r"[=\u2248]|\\approx(?![A-Za-z])", sentence)[1:]
    return _number(alone(side[-1])) if side else math.nan


def _direct(text: str, position: int) -> tuple[float | None, int]:
    """The number that stands at ``position``, or the result of the sum that does, and its end."""
    match = number_at(text, position)
    if match is None:
        return (math.nan if _MATHS.match(text, position) else None), position
    sides, units = [[match]], False
    while (link := _CHAIN.match(text, sides[-1][-1].end())) and (
        term := NUMBER.match(text, link.end())
    ):
        units |= link["unit"] is not None
        if link["sign"] in "=\u2248":
            sides.append([term])
        else:
            sides[-1].append(term)
    results = [side[0] for side in sides if len(side) == 1]
    if not results and units:
        results = [match]  # "42 apples - 6 boxes of 7" explains
    if not results or any(is_list(one) or in_expression(text, one) for one in results):
        return math.nan, position
    return value(results[-1]), sides[-1][-1].end()


def _whole(line: str) -> float | None:
    match = None if _LABEL.search(line) else alone(line)
    return None if match is None else value(match)


def _number(match: re.Match[str] | None) -> float:
    number = None if match is None else value(match)
    return math.nan if number is None else number


def _line(text: str, start: int) -> str:
    return text[start : start + _WINDOW].partition("\n")[0]


def _sentence(text: str, start: int) -> str:
    rest = text[start : start + _WINDOW].lstrip()
    return _SENTENCE_END.split(rest, maxsplit=1)[0]


def _content(text: str, statement: re.Match[str]) -> str:
    """What a box holds; where it is never closed, what follows on its line."""
    start = statement.end()
    if not statement["box"]:
        match = NUMBER.match(text, start)
        return match[0] if match else ""
    depth = 1
    for brace in _BRACE.finditer(text, start, start + _LONGEST_BOX):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[start : brace.start()]
    return _line(text, start)


def _deciding(text: str) -> str | None:
    """What decides the number of a reference: its mark, its statement or its last sentence."""
    for mark in reversed(list(_HASHES.finditer(text))):
        line = _line(text, mark.end())
        if _HOLDS.search(line) and not _LABEL.search(line.lstrip()):
            return line
    for statement in reversed(list(_STATEMENT.finditer(text))):
        start = statement.end()
        if statement[0].startswith("\\"):
            content = _content(text, statement)
            if not _PLACE.fullmatch(content):
                return content
        elif not _NOT.match(text, start) and _HOLDS.search(said := _sentence(text, start)):
            return _without_aside(said, next(numbers(said), None))
    if alone(text, strict=True):
        return text
    for sentence in reversed(_SENTENCE_END.split(_LABEL.sub("", text)) + _SENTENCE_END.split(text)):
        found = deque(numbers(sentence), maxlen=1)
        if found:
            return _without_aside(sentence, found[0])
    return None


def _without_aside(sentence: str, number: tuple[re.Match[str], float] | None) -> str:
    aside = _ASIDE.search(sentence, number[0].end()) if number else None
    return sentence[: aside.start()] if aside else sentence


def _rewritten(text: str, right: float, wrong: float) -> str:
    """``text`` with ``wrong`` for ``right`` on the last two lines that hold it."""
    lines = text.split("\n")
    changed = [
        (i, new) for i, line in enumerate(lines) if (new := _replaced(line, right, wrong)) != line
    ]
    for index, line in changed[-2:]:
        lines[index] = line
    return "\n".join(lines)


def _replaced(line: str, right: float, wrong: float) -> str:
    def write(match: re.Match[str]) -> str:
        number = value(match)
        if number is None or not same_number(number, right):
            return match[0]
        return _written_like(match, wrong)

    def write_plain(match: re.Match[str]) -> str:
        plain = NUMBER.fullmatch(spelled_plainly(match[0]).strip())
        return write(plain) if plain and write(plain) != plain[0] else match[0]

    return NUMBER.sub(write, _SPELLED.sub(write_plain, line))


def _written_like(match: re.Match[str], number: float) -> str:
    digits = match["digits"]
    places = len(digits.rpartition(".")[2]) if "." in digits else 0
    if places == 0 and not math.isclose(number, round(number)):
        places = 2
    grouped = "," if "," in digits else ""
    return f"{match['sign'] or ''}{match['currency'] or ''}{abs(number):{grouped}.{places}f}"
