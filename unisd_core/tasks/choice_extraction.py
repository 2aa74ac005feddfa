"""Reads the chosen letter out of free text.

Four kinds of evidence, strongest first; the first kind that names a letter decides:

1. an answer field, ``Answer: B``. The last one wins: a model that corrects itself means the
   correction.
2. a sentence, "the answer is B". Again the last.
3. a line that begins an option, ``B. text``, unless several letters do: then the options are
   only being listed.
4. a capital letter standing alone; the last one.

Only letters of the question count. Bold, brackets, quotes and LaTeX boxes around a letter are
tolerated. "A" and "I" are also words: without such marks they count only where no word can
follow them as it follows an article. "A or B" names no choice.
"""

from __future__ import annotations

import re

# Quantifiers are bounded or never adjacent, so that reading stays linear in the text.
_LATEX = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf)\s*\{")
_MARKED = re.compile(
    r"(?<!\w)[*_`\"'\u201c\u2018\[<{($]{1,8}([A-Za-z])[.:]?[*_`\"'\u201d\u2019\]>})$]{1,8}(?!\w)"
)
_DECORATION = re.compile(r"[*_`$#\"\u201c\u201d]")

_LETTER = (
    r"(?:(?i:the\s+)?(?:(?i:option|choice|letter)\s+))?"
    r"(?:\((?P<marked>[A-Za-z])\)|(?P<bare>[A-Za-z])(?![\w'\u2019]))"
)
_SECOND = (
    r"(?P<second>\s*(?:(?:or|and)\b|[/&,|](?:\s*(?:or|and)\b)?)\s*"
    r"(?:(?i:option|choice)\s+)?(?:\([A-Z]\)|[A-Z]\b))?"
)
_FIELD = re.compile(rf"\b(?i:answer)\s*[:\uff1a=\u2013\u2014-]\s*{_LETTER}{_SECOND}")
_SENTENCE = re.compile(
    r"\b(?i:answer|(?:correct|right|best)\s+(?:option|choice))\s+"
    r"(?:is|would\s+be|must\s+be|should\s+be)\b"
    rf"(?:\s+(?:therefore|thus|clearly|likely|probably|most\s+likely))?\s*(?::\s*)?{_LETTER}{_SECOND}"
)
_OPTION_LINE = re.compile(
    r"^[ \t>-]*(?:\((?P<marked>[A-Z])\)|(?P<bare>[A-Z])(?:[.):](?!\w)|[ \t]*$))[^\n]*", re.MULTILINE
)
_ALONE = re.compile(
    r"\((?P<marked>[A-Z])\)|\b(?i:option|choice|letter)\s+(?P<named>[A-Z])(?![\w'\u2019])"
    r"|(?<![\w'\u2019.-])(?<!\bnot )(?P<bare>[A-Z])(?![\w'\u2019-])"
)

_WORDS = frozenset("AI")
_NEXT_WORD = re.compile(r"\s+(?!(?:because|since|as|is|due)\b|\w+:)\w")
_ENDS_LINE = re.compile(r"[ \t.!?)]*$", re.MULTILINE)
_ENDS_FIELD = re.compile(r"[.):]|[ \t]*$", re.MULTILINE)


def extract_choice(text: str, letters: str) -> str | None:
    """The letter of ``letters`` (such as "ABCD") that ``text`` settles on, or None.

    Reads any text without raising.
    """
    plain = _DECORATION.sub("", _MARKED.sub(r"(\1)", _LATEX.sub("{", text)))
    undecided = False
    for pattern in (_FIELD, _SENTENCE):
        statements = [match for match in pattern.finditer(plain) if _states(match)]
        undecided |= any(match["second"] for match in statements)
        stated = [_letter(match) for match in statements if not match["second"]]
        stated = [letter for letter in stated if letter in letters]
        if stated:
            return stated[-1]
    if undecided:
        return None
    listed = {_letter(match) for match in _OPTION_LINE.finditer(plain)} & set(letters)
    if len(listed) == 1:
        return listed.pop()
    prose = _OPTION_LINE.sub("", plain)
    alone = [_letter(match) for match in _ALONE.finditer(prose) if _stands_alone(match)]
    alone = [letter for letter in alone if letter in letters]
    return alone[-1] if alone else None


def _letter(match: re.Match[str]) -> str:
    return next(letter for letter in match.groupdict().values() if letter).upper()


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
