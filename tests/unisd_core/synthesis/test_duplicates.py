"""Near-duplicates: the exact measure and its estimate by MinHash."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.synthesis.duplicates import DuplicateIndex, alike, shingles

TEXT = (
    "The ferry leaves the island at seven in the morning and comes back at nine in the evening, "
    "except on Sundays, when it stays in the harbour and the crew repairs what broke in the week."
)


@given(st.text(max_size=30))
def test_case_and_white_space_do_not_count(text: str) -> None:
    assert shingles(text) == shingles("  " + text.replace(" ", "\n\t") + " ")
    assert alike(shingles(text), shingles(text), 1.0)


@given(st.text(max_size=12), st.text(max_size=12), st.floats(0.05, 1))
def test_alike_is_symmetric_and_is_jaccard(one: str, other: str, similarity: float) -> None:
    left, right = shingles(one), shingles(other)
    assert alike(left, right, similarity) == alike(right, left, similarity)
    jaccard = len(left & right) / len(left | right)
    if abs(jaccard - similarity) > 1e-9:
        assert alike(left, right, similarity) == (jaccard > similarity)


def test_a_changed_word_is_found_and_another_text_is_not() -> None:
    index = DuplicateIndex(0.8)
    assert not index.add("a", TEXT)
    assert index.add("b", TEXT.replace("seven", "eight"))
    assert index.add("c", TEXT.upper())
    assert not index.add("d", TEXT[::-1])
    # What was seen under this key is no duplicate of itself: a shard may be written twice.
    assert not index.add("a", TEXT)


@pytest.mark.parametrize("text", ["", "7", "Answer: B"])
def test_short_texts_are_compared_whole(text: str) -> None:
    index = DuplicateIndex(0.8)
    assert not index.add("a", text)
    assert index.add("b", text)
    assert not index.add("c", f"{text} or something else entirely")


def test_many_copies_with_one_changed_word_are_found() -> None:
    rng = random.Random(0)
    index = DuplicateIndex(0.7)
    index.add("original", TEXT)
    words = TEXT.split()
    found = 0
    for number in range(50):
        place = rng.randrange(len(words))
        copy = " ".join([*words[:place], "something", *words[place + 1 :]])
        found += index.add(str(number), copy)
    assert found == 50
