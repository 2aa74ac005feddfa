"""Reads the chosen letter out of free text.

Five kinds of evidence, strongest first; the first kind that names a letter decides:

1. a statement, ``Answer: B`` or "the answer is B". The last one wins: a model that corrects itself
   means the correction.
2. a verdict, "B is correct". Again the last.
3. a line that begins an option, ``B. text``, unless several letters do: then the options are
   only being listed, and a line that is one letter and nothing else counts.
4. a capital letter standing alone; the last one.
5. a small letter at the start of the text, ``b) text``.

Only letters of the question count. Bold, brackets, quotes and LaTeX boxes around a letter are
tolerated, fullwidth letters are read as their plain ones. "A" and "I" are also words: without such
marks they count only where no word can follow them as it follows an article. "A or B" names no
choice, and neither do "not B" and "B is wrong".
"""

from __future__ import annotations

import re

_SPELLINGS = {0xFF01 + i: 0x21 + i for i in range(94)}
"""Fullwidth characters as their ASCII ones."""

# Quantifiers are bounded or never adjacent, so that reading stays linear in the text.
_NO_SPACES = re.compile(r"[\u3001-\u9fff\uac00-\ud7a3]+")  # scripts that join words
_LATEX = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf)\s*\{")
_MARKED = re.compile(
    r"(?<!\w)[*_`\"'\u201c\u2018\[<{($]{1,8}([A-Za-z])[.:]?[*_`\"'\u201d\u2019\]>})$]{1,8}(?!\w)"
)
_DECORATION = re.compile(r"[*_`$\"\u201c\u201d]|(?<![A-Za-z])#")

_NAMED = r"(?:(?i:option|choice|letter)\s+)?"
_ANY = r"(?:\([A-Z]\)|(?<![\w'\u2019.-])[A-Z](?!\w))"
_BARE = r"(?P<bare>[A-Za-z])(?!\w|['\u2019]\w|[+#]|-\w|\s{0,3}=)"
_LETTER = rf"(?:(?i:the|both|either)\s+)?{_NAMED}(?:\((?P<marked>[A-Za-z])\)|{_BARE})"
_SECOND = (
    r"(?P<second>\s*(?:(?:or|and)\b|[/&,|](?:\s*(?:or|and)\b)?)\s*"
    rf"(?:(?i:maybe|perhaps|possibly)\s+)?{_NAMED}(?:\([A-Z]\)|[A-Z]\b))?"
)
_STATEMENT = re.compile(
    r"(?:\b(?i:answer)\s*[:=\u2013\u2014-]\s*"
    r"|\b(?i:answer|(?:correct|right|best)\s+(?:option|choice))\s+"
    r"(?:is|would\s+be|must\s+be|should\s+be)\b"
    r"(?:\s+(?:therefore|thus|clearly|likely|probably|most\s+likely))?\s*(?::\s*)?)"
    rf"{_LETTER}{_SECOND}"
)
_CORRECTION = re.compile(
    r"\b(?i:no|wait|sorry|actually|correction|i\s+mean)[,.:!\u2013\u2014-]*\s{1,3}"
    r"(?:(?i:it\s+is|it's|rather)\s+)?(?:\((?P<marked>[A-Z])\)|(?P<bare>[A-Z]))"
    r"(?=[ \t]*(?:[.!;]|$))(?P<second>)",
    re.MULTILINE,
)
_VERDICT = re.compile(
    r"(?:\((?P<marked>[A-Z])\)|(?<![\w'\u2019.-])(?P<bare>[A-Z]))\s+"
    r"(?:is|must\s+be|would\s+be|seems|looks)\s+(?:(?:therefore|thus|clearly)\s+)?"
    r"(?:the\s+)?(?:(?:most\s+)?(?:correct|right|best)|answer)\b"
)
_OPTION_LINE = re.compile(
    r"^[ \t>-]*(?:\((?P<marked>[A-Z])\)|(?P<bare>[A-Z])(?:[.):](?!\w)|[ \t]*$))(?P<text>[^\n]*)",
    re.MULTILINE,
)
_INLINE_OPTION = re.compile(r"(?<![\w(])[A-Z][):](?=\s)")
_ALONE = re.compile(
    r"\((?P<marked>[A-Z])\)|\b(?i:option|choice|letter)\s+(?P<named>[A-Zb-hj])(?![\w'\u2019])"
    r"|(?<![\w'\u2019.-])(?P<bare>[A-Z])(?![\w'\u2019+#-]|\.\w|\s{0,3}=)"
)
_SMALL = re.compile(r"\s*(?:\((?P<marked>[a-z])\)|(?P<bare>[a-z])(?:[.):](?=\s|\Z)|\s*\Z))")

_REFUSED = re.compile(
    rf"\b(?i:not|nor|neither|than|over)\s+(?i:the\s+)?{_NAMED}{_ANY}"
    rf"|{_ANY}\s+(?:is|are|was|seems|looks)\s+(?:\w{{1,12}}\s+)?(?:wrong|incorrect|false)\b"
)
_DOUBTED = re.compile(
    rf"{_ANY}\s+(?:(?:is|are|was|seems|looks)\s+(?:not|too|out)|isn['\u2019]t|cannot|can['\u2019]t"
    r"|(?:does|do|did|would)(?:\s+not|n['\u2019]t))\b"
)
_LISTED = re.compile(
    rf"{_ANY}(?:\s{{0,3}},\s{{0,3}}{_ANY}){{0,9}}\s{{0,3}},?\s{{0,3}}(?:(?:and|or)\b|[&/])\s{{0,3}}"
    rf"{_ANY}(?!(?<=[AI])\s+[a-z])|{_ANY}(?:\s{{0,3}},\s{{0,3}}{_ANY}){{2,9}}"
)
_THING = re.compile(r"\b(?i:vitamin|plan|hepatitis|type|figure|point)\s+[A-Z]\b")

_GROUPS = ("marked", "bare", "named")
_WORDS = frozenset("AI")
_NEXT_WORD = re.compile(r"\s+(?!(?:because|since|as|is|due)\b|\w+:)\w")
_ENDS_LINE = re.compile(r"[ \t.!?)]*$", re.MULTILINE)
_ENDS_FIELD = re.compile(r"[.):]|[ \t]*$", re.MULTILINE)


def extract_choice(text: str, letters: str) -> str | None:
    """The letter of ``letters`` (such as "ABCD") that ``text`` settles on, or None.

    Reads any text without raising.
    """
    plain = _NO_SPACES.sub(" ", text.translate(_SPELLINGS))
    plain = _DECORATION.sub("", _MARKED.sub(r"(\1)", _LATEX.sub("{", plain)))
    plain = _REFUSED.sub("", plain)
    statements = [match for match in _STATEMENT.finditer(plain) if _states(match)]
    if statements:
        statements += _CORRECTION.finditer(plain)
        statements.sort(key=lambda match: match.start())
    stated = [_letter(match) for match in statements if not match["second"]]
    stated = [letter for letter in stated if letter in letters]
    if stated:
        return stated[-1]
    if any(match["second"] for match in statements):
        return None
    verdicts = [_letter(match) for match in _VERDICT.finditer(plain)]
    verdicts = [letter for letter in verdicts if letter in letters]
    if verdicts:
        return verdicts[-1]
    return _from_lines(plain, letters) or _from_prose(plain, letters)


def _from_lines(plain: str, letters: str) -> str | None:
    lines = [
        match for match in _OPTION_LINE.finditer(plain) if not _INLINE_OPTION.search(match["text"])
    ]
    for chosen in (lines, [match for match in lines if not match["text"].strip(" \t.)")]):
        listed = {_letter(match) for match in chosen} & set(letters)
        if len(listed) == 1:
            return listed.pop()
    return None


def _from_prose(plain: str, letters: str) -> str | None:
    prose = _OPTION_LINE.sub("", plain)
    if len(set(_INLINE_OPTION.findall(prose))) > 1:
        prose = _INLINE_OPTION.sub("", prose)
    for pattern in (_THING, _LISTED, _DOUBTED):
        prose = pattern.sub("", prose)
    alone = [_letter(match) for match in _ALONE.finditer(prose) if _stands_alone(match)]
    alone = [letter for letter in alone if letter in letters]
    if alone:
        return alone[-1]
    small = _SMALL.match(plain)
    return _letter(small) if small and _letter(small) in letters else None


def _letter(match: re.Match[str]) -> str:
    return next(letter for letter in map(match.groupdict().get, _GROUPS) if letter).upper()


def _states(match: re.Match[str]) -> bool:
    """Whether a letter after "Answer:" is meant as one, not as the word "a" or "I"."""
    letter = match["bare"]
    if letter is None:
        return True
    if letter.islower():
        return bool(_ENDS_FIELD.match(match.string, match.end()))
    return letter not in _WORDS or not _NEXT_WORD.match(match.string, match.end())


def _stands_alone(match: re.Match[str]) -> bool:
    letter = match["bare"]
    return letter not in _WORDS or bool(_ENDS_LINE.match(match.string, match.end()))
