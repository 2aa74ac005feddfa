"""Numbers as they are written: digits, sign, currency, fraction, power and scale, and the value
that they have together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

# Quantifiers are bounded or followed by what they cannot match, so that reading stays linear.
NUMBER = re.compile(
    r"(?:(?<![\w)\]}%.])(?P<sign>-))?(?P<currency>[$\u20ac\u00a3\u00a5]\s?)?"
    r"(?<![\w^])(?<!\w\.)(?<![\^_]\{)"
    r"(?:(?P<whole>\d{1,9}) (?=\d{1,9}/\d))?"
    r"(?P<digits>\d+(?:[.,]\d+)*|\.\d+)(?![.,]?\d|(?:st|nd|rd|th)\b)"
    r"(?:\s?/\s?(?P<under>\d+(?:\.\d+)?)(?![\d/]|\.\d))?"
    r"(?:[eE](?P<exponent>[-+]?\d{1,2})(?!\w)"
    r"|\s?(?:[x\u00d7*\u00b7]|\\times|\\cdot)\s?10\s?\^\s?\{?(?P<power>-?\d{1,2})(?!\d)\}?"
    r"|\s?\^\s?(?:\{\s?(?P<braced>[-+]?\d{1,3})\s?\}|(?P<raised>-?\d{1,3})(?![\d.]))"
    r"|(?P<scale>(?:[ -]?(?:hundred|thousand|million|billion|trillion|lakh|crore)\b){1,2})"
    r"|(?P<hanzi>[\u4e07\u842c\u4ebf\u5104\u5343\u767e]{1,2})"
    r"|(?P<short>[kKMB]|bn|mn|mln|mio)(?![\w^/])"
    r"|(?(currency)\s?(?P<money>[kKmMbBtT]|tn)(?![\w^/])|(?!)))?"
)
"""A number in plain spelling; ``value`` says what it is worth."""

_ENGLISH = re.compile(r"(?:\d+|[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d{2})+,\d{3})?(?:\.\d+)?")
_CONTINENTAL = re.compile(r"(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+),\d+|[1-9]\d{0,2}(?:\.\d{3}){2,}")
_SCALES = {
    "hundred": 2, "thousand": 3, "lakh": 5, "million": 6, "crore": 7, "billion": 9, "trillion": 12,
    "k": 3, "K": 3, "m": 6, "M": 6, "mn": 6, "mln": 6, "mio": 6, "b": 9, "B": 9, "bn": 9,
    "t": 12, "tn": 12, "T": 12,
    "\u767e": 2, "\u5343": 3, "\u4e07": 4, "\u842c": 4, "\u4ebf": 8, "\u5104": 8,
}  # fmt: skip
_LONGEST = 40


def numbers(text: str) -> Iterator[tuple[re.Match[str], float]]:
    """Every number of ``text`` with its ``value``, left to right."""
    for match in NUMBER.finditer(text):
        if (worth := value(match)) is not None:
            yield match, worth


def value(match: re.Match[str]) -> float | None:
    """What ``NUMBER`` matched is worth: NaN where the value is not finite, as of a division by 0,
    and None where it is no number after all, as a version."""
    number, under = _decimal(match["digits"]), _decimal(match["under"] or "1")
    if number is None or under is None:
        return None
    if under == 0:
        return math.nan
    number = number / under + int(match["whole"] or 0)
    number *= 10.0 ** (int(match["exponent"] or match["power"] or 0) + _zeros(match))
    if (raised := match["braced"] or match["raised"]) is not None:
        try:
            number **= int(raised)
        except (OverflowError, ZeroDivisionError):
            return math.nan
    return -number if match["sign"] else number


def is_list(match: re.Match[str]) -> bool:
    """Whether the digits are several numbers such as 3,5,7."""
    digits = match["digits"]
    return "," in digits and not (_ENGLISH.fullmatch(digits) or _CONTINENTAL.fullmatch(digits))


def _zeros(match: re.Match[str]) -> int:
    if match["scale"]:
        return sum(_SCALES[word] for word in re.split("[ -]", match["scale"]) if word)
    if match["hanzi"]:
        return sum(_SCALES[character] for character in match["hanzi"])
    return _SCALES.get(match["short"] or match["money"] or "", 0)


def _decimal(run: str) -> float | None:
    if len(run) > _LONGEST:
        return None
    if _ENGLISH.fullmatch(run):
        return float(run.replace(",", ""))
    if _CONTINENTAL.fullmatch(run):
        return float(run.replace(".", "").replace(",", "."))
    last = run.rpartition(",")[2]  # of a list such as 3,5,7
    return float(last) if _ENGLISH.fullmatch(last) else None
