"""Reads the number an answer settles on, and writes answers with another one.

Three kinds of evidence, strongest first; within a kind the last one counts, since a model that
corrects itself means the correction:

1. ``#### 42``, unless it is a numbered heading.
2. a statement: ``The answer is 42``, ``Answer: 42``, ``\\boxed{42}``. Of ``Answer: 6 * 7 = 42`` the
   result counts, of ``The answer is that Ann has 5 of 42`` the last number.
3. the last number that is no label of a line, ordinal, index or exponent.

Currency and units are skipped; a percent sign is a unit.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator

TOLERANCE = 1e-4
"""Largest difference at which two numbers are the same (as in the released code); relative for
numbers below 1."""

# Fullwidth characters as their ASCII ones, signs and spaces in one spelling.
_SPELLINGS = {0xFF01 + i: 0x21 + i for i in range(94)} | str.maketrans("\u2212\u2044", "-/")
# What sets thousands apart besides comma and point.
_GROUP = re.compile(r"(?<=\d)(?:['\u2019\u00a0\u202f\u2009_]|\\,|\{,\})(?=\d{3}(?!\d))")
_MARK = re.compile(r"<<[^<>\n]*>>")
_FRACTION = re.compile(
    r"(?P<whole>\d?)\\[dt]?frac\s?\{(?P<top>[\d.]{1,20})\}\s?\{(?P<bottom>\d{1,20})\}"
)
_LATEX = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s?\{|\\[!;,()\[\]]|\\(?=[$%])|__")

# Quantifiers are bounded or followed by what they cannot match, so that reading stays linear.
_NUMBER = re.compile(
    r"(?:(?<![\w)\]}%.])(?P<sign>-)[$\u20ac\u00a3\u00a5]?)?(?<![\w^])(?<!\w\.)(?<![\^_]\{)"
    r"(?:(?P<whole>\d{1,9}) (?=\d{1,9}/\d))?"
    r"(?P<digits>\d+(?:[.,]\d+)*|\.\d+)(?![.,]?\d|(?:st|nd|rd|th)\b)"
    r"(?:\s?/\s?(?P<under>\d+)(?![\d/]|\.\d))?"
    r"(?:[eE](?P<exponent>[-+]?\d{1,2})(?!\w)"
    r"|\s?(?:[x\u00d7*]|\\times|\\cdot)\s?10\s?\^\s?\{?(?P<power>-?\d{1,2})(?!\d)\}?"
    r"|\s?(?P<scale>thousand|million|billion|trillion)\b)?"
)
_ENGLISH = re.compile(r"(?:\d+|[1-9]\d{0,2}(?:,\d{3})+)?(?:\.\d+)?")
_CONTINENTAL = re.compile(r"(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+),\d+|[1-9]\d{0,2}(?:\.\d{3}){2,}")
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_LONGEST = 40

_HASHES = re.compile(r"(?<!#)####(?!#)")
_HEADING = re.compile(r"[.):]\s+\S")
_STATEMENT = re.compile(
    r"\\boxed\s?\{|\banswer\b(?:(?P<title>[*_ \t]{0,8}\n)"
    r"|[^\n.:=\d]{0,40}?(?:\b(?:is|are|be|equals)\b|[:=\uff1a]))",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"(?:[\s:=*_\"'`(\[{\\~\u2248>$\u20ac\u00a3\u00a5]"
    r"|(?:about|approximately|roughly|exactly|only|therefore|thus|usd|rs\.?)(?!\w)){0,60}",
    re.IGNORECASE,
)
_NOT = re.compile(r"\s{0,8}(?:not|no)\b", re.IGNORECASE)
_CHAIN = re.compile(
    r"(?P<unit>\s?[a-z%]{1,15})??\s?(?P<sign>[-+*/\u00d7\u00f7\u00b7=\u2248x]|\\times|\\div|\\cdot)"
    r"\s?[$\u20ac\u00a3\u00a5]?(?=[-\d.])"
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_WINDOW = 300
_LABEL = re.compile(
    r"^[ \t#>*-]{0,12}\d{1,2}[.)](?=[ \t]+\S)|\b(?:step|question|problem|part|example)\s?\d+",
    re.IGNORECASE | re.MULTILINE,
)


def extract_number(text: str) -> float | None:
    """The finite number that ``text`` settles on, or None. Reads any text without raising."""
    plain = _plain(text)
    for mark in reversed(list(_HASHES.finditer(plain))):
        found, end = _direct(plain, mark.end())
        if found is not None and not _HEADING.match(plain, end):
            return found
    for statement in reversed(list(_STATEMENT.finditer(plain))):
        if (found := _stated(plain, statement)) is not None:
            return found
    numbers = [value for _, value in _numbers(_LABEL.sub("", plain))]
    numbers = numbers or [value for _, value in _numbers(plain)]
    return numbers[-1] if numbers else None


def same_number(found: float, wanted: float) -> bool:
    """Whether ``found`` is ``wanted`` within ``TOLERANCE``."""
    return abs(found - wanted) <= TOLERANCE * min(1.0, abs(wanted))


def without_marks(text: str) -> str:
    """``text`` without calculator marks such as ``<<6*7=42>>``."""
    return _MARK.sub("", text)


def with_wrong_number(text: str, rng: random.Random) -> str | None:
    """``text`` with the number it settles on replaced by a wrong one of the same sign and style,
    both where it is stated and on the line before that which draws the conclusion.

    None where the number stands in ``text`` in no form that can be replaced.
    """
    right = extract_number(text)
    if right is None:
        return None
    near = [right + 1, right - 1, right + 2, right * 2]
    wrong = rng.choice([x for x in near if (x > 0 if right >= 0 else x < 0)])
    lines = text.split("\n")
    holding = [i for i, line in enumerate(lines) if _holds(line, right)]
    for index in holding[-2:]:
        lines[index] = _replaced(lines[index], right, wrong)
    changed = "\n".join(lines)
    found = extract_number(changed)
    return None if found is None or same_number(found, right) else changed


def _plain(text: str) -> str:
    text = _GROUP.sub("", _MARK.sub("", text.translate(_SPELLINGS)))
    text = _FRACTION.sub(
        lambda m: f"{m['whole']}{' ' if m['whole'] else ''}{m['top']}/{m['bottom']}", text
    )
    return _LATEX.sub("", text)


def _numbers(text: str) -> Iterator[tuple[re.Match[str], float]]:
    for match in _NUMBER.finditer(text):
        if (value := _value(match)) is not None:
            yield match, value


def _value(match: re.Match[str]) -> float | None:
    value = _decimal(match["digits"])
    under = _decimal(match["under"] or "1")
    if value is None or not under:
        return None
    power = int(match["exponent"] or match["power"] or _SCALES.get(match["scale"] or "", 0))
    value = (value / under + int(match["whole"] or 0)) * 10.0**power
    return -value if match["sign"] else value


def _decimal(run: str) -> float | None:
    if len(run) > _LONGEST:
        return None
    if _ENGLISH.fullmatch(run):
        return float(run.replace(",", ""))
    if _CONTINENTAL.fullmatch(run):
        return float(run.replace(".", "").replace(",", "."))
    last = run.rpartition(",")[2]  # of a list such as 3,5,7
    return float(last) if _ENGLISH.fullmatch(last) else None


def _direct(text: str, position: int) -> tuple[float | None, int]:
    """The number that stands at ``position``, or the result of the sum that does, and its end."""
    before = _BEFORE.match(text, position)
    match = _NUMBER.match(text, before.end() if before else position)
    if match is None:
        return None, position
    sides, units = [[match]], False
    while (link := _CHAIN.match(text, sides[-1][-1].end())) and (
        term := _NUMBER.match(text, link.end())
    ):
        units |= link["unit"] is not None
        if link["sign"] in "=\u2248":
            sides.append([term])
        else:
            sides[-1].append(term)
    results = [side[0] for side in sides if len(side) == 1]
    if not results and units:
        results = [match]  # "42 apples - 6 boxes of 7" explains
    return (_value(results[-1]), sides[-1][-1].end()) if results else (None, position)


def _stated(text: str, statement: re.Match[str]) -> float | None:
    start = statement.end()
    if _NOT.match(text, start):
        return None
    found, _ = _direct(text, start)
    if found is not None or statement["title"]:
        return found
    rest = text[start : start + _WINDOW].lstrip()
    if statement[0].startswith("\\"):
        rest = rest.partition("}")[0]
    numbers = [value for _, value in _numbers(_SENTENCE_END.split(rest, maxsplit=1)[0])]
    return numbers[-1] if numbers else None


def _holds(line: str, wanted: float) -> bool:
    return any(same_number(value, wanted) for _, value in _numbers(line))


def _replaced(line: str, right: float, wrong: float) -> str:
    def write(match: re.Match[str]) -> str:
        value = _value(match)
        if value is None or not same_number(value, right):
            return match[0]
        return _written_like(match, wrong)

    return _NUMBER.sub(write, line)


def _written_like(match: re.Match[str], value: float) -> str:
    digits = match["digits"]
    sign = match[0][: match[0].index(digits)] if match["sign"] else ""
    places = len(digits.rpartition(".")[2]) if "." in digits else 0
    if places == 0 and not math.isclose(value, round(value)):
        places = 2
    return f"{sign}{abs(value):{',' if ',' in digits else ''}.{places}f}"
