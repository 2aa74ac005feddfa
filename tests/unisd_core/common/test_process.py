from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from unisd_core.common.process import peak_memory, tree_memory

CPU = torch.device("cpu")


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_the_peak_is_that_of_the_process_in_bytes_and_stays() -> None:
    extra = 64 * 2**20
    before, now = peak_memory(CPU), resident()
    block = np.ones(max(0, before - now) + extra, dtype=np.uint8)
    with_it = peak_memory(CPU)
    assert before + extra / 2 < with_it < before + 4 * extra
    del block
    # The kernel counts pages per thread and adds them up now and then.
    assert peak_memory(CPU) > with_it - 2**20


def test_a_gpu_is_asked_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = {torch.device("cuda", 0): 5, torch.device("cuda", 1): 7}
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", peaks.__getitem__)
    assert [peak_memory(device) for device in peaks] == [5, 7]


def test_a_tree_counts_its_children_while_they_run() -> None:
    alone = tree_memory()
    child = subprocess.Popen(
        [sys.executable, "-c", "x = bytearray(64 << 20); print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    with_child = tree_memory()
    child.communicate(b"\n")
    assert with_child > alone + 64 * 2**20
    assert tree_memory() < with_child
