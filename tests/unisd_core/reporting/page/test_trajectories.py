from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.unisd_core.reporting.page.folders import BATCH, trajectories, write_run, write_step
from unisd_core.reporting.page.trajectories import BIN_WIDTH, BINS, SHOWN, read_trajectories


def test_distributions_are_over_all_rows_and_few_are_shown(tmp_path: Path):
    folder = write_run(tmp_path / "run", steps=9)
    found = read_trajectories(folder / "trajectories")
    rows = [row for step in range(1, 10) for row in trajectories(step)]
    assert (found.rows, found.tokens) == (len(rows), sum(len(r["completion_ids"]) for r in rows))
    weights = np.float32([weight for row in rows for weight in row["token_weights"]])
    # Bins are closed above: a weight of 1 is in the one below.
    expected = np.histogram(-weights, np.linspace(-BIN_WIDTH * BINS, 0, BINS + 1))[0][::-1]
    assert found.token_weights.tolist() == expected.tolist()
    assert found.row_weights.sum() == len(rows)
    assert found.ages == {1: len(rows)}
    uids = [row["uid"] for row in found.samples]
    assert len(uids) == SHOWN == len(set(uids))
    assert (uids[0], uids[-1]) == (rows[0]["uid"], rows[-1]["uid"])
    assert [row["uid"] for row in read_trajectories(folder / "trajectories").samples] == uids


def test_the_weight_of_a_row_counts_for_its_tokens(tmp_path: Path):
    folder = write_run(tmp_path / "run", steps=1)
    rows = trajectories(1, token_weights=[1.0] * 20, sequence_weight=1.5)
    write_step(folder, 1, rows)
    found = read_trajectories(folder / "trajectories")
    assert found.token_weights.nonzero()[0].tolist() == [29]
    write_step(folder, 1, trajectories(1, token_weights=[1.0] * 20, sequence_weight=1000.0))
    assert read_trajectories(folder / "trajectories").token_weights[-1] == 20 * BATCH


def test_files_that_cannot_be_read_are_counted(tmp_path: Path):
    folder = write_run(tmp_path / "run", steps=3) / "trajectories"
    first, second, _ = sorted(folder.iterdir())
    first.write_bytes(first.read_bytes()[:100])
    pq.write_table(pa.table({"uid": ["other"]}), second)
    found = read_trajectories(folder)
    assert (found.rows, found.unreadable) == (BATCH, 2)
    assert len(found.samples) == BATCH


def test_weights_that_belong_to_no_token_are_not_counted(tmp_path: Path):
    folder = write_run(tmp_path / "run", steps=1)
    write_step(folder, 1, trajectories(1, token_weights=[1.0]))
    found = read_trajectories(folder / "trajectories")
    assert (found.rows, found.unreadable, found.token_weights.sum()) == (0, 1, 0)


def test_no_folder_means_no_trajectories(tmp_path: Path):
    found = read_trajectories(tmp_path / "none")
    assert (found.rows, found.unreadable, found.samples) == (0, 0, [])
