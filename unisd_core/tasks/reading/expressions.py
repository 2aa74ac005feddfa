"""Reads the mathematical expression an answer settles on, as LaTeX.

Evidence as for numbers (``reading/numbers.py``): ``####``, a box or a statement, then the last
formula between ``$`` or ``\\\\(``, then the text where it is nothing but an expression, then its
number. Only what follows a thought counts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from unisd_core.common.thoughts import after_thought
from unisd_core.tasks.reading.numbers import extract_number
from unisd_core.tasks.reading.numerals.beside import alone
from unisd_core.tasks.reading.numerals.spelling import spelled_plainly
from unisd_core.tasks.reading.numerals.written import value

LONGEST = 1000
"""Characters up to which an expression is read."""

_HASHES = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n]{1,1000})")
_HEADING = re.compile(r"\d{1,2}[.):]\s+\S|(?:step|part|problem|question)\s?\d+", re.IGNORECASE)
_STATEMENT = re.compile(
    r"(?P<box>\\f?box(?:ed)?\s?\{)|\banswer\b(?:[*_ \t]{0,8}\n\s{0,8}"
    r"|[^\n.:=\d\\$]{0,40}?(?:\b(?:is|are|be|equals)\b|[:\uff1a]))",
    re.IGNORECASE,
)
_BRACE = re.compile(r"\\[{}]|[{}]")
_FORMULA = re.compile(
    r"\$\$([^$]{1,1000})\$\$|(?<![\\\d])\$([^$\n]{1,1000})(?<!\\)\$"
    r"|\\\(((?:[^\\\n]|\\(?!\))){1,1000})\\\)|\\\[((?:[^\\]|\\(?!\])){1,1000})\\\]"
)
_JOINED = re.compile(r"\s{0,3}(?:,|,?\s?\b(?:or|and)\b)\s{0,3}\Z")
_END = re.compile(r"[.!?](?=\s|$)|\n")
_PLACE = re.compile(
    r"[\s.$\u2026?_]*(?:(?:your |the |final )*answer(?: here)?)?[\s.$\u2026?_]*", re.IGNORECASE
)
_WORD = re.compile(
    r"(?<![\\A-Za-z])(?!(?:sqrt|sin|cos|tan|log|ln|exp|pi|inf|and|or)\b)[A-Za-z]{2,}"
)
_TEXT = re.compile(r"[A-Za-z][A-Za-z ,'-]{2,100}|no", re.IGNORECASE)
# Numbers that the reader of numbers knows better: with units, currencies or blanks.
_OTHERWISE = re.compile(r"[A-Za-z$¢%]|[^\x00-\x7f]|\d[ ~]\d{3}")
_EXACT = 1e15
_EDGES = " \t\r\n*`"

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_RAISED = re.compile(r"[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_SYMBOLS = {
    "π": r"\pi ", "∞": r"\infty ", "×": r"\times ", "÷": r"\div ", "·": r"\cdot ", "−": "-",
    "–": "-", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "±": r"\pm ",
    "∈": r"\in ", "θ": r"\theta ", "°": r"^\circ ", "½": r"\frac{1}{2}", "\u00a0": " ",
}  # fmt: skip
_ROOT = re.compile(r"(?:√|(?<![\\A-Za-z])sqrt)\s?(?:\(([^()]{1,100})\)|(\d+|[a-z]))")
_NAMES = re.compile(r"(?<![\\A-Za-z])(pi|sin|cos|tan|log|ln|exp|infty)(?![A-Za-z])")
_POWER = re.compile(r"\^\s?\(([^()]{1,40})\)")
# What math-verify reads as something else: the base of a number, a remainder.
_MISREAD = re.compile(r"\d\s?_\s?\{?\s?\d|\\[pb]?mod(?![a-z])")


class Found(NamedTuple):
    """An expression and where its text stands."""

    latex: str
    """Empty where the answer is one that math-verify would take for another."""
    start: int
    end: int


def find_expression(text: str) -> Found | None:
    """The expression that ``text`` settles on, or None. Reads any text without raising."""
    answer = after_thought(text)
    base = len(text) - len(answer)
    for start, end in _places(answer):
        words = 1 if (start, end) == _last_line(answer) else 5
        latex = _latex(answer[start:end], words)
        if latex is not None:
            return Found(latex, base + start, base + end)
    return None


def _places(text: str) -> list[tuple[int, int]]:
    """Where the answer may stand, strongest evidence first; a place that is none reads as None."""
    for mark in reversed(list(_HASHES.finditer(text))):
        if not _HEADING.match(mark[1]):
            return [mark.span(1)]
    places: list[tuple[int, int]] = []
    for statement in reversed(list(_STATEMENT.finditer(text))):
        start = statement.end()
        if statement["box"]:
            span = (start, _closing(text, start))
            if not _PLACE.fullmatch(text[slice(*span)]):
                return [*places, span]
        elif not places:
            places.append(_said(text, start))
    if places:
        return places
    if formulas := list(_FORMULA.finditer(text)):
        return [_joined(text, formulas)]
    return [_last_line(text)]


def _last_line(text: str) -> tuple[int, int]:
    end = len(text.rstrip())
    return text.rfind("\n", 0, end) + 1, end


def _said(text: str, start: int) -> tuple[int, int]:
    """The formulas that a statement begins with, else the rest of its sentence."""
    rest = text[start : start + LONGEST]
    formula = _FORMULA.search(rest)
    end = _END.search(rest, len(rest) - len(rest.lstrip()))
    if formula and (end is None or formula.start() < end.start()):
        stop = formula.end()
        while (more := _FORMULA.search(rest, stop)) and _JOINED.match(rest[stop : more.start()]):
            stop = more.end()
        return start + formula.start(), start + stop
    return start, start + (end.start() if end else len(rest))


def _joined(text: str, formulas: list[re.Match[str]]) -> tuple[int, int]:
    """The last formula with those before it that a comma, "or" or "and" joins to it."""
    first = last = formulas[-1]
    for before in reversed(formulas[:-1]):
        if not _JOINED.match(text[before.end() : first.start()][:20]):
            break
        first = before
    return first.start(), last.end()


def _closing(text: str, start: int) -> int:
    depth = 1
    for brace in _BRACE.finditer(text, start, start + LONGEST):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.start()
    return start + len(text[start : start + LONGEST].partition("\n")[0])


def _latex(content: str, words: int) -> str | None:
    """LaTeX for ``content``, which may be text of so many words: "" where it cannot be compared,
    None where it says nothing."""
    content = re.sub(r"(?<!\\)\$|\\[()\[\]](?!\d*(?:pt|em))", " ", content).strip(_EDGES)
    content = content.rstrip(".").strip(_EDGES)
    if not content or len(content) >= LONGEST:
        return None
    plain = spelled_plainly(content)
    if "=" not in plain and _OTHERWISE.search(content):
        match = alone(plain, strict=True)
        number = value(match) if match else None
        if number is not None and abs(number) < _EXACT:
            return _decimal(number) + (r"\%" if "%" in plain else "")
    if _TEXT.fullmatch(content) and len(content.split()) <= words:
        return rf"\text{{{content}}}"
    if "\\" not in content and _WORD.search(content):
        found = extract_number(content)
        return None if found is None or abs(found) >= _EXACT else _decimal(found)
    return "" if _MISREAD.search(content) else _spelled(content)


def _decimal(number: float) -> str:
    return f"{number:.12f}".rstrip("0").rstrip(".")


def _spelled(content: str) -> str:
    content = _RAISED.sub(lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}", content)
    content = _ROOT.sub(lambda m: rf"\sqrt{{{m[1] or m[2]}}}", content)
    for symbol, latex in _SYMBOLS.items():
        content = content.replace(symbol, latex)
    content = _POWER.sub(r"^{\1}", content.replace("**", "^"))
    return _NAMES.sub(r"\\\1 ", content).strip()
