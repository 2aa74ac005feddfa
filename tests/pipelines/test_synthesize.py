"""The whole synthesis on Ray Data with a stand-in for the pool: an end, a resume, filters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from actors.generator.group import GeneratorGroup
from actors.generator.pool import PoolClient
from actors.runtime import ray_session as ray_cluster
from actors.runtime.calls import coordinator_actor
from actors.supervision.watchdog import Watchdog, WatchdogClient
from actors.synthesis import fleet as synthesizer
from pipelines.command.cli import run_main
from pipelines.synthesize import main, parser
from tests.support.scripted_pool import ScriptedPool
from unisd_core.config.data import CustomConfig
from unisd_core.models.load import load_tokenizer
from unisd_core.tasks.custom.task import CustomTask

PROMPTS = 14
SAMPLES = 3
UNDER_WAY = 8
"""Requests on their way to an engine of four places."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Any:
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    ray_cluster.configure_streams()
    yield
    ray.shutdown()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path) -> Any:
    """Runs the command; ``limit`` requests are answered before the pool fails, the
    first once it has ``full``."""
    monkeypatch.setattr(ray_cluster, "connect", lambda _: None)
    script: dict[str, Any] = {}

    def start(self: GeneratorGroup, config: Any, model_dir: Path, plan: Any) -> None:
        self.config, self.model_dir = config, model_dir
        self.watchdog = WatchdogClient(coordinator_actor(Watchdog, "watchdog").remote())
        stop = load_tokenizer(model_dir).eos_token_id
        pool = ray.remote(ScriptedPool).options(name="pool", max_concurrency=100)
        pool = pool.remote(stop, str(tmp_path / "out"), script["full"], script["limit"])
        self.pool = PoolClient(pool)
        self._starting = self.pool.start.remote()

    def stop(self: GeneratorGroup, *_: object) -> None:
        script["answered"], script["most"] = ray.get(self.pool.handle.account.remote())
        for actor in self._actors():
            ray.kill(actor)

    monkeypatch.setattr(GeneratorGroup, "__init__", start)
    monkeypatch.setattr(synthesizer.Synthesizer, "__exit__", stop)

    def whole(*arguments: str, limit: int | None = None, full: int = 0) -> int:
        script.update(limit=limit, full=full)
        return run_main(
            main,
            parser(),
            [
                f"--output={tmp_path / 'out'}",
                f"model.name_or_path={tiny_model}",
                "model.max_prompt_length=200",
                "model.max_view_length=1000",
                "rollout.max_completion_length=12",
                "rollout.chunk_size=4",
                "views.num_auxiliary=2",
                "generator.max_num_seqs=4",
                "generator.threads=1",
                "generator.cpus=0.2",
                "scorer.cpus=0.2",
                "scorer.threads=1",
                "synthesis.shard_prompts=4",
                f"synthesis.samples={SAMPLES}",
                *arguments,
            ],
        )

    whole.script = script  # type: ignore[attr-defined]
    return whole


