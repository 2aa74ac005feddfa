from __future__ import annotations

import random
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.toy_task import ToyTask, toy_row
from unisd_core.common.errors import UserError
from unisd_core.config.method import ViewsConfig
from unisd_core.tasks.row import Row
from unisd_core.views.contexts import EXAMPLE_HEADER
from unisd_core.views.contexts import build_contexts as build_with_counts

TASK = ToyTask()
WORDS = ["rain", "paris", "tomorrow", "flight", "book", "alarm", "seven"]

questions = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
golds = st.integers(0, 30).map(lambda number: f"call({number})")


def views(kind: str, count: int = 2, **settings: Any) -> ViewsConfig:
    return ViewsConfig.model_validate({"auxiliary": kind, "num_auxiliary": count, **settings})


@st.composite
def datasets(draw: st.DrawFn) -> list[Row]:
    pairs = draw(st.lists(st.tuples(questions, golds), min_size=6, max_size=20))
    numbers = draw(st.permutations(range(len(pairs))))
    rows = [toy_row(f"u{n}", *pair) for n, pair in zip(numbers, pairs, strict=True)]
    counted = [row.reference for row in rows]
    assume(max(map(counted.count, counted)) < 5)
    return rows


def build_contexts(
    rows: list[Row], task: ToyTask, settings: ViewsConfig, seed: int
) -> list[list[str]]:
    found = build_with_counts(rows, task, settings, seed)
    assert not found.counts
    return found.texts


def build(rows: list[Row], kind: str, seed: int = 0, count: int = 2) -> list[list[str]]:
    try:
        return build_contexts(rows, TASK, views(kind, count), seed)
    except UserError:
        # Too many rows share a question or an answer.
        assume(False)
        raise AssertionError from None


@pytest.mark.parametrize("kind", ["random", "retrieval"])
@settings(max_examples=60, deadline=None)
@given(rows=datasets())
def test_no_context_shows_the_question_or_the_answer_of_its_row(kind: str, rows: list[Row]) -> None:
    for row, texts in zip(rows, build(rows, kind), strict=True):
        assert len(set(texts)) == 2
        for text in texts:
            assert row.reference not in text
            assert f"Q: {row.prompt}\n" not in text
            assert text.startswith(EXAMPLE_HEADER)


@pytest.mark.parametrize("kind", ["random", "retrieval"])
@settings(max_examples=30, deadline=None)
@given(rows=datasets(), seed=st.integers(0, 5))
def test_contexts_do_not_depend_on_the_order_of_the_rows(
    kind: str, rows: list[Row], seed: int
) -> None:
    found = build(rows, kind, seed)
    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    by_uid = dict(zip([row.uid for row in shuffled], build(shuffled, kind, seed), strict=True))
    assert [by_uid[row.uid] for row in rows] == found


def test_random_examples_follow_the_seed_and_reach_every_other_row() -> None:
    rows = [toy_row(f"u{n}", f"question {n}", f"gold-{n:02d}") for n in range(12)]
    first, second = (build_contexts(rows, TASK, views("random", 3), seed) for seed in (0, 1))
    assert first != second
    assert first == build_contexts(rows, TASK, views("random", 3), 0)
    seen = {
        text
        for seed in range(40)
        for text in build_contexts(rows, TASK, views("random", 3), seed)[0]
    }
    assert len(seen) == 11


def test_context_k_is_the_kth_nearest_row() -> None:
    rows = [
        toy_row("a", "book a flight to paris", "a1"),
        toy_row("b", "set an alarm", "b1"),
        toy_row("c", "book a flight", "c1"),
        toy_row("d", "is paris nice", "d1"),
    ]
    nearest = build_contexts(rows, TASK, views("retrieval", 2), 0)[0]
    assert "book a flight\n" in nearest[0]
    assert "is paris nice" in nearest[1]


