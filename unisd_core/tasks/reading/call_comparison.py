"""Comparison of calls: names, order and arguments by one rule at every depth."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unisd_core.tasks.reading.call import Call, Reading, Untyped
from unisd_core.tasks.row import AnswerScore


def same_value(predicted: Any, gold: Any) -> bool:
    """Whether a JSON value is the gold one: same type and equal, items and fields likewise.

    A gold float takes any JSON number of that value (4 for 4.0), since the argument is typed as
    a number; a gold integer takes an integer only, so 3.0, "3" and true are not 3. Text is
    compared in Unicode's NFC. An ``Untyped`` prediction is right as text or as what it is typed.
    """
    if isinstance(predicted, Untyped):
        value = predicted.typed()
        return same_value(str(predicted), gold) or (
            not isinstance(value, str) and same_value(value, gold)
        )
    match gold:
        case bool() | None:
            return predicted is gold
        case float():
            return type(predicted) in (int, float) and predicted == gold
        case int():
            return type(predicted) is int and predicted == gold
        case str():
            return isinstance(predicted, str) and composed(predicted) == composed(gold)
        case list():
            return (
                isinstance(predicted, list)
                and len(predicted) == len(gold)
                and all(map(same_value, predicted, gold))
            )
    if not isinstance(predicted, dict):
        return False
    ours, theirs = by_name(predicted), by_name(gold)
    return ours.keys() == theirs.keys() and all(same_value(ours[k], theirs[k]) for k in theirs)


def composed(text: str) -> str:
    """``text`` in NFC, so that letters count and not how they are put together."""
    return unicodedata.normalize("NFC", text)


def by_name(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """``fields`` with composed names, unless two of them would become one."""
    found = {composed(name): value for name, value in fields.items()}
    return found if len(found) == len(fields) else fields


def argument_score(
    predicted: Sequence[Call],
    gold: Sequence[Call],
    same: Callable[[Any, Any], bool] = same_value,
) -> float:
    """Right arguments over all arguments named by either side, calls paired by position, in [0, 1].

    Missing, extra and wrong arguments all count against the prediction; ``same(predicted, gold)``
    compares two values.
    """
    right = total = 0
    for index in range(max(len(predicted), len(gold))):
        ours = by_name(predicted[index].arguments) if index < len(predicted) else {}
        theirs = by_name(gold[index].arguments) if index < len(gold) else {}
        total += len(ours.keys() | theirs.keys())
        right += sum(same(ours[key], theirs[key]) for key in ours.keys() & theirs.keys())
    return right / total if total else 1.0


def score_calls(
    reading: Reading, gold: Sequence[Call], same: Callable[[Any, Any], bool] = same_value
) -> AnswerScore:
    """``correct`` asks for a clean reading of exactly the gold calls in order; ``parts["action"]``
    is 1 for the right tools in order, ``parts["arguments"]`` the ``argument_score``."""
    named = [composed(call.action) for call in reading.calls]
    action = named == [composed(call.action) for call in gold]
    arguments = argument_score(reading.calls, gold, same)
    return AnswerScore(
        correct=reading.clean and action and arguments == 1.0,
        extracted=bool(reading.calls),
        parts={"action": float(action), "arguments": arguments},
    )
