"""Thoughts: what a model writes before its answer, and what is left without it."""

from __future__ import annotations

import re

_NAMES = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning)"
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
        inside = not (tag["close"] or tag["end"])
        start = start if inside else tag.end()
    return "" if inside else text[start:]
