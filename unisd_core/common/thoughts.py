"""Thoughts: what a model writes before its answer, and what is left without it."""

from __future__ import annotations

import re

# Some families put their own name beside the word, as in <seed:think>.
_NAMES = r"(?:\w+:)?(?:think(?:ing)?|thoughts?|reasoning)(?::\w+)?"
# A tag in quotes is one that the answer speaks of, as a program that looks for tags does; one
# beside a fence is not in quotes.
_TAG = re.compile(
    rf"(?<![\"'])(?<!(?<!`)`)(?:<(?P<close>/)?{_NAMES}>|\[(?P<end>/)?THINK\])(?![\"'])(?!`(?!`))",
    re.IGNORECASE,
)


def after_thought(text: str) -> str:
    """What follows the last thought of ``text``: all of it where there is none, "" where a thought
    is opened and never closed.

    Thoughts stand in ``<think>`` (also ``<thinking>``, ``<thought>``, ``<reasoning>``) or
    ``[THINK]``, as chat templates write them. One that the template opens in front of the
    completion has only its end in ``text``.
    """
    start, inside = 0, False
    for tag in _TAG.finditer(text):
        inside = not _closes(tag)
        start = start if inside else tag.end()
    return "" if inside else text[start:]


def opening_tag(text: str) -> str:
    """The tag that opens a thought at the very end of ``text``, or ""."""
    tags = list(_TAG.finditer(text))
    at_end = bool(tags) and not _closes(tags[-1]) and not text[tags[-1].end() :].strip()
    return tags[-1][0] if at_end else ""


def closing_tag(opening: str) -> str:
    """The tag that closes the thought that ``opening`` opens."""
    return f"{opening[0]}/{opening[1:]}"


def leading_thought(text: str) -> tuple[str | None, str]:
    """The thought that ``text`` begins with, without its tags, and what follows it; None and
    ``text`` where it begins with none that is closed."""
    first = _TAG.match(text, len(text) - len(text.lstrip()))
    if first is None or _closes(first):
        return None, text
    for tag in _TAG.finditer(text, first.end()):
        if _closes(tag):
            return text[first.end() : tag.start()], text[tag.end() :]
    return None, text


def has_tag(text: str) -> bool:
    """Whether a thought begins or ends in ``text``."""
    return _TAG.search(text) is not None


def is_tag(text: str) -> bool:
    """Whether ``text`` is a tag of a thought and nothing else."""
    return _TAG.fullmatch(text.strip()) is not None


def _closes(tag: re.Match[str]) -> bool:
    return bool(tag["close"] or tag["end"])
