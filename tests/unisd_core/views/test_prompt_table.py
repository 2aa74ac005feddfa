from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from tests.support.scripted_writer import ScriptedWriter
from tests.support.tiny import make_tiny_tokenizer
from tests.support.toy_task import ToyTask, toy_row
from unisd_core.common.errors import UserError
from unisd_core.common.schema import PROMPT, fitting
from unisd_core.config.run import Config
from unisd_core.models.chat.chat import Chat
from unisd_core.tasks.row import Row
from unisd_core.views.builder import ViewBuilder, auxiliary_count
from unisd_core.views.prompt_table import PROBED, PromptTable

TOKENIZER = make_tiny_tokenizer()
CHAT = Chat(TOKENIZER, Config().model)
ROWS = [toy_row(f"u{n}", f"question {n}", f"gold-{n:02d}") for n in range(8)]


def configure(**sections: Any) -> Config:
    return Config.model_validate(sections)


class Built(NamedTuple):
    table: pa.Table
    left_out: Counter[str]
    counts: Mapping[str, int]


def builder(config: Config, tokenizer: Any = TOKENIZER) -> ViewBuilder:
    return ViewBuilder(Chat(tokenizer, config.model), ToyTask(), config)


def build(rows: list[Row], **sections: Any) -> Built:
    return whole(PromptTable(rows, builder(configure(**sections))))


def whole(table: PromptTable) -> Built:
    """Every row of ``table``, made at once."""
    prompts = fitting(table.take(range(table.num_rows)))
    return Built(prompts, Counter(table.left_out.values()), table.counts)


def text(ids: list[int]) -> str:
    return TOKENIZER.decode(ids)


def test_views_come_in_the_order_teacher_auxiliary() -> None:
    prompts = build(ROWS, views={"num_auxiliary": 3, "negatives": {"per_row": 2}})
    assert prompts.table.schema == PROMPT
    assert not prompts.left_out
    assert prompts.counts == {"negatives.rule": 16}
    for row, record in zip(ROWS, prompts.table.to_pylist(), strict=True):
        teacher, *auxiliary = (text(ids) for ids in record["view_ids"])
        assert record["uid"] == row.uid
        assert text(record["prompt_ids"]).count(row.prompt) == 1
        assert text(record["gold_ids"]) == f"{row.reference}<|im_end|>"
        assert row.reference in teacher
        assert len(auxiliary) == 3
        assert all(row.reference not in view and "gold-" in view for view in auxiliary)
        negatives = {text(ids) for ids in record["negative_ids"]}
        assert len(negatives) == 2
        assert all("wrong-" in negative for negative in negatives)


@pytest.mark.parametrize(
    ("sections", "auxiliary", "negatives"),
    [
        ({"objective": {"agreement": {"level": "off"}}}, 0, 1),
        ({"objective": {"contrastive": {"weight": 0}}}, 3, 0),
        ({"objective": {"agreement": {"level": "off"}, "contrastive": {"weight": 0}}}, 0, 0),
        ({"objective": {"agreement": {"level": "off"}}, "filter": {"min_agreement": 0.5}}, 3, 1),
        ({"objective": {"agreement": {"level": "off"}}, "filter": {"lowest_agreement": 0.5}}, 3, 1),
    ],
)
def test_only_views_that_the_objective_reads_are_made(
    sections: dict[str, Any], auxiliary: int, negatives: int
) -> None:
    table = build(ROWS, **sections).table
    assert {len(views) for views in table["view_ids"].to_pylist()} == {1 + auxiliary}
    assert {len(views) for views in table["negative_ids"].to_pylist()} == {negatives}
    assert auxiliary_count(configure(**sections)) == auxiliary


def test_a_row_without_wrong_reference_stays_and_lacks_the_negative_view() -> None:
    table = build(
        [*ROWS, toy_row("only", "question 9", "only gold")], views={"num_auxiliary": 2}
    ).table
    assert [len(views) for views in table["negative_ids"].to_pylist()] == [1] * 8 + [0]


