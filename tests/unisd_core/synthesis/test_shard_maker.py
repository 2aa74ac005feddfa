"""Completions of a block: those that are kept, and the file they are written to, without Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unisd_core.common.schema import SCORED
from unisd_core.config.run import Config
from unisd_core.models.chat.chat import Chat
from unisd_core.models.load import load_tokenizer
from unisd_core.scoring.agreement_columns import row_agreement, with_agreement_weights
from unisd_core.synthesis.inventory import uid_digest
from unisd_core.synthesis.output import OutputFolder
from unisd_core.synthesis.prompts import PromptReader
from unisd_core.synthesis.shard import FAILED, LEFT_OUT, Account, survey
from unisd_core.synthesis.shard_maker import ShardMaker
from unisd_core.synthesis.sources import PromptSource, open_source
from unisd_core.views.builder import ViewBuilder

TEXTS = [
    ["The answer is 4.", "I think it is four, or 4.", "Something else: 17."],
    ["The answer is 5.", "The answer is 5!", "There is no number here."],
]


def config(**changes: Any) -> Config:
    base: dict[str, Any] = {
        "synthesis": {"samples": 3, **changes.pop("synthesis", {})},
        "custom": {"metric": "numeric"},
        "views": {"num_auxiliary": 2},
    }
    return Config.model_validate(base | changes)


def source(folder: Path, settings: Config, count: int = 2) -> PromptSource:
    file = folder / "prompts.jsonl"
    rows = [
        {"uid": f"q{n}", "prompt": f"What is {n} and {n}?", "reference": str(2 * n)}
        for n in range(count)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = open_source(str(file), settings)
    assert len(list(found.stream())) == count
    return found


def block(model: Path, texts: list[list[str]] = TEXTS, **changes: dict[int, Any]) -> pa.Table:
    """Scored rows with these completions; ``changes`` replace columns by position. The views of
    later samples agree more."""
    tokenizer = load_tokenizer(model)
    rng = np.random.default_rng(0)
    rows = []
    for number, samples in enumerate(texts):
        for sample, text in enumerate(samples):
            position = number * len(samples) + sample
            ids = tokenizer.encode(text, add_special_tokens=False) + [tokenizer.eos_token_id]
            view = -rng.random(len(ids))
            apart = rng.random(len(ids)) / (1 + sample) ** 2
            row = {name: None for name in SCORED.names} | {
                "position": position,
                "attempt": 0,
                "uid": f"q{number}",
                "row": number,
                "prompt_ids": [5, 6, 7],
                "completion_ids": ids,
                "logprobs": [-0.25] * len(ids),
                "version_first": 1,
                "version_last": 1,
                "finish_reason": "stop",
                "source": "student",
                "replica": 0,
                "view_ids": [[], [1], [2]],
                "auxiliary_logprobs": [view.tolist(), (view - apart).tolist()],
            }
            row |= {name: of[position] for name, of in changes.items() if position in of}
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCORED)


@pytest.fixture
def make(tiny_model: Path, tmp_path: Path) -> Any:
    """Writes a block under these settings; returns account and rows."""

    def whole(table: pa.Table | None = None, **changes: Any) -> tuple[Account, list[dict]]:
        settings = config(**changes)
        maker = ShardMaker(
            settings,
            str(tiny_model),
            source(tmp_path, settings),
            str(tmp_path / "out"),
            "digest",
        )
        name, account = maker.write(block(tiny_model) if table is None else table)
        return account, pq.read_table(tmp_path / "out" / name).to_pylist()

    return whole


def kept(rows: list[dict]) -> list[tuple[str, int]]:
    return [(row["uid"], row["sample"]) for row in rows]


def test_a_completion_without_text_is_not_kept_however_much_its_views_agree(
    make: Any, tiny_model: Path
) -> None:
    texts = [["The answer is 4.", "It is 4.", ""], ["The answer is 5.", " ", "5"]]
    account, rows = make(block(tiny_model, texts), synthesis={"keep": 1})
    assert kept(rows) == [("q0", 1), ("q1", 2)] and all(row["completion"] for row in rows)
    assert account.dropped["no text"] == 2


def test_rows_carry_text_numbers_and_scores_of_the_main_job(make: Any, tiny_model: Path) -> None:
    account, rows = make()
    assert (account.prompts, account.sampled, account.kept, dict(account.dropped)) == (2, 6, 6, {})
    assert [row["completion"] for row in rows] == [text for texts in TEXTS for text in texts]
    table = block(tiny_model)
    expected, _ = with_agreement_weights(table, config(), 0, None)
    assert [r["token_weights"] for r in rows] == expected["token_weights"].to_pylist()
    agreement = row_agreement(table, config().objective.agreement)
    np.testing.assert_allclose([row["agreement"] for row in rows], agreement, rtol=1e-6)
    assert account.agreement == pytest.approx(agreement.sum())
    assert account.kept_tokens == sum(len(row["token_ids"]) for row in rows)
    first = rows[0]
    assert first["prompt"] == "What is 0 and 0?"
    assert [turn["content"] for turn in first["messages"]] == [first["prompt"], TEXTS[0][0]]
    assert (first["mean_logprob"], first["policy_version"], first["weights"]) == (
        -0.25,
        1,
        "digest",
    )


def test_filters_say_what_they_took(make: Any, tiny_model: Path) -> None:
    table = block(tiny_model, finish_reason={1: "length"})
    filters = {"drop_truncated": True, "drop_unreadable": True, "min_tokens": 18}
    account, rows = make(table, filter=filters)
    assert account.dropped == {"truncated": 1, "no answer to read": 1, "too short": 3}
    assert kept(rows) == [("q0", 2)]


def test_agreement_is_a_threshold_or_a_share(make: Any, tiny_model: Path) -> None:
    agreement = row_agreement(block(tiny_model), config().objective.agreement)
    account, rows = make(filter={"lowest_agreement": 0.5})
    assert account.dropped == {"views disagree most": 3}
    order = sorted(np.argsort(agreement, kind="stable")[3:].tolist())
    assert kept(rows) == [(f"q{place // 3}", place % 3) for place in order]
    account, rows = make(filter={"min_agreement": float(np.median(agreement))})
    assert account.dropped == {"views disagree": 3}


def test_the_best_of_each_prompt_are_those_that_agree_most(make: Any, tiny_model: Path) -> None:
    agreement = row_agreement(block(tiny_model), config().objective.agreement)
    for keep in (1, 2):
        account, rows = make(synthesis={"keep": keep})
        assert account.dropped == {"not among the best": 6 - 2 * keep}
        wanted = {
            (f"q{n}", int(s))
            for n in range(2)
            for s in np.argsort(-agreement[3 * n : 3 * n + 3])[:keep]
        }
        assert set(kept(rows)) == wanted


def test_near_duplicates_of_one_prompt_are_left_out(make: Any) -> None:
    account, rows = make(synthesis={"duplicates": "prompt", "similarity": 0.8})
    assert account.dropped == {"near-duplicate": 1}
    assert ("q1", 1) not in kept(rows) and len(rows) == 5


def test_a_duplicate_gives_its_place_to_the_next_best(make: Any, tiny_model: Path) -> None:
    texts = [["It is certainly 4.", "It is certainly 4.", "It is certainly 4."], TEXTS[1]]
    duplicates = {"duplicates": "prompt", "similarity": 0.8, "keep": 2}
    account, rows = make(block(tiny_model, texts), synthesis=duplicates)
    assert sorted(uid for uid, _ in kept(rows)) == ["q0", "q1", "q1"]
    assert account.dropped["near-duplicate"] >= 2


def test_near_duplicates_anywhere_are_left_out_also_after_a_resume(
    make: Any, tiny_model: Path, tmp_path: Path
) -> None:
    """Prompt and completion count together; what is written again is no duplicate of itself."""
    everywhere = {"duplicates": "all", "similarity": 0.7}
    long = "Count the fingers of one hand, then those of the other hand, and say how many: it is 4."
    texts = [[long, *TEXTS[0][1:]], [long, *TEXTS[1][1:]]]
    table = block(tiny_model, texts)
    assert make(table.slice(0, 3), synthesis=everywhere)[0].kept == 3
    assert make(table.slice(0, 3), synthesis=everywhere)[0].kept == 3
    account, rows = make(table.slice(3), synthesis=everywhere)
    assert account.dropped == {"near-duplicate": 1}
    assert kept(rows) == [("q1", 1), ("q1", 2)]


def test_every_prompt_is_accounted_for(make: Any, tiny_model: Path, tmp_path: Path) -> None:
    nothing = {"completion_ids": [], "logprobs": [], "auxiliary_logprobs": [[], []]}
    changes: dict[str, dict[int, Any]] = {name: {1: empty} for name, empty in nothing.items()}
    changes["finish_reason"] = {1: f"{FAILED}no replica"}
    account, rows = make(block(tiny_model, **changes))
    # One of its samples failed, so the prompt is not done and none of it is kept.
    assert (account.prompts, account.sampled, dict(account.failed)) == (1, 3, {"no replica": 1})
    assert kept(rows) == [("q1", 0), ("q1", 1), ("q1", 2)]
    found = survey(OutputFolder(str(tmp_path / "out")))
    assert found.done.tolist() == [uid_digest("q1")]

    changes["finish_reason"] = {1: f"{LEFT_OUT}model.max_prompt_length"}
    account, rows = make(block(tiny_model, **changes).slice(1, 1))
    assert (account.prompts, account.sampled, rows) == (1, 0, [])
    assert account.left_out == {"model.max_prompt_length": 1}


def test_a_block_that_is_written_again_has_the_same_bytes(make: Any, tmp_path: Path) -> None:
    make()
    (file,) = (tmp_path / "out" / "data").iterdir()
    before = file.read_bytes()
    make()
    assert [path.read_bytes() for path in (tmp_path / "out" / "data").iterdir()] == [before]


def test_prompts_are_read_with_examples_of_their_block(tiny_model: Path, tmp_path: Path) -> None:
    settings = config(synthesis={"shard_prompts": 4})
    settings = settings.with_model(max_prompt_length=200, max_view_length=1000)
    rows = source(tmp_path, settings, 9)
    reader = PromptReader(settings, str(tiny_model), rows, 2)
    builder = ViewBuilder(Chat(load_tokenizer(tiny_model), settings.model), rows.task, settings)
    whole = reader.read(4, 8, [4, 5, 6, 7])
    assert [entry["uid"] for entry in whole] == ["q4", "q5", "q6", "q7"]
    assert whole[0]["prompt_ids"] == builder.prompt(rows.read(4, 5)[0])
    assert [len(entry["view_ids"]) for entry in whole] == [3] * 4
    assert whole[0]["view_ids"][0] == [] and whole[0]["left_out"] is None
    # What is done again is made of the same examples.
    assert reader.read(4, 8, [5, 7]) == [whole[1], whole[3]]
    # The last block has one row, which borrows examples of those before it.
    (last,) = reader.read(8, 9, [8])
    assert len(last["view_ids"]) == 3
    tight = settings.with_model(max_prompt_length=8)
    (long,) = PromptReader(tight, str(tiny_model), rows, 0).read(8, 9, [8])
    assert long["left_out"] == "model.max_prompt_length"
