"""Draws the rows of a split: which tools, which call, which documentation is shown.

The prompt is kept short on purpose (tests hold it below 130 tokens): a small model on a CPU
should spend its time on the call.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from unisd_core.tasks.minitools.catalogue import DOMAIN_OF, TOOLS, UNSEEN, siblings
from unisd_core.tasks.minitools.phrasing import one_request, two_requests
from unisd_core.tasks.minitools.tools import Tool
from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.reading.tool_calls import write_calls
from unisd_core.tasks.row import Row

SIZES = {"train": 2000, "seen": 300, "unseen": 200}
TWO_CALL_EVERY = 10
"""Each tenth row asks for two calls, so that every stretch of a split holds its share."""
SAME_TOOL_SHARE = 0.5
"""Of the two-call rows, how many call one tool twice."""
DISTRACTOR_SHARE = 0.2
"""Of the one-call rows, how many also document another tool of the domain."""

_PROMPT = """Tools:
{documentation}
Reply with tool calls only:
Action: <tool>
Action Input: <JSON>
Request: {request}"""

Drawn = tuple[list[Call], str, list[Tool]]
"""Calls in order, the request for them, and the tools documented in the prompt."""


def generate(seed: int) -> dict[str, list[Row]]:
    """All splits, the same for the same seed; no request occurs twice in or between them."""
    taken: set[str] = set()
    seen = [tool for tool in TOOLS.values() if tool.name not in UNSEEN]
    unseen = [tool for tool in TOOLS.values() if tool.name in UNSEEN]
    return {
        split: _split(split, seed, unseen if split == "unseen" else seen, taken) for split in SIZES
    }


def describe(calls: Sequence[Call]) -> str:
    """One sentence that names the tools and their arguments, right or wrong alike."""
    parts = [
        f"{call.action} with " + (_listing(call) if call.arguments else "no arguments")
        for call in calls
    ]
    return f"The request needs {', then '.join(parts)}."


def _listing(call: Call) -> str:
    words = [
        f"{name} {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in call.arguments.items()
    ]
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[:-1] else words)


def _split(split: str, seed: int, tools: list[Tool], taken: set[str]) -> list[Row]:
    rng = random.Random(f"minitools/{seed}/{split}")
    order = list(tools)
    rows: list[Row] = []
    while len(rows) < SIZES[split]:
        # Each tool once per round, so that every tool is met about equally often.
        rng.shuffle(order)
        for tool in order[: SIZES[split] - len(rows)]:
            draw = _two_calls if len(rows) % TWO_CALL_EVERY == 0 else _one_call
            calls, request, shown = draw(tool, tools, rng)
            while request in taken:
                calls, request, shown = draw(tool, tools, rng)
            taken.add(request)
            rows.append(_row(f"minitools/{split}/{len(rows):05d}", calls, request, shown))
    return rows


def _one_call(tool: Tool, tools: list[Tool], rng: random.Random) -> Drawn:
    call, request = one_request(tool, rng)
    shown = [tool]
    if rng.random() < DISTRACTOR_SHARE:
        shown.append(rng.choice(siblings(tool.name)))
        rng.shuffle(shown)
    return [call], request, shown


def _two_calls(tool: Tool, tools: list[Tool], rng: random.Random) -> Drawn:
    pairable = [t for t in tools if t.clause]
    first = tool if tool.clause else rng.choice(pairable)
    if rng.random() < SAME_TOOL_SHARE:
        shown = [first]
    else:
        shown = [first, rng.choice([t for t in pairable if t != first])]
    calls, request = two_requests(first, shown[-1], rng)
    rng.shuffle(shown)
    return calls, request, shown


def _row(uid: str, calls: list[Call], request: str, shown: list[Tool]) -> Row:
    return Row(
        uid=uid,
        prompt=_PROMPT.format(
            documentation="\n".join(t.documentation for t in shown), request=request
        ),
        reference=write_calls(calls),
        details={
            "request": request,
            "calls": [{"action": c.action, "arguments": dict(c.arguments)} for c in calls],
            "tools": [t.name for t in shown],
        },
        retrieval_text=request,
        question=request,
        hint=describe(calls),
        category=DOMAIN_OF[calls[0].action],
    )