def test_references_over_the_completion_limit_are_left_out_where_they_are_trained_on() -> None:
    rows = [*ROWS, toy_row("long", "question", "g" * 20)]
    limit = {"max_completion_length": len("gold-00") + 1}
    assert build(rows, rollout=limit).table.num_rows == 9
    prompts = build(rows, rollout={**limit, "gold_share": 0.5})
    assert prompts.left_out["rollout.max_completion_length"] == 1
    assert prompts.table["uid"].to_pylist() == [row.uid for row in ROWS]


def test_instructions_and_negatives_come_from_the_writer_and_are_counted(tmp_path: Path) -> None:
    writer = ScriptedWriter(
        lambda prompt, seed: f"Be kind {seed}." if "instruction" in prompt else f"lie {seed}"
    )
    settings = {
        "auxiliary": "induction",
        "num_auxiliary": 2,
        "induction": {"examples": 1, "pool": 6},
        "negatives": {"source": "generated"},
    }
    made = builder(configure(views=settings))
    prompts = whole(PromptTable(ROWS, made, writer.writing(tmp_path), visited={1, 2}))
    assert prompts.counts == {
        "induction.written": 6, "induction.cached": 0, "induction.failed": 0,
        "induction.replaced": 0, "negatives.written": 2, "negatives.cached": 0,
        "negatives.failed": 0, "negatives.rule": 6,
    }  # fmt: skip
    for record in prompts.table.to_pylist():
        assert all("Be kind" in text(ids) for ids in record["view_ids"][1:])
        assert ("lie" in text(record["negative_ids"][0])) == (record["uid"] in ("u1", "u2"))
    again = whole(PromptTable(ROWS, made, writer.writing(tmp_path), visited={1, 2}))
    assert again.table == prompts.table
    assert again.counts["induction.cached"] == 6
    assert len(writer.prompts) == 8


def test_contrast_without_any_wrong_reference_is_refused() -> None:
    rows = [toy_row(f"u{n}", f"question {n}", f"only {n:02d}") for n in range(8)]
    with pytest.raises(UserError, match=r"no wrong references; set objective\.contrastive"):
        build(rows)


def test_the_wrong_reference_of_a_row_depends_on_the_seed_and_not_on_other_rows() -> None:
    def negative(rows: list[Row], seed: int) -> list[int]:
        table = build(rows, seed=seed, objective={"agreement": {"level": "off"}}).table
        return next(r["negative_ids"][0] for r in table.to_pylist() if r["uid"] == "u3")

    assert negative(ROWS, 0) == negative(ROWS[2:5], 0)
    assert negative(ROWS, 0) != negative(ROWS, 1)


def test_long_rows_are_left_out_and_counted_by_limit() -> None:
    rows = [*ROWS, toy_row("p", "x" * 300, "gold"), toy_row("v", "y", "z" * 400)]
    prompts = build(
        rows,
        model={"max_prompt_length": 200, "max_view_length": 400},
        objective={"agreement": {"level": "off"}},
    )
    assert prompts.left_out == {
        "model.max_prompt_length": 1,
        "model.max_view_length": 1,
    }
    assert prompts.table["uid"].to_pylist() == [row.uid for row in ROWS]
    assert prompts.table["row"].to_pylist() == list(range(8))


def test_the_limits_are_inclusive() -> None:
    ids = builder(Config()).prompt(ROWS[0])
    assert build(ROWS, model={"max_prompt_length": len(ids)}).table.num_rows == 8
    with pytest.raises(UserError, match=r"no row is left of 8 \(8 over model\.max_prompt_length"):
        build(ROWS, model={"max_prompt_length": len(ids) - 1})


def test_a_uid_that_occurs_twice_is_refused() -> None:
    with pytest.raises(UserError, match="uid u0 occurs 2 times"):
        build([*ROWS, ROWS[0]])


