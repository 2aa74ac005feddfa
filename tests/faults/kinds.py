"""The kinds of faults: whom they hit, and how."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.job import Job

Inject = Callable[[Job, random.Random], str]
"""Injects a fault and says what it did. Raises LookupError when its victim is not there."""


@dataclass(frozen=True)
class Kind:
    """``restart``: the run has ended by it, and the same command has to be given again."""

    inject: Inject
    restart: bool = False


def send(title: str, number: int) -> Inject:
    """A signal to one process with this title."""

    def inject(job: Job, rng: random.Random) -> str:
        victims = job.processes(title)
        if not victims:
            raise LookupError(f"no process is called {title}")
        victim = rng.choice(victims)
        os.kill(victim.pid, number)
        return f"{signal.Signals(number).name} to {title} ({victim.pid})"

    return inject


def slow(title: str, seconds: float) -> Inject:
    """The process stands still for a while."""

    def inject(job: Job, rng: random.Random) -> str:
        did = send(title, signal.SIGSTOP)(job, rng)
        time.sleep(seconds)
        for process in job.processes(title):
            os.kill(process.pid, signal.SIGCONT)
        return f"{did}, SIGCONT after {seconds:.0f} s"

    return inject


def end_driver(number: int) -> Inject:
    """The command itself is ended."""

    def inject(job: Job, _: random.Random) -> str:
        assert job.driver is not None
        job.processes()
        if number == signal.SIGINT:
            os.killpg(job.driver.pid, number)  # as a terminal does
        else:
            job.driver.send_signal(number)
        code = job.driver.wait(180)
        if number != signal.SIGKILL:
            assert code == 128 + number, f"code {code}:\n{job.tail()}"
            assert "the same command goes on from there" in job.tail(), job.tail()
        return f"{signal.Signals(number).name} to the command"

    return inject


def spoil(damage: Callable[[Path, random.Random], str]) -> Inject:
    """The newest checkpoint is damaged while the command is down."""

    def inject(job: Job, rng: random.Random) -> str:
        end_driver(signal.SIGKILL)(job, rng)
        newest = max((job.path / "checkpoints").glob("step-*"))
        return f"command killed, {newest.name}: {damage(newest, rng)}"

    return inject


def flip(folder: Path, rng: random.Random) -> str:
    """One bit of one file."""
    file = rng.choice(sorted(folder.iterdir()))
    data = bytearray(file.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(data)
    return f"a bit of {file.name} flipped"


def cut(folder: Path, rng: random.Random) -> str:
    """One file ends early."""
    file = rng.choice(sorted(folder.iterdir()))
    os.truncate(file, rng.randrange(file.stat().st_size))
    return f"{file.name} cut short"


KINDS = {
    "replica killed": Kind(send("ray::GeneratorReplica", signal.SIGKILL)),
    "replica hung": Kind(send("ray::GeneratorReplica", signal.SIGSTOP)),
    "replica slow": Kind(slow("ray::GeneratorReplica", 4)),
    "engine killed": Kind(send("VLLM::EngineCore", signal.SIGKILL)),
    "engine hung": Kind(send("VLLM::EngineCore", signal.SIGSTOP)),
    "scorer killed": Kind(send("ray::MapWorker(MapBatches(Score))", signal.SIGKILL)),
    "scorer hung": Kind(send("ray::MapWorker(MapBatches(Score))", signal.SIGSTOP)),
    "generate stage killed": Kind(send("ray::MapWorker(MapBatches(Generate))", signal.SIGKILL)),
    "agreement stage killed": Kind(send("ray::MapWorker(MapBatches(Agree))", signal.SIGKILL)),
    "agreement stage hung": Kind(send("ray::MapWorker(MapBatches(Agree))", signal.SIGSTOP)),
    "learner killed": Kind(send("ray::RayTrainWorker", signal.SIGKILL)),
    "learner hung": Kind(send("ray::RayTrainWorker", signal.SIGSTOP)),
    "train controller killed": Kind(send("ray::TrainController", signal.SIGKILL)),
    "stream coordinator killed": Kind(send("ray::SplitCoordinator", signal.SIGKILL)),
    "gate killed": Kind(send("ray::Gate", signal.SIGKILL)),
    "weight store killed": Kind(send("ray::WeightStore", signal.SIGKILL)),
    "pool killed": Kind(send("ray::GeneratorPool", signal.SIGKILL)),
    "gate hung": Kind(send("ray::Gate", signal.SIGSTOP)),
    "weight store hung": Kind(send("ray::WeightStore", signal.SIGSTOP)),
    "pool hung": Kind(send("ray::GeneratorPool", signal.SIGSTOP)),
    "watchdog killed": Kind(send("ray::Watchdog", signal.SIGKILL)),
    "command killed": Kind(end_driver(signal.SIGKILL), restart=True),
    "command told to stop": Kind(end_driver(signal.SIGTERM), restart=True),
    "command interrupted": Kind(end_driver(signal.SIGINT), restart=True),
    "checkpoint damaged": Kind(spoil(flip), restart=True),
    "checkpoint torn": Kind(spoil(cut), restart=True),
}