def test_equally_near_rows_come_in_the_order_of_their_uids() -> None:
    rows = [toy_row(f"u{n:03d}", f"w{n} same", f"g-{n:03d}") for n in range(80)]
    rows.reverse()
    found = build_contexts(rows, TASK, views("retrieval", 3), 0)
    assert [text.rpartition("A: ")[2] for text in found[-1]] == ["g-001", "g-002", "g-003"]


def test_rows_beyond_the_nearest_are_searched_when_those_are_excluded() -> None:
    twins = [toy_row(f"t{n}", "one two three four", f"twin-{n}") for n in range(60)]
    others = [toy_row(f"o{n}", f"one {WORDS[n]}", f"other-{n}") for n in range(3)]
    found = build_contexts([*twins, *others], TASK, views("retrieval", 3), 0)
    assert all("one two" not in text for text in found[0])


@pytest.mark.parametrize("kind", ["random", "retrieval"])
def test_an_answer_that_many_rows_share_may_be_shown(kind: str) -> None:
    rows = [toy_row(f"u{n}", f"question {n}", f"Answer: {'ABCD'[n % 4]}") for n in range(40)]
    contexts = build_contexts(rows, TASK, views(kind, 3), 0)
    shown = [
        row.reference in text for row, texts in zip(rows, contexts, strict=True) for text in texts
    ]
    # Were they left out, the answer would be the one letter that no example has.
    assert any(shown)
    assert not all(shown)


def test_a_question_that_differs_in_case_and_spacing_is_the_same_question() -> None:
    rows = [
        toy_row("a", "Rain in  Paris", "a1"),
        toy_row("b", "rain in paris", "b1"),
        toy_row("c", "alarm at seven", "c1"),
    ]
    assert "alarm" in build_contexts(rows, TASK, views("retrieval", 1), 0)[0][0]


@pytest.mark.parametrize("kind", ["random", "retrieval"])
def test_too_few_rows_name_the_row_and_the_setting(kind: str) -> None:
    rows = [toy_row(f"u{n}", f"question {n}", f"gold {n}") for n in range(3)]
    with pytest.raises(UserError, match=r"row u0: fewer than views\.num_auxiliary=3 of the 3 rows"):
        build_contexts(rows, TASK, views(kind, 3), 0)


def test_texts_without_words_are_equally_near() -> None:
    rows = [toy_row(f"u{n}", "?" * (n + 1), f"g{n}") for n in range(3)]
    assert "A: g1" in build_contexts(rows, TASK, views("retrieval", 1), 0)[0][0]


def test_a_missing_embedding_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    rows = [toy_row(f"u{n}", f"question {n}", f"gold {n}") for n in range(3)]
    with pytest.raises(UserError, match=r"sentence-transformers: pip .*\[embeddings\]"):
        build_contexts(rows, TASK, views("retrieval", 1, embedding_model="m"), 0)


def test_embeddings_decide_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    class Encoder:
        def __init__(self, name: str) -> None:
            assert name == "some/model"

        def encode(self, texts: list[str], **options: Any) -> np.ndarray:
            assert options["normalize_embeddings"]
            angles = np.array([float(text) for text in texts])
            return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = Encoder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    angles = {"a": "0", "b": "2", "c": "0.9"}
    rows = [toy_row(uid, angle, f"gold-{uid}") for uid, angle in angles.items()]
    found = build_contexts(rows, TASK, views("retrieval", 2, embedding_model="some/model"), 0)
    assert [text.rpartition("-")[2] for text in found[0]] == ["c", "b"]
    assert [text.rpartition("-")[2] for text in found[1]] == ["c", "a"]


def test_what_follows_a_thought_is_what_no_context_may_hold() -> None:
    rows = [toy_row(f"u{n}", f"question {n}", f"call({n})") for n in range(4)]
    rows[0] = toy_row("u0", "question 0", "<think>hm</think>call(2)")
    for text in build_with_counts(rows, TASK, views("random"), 0).texts[0]:
        assert "call(2)" not in text