def test_no_rows_at_all_are_a_user_error() -> None:
    with pytest.raises(UserError, match="no row is left of 0"):
        build([])


class Counting(ViewBuilder):
    """Remembers the rows whose prompt was rendered."""

    def prompt(self, row: Row) -> list[int]:
        self.rendered = [*getattr(self, "rendered", []), row.uid]
        return super().prompt(row)


def test_only_rows_that_are_asked_for_are_rendered_and_each_once() -> None:
    made = Counting(CHAT, ToyTask(), configure(views={"num_auxiliary": 2}))
    table = PromptTable(ROWS, made)
    assert table.take([5, 2, 5])["row"].to_pylist() == [5, 2, 5]
    table.make([2, 3])
    assert made.rendered == ["u5", "u2", "u3"]
    assert (table.made, table.num_rows, len(table.uids)) == (3, 8, 8)
    assert table.take([])["uid"].to_pylist() == []


def test_a_row_is_the_same_whenever_it_is_made() -> None:
    made = builder(configure(views={"num_auxiliary": 2}))
    whole_table = PromptTable(ROWS, made).take(range(8))
    table = PromptTable(ROWS, made)
    for index in (6, 1, 0, 7, 3, 2, 5, 4):
        assert table.take([index]) == whole_table.take([index])


def test_examples_come_from_the_pool_also_for_rows_outside_of_it() -> None:
    views = {"num_auxiliary": 4, "pool_rows": 5}
    found = build(ROWS, views=views, seed=1).table
    shown = {
        row.uid
        for views in found["view_ids"].to_pylist()
        for row in ROWS
        if any(f"A: {row.reference}" in text(ids) for ids in views[1:])
    }
    assert len(shown) == 5
    reversed_rows = build(ROWS[::-1], views=views, seed=2).table
    assert reversed_rows["view_ids"].to_pylist()[::-1] == found["view_ids"].to_pylist()
    for record in found.to_pylist():
        answer = ROWS[record["row"]].reference
        assert all(answer not in text(ids) for ids in record["view_ids"][1:])
    assert build(ROWS, views={**views, "pool_rows": 0}).table == build(ROWS, views={
        **views, "pool_rows": 8
    }).table  # fmt: skip


def test_only_references_of_rows_that_are_trained_on_are_scored() -> None:
    class Strict(ToyTask):
        def check_references(self, rows: Sequence[Row]) -> None:
            for row in rows:
                if row.uid == "u4":
                    raise UserError(f"{row.uid}: wrong")

    table = PromptTable(ROWS, ViewBuilder(CHAT, Strict(), configure()))
    table.make([0, 1, 2])
    with pytest.raises(UserError, match="u4: wrong"):
        table.make([3, 4])
    with pytest.raises(UserError, match="u4: wrong"):
        table.take([4])


def test_contrast_needs_a_wrong_reference_among_the_first_rows() -> None:
    rows = [toy_row(f"u{n}", f"question {n}", f"only {n:03d}") for n in range(PROBED + 9)]
    rows.append(toy_row("last", "question", "gold"))
    config = configure(objective={"agreement": {"level": "off"}})
    table = PromptTable(rows, builder(config))
    table.make(range(PROBED - 1))
    with pytest.raises(UserError, match="no wrong references"):
        table.make([PROBED])
    PromptTable(rows, builder(config)).make([*range(PROBED - 1), len(rows) - 1])


def test_several_threads_may_ask_at_once() -> None:
    rows = [toy_row(f"u{n}", f"question {n}", f"gold-{n:03d}") for n in range(60)]
    made = Counting(CHAT, ToyTask(), configure(views={"num_auxiliary": 2}))
    table = PromptTable(rows, made)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: table.take([n % 60, n // 7]), range(200)))
    assert [one["row"].to_pylist() for one in found] == [[n % 60, n // 7] for n in range(200)]
    assert sorted(made.rendered) == sorted(row.uid for row in rows)
