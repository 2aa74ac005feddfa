"""Two processes with a gloo group between them, as learner workers have."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

Train = Callable[[Path, int], None]
"""What a worker does in the folder they share; gets its rank."""


def _worker(train: Train, rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    train(folder, rank)
    dist.destroy_process_group()


def results(folder: Path, name: str) -> list[Any]:
    """What both have saved as ``<name>-<rank>.pt``, by rank."""
    files = [folder / f"{name}-{rank}.pt" for rank in range(2)]
    assert all(file.exists() for file in files), "the workers failed at this case or before it"
    return [torch.load(file, weights_only=True) for file in files]


def run_two(train: Train, folder: Path, limit_s: float) -> None:
    """Run ``train``, a function of a module, in both; fails when one does not end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_worker, args=(train, rank, port, folder)) for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(limit_s)
    alive = [worker for worker in workers if worker.is_alive()]
    for worker in alive:
        worker.kill()
    assert not alive, "a worker waits for the other for ever"
