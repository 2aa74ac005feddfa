"""Surroundings of a number: whether it stands alone, with sign, unit and currency, or is a digit
of an expression such as ``2\\sqrt{3}``, ``[2,5)`` or ``3+4i``.

All functions take text in plain spelling (``spelled_plainly``).
"""

from __future__ import annotations

import math
import re

from unisd_core.tasks.reading.numerals.spelling import names_dollars
from unisd_core.tasks.reading.numerals.written import NUMBER, is_list, value

# Commands that lay text out or lead to a result; any other beside a number calculates with it.
_LAYOUT = (
    r"(?:text|math)\w{0,12}|boxed|fbox|approx|sim(?:eq)?|(?:long)?(?:right|leftright)arrow|implies|iff"
    r"|(?:R|Longr|Leftr)ightarrow|therefore|because|begin|end|[hv]space|newline|par|item|tag|label"
    r"|black(?:square|triangle)|square|checkmark|qed|colon|degree|mu|underline"
)
_COMMAND = rf"\\(?!(?:{_LAYOUT})(?![A-Za-z]))[A-Za-z]{{1,30}}"
_VARIABLE = r"(?:[abeijnqruvxyzXYZ]|x?yz?|xz|ab|ac|bc|abc)(?![A-Za-z])"

# Amounts in two units, such as 1 hour 30 minutes.
_LARGE = (
    r"(?:hours?|hrs?|h|minutes?|mins?|days?|weeks?|months?|years?|feet|foot|ft|yards?|miles?|pounds?"
    r"|lbs?|kg|km|m|meters?|gallons?|dollars?)"
)
_SMALL = (
    r"(?:minutes?|mins?|seconds?|secs?|s|hours?|days?|weeks?|months?|inch(?:es)?|in|feet|yards?"
    r"|ounces?|oz|g|grams?|m|meters?|cm|quarts?|cents?)"
)

_AFTER = re.compile(
    rf"\s?{_COMMAND}|\s?[\^√∛π∞±]|_[\d{{(]|\s?\\[{{}}]"
    rf"|{_VARIABLE}|:\d|\s:\s\d|\((?=[-\d\\]|[a-z][)\s+*/^-])"
    r"|\s?(?:[*/+·×÷]|\*\*)\s?(?=[\d(\\√]|sqrt|log|pi\b|[a-z](?![\w.]))|\s?-\s?(?=[(\\√]|[a-z](?![\w.-]))"
    r"|\s(?:plus|minus|times|mod|choose|divided\sby|multiplied\sby|to\sthe\spower)\s"
    rf"|\s?{_LARGE},?\s(?:and\s)?\d[\d.,/]*\s?{_SMALL}\b|'\s?\d"
)
_BEHIND = re.compile(
    rf"(?:{_COMMAND}\s?(?:_?\{{?\w{{0,9}}\}}?\s?)?(?:\[[^\[\]]{{0,9}}\])?[-+*/({{\s]{{0,4}}"
    r"|\\[{}|]\s?|[√∛π±∞]\s?[-+*/(]?\s?"
    r"|(?<![A-Za-z])(?:sqrt|log|ln|sin|cos|tan|exp|mod|choose|pi)\s?[({]?\s?"
    r"|(?<![A-Za-z])[A-Za-z]\s?[-+*/·×÷^]\s?|(?<![A-Za-z])[A-Za-z]\(\s?"
    r"|[)\]}]\s?[-+*/·×÷]?\s?(?<!\s\s)(?<![)\]}]\s)|[\d)]\s?[+/·×÷]\s?|\d\s?\*\s?|\d\*\*|\d\s?x\s?"
    r"|[\w)\]}$]\s?[<≤≥≠>]=?\s?|\d:|\d\s:\s"
    r"|\d\s(?:plus|minus|times|mod|choose|divided\sby|multiplied\sby)\s"
    rf"|\d\s?{_LARGE},?\s(?:and\s)?|\d')\Z"
)
_WINDOW = 60

_OPEN = re.compile(r"[(\[⟨]\s?\Z")
_ITEM = re.compile(r"[(\[⟨][^()\[\]⟨⟩\n]{0,40}[,;]\s?\Z")
_MORE = re.compile(r"\s?[,;]\s?[-+]?\s?(?:[\d\\√π∞]|[a-z](?![a-z]))")
_CLOSE = re.compile(r"\s?[)\]⟩]")

