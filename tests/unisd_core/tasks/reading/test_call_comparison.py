from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisd_core.tasks.reading.call import Call, Reading, Untyped
from unisd_core.tasks.reading.call_comparison import argument_score, same_value, score_calls

WIND = Call("get_wind", {"city": "Oslo", "days": 3})
OTHER = Call("stop", {})

names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
values = st.one_of(st.text(), st.booleans(), st.integers(), st.floats(allow_nan=False, width=32))
finite = values.filter(lambda v: not isinstance(v, float) or abs(v) < float("inf"))
calls_lists = st.lists(
    st.builds(Call, names, st.dictionaries(names, finite, max_size=4)), min_size=1, max_size=3
)


@given(calls_lists, calls_lists)
@settings(max_examples=40)
def test_argument_score_is_a_share_and_full_only_for_equal_arguments(
    ours: list[Call], theirs: list[Call]
) -> None:
    score = argument_score(ours, theirs)
    assert 0.0 <= score <= 1.0
    padded = [*ours, *[Call("", {})] * len(theirs)], [*theirs, *[Call("", {})] * len(ours)]
    equal = all(
        a.arguments.keys() == b.arguments.keys()
        and all(same_value(a.arguments[k], b.arguments[k]) for k in a.arguments)
        for a, b in zip(*padded, strict=True)
    )
    assert (score == 1.0) == equal


@pytest.mark.parametrize(
    ("predicted", "gold", "same"),
    [
        (3, 3, True), (3.0, 3, False), ("3", 3, False), (True, 1, False), (1, True, False),
        (4, 4.0, True), (4.0, 4.0, True), ("4.0", 4.0, False), (True, 1.0, False),
        (12.5, 12.5, True), (12.50001, 12.5, False), ("Oslo", "oslo", False), (" a", "a", False),
        (None, "a", False), ({"a": 1}, "a", False), (float("inf"), 4.0, False),
        (False, False, True), ("false", False, False), (0, False, False),
    ],
)  # fmt: skip
def test_value_comparison(predicted: Any, gold: Any, same: bool) -> None:
    assert same_value(predicted, gold) is same


@pytest.mark.parametrize(
    ("predicted", "score"),
    [
        ([{"a": 1, "b": "x"}], 1.0),
        ([{"b": "x", "a": 1}], 1.0),
        ([{"a": 1}], 0.5),
        ([{"a": 1, "b": "y"}], 0.5),
        ([{"a": 1, "b": "x", "c": 0}], 2 / 3),
        ([{"a": "1", "b": "x"}], 0.5),
        ([], 0.0),
        ([{"a": 1, "b": "x"}, {"a": 1, "b": "x"}], 0.5),
    ],
)
def test_argument_score(predicted: list[dict[str, Any]], score: float) -> None:
    gold = [Call("t", {"a": 1, "b": "x"})]
    assert argument_score([Call("t", p) for p in predicted], gold) == pytest.approx(score)


NESTED = [
    lambda value: [value],
    lambda value: {"a": value},
    lambda value: {"a": [1, {"b": [value]}]},
]


@pytest.mark.parametrize("wrap", NESTED)
@pytest.mark.parametrize(
    ("predicted", "gold", "same"),
    [
        (3, 3, True), (3.0, 3, False), ("3", 3, False), (True, 1, False), (1, True, False),
        (0, False, False), (4, 4.0, True), (4.0, 4.0, True), (True, 1.0, False),
        ("4.0", 4.0, False), (None, None, True), (None, False, False), ("a", "a", True),
        ("Z\u0075\u0308rich", "Z\u00fcrich", True), ([], [], True), ([], {}, False),
        ({}, None, False), ([1], [1, 1], False),
    ],
)  # fmt: skip
def test_one_rule_holds_at_every_depth(wrap: Any, predicted: Any, gold: Any, same: bool) -> None:
    assert same_value(predicted, gold) is same
    assert same_value(wrap(predicted), wrap(gold)) is same


@given(st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_a_value_is_itself_unless_it_is_no_number(value: Any) -> None:
    assert same_value(value, value)
    assert same_value([value], [value])
    assert not same_value([value], value)


def test_names_are_compared_as_letters() -> None:
    decomposed = Call("cafe\u0301", {"e\u0301": 1})
    assert score_calls(Reading((decomposed,), True), [Call("caf\u00e9", {"\u00e9": 1})]).correct
    both = {"e\u0301": 1, "\u00e9": 2}
    assert argument_score([Call("t", both)], [Call("t", both)]) == 1.0
    assert argument_score([Call("t", {"\u00e9": 2})], [Call("t", both)]) == 0.5


@pytest.mark.parametrize(
    ("text", "gold", "same"),
    [
        ("3", "3", True), ("3", 3, True), ("3", 3.0, True), ("3.0", 3, False), ("3", "4", False),
        ("true", True, True), ("true", "true", True), ("True", 1, False), ("[1]", [1], True),
        ('"a"', "a", False), ("a", "a", True), ("null", None, True), ("", None, False),
    ],
)  # fmt: skip
def test_an_untyped_value_is_right_as_text_or_as_what_it_reads(
    text: str, gold: Any, same: bool
) -> None:
    assert same_value(Untyped(text), gold) is same


def test_a_score_asks_for_clean_reading_names_order_and_arguments() -> None:
    assert score_calls(Reading((WIND, OTHER), True), [WIND, OTHER]).correct
    unclean = score_calls(Reading((WIND,), False), [WIND])
    assert (unclean.correct, unclean.extracted) == (False, True)
    assert unclean.parts == {"action": 1.0, "arguments": 1.0}
    swapped = score_calls(Reading((OTHER, WIND), True), [WIND, OTHER])
    assert (swapped.correct, swapped.parts) == (False, {"action": 0.0, "arguments": 0.0})
    assert not score_calls(Reading((), False), [OTHER]).extracted


def test_a_looser_comparison_can_be_given() -> None:
    reading = Reading((Call("get_wind", {"city": "oslo", "days": "3"}),), True)
    assert not score_calls(reading, [WIND]).correct
    assert score_calls(reading, [WIND], lambda a, b: str(a).lower() == str(b).lower()).correct
