"""Spelling of numbers: other scripts, LaTeX and currencies written in one way before reading.

Afterwards digits, signs and spaces are ASCII, fractions are ``a/b``, powers ``^{n}``, thousands
stand together where no comma or point separates them, every currency is ``$`` and LaTeX that only
sets type is gone.
"""

from __future__ import annotations

import re
import unicodedata

_MARK = re.compile(r"<<[^<>\n]*>>")

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_RAISED = re.compile(r"[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_LOWERED = re.compile(r"[₀₁₂₃₄₅₆₇₈₉]+")
_VULGAR = re.compile(r"(?P<whole>\d\s?)?(?P<part>[\u00bc-\u00be\u2150-\u215e\u2189])")
_SINGLE = str.maketrans(
    "\u2010\u2011\u2012\u2013\u2212\ufe63\u2044\u2215\u2217\u22c5\u2219\u2236\u066b\u066c\u060c\uffe0",
    "-" * 6 + "//*··:.,,¢",
)


class _Spellings(dict[int, str]):
    """One spelling for each character, found when first asked for."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        spelled = character
        if code in _SINGLE:
            spelled = chr(_SINGLE[code])
        elif 0xFF01 <= code <= 0xFF5E:
            spelled = chr(code - 0xFF01 + 0x21)
        elif code > 0x7F:
            kind = unicodedata.category(character)
            if kind == "Nd":
                spelled = str(unicodedata.decimal(character))
            elif kind == "Cf":  # soft hyphens, marks of direction, spaces without width
                spelled = ""
            elif kind == "Sc" and character != "¢":
                spelled = "$"
        self[code] = spelled
        return spelled


_SPELLINGS = _Spellings()

# What sets thousands apart besides comma and point; a plain blank only where no mixed number or
# hyphenated measure can be meant.
_GROUP = re.compile(
    r"(?<=\d)(?:['\u2019_]|[\u00a0\u202f\u2009\u2007~]|\\[,;: ]|\{,\}|\{\\,\}|,\\!)(?=\d{3}(?!\d))"
)
_BLANKS = re.compile(r"(?<![\w.,/^])(?<!\^\{)[1-9]\d{0,2}(?: \d{3})+(?![\d-]|\s?/|,\d)")

_TYPE = (
    r"text(?:bf|it|rm|sf|tt|normal|up)?|math(?:rm|bf|it|sf|tt|normal)|mbox|hbox|operatorname|emph"
    r"|bm|boldsymbol"
)
_TYPESET = re.compile(rf"\\(?:{_TYPE})\s?\{{([^{{}}]{{0,200}})\}}")
_TYPESET_START = re.compile(rf"\\(?:{_TYPE})\s?\{{")
_ORDINAL = re.compile(r"(?<=\d)\s?\^\s?\{?\s?(st|nd|rd|th)\b\s?\}?")
_DEGREE = re.compile(
    r"\s?\^\s?\{?\s?(?:\\circ|\u2218|\u00b0|\\degree)(?![A-Za-z])\s?\}?|\\degree(?![A-Za-z])"
)
_SPACE = re.compile(r"\\[,;:> ]|~|\\(?:q?quad|enspace|thinspace)(?![A-Za-z])|[^\S\n ]")
_SILENT = re.compile(
    r"\\(?:(?:displaystyle|textstyle|left|right|[bB]igg?[lr]?|[lc]?dots)(?![A-Za-z])|[!()\[\]]|(?=[$%#&_]))|__"
)
_CURRENCY = re.compile(
    r"\\(?:pounds|euro|yen)(?![A-Za-z])\s?"
    r"|(?<![A-Za-z])(?:(?:US|AU|CA|HK|NZ|[ACRS])\$|(?:Rs\.?|INR|USD|EUR|GBP|CAD|AUD)\s?(?=[-\d.]))",
    re.IGNORECASE,
)
_PART = r"\s?(?:\{\s?(?P<%s>-?\s?\d[\d.,]{0,19}|-?\.\d{1,19})\s?\}|(?P<%s>\d))"
_FRACTION = re.compile(
    r"(?P<whole>\d)?\s?\\(?:[dtc]|nice|s|x)?frac"
    + _PART % ("top", "top_digit")
    + _PART % ("bottom", "bottom_digit")
)
_SPACED_SIGN = re.compile(r"(?<=[#={:(\[]) ?- (?=\$?[\d.])")
_WORD_SIGN = re.compile(r"(?<![\d)%] )\b(?:minus|negative)\s(?=\$?[\d.])", re.IGNORECASE)

_CENTS = r"(\d{1,12}(?:\.\d{1,6})?)\s?(?:¢|\\cent(?![A-Za-z])|cents?\b)"
_MATHS = re.compile(r"\$(?=[^\s$])([^$\n]{0,300})(?<!\s)\$(?!\d)")
_DOLLARS = re.compile(
    r"\$\s?\d[\d.,]*(?![\d.,¢]|\s?cents?\b)|\d\s?(?:dollars?\b|\$)", re.IGNORECASE
)
_ALONE = re.compile(_CENTS, re.IGNORECASE)
_BOTH = re.compile(
    r"(?:\$\s?(?P<sign>\d{1,12})|(?P<word>\d{1,12})\s?dollars?),?\s(?:and\s)?(?=\d{1,2}\s?(?:¢|c))"
    + _CENTS,
    re.IGNORECASE,
)


def spelled_plainly(text: str, dollars: bool = False) -> str:
    """``text`` with its numbers, signs and units in one spelling.

    Cents become dollars where the same line names dollars too ("50¢, that is $0.50") and, with
    ``dollars``, everywhere.
    """
    text = without_marks(text)
    if not text.isascii():
        text = _RAISED.sub(lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}", text)
        text = _LOWERED.sub(lambda m: f"_{{{m[0].translate(_SUBSCRIPTS)}}}", text)
        text = _VULGAR.sub(_vulgar, text).translate(_SPELLINGS)
    if "\\" in text:
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text).replace("\\\\", "\n")
    text = _BLANKS.sub(lambda m: m[0].replace(" ", ""), _GROUP.sub("", text))
    if "\\" in text:
        for _ in range(2):  # one within another
            text = _TYPESET.sub(r"\1", text)
        text = _TYPESET_START.sub("", text)
    text = _DEGREE.sub("°", _ORDINAL.sub(r"\1", text))
    text = _CURRENCY.sub("$", _SPACE.sub(" ", text))
    text = _FRACTION.sub(_fraction, _SILENT.sub("", text))
    text = _WORD_SIGN.sub("-", _SPACED_SIGN.sub(" -", text))
    return _in_dollars(text, dollars) if _ALONE.search(text) else text


def without_marks(text: str) -> str:
    """``text`` without calculator marks such as ``<<6*7=42>>``."""
    return _MARK.sub("", text)


def names_dollars(text: str) -> bool:
    """Whether ``text``, spelled plainly, holds an amount of dollars or of a like currency."""
    return bool(_DOLLARS.search(_MATHS.sub(r"\1", text)))


def _vulgar(match: re.Match[str]) -> str:
    fraction = unicodedata.normalize("NFKC", match["part"])
    whole = match["whole"]
    return f"{whole.strip()} {fraction}" if whole else fraction


def _fraction(match: re.Match[str]) -> str:
    top = (match["top"] or match["top_digit"]).replace(",", "").replace(" ", "")
    bottom = (match["bottom"] or match["bottom_digit"]).replace(",", "").replace(" ", "")
    if bottom.startswith("-"):
        bottom, top = bottom[1:], top[1:] if top.startswith("-") else f"-{top}"
    if match["whole"]:
        return f"{match['whole']} {top}/{bottom}"
    before = match.string[max(0, match.start() - 2) : match.start()].rstrip()
    if top.startswith("-") and before.endswith("-"):
        return f"({top})/{bottom}"  # two signs: an expression
    return f"{top}/{bottom}"


def _in_dollars(text: str, dollars: bool) -> str:
    lines = []
    for line in text.split("\n"):
        if dollars or names_dollars(line):
            line = _BOTH.sub(
                lambda m: f"${float(m['sign'] or m['word']) + float(m[3]) / 100:.2f}", line
            )
            line = _ALONE.sub(lambda m: f"${float(m[1]) / 100:.10f}".rstrip("0").rstrip("."), line)
        lines.append(line)
    return "\n".join(lines)
