"""Messages between the workers of a learner."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from actors.learner.worker_group import WorkerGroup
from tests.support.two_workers import results, run_two

BATCH = pa.table({"row": range(6)})


def exchange(folder: Path, rank: int) -> None:
    workers = WorkerGroup(rank, size=2, limit_s=60.0)
    shares = [workers.share(batch if rank == 0 else None) for batch in (BATCH, None)]
    workers.barrier()
    seen = {
        "first": workers.is_first,
        "gathered": workers.gather(10 * rank),
        "from first": workers.from_first(f"of {rank}"),
        "shares": [share and share["row"].to_pylist() for share in shares],
    }
    torch.save(seen, folder / f"seen-{rank}.pt")


@pytest.mark.slow
def test_two_workers_see_the_same_and_share_a_batch_equally(tmp_path: Path) -> None:
    run_two(exchange, tmp_path, limit_s=120)
    first, second = results(tmp_path, "seen")
    assert first["gathered"] == second["gathered"] == [0, 10]
    assert first["from first"] == second["from first"] == "of 0"
    assert (first["shares"], second["shares"]) == ([[0, 1, 2], None], [[3, 4, 5], None])
    assert (first["first"], second["first"]) == (True, False)


def test_one_worker_needs_nobody() -> None:
    alone = WorkerGroup(rank=0, size=1, limit_s=1.0)
    alone.barrier()
    assert alone.is_first and alone.gather("a") == ["a"] and alone.from_first("a") == "a"
    assert alone.share(BATCH) is BATCH and alone.share(None) is None