_BAR = r"(?!(?:or|and|to|mod|choose|plus|minus|times|divided|over|sqrt|pi|between"
_BAR += r"|through|e|i|n|x|y|z)\b)"
_WORD = rf"{_BAR}[^\W\d_]{{1,24}}(?![^\W\d_])(?:\^\{{?-?\d\}}?)?"
_UNIT = re.compile(
    rf"(?:\s?[%°$¢‰′″'\"]|\s?\(\s?{_WORD}(?:\s{_WORD}){{0,4}}\s?\)|\s?[-/·]?\s?{_WORD}\.?){{0,12}}"
    r"[\s.,;*_`\"')\]}$]*"
)
_BEFORE = re.compile(
    r"(?:[\s:=*_\"'`(\[{\\~\u2248>$\u20ac\u00a3\u00a5+]"
    r"|(?:about|approximately|roughly|exactly|only|therefore|thus|usd|rs\.?)(?!\w)){0,60}",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"\s?\([A-J]\)\s?|(?:[^\d\\^_+*/=<≤≥>√∛π∞±|\[\]{}()$.-]|(?<=\w)-(?=[^\W\d])){0,200}"
    r"(?=[-+$.\d*(`])"
)
_LESS = re.compile(r"\s?[<>≤≥≠]")
_EQUAL = re.compile(r"[=\u2248]|\\(?:approx|simeq)(?![A-Za-z])")
_NAME = re.compile(
    r"[\s$*({]*(?:[^\W\d_]{2,24}[\s,:]{1,3}){0,20}(?:\\?[^\W\d_]+(?:_\{?\w{1,9}\}?)?)(?:\([^()]{0,40}\))?[\s$*)}]*"
)
_FREE = re.compile(r"(?<![A-Za-z\\])(?![aAI]\s)[A-Za-z](?![A-Za-z])")
_LONGEST = 400
_SAID = re.compile(r"[^\W\d_]|[%°]")
_UNCLEAR = re.compile(r"[1-9]\d{0,8},\d{1,2}")


def number_at(text: str, position: int) -> re.Match[str] | None:
    """The number at ``position`` of ``text``, behind nothing but spaces, type and currency."""
    before = _BEFORE.match(text, position)
    start = before.end() if before else position
    for begin in range(max(position, start - 2), start + 1):  # with its currency
        if match := NUMBER.match(text, begin):
            return match
    return None


def in_expression(text: str, match: re.Match[str]) -> bool:
    """Whether the number that ``match`` found in ``text`` is only a part of what stands there."""
    if math.isnan(value(match) or 0.0):
        return True
    start, end = match.span()
    behind = text[max(0, start - _WINDOW) : start]
    if _AFTER.match(text, end) or _BEHIND.search(behind):
        return True
    opened = bool(_OPEN.search(behind))
    unclear = match["currency"] is None and _UNCLEAR.fullmatch(match["digits"])
    if opened and (_MORE.match(text, end) or unclear and _CLOSE.match(text, end)):
        return True
    return bool(_ITEM.search(behind)) and bool(_CLOSE.match(text, end) or _MORE.match(text, end))


def alone(content: str, strict: bool = False) -> re.Match[str] | None:
    """The number that ``content`` consists of, beside sign, unit, currency and a name or a sum in
    front of "=" ("x = 42", "6 * 7 = 42"); None where it holds anything else.

    ``strict`` also refuses what is not clear without the rest of the text: powers, and decimal
    commas that might part two numbers (``2,5``).
    """
    if len(content) > _LONGEST:
        return None
    *sides, last = _EQUAL.split(content)
    if (
        sides
        and not (len(sides) == 1 and _NAME.fullmatch(sides[0]))
        and any(_FREE.search(side) for side in sides)
    ):
        return None  # an equation in a variable
    if _LESS.match(last):
        return None
    lead = _LEAD.match(last)
    match = number_at(last, 0) or (number_at(last, lead.end()) if lead else None)
    if match is None or value(match) is None:
        return None
    if is_list(match) or in_expression(last, match):
        return None
    if not _UNIT.fullmatch(last, match.end()):
        return None
    powered = match["raised"] or match["braced"]
    clear = names_dollars(last) or _SAID.search(last, match.end())
    unclear = not clear and _UNCLEAR.fullmatch(match["digits"])
    return None if strict and (powered or unclear) else match
