from typing import Any

import pytest

from unisd_core.tasks.reading.call import Call, Untyped, read_arguments, typed_arguments


@pytest.mark.parametrize(
    ("value", "arguments"),
    [
        ({"a": 1}, {"a": 1}), ('{"a": 1}', {"a": 1}), (" {} ", {}), ("", None), ("{", None),
        ("[1]", None), (None, None), (3, None), ('{"a": Infinity}', None), ('"{}"', None),
    ],
)  # fmt: skip
def test_arguments_are_an_object_or_text_that_holds_one(value: Any, arguments: Any) -> None:
    assert read_arguments(value) == arguments


def test_what_a_form_leaves_untyped_is_read_as_json_where_it_can_be() -> None:
    said = {"a": "3", "b": "True", "c": "[1]", "d": "03", "e": "[" * 99 + "]" * 99, "f": "x"}
    call = Call("t", {name: Untyped(value) for name, value in said.items()} | {"g": "3"})
    typed: dict[str, Any] = {**said, "a": 3, "b": True, "c": [1], "g": "3"}
    assert typed_arguments(call) == typed
