"""Listing: the lettered options that stand in a prompt, and what is asked without their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from unisd_core.tasks.multiple_choice.data import LETTERS

OPTION = re.compile(r"(?<!\w)\(?([A-J])[.):](?=\s)")
"""The mark in front of an option."""


def whole_question(question: str, options: Sequence[str]) -> str:
    """``question`` and its options in an order of their own; see ``Row.question``."""
    return "\n".join([question, *sorted(options, key=lambda text: (text.casefold(), text))])


def unordered(prompt: str, choices: Sequence[str] = ()) -> str:
    """``prompt`` as the same text for every order of its options: ``choices`` where they are
    known, else those that it lists."""
    if choices:
        texts = "|".join(re.escape(text.strip()) for text in sorted(choices, key=len, reverse=True))
        rest = re.sub(rf"{OPTION.pattern}\s+(?:{texts})(?!\w)", "", prompt)
        return whole_question(rest, choices)
    rest, options = split_options(prompt)
    return whole_question(rest, options)


def split_options(prompt: str) -> tuple[str, list[str]]:
    """``prompt`` without the options it lists as A, B and so on, and their texts; the longest list
    where it holds several, no text where it holds none."""
    runs: list[list[re.Match[str]]] = [[]]
    for mark in OPTION.finditer(prompt):
        if mark[1] == "A":
            runs.append([])
        if mark[1] == LETTERS[len(runs[-1]) : len(runs[-1]) + 1]:
            runs[-1].append(mark)
    run = max(runs, key=len)
    if len(run) < 2:
        return prompt, []
    end = prompt.find("\n", run[-1].end())
    end = len(prompt) if end < 0 else end
    borders = [*(mark.start() for mark in run), end]
    texts = [prompt[start:stop] for start, stop in pairwise(borders)]
    options = [OPTION.sub("", text, count=1).strip(" \t\n,;") for text in texts]
    return prompt[: borders[0]] + prompt[end:], options
