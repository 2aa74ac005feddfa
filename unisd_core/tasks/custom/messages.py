"""References of rows that are chat messages, or that have a completion in the place of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unisd_core.common.errors import UserError, shorten
from unisd_core.tasks.data import Record

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""What chat formats call the thought before an answer."""


def with_reference(record: Record) -> Record:
    """``record`` with ``prompt`` and ``reference`` where it holds chat ``messages`` (one user turn
    and its answer) or a ``completion`` instead, as training data often do.

    The thought of the answer stands before it in think tags. Raises UserError naming the row for
    anything in a message that is neither: the reference would lack it.
    """
    fields = record.fields
    if fields.get("reference") is not None:
        return record
    if fields.get("completion") is not None:
        return record.plus(reference=fields["completion"])
    if fields.get("messages") is None:
        return record
    messages = fields["messages"]
    turns = [
        turn if isinstance(turn, dict) else {}
        for turn in (messages if isinstance(messages, list) else [])
    ]
    if [turn.get("role") for turn in turns] != ["user", "assistant"]:
        raise UserError(
            f"{record.place}: field 'messages' must be one user turn and one assistant turn; "
            "give prompt and reference instead"
        )
    prompt = _content(record, turns[0])
    if fields.get("prompt") not in (None, prompt):
        raise UserError(
            f"{record.place}: field 'prompt' is not the user turn of 'messages'; remove one of them"
        )
    reference, thought = _content(record, turns[1]), _thought(record, turns[1])
    if thought and isinstance(reference, str):
        reference = f"<think>\n{thought}\n</think>\n\n{reference}"
    return record.plus(prompt=prompt, reference=reference)


def _content(record: Record, turn: Mapping[str, Any]) -> Any:
    """The content, text parts joined."""
    read = {"role", "content", *(_THOUGHTS if turn["role"] == "assistant" else ())}
    more = [key for key, value in turn.items() if key not in read and _says(value)]
    if more:
        raise UserError(
            f"{record.place}: {turn['role']} turn of 'messages' has {shorten(repr(more[0]), 40)}, "
            "which is not read; give prompt and reference instead"
        )
    content = turn.get("content")
    if not isinstance(content, list):
        return content
    parts = [_part(part) for part in content]
    if None in parts:
        raise UserError(
            f"{record.place}: {turn['role']} turn of 'messages' has a part that is no text; "
            "only text is read"
        )
    return "".join(map(str, parts))


def _part(part: object) -> str | None:
    fields = dict(part) if isinstance(part, dict) else {}
    text = fields.pop("text", None)
    filled = {key: value for key, value in fields.items() if _says(value)}
    return text if isinstance(text, str) and filled == {"type": "text"} else None


def _thought(record: Record, turn: Mapping[str, Any]) -> str:
    said = [turn[key] for key in _THOUGHTS if _says(turn.get(key))]
    content = turn.get("content")
    if said and (not isinstance(said[0], str) or any(one != said[0] for one in said)):
        raise UserError(f"{record.place}: the thought of 'messages' must be one text; correct it")
    if said and "<think>" in str(content):
        raise UserError(
            f"{record.place}: assistant turn of 'messages' has its thought in a field and in think "
            "tags; remove one"
        )
    return said[0].strip() if said else ""


def _says(value: object) -> bool:
    """Whether a field holds anything; Parquet fills fields that only other rows have."""
    blank = isinstance(value, str) and not value.strip()
    return not blank and value is not None and value not in ([], {})
