"""The output folder on a local disk and on a file system that is none; shards, card, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.common.errors import UserError
from unisd_core.config.data import CustomConfig, SynthesisConfig
from unisd_core.synthesis.card import make_summary, write_card
from unisd_core.synthesis.export import export_rows
from unisd_core.synthesis.inventory import uid_digest
from unisd_core.synthesis.output import OutputFolder
from unisd_core.synthesis.shard import (
    SHARD,
    Account,
    Footer,
    add_up,
    shard_bytes,
    survey,
)
from unisd_core.tasks.custom.task import CustomTask


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "local":
        yield OutputFolder(str(tmp_path / "out"))
        return
    yield OutputFolder(f"memory://{tmp_path.name}/out")
    fsspec.filesystem("memory").store.clear()


def shard(*uids: str) -> bytes:
    rows = [
        {
            "uid": uid,
            "sample": 1,
            "prompt": f"Where is {uid}?",
            "completion": f"Here is {uid}.",
            "messages": [
                {"role": "user", "content": f"Where is {uid}?"},
                {"role": "assistant", "content": f"Here is {uid}."},
            ],
        }
        for uid in uids
    ]
    account = Account(prompts=len(uids), sampled=2 * len(uids), kept=len(uids), kept_tokens=9)
    account = account.model_copy(update={"dropped": {"truncated": len(uids)}})
    return shard_bytes(pa.Table.from_pylist(rows, schema=SHARD), Footer(account, uids))


def test_shards_tell_which_prompts_are_done_and_torn_ones_do_not(folder: OutputFolder) -> None:
    assert survey(folder).names == []
    folder.write("data/shard-0.parquet", shard("a", "b"))
    folder.write("data/shard-1.parquet", shard("c")[:-9])
    folder.write("data/shard-2.parquet", b"")
    found = survey(folder)
    assert found.names == ["data/shard-0.parquet"]
    assert found.done.tolist() == [uid_digest("a"), uid_digest("b")]
    folder.write("data/shard-1.parquet", shard("c"))
    assert survey(folder).account.prompts == len(survey(folder).done) == 3


def test_a_file_that_was_not_finished_is_not_there(folder: OutputFolder) -> None:
    with pytest.raises(ZeroDivisionError), folder.writing("data/shard-0.parquet") as file:
        file.write(shard("a"))
        raise ZeroDivisionError
    assert folder.names() == []
    assert folder.read("data/shard-0.parquet") is None


def test_a_folder_holds_rows_of_one_making(folder: OutputFolder) -> None:
    folder.claim({"seed": 0, "weights": "a"})
    folder.claim({"seed": 0, "weights": "a"})
    with pytest.raises(UserError, match="another weights"):
        folder.claim({"seed": 0, "weights": "b"})
    folder.write("synthesis.json", b"[")
    with pytest.raises(UserError, match=r"synthesis.json cannot be read"):
        folder.claim({"seed": 0, "weights": "a"})


@pytest.mark.parametrize("columns", ["messages", "prompt_completion"])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_export_is_read_as_custom_rows(tmp_path: Path, columns: str, kind: str) -> None:
    folder = OutputFolder(str(tmp_path))
    folder.write("data/shard-0.parquet", shard("a", "b"))
    folder.write("data/shard-1.parquet", shard())
    folder.write("data/shard-2.parquet", shard("c"))
    settings = SynthesisConfig(export=columns, export_format=kind)  # type: ignore[arg-type]
    name = export_rows(folder, survey(folder).names, settings)
    assert name == f"train.{kind}"
    rows = CustomTask(CustomConfig(train=str(tmp_path / name), test=str(tmp_path / name))).rows(
        "train"
    )
    assert [(row.uid, row.prompt, row.reference) for row in rows] == [
        (f"custom/{uid}/1", f"Where is {uid}?", f"Here is {uid}.") for uid in "abc"
    ]


def test_other_conversations_are_no_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Why?"}]
    for messages in (turns, turns[1:], "text", [1, 2], []):
        file.write_text(json.dumps({"messages": messages}) + "\n")
        with pytest.raises(UserError, match=r"rows.jsonl:1: field 'messages' must be one user"):
            CustomTask(CustomConfig(train=str(file), test=str(file))).rows("train")


def test_nothing_is_exported_where_nothing_is_wanted(folder: OutputFolder) -> None:
    assert export_rows(folder, [], SynthesisConfig(export="off")) is None


def test_the_card_says_what_is_there(folder: OutputFolder) -> None:
    account = Account(
        prompts=5, left_out={"model.max_prompt_length": 1}, sampled=8,
        dropped={"near-duplicate": 2, "truncated": 3}, kept=3, kept_tokens=40, scored=2,
        agreement=1.5,
    )  # fmt: skip
    origin = {"input": "prompts.jsonl", "model": "some/model", "weights": "runs/demo"}
    settings = {"seed": 0, "rollout.temperature": 0.9}
    write_card(folder, make_summary(account, 2, settings, origin, {}, "train.jsonl"))
    summary = json.loads(folder.read("summary.json") or b"")
    assert (summary["prompts"], summary["failed"], summary["mean_agreement"]) == (7, 2, 0.75)
    _, header, text = (folder.read("README.md") or b"").decode().split("---\n", 2)
    assert [one["data_files"] for one in yaml.safe_load(header)["configs"]] == [
        "train.jsonl",
        "data/*.parquet",
    ]
    lines = [line.split() for line in text.splitlines() if line.split()]
    counts = {" ".join(words): number for *words, number in lines}
    assert counts["dropped: near-duplicate"] == "2"
    assert counts["left out: model.max_prompt_length"] == "1"
    assert "some/model with the weights of runs/demo" in text
    assert "rollout.temperature: 0.9" in text and "license" in text


COUNTS = st.builds(
    Account,
    prompts=st.integers(0, 9),
    dropped=st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)),
    kept=st.integers(0, 9),
)


@given(st.lists(COUNTS, max_size=5))
def test_accounts_add_up_part_by_part(accounts: list[Account]) -> None:
    total = add_up(accounts)
    assert total.prompts == sum(account.prompts for account in accounts)
    assert sum(total.dropped.values()) == sum(sum(a.dropped.values()) for a in accounts)
    assert add_up([total, Account()]) == total


def test_rows_and_account_are_one_file(folder: OutputFolder) -> None:
    folder.write("data/shard-0.parquet", shard("a"))
    with folder.open("data/shard-0.parquet") as file:
        assert pq.read_table(file)["uid"].to_pylist() == ["a"]
