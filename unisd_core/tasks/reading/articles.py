"""Articles: whether "A" or "I" is meant as a letter, or as the article or the pronoun."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_NEITHER = (
    r"because|since|as|due\s+to|if|when|where|which|that|this|these|those|the|an?|its?"
    r"|it['\u2019]s|he|she|they|we|you|his|her|their|our|my|your|i|rather(?=\s+than|\s*$)"
    r"|instead\s+of|is|are|has|does|isn['\u2019]t|doesn['\u2019]t|seems|appears|looks|sounds|comes"
    r"|makes|fits|matches|works|describes|explains|says|means|shows|gives|refers|contains"
    r"|represents|[^\W\d]\w{0,19}:"
)
_NO_ARTICLE = (
    r"for|to|in|on|at|of|by|from|with|without|into|and|or|but|was|were|would|could|should|cannot"
)
_ENDS_WORD = r"(?![\w'\u2019-])"

NO_NOUN = rf"(?i:{_NEITHER}|{_NO_ARTICLE}){_ENDS_WORD}"
"""Words that no article stands before."""

_LOOKED_AT = 160
_LOOKED_BACK = 24
"""Characters after and before a letter that decide; the bounds keep reading linear."""
_NEXT_WORD = re.compile(r"[^\S\n]+(?=\w)")
_NO_NOUN = re.compile(NO_NOUN)
_NO_VERB = re.compile(rf"(?i:{_NEITHER}){_ENDS_WORD}")
_NAME = re.compile(r"[A-Z]|\d[\d.,]*\s{0,3}(?:$|[;:!?)])", re.MULTILINE)
_GOES_ON = re.compile(r"[ \t.!?)]*,|[.!?)]+[ \t]+\w")
_CHOOSES = re.compile(
    r"(?i:\b(?:choice|option|letter|selection)\s*[:=]|\b(?:is|choose|chose|pick|select|prefer|with"
    r"|opt\s+for|option|choice))\s*\Z"
)
_WORD = re.compile(r"\w+")


class _Match(NamedTuple):
    """How well words begin like an option: the better one is larger."""

    shared: int
    complete: bool
    same_case: int


_NO_MATCH = _Match(0, False, 0)


def option_words(options: Sequence[str]) -> list[list[str]]:
    """The words of each option."""
    return [_WORD.findall(option) for option in options]


def is_word(
    text: str, start: int, end: int, options: Sequence[list[str]] = (), stated: bool = False
) -> bool:
    """Whether the bare letter ``text[start:end]`` is the article or the pronoun.

    A letter that nothing follows on its line, a sign, or a word that no article stands before, is
    a letter. Otherwise the words that follow decide: they are the beginning of the letter's own
    option, of the ``option_words``, or of another one. Without either, a name or number after a
    statement (``stated``, or what reads like one) is the option's text, any other word is a noun.
    An own option that begins with the article has to be said with it after the letter: a text
    without a letter names none, whichever option it is.
    """
    letter = text[start:end]
    if letter not in ("A", "I", "a", "i"):
        return False
    before = text[max(0, start - _LOOKED_BACK) : start]
    line = text[end : end + _LOOKED_AT].partition("\n")[0]
    stated = stated or bool(_CHOOSES.search(before))
    gap = _NEXT_WORD.match(line)
    if gap is None:
        # "Tom and I, of course. So did I."
        return letter in "Ii" and not stated and bool(_GOES_ON.match(line))
    rest = line[gap.end() :]
    if (_NO_VERB if letter in "Ii" else _NO_NOUN).match(rest):
        return False
    if not stated and before.rpartition("\n")[2].strip():
        return True
    own, other = _shared(rest, "ABCDEFGHIJ".index(letter.upper()), options)
    if not stated:
        return own <= other or own.shared < len(_WORD.findall(rest)) or not _NAME.match(rest)
    if own != other:
        return own < other
    return letter.islower() or not _NAME.match(rest)


def _shared(rest: str, index: int, options: Sequence[list[str]]) -> tuple[_Match, _Match]:
    """How well ``rest`` begins like the option at ``index``, and like the best of those that it
    could name after an article."""
    words = _without_article(_WORD.findall(rest))
    own = other = _NO_MATCH
    for number, option in enumerate(options):
        match = _begins_like(words, _without_article(option))
        if number == index and not _is_one(option[:1], "a", "an"):
            own = match
        else:
            other = max(other, match)
    return own, other


def _begins_like(words: Sequence[str], option: Sequence[str]) -> _Match:
    shared = same_case = 0
    for word, wanted in zip(words, option, strict=False):
        if word.casefold() != wanted.casefold():
            break
        shared += 1
        same_case += word == wanted
    return _Match(shared, 0 < shared == len(option), same_case)


def _without_article(words: list[str]) -> list[str]:
    return words[1:] if _is_one(words[:1], "a", "an", "the") else words


def _is_one(words: Sequence[str], *names: str) -> bool:
    return bool(words) and words[0].casefold() in names