def write_prompts(folder: Path, references: bool, count: int = PROMPTS) -> str:
    path = folder / "prompts.jsonl"
    rows = [{"uid": f"q{number}", "prompt": f"Say {number} twice."} for number in range(count)]
    if references:
        rows = [row | {"reference": f"{n} and {n} again"} for n, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"--input={path}"


def read(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "data").glob("*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()


def test_a_killed_synthesis_goes_on_and_ends_as_an_undisturbed_one(
    cluster: None, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = write_prompts(tmp_path, references=True)
    assert run(given, limit=24) == 2
    assert "the same command goes on" in capsys.readouterr().err
    before = {path.name: path.read_bytes() for path in (tmp_path / "out" / "data").iterdir()}
    assert 0 < len(before) < 4
    assert not (tmp_path / "out" / "summary.json").exists()

    assert run(given) == 0
    # What was finished was neither sampled again nor touched.
    assert run.script["answered"] == SAMPLES * (PROMPTS - 4 * len(before))
    folder = tmp_path / "out" / "data"
    assert {name: (folder / name).read_bytes() for name in before} == before
    rows = read(tmp_path / "out")
    keys = [(row["uid"], row["sample"]) for row in rows]
    assert sorted(keys) == sorted((f"q{n}", s) for n in range(PROMPTS) for s in range(SAMPLES))

    assert run(given, f"--output={tmp_path / 'whole'}", full=UNDER_WAY) == 0
    assert read(tmp_path / "whole") == rows
    # As many requests were under way as two for each place of the engine.
    assert run.script["most"] == UNDER_WAY

    for row in rows:
        tokens = len(row["token_ids"])
        assert len(row["logprobs"]) == len(row["token_weights"]) == tokens
        assert 0 < row["agreement"] <= 1
        assert row["mean_logprob"] == pytest.approx(-0.5)
        assert row["messages"][0] == {"role": "user", "content": row["prompt"]}
        assert row["messages"][1] == {"role": "assistant", "content": row["completion"]}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["prompts"], summary["done"], summary["kept"]) == (PROMPTS, PROMPTS, len(rows))
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{len(rows)} completions of {PROMPTS} prompts from prompts.jsonl" in card

    # Nothing is left to do; the training file is read as custom rows.
    assert run(given) == 0
    train = str(tmp_path / "out" / "train.jsonl")
    task = CustomTask(CustomConfig(train=train, test_rows=SAMPLES, contradictions="keep"))
    found = {row.uid: row.reference for row in [*task.rows("train"), *task.rows("test")]}
    assert found == {f"custom/{row['uid']}/{row['sample']}": row["completion"] for row in rows}


def test_prompts_without_references_are_sampled_and_not_scored(
    cluster: None, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {"prompt": "x" * 400, "uid": "long"}
    given = write_prompts(tmp_path, references=False, count=3)
    with (tmp_path / "prompts.jsonl").open("a") as file:
        file.write(json.dumps(long) + "\n")
    assert run(given, "rollout.teacher_share=0.75") == 0
    assert "agreement is not scored" in capsys.readouterr().out
    rows = read(tmp_path / "out")
    assert len(rows) == 3 * SAMPLES
    assert {row["source"] for row in rows} == {"student"}
    assert {row["agreement"] for row in rows} == {None}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["left_out"] == {"model.max_prompt_length": 1}
    assert (summary["done"], summary["failed"], summary["mean_agreement"]) == (4, 0, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["synthesis.keep=1"], "synthesis.keep needs rows with references"),
        (["filter.min_agreement=0.5"], "filter.min_agreement needs rows with references"),
        (["filter.drop_unreadable=true"], "filter.drop_unreadable needs rows with references"),
        (["rollout.gold_share=1"], "rollout.gold_share takes references in place of samples"),
        (["views.auxiliary=induction"], "views.auxiliary=induction is not available"),
        (["synthesis.samples=2", "synthesis.keep=3"], "synthesis.keep must be at most"),
        (["synthesis.prompt_column=question"], "prompts.jsonl:1: field 'question' must be text"),
        (["--input=nothing.jsonl"], "--input nothing.jsonl: no such file"),
        (["--input=rows.csv"], "--input rows.csv: must be a .jsonl or .parquet file"),
        (["--input=hub:only"], "--input hub:only: write hub:OWNER/NAME:SPLIT"),
        (["--weights=nowhere"], "nowhere: neither a run folder"),
        (["--output=s3://key:secret@bucket/out"], "leave credentials out of the URL"),
        (["model.max_prompt_length=4000"], "lower model.max_prompt_length"),
    ],
)
def test_a_mistake_is_one_line(
    run: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert run(write_prompts(tmp_path, references=False), *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write_prompts(tmp_path, references=True), "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "14 prompts from prompts.jsonl, 0 of them done, 3 completions each" in printed
    assert "writing stage" in printed
    assert not (tmp_path / "out").exists()


def test_rows_made_otherwise_are_not_mixed(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    given = write_prompts(tmp_path, references=False, count=1)
    assert run(given) == 2
    assert "holds files but no synthesis.json" in capsys.readouterr().err
    (tmp_path / "out" / "notes.txt").unlink()
    (tmp_path / "out" / "synthesis.json").write_text(json.dumps({"seed": 0}))
    assert run(given) == 2
    assert "holds rows made with another weights" in capsys.readouterr().err
