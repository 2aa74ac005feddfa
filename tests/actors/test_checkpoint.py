"""Checkpoints are there whole or not at all."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from actors import checkpoint as checkpoints
from actors.checkpoint import MARKER, Checkpoint
from actors.ledger import Ledger


def make(version: int) -> Checkpoint:
    ledger = Ledger(rows=9, batch=2, staleness=1, steps=9, seed=0)
    for _ in range(version):
        tickets = ledger.admit(2)
        ledger.advance([(ticket.position, ticket.attempt) for ticket in tickets])
    ledger.admit(1)
    tensors = {"a": torch.full((2, 3), float(version)), "b": torch.ones(1)}
    totals, thresholds = {"rows": 2 * version}, {"clip": 1.5, "agreement_scale": None}
    return Checkpoint(version, tensors, tensors, tensors, ledger.state(), totals, thresholds)


def test_what_is_read_is_what_was_written(tmp_path):
    written = make(3)
    checkpoints.save(tmp_path, written, keep=2)
    read = checkpoints.newest(tmp_path)
    assert read.version == 3 and read.totals == {"rows": 6}
    assert read.thresholds == {"clip": 1.5, "agreement_scale": None}
    assert torch.equal(read.adapter["a"], written.adapter["a"])
    restored = Ledger(rows=9, batch=2, staleness=1, steps=9, seed=0)
    restored.restore(read.ledger)
    restored.check()
    assert restored.counters()["consumed"] == 6 and restored.in_flight == 1


def test_only_the_newest_are_kept(tmp_path):
    for version in range(4):
        checkpoints.save(tmp_path, make(version), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000002", "step-000003"]


@pytest.mark.parametrize("damage", ["truncate", "flip", "no marker", "missing file", "marker text"])
def test_a_broken_checkpoint_is_skipped_for_the_one_before(tmp_path, damage, caplog):
    checkpoints.save(tmp_path, make(1), keep=5)
    broken = checkpoints.save(tmp_path, make(2), keep=5)
    weights = broken / "adapter.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "truncate":
        weights.write_bytes(content[:-4])
    elif damage == "flip":
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "no marker":
        (broken / MARKER).unlink()
    elif damage == "missing file":
        weights.unlink()
    else:
        (broken / MARKER).write_text("[]")
    assert checkpoints.newest(tmp_path).version == 1
    if damage != "no marker":
        assert "step-000002 is skipped" in caplog.text


def test_leftovers_of_a_killed_writer_do_no_harm(tmp_path):
    path = checkpoints.save(tmp_path, make(1), keep=5)
    torn = tmp_path / ".step-000002.tmp"
    shutil.copytree(path, torn)
    (torn / "adapter.safetensors").write_bytes(b"torn")
    assert checkpoints.newest(tmp_path).version == 1
    checkpoints.save(tmp_path, make(2), keep=5)
    assert checkpoints.newest(tmp_path).version == 2


def test_an_empty_folder_has_none(tmp_path):
    assert checkpoints.newest(tmp_path / "absent") is None


def test_state_is_plain_json(tmp_path):
    path = checkpoints.save(tmp_path, make(1), keep=1)
    assert json.loads((path / "state.json").read_text())["version"] == 1
