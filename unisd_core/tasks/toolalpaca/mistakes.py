"""The reading of wrong answers that a model was asked for."""

from __future__ import annotations

from collections.abc import Collection

from unisd_core.common.thoughts import after_thought
from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.reading.tool_calls import find_calls
from unisd_core.tasks.toolalpaca.react import plain_thought, read_thought, write_reference


def read_wrong_answer(
    text: str, known: Collection[str], wanted: int
) -> tuple[str, list[Call]] | None:
    """Thought and calls in ``text``, whatever stands around them; None when they cannot be a
    reference.

    That is: no calls or a malformed one, more than one beyond the ``wanted``, a tool that is not
    ``known``, or values that do not survive being written.
    """
    text = after_thought(text)
    reading = find_calls(text)
    calls = list(reading.calls)
    if not reading.clean or len(calls) > wanted + 1:
        return None
    if any(call.action not in known for call in calls):
        return None
    thought = read_thought(text) or plain_thought(calls)
    written = write_reference(thought, calls)
    if list(find_calls(written).calls) != calls or not written.replace("\n", "").isprintable():
        return None
    return thought, calls
