"""Kinds of mistakes a model is asked to make in a solution, and the form of what it writes."""

from __future__ import annotations

import ast

from unisd_core.tasks.code.source import parse, written

MISTAKES = {
    "off-by-one": "a bound, an index or a count is off by one",
    "wrong-operator": "one operator or one comparison is the wrong one",
    "missing-edge-case": "one special case is not taken care of",
    "wrong-return": "in some cases the wrong value is returned",
}
"""Kind -> what is wrong with the solution (docs/method.md, "Wrong references")."""

_PROMPT = """{prompt}

A right solution is:
{reference}

Write a wrong version of it that looks right at first sight: {mistake}. It must still run, under \
the same name and with the same arguments, but fail a test. Write the code alone in one code \
block, and do not point at the mistake."""


def mistake_prompt(kind: str, prompt: str, reference: str) -> str:
    """The user turn that asks for an answer to ``prompt`` with a mistake of ``kind``."""
    return _PROMPT.format(prompt=prompt, reference=reference, mistake=MISTAKES[kind])


def as_reference(code: str) -> str | None:
    """A model's program in the form of a reference, without the calls and asserts that try it
    out; None where it is not Python."""
    tree = parse(code)
    if tree is None:
        return None
    tree.body = [node for node in tree.body if not isinstance(node, ast.Expr | ast.Assert)]
    return written(tree)
