"""The published answers as calls: values left open, optional calls, and what counts as equal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from unisd_core.tasks.reading.call import Call, Untyped
from unisd_core.tasks.reading.call_comparison import by_name, composed

OPTIONAL = "[Optional]"
"""Mark before the name of a call that may be left out."""

# A value that only the result of an earlier call gives, such as ${animeId from searchAnime}. Most
# stand in the JSON without quotes, and a few lack a quote or the closing brace.
_BARE = re.compile(r'([:\[,]\s*+)\$\{([^{}",]*)\}?"?')
_OPEN = re.compile(r"\$?\{[^{}]+\}")


def quote_open_values(text: str) -> str:
    """``text``, which is no JSON yet, with every bare ``${...}`` as a JSON string."""
    return _BARE.sub(r'\1"${\2}"', text)


def is_open(value: Any) -> bool:
    """Whether a gold value stands for one that the question does not give."""
    return isinstance(value, str) and _OPEN.fullmatch(value.strip()) is not None


def named(calls: Sequence[Call]) -> list[Call]:
    """The calls under the names of their tools, optional ones included."""
    return [Call(call.action.removeprefix(OPTIONAL), call.arguments) for call in calls]


def accepted(calls: Sequence[Call]) -> list[list[Call]]:
    """The sequences of calls that answer the question: with and without the optional ones."""
    required = [call for call in calls if not call.action.startswith(OPTIONAL)]
    return [named(calls), required] if 0 < len(required) < len(calls) else [named(calls)]


def filled(call: Call) -> Call:
    """The call without empty arguments: naming one with "" or null is leaving it out."""
    kept = {name: value for name, value in call.arguments.items() if not is_empty(value)}
    return Call(call.action, kept)


def is_empty(value: Any) -> bool:
    """Whether an argument's value says nothing."""
    return value is None or value == ""


def same_text(predicted: Any, gold: Any) -> bool:
    """Whether two JSON values read the same: 5, 5.0 and "5" do, true and "true" too.

    The published answers follow the documented types loosely, so types cannot be asked for. An
    open gold value takes any value.
    """
    if is_open(gold):
        return True
    if isinstance(predicted, Untyped):
        return same_text(str(predicted), gold) or same_text(predicted.typed(), gold)
    if isinstance(gold, dict):
        if not isinstance(predicted, dict):
            return False
        ours, theirs = by_name(predicted), by_name(gold)
        return ours.keys() == theirs.keys() and all(
            same_text(ours[key], value) for key, value in theirs.items()
        )
    if isinstance(gold, list):
        return (
            isinstance(predicted, list)
            and len(predicted) == len(gold)
            and all(map(same_text, predicted, gold))
        )
    return not isinstance(predicted, dict | list) and _text(predicted) == _text(gold)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return composed(str(value)).strip()


def published_match(predicted: Sequence[Call], gold: Sequence[Call]) -> bool:
    """Full accuracy by the paper's rule: the same names in order, and every gold argument that is
    not empty equal as Python prints it. Further arguments are free where the gold call has any.

    Optional marks and open values are taken literally, as in the released evaluation.
    """
    names = [call.action.strip() for call in predicted] == [call.action.strip() for call in gold]
    return names and all(
        _published_arguments(ours.arguments, theirs.arguments)
        for ours, theirs in zip(predicted, gold, strict=True)
    )


def _published_arguments(predicted: Mapping[str, Any], gold: Mapping[str, Any]) -> bool:
    if not gold:
        return not predicted
    return all(
        str(predicted.get(name)).strip() == str(value).strip()
        for name, value in gold.items()
        if not is_empty(value)
    )
