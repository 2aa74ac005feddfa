"""Reads the chosen letter out of free text.

Only what follows a thought is read. Five kinds of evidence, strongest first; the first kind that
names a letter decides:

1. a statement, ``Answer: B``, "the answer is B" or a LaTeX box. The last one wins: a model that
   corrects itself means the correction.
2. a verdict, "B is correct" or "I choose B". Again the last.
3. a line that begins an option, ``B. text``, unless several letters do: then the options are
   only being listed, and a line that is one letter and nothing else counts.
4. a capital letter standing alone; the last one.
5. a small letter at the start of the text, ``b) text``.

Only letters of the question count. Bold, brackets, quotes and LaTeX boxes around a letter are
tolerated, fullwidth letters are read as their plain ones. "A" and "I" are also words: without such
marks they count unless they read as the article or the pronoun (``articles``). "A or B" names no
choice, and neither do "not B" and "B is wrong".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from unisd_core.common.thoughts import after_thought
from unisd_core.tasks.reading.articles import NO_NOUN, is_word, option_words

_SPELLINGS = {0xFF01 + i: 0x21 + i for i in range(94)}
"""Fullwidth characters as their ASCII ones."""

# Quantifiers are bounded or never adjacent, so that reading stays linear in the text.
_JOINED_LABEL = re.compile(
    "(?:\u7b54\u6848|\u7b54\u3048|\u56de\u7b54|\u6b63\u89e3|\uc815\ub2f5|\ub2f5)"
    "(?![\u4e0d\u975e])[ \t]{0,3}[\u662f\u4e3a\u70ba\u306f\uc740\ub294]?[ \t]{0,3}:?"
)
"""Chinese, Japanese and Korean for "answer" or "answer is"."""
_JOINED_NOT = re.compile("[\u4e0d\u975e][\u662f\u9009\u9078]?")
_NO_SPACES = re.compile(r"[\u3001-\u9fff\uac00-\ud7a3]+")  # scripts that join words
_BOX = re.compile(r"\\f?boxed(?=\s{0,3}\{)")
_LATEX = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathsf)\s{0,3}\{|\\[()\[\]]")
_MARKED = re.compile(
    r"(?<!\w)[*_`\"'\u201c\u2018\[<{($]{1,8}([A-Za-z])[.:]?[*_`\"'\u201d\u2019\]>})$]{1,8}(?!\w)"
)
_DECORATION = re.compile(r"[*_`$\"\u201c\u201d{}]|(?<![A-Za-z])#")

_NAMED = r"(?:(?i:option|choice|letter)\s+)?"
_ANY = r"(?:\([A-Z]\)|(?<![\w'\u2019.-])[A-Z](?!\w))"
_BARE = r"(?P<bare>[A-Za-z])(?!\w|['\u2019]\w|[+#]|-\w|\s{0,3}=)"
_LETTER = rf"(?:(?i:the|both|either)\s+)?{_NAMED}(?:\((?P<marked>[A-Za-z])\)|{_BARE})"
_SECOND = (
    r"(?P<second>\s*(?:(?:or|and)\b|[/&,|](?:\s*(?:or|and)\b)?)\s*"
    rf"(?:(?i:maybe|perhaps|possibly)\s+)?{_NAMED}(?:\([A-Z]\)|[A-Z]\b))?"
)
_STATEMENT = re.compile(
    r"(?:(?<![/\w])(?:(?i:ans(?:wer)?|respuesta|resposta|risposta|jawaban)"
    r"|(?P<foreign>(?i:antwort|antwoord|svar|r\u00e9ponse|reponse|\u043e\u0442\u0432\u0435\u0442"
    r"|odpowied\u017a|cevap)))\s*[:=>\u2013\u2014-]{1,2}\s*"
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
_CHOSEN = re.compile(
    r"\bI(?:['\u2019](?:d|ll|m)|\s{1,3}(?:would|will|must|am))?\s{1,3}(?i:(?:therefore|thus)\s{1,3})?"
    r"(?i:choose|chose|pick|select|prefer|opt\s+for|go(?:ing)?\s+(?:with|for))\s{1,3}"
    rf"{_LETTER}{_SECOND}"
)
_VERDICT = re.compile(
    r"(?:\((?P<marked>[A-Z])\)|(?<![\w'\u2019.-])(?P<bare>[A-Z]))\s+"
    r"(?:is|must\s+be|would\s+be|seems|looks)\s+(?:(?:therefore|thus|clearly)\s+)?"
    r"(?:the\s+)?(?:(?:most\s+)?(?:correct|right|best)|answer)\b(?P<second>)"
)
_OPTION_LINE = re.compile(
    r"^[ \t>-]*(?:\((?P<marked>[A-Z])\)|(?P<bare>[A-Z])(?:[.):](?!\w)|[ \t]*$))(?P<text>[^\n]*)",
    re.MULTILINE,
)
_INLINE_OPTION = re.compile(r"(?<![\w(])[A-Z][):](?=\s)")
_ALONE = re.compile(
    r"\((?P<marked>[A-Z])\)|\b(?i:option|choice|letter)\s+(?P<named>[A-Za-z])(?![\w'\u2019])"
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
    rf"{_ANY}(?!(?<=[AI])\s{{1,3}}(?!{NO_NOUN})[a-z])|{_ANY}(?:\s{{0,3}},\s{{0,3}}{_ANY}){{2,9}}"
)
_THING = re.compile(r"\b(?i:vitamin|plan|hepatitis|type|figure|point)\s+[A-Z]\b")

_GROUPS = ("marked", "bare", "named")
_ENDS_FIELD = re.compile(
    rf"[.):,;!?]|[ \t]*$|\s{{1,3}}(?:[\u2013\u2014(-]|{NO_NOUN})", re.MULTILINE
)


def extract_choice(text: str, letters: str, options: Sequence[str] = ()) -> str | None:
    """The letter of ``letters`` (such as "ABCD") that ``text`` settles on, or None.

    ``options`` are the texts behind the letters, where they are known: they tell "A heart" as
    letter and option from the article and a noun. Reads any text without raising.
    """
    plain = _JOINED_LABEL.sub(" Answer: ", after_thought(text).translate(_SPELLINGS))
    plain = _NO_SPACES.sub(" ", _JOINED_NOT.sub(" not ", plain))
    plain = _LATEX.sub("{", _BOX.sub(" Answer: ", plain))
    plain = _DECORATION.sub("", _MARKED.sub(r"(\1)", plain))
    plain = _REFUSED.sub("", plain)
    return _Reader(plain, letters, option_words(options)).letter()


class _Reader:
    """What one ``text`` without decoration says."""

    def __init__(self, text: str, letters: str, options: Sequence[list[str]]) -> None:
        self.text = text
        self.letters = letters
        self.options = options

    def letter(self) -> str | None:
        statements = [match for match in _STATEMENT.finditer(self.text) if self.states(match)]
        if statements:
            statements += _CORRECTION.finditer(self.text)
            statements.sort(key=lambda match: match.start())
        stated = self.last(statements)
        if stated or any(match["second"] for match in statements):
            return stated
        verdicts = [match for match in _CHOSEN.finditer(self.text) if self.states(match)]
        verdicts += _VERDICT.finditer(self.text)
        verdicts.sort(key=lambda match: match.end())
        return self.last(verdicts) or self.from_lines() or self.from_prose()

    def last(self, matches: Sequence[re.Match[str]]) -> str | None:
        """The last letter of the question that is not one of two."""
        found = [_letter(match) for match in matches if not match["second"]]
        return next((letter for letter in reversed(found) if letter in self.letters), None)

    def states(self, match: re.Match[str]) -> bool:
        """Whether a letter after "Answer:" is meant as one, not as the word "a" or "I"."""
        letter = match["bare"]
        if letter is None:
            return True
        if letter.islower() and not _ENDS_FIELD.match(self.text, match.end("bare")):
            return False
        if match.groupdict().get("foreign"):
            return True
        return not is_word(self.text, *match.span("bare"), self.options, stated=True)

    def from_lines(self) -> str | None:
        lines = [
            match
            for match in _OPTION_LINE.finditer(self.text)
            if not _INLINE_OPTION.search(match["text"])
        ]
        for chosen in (lines, [match for match in lines if not match["text"].strip(" \t.)")]):
            listed = {_letter(match) for match in chosen} & set(self.letters)
            if len(listed) == 1:
                return listed.pop()
        return None

    def from_prose(self) -> str | None:
        prose = _OPTION_LINE.sub("", self.text)
        if len(set(_INLINE_OPTION.findall(prose))) > 1:
            prose = _INLINE_OPTION.sub("", prose)
        for pattern in (_THING, _LISTED, _DOUBTED):
            prose = pattern.sub("", prose)
        alone = [_letter(match) for match in _ALONE.finditer(prose) if self.stands_alone(match)]
        alone = [letter for letter in alone if letter in self.letters]
        if alone:
            return alone[-1]
        small = _SMALL.match(self.text)
        return _letter(small) if small and _letter(small) in self.letters else None

    def stands_alone(self, match: re.Match[str]) -> bool:
        if match["marked"] or (match["named"] or "").isupper():
            return True
        name = "bare" if match["bare"] else "named"
        return not is_word(match.string, *match.span(name), self.options)


def _letter(match: re.Match[str]) -> str:
    return next(letter for letter in map(match.groupdict().get, _GROUPS) if letter).upper()
