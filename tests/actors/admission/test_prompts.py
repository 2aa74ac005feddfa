"""Prompts between the driver, which makes them, and the stage that asks for them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pytest
import ray

from actors.admission.ledger import Ledger, visited_rows
from actors.admission.prompts import AHEAD, PromptDesk, PromptDeskClient, PromptServer
from actors.runtime.calls import coordinator_actor
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config


class Numbers:
    """Prompts that say their index, and remember which were made."""

    def __init__(self, rows: int, bad: int | None = None) -> None:
        self.num_rows, self.bad = rows, bad
        self.uids = [str(row) for row in range(rows)]
        self.made: list[int] = []

    def make(self, indices: Sequence[int]) -> None:
        if self.bad in indices:
            raise UserError(f"rows.jsonl:{self.bad}: no reference")
        self.made += [index for index in indices if index not in self.made]

    def take(self, indices: Sequence[int]) -> pa.Table:
        self.make(indices)
        return pa.table({"row": list(indices)})


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Served:
    """A desk, and prompts served to it."""

    def __init__(self, prompts: Numbers, ahead: Sequence[int]) -> None:
        self.handle = coordinator_actor(PromptDesk, os.urandom(4).hex()).remote()
        self.desk = PromptDeskClient(self.handle)
        self.server = PromptServer(prompts, ahead, self.desk)
        self.server.start()


@pytest.fixture
def serve(cluster: None) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(prompts: Numbers, ahead: Sequence[int] = ()) -> Served:
        started.append(Served(prompts, ahead))
        return started[-1]

    yield start
    for one in started:
        one.server.stop()
        ray.kill(one.handle)


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_whoever_asks_gets_the_rows_asked_for(serve: Callable[..., Served]) -> None:
    prompts = Numbers(9)
    served = serve(prompts)
    waiting = [served.desk.take.remote([row, 8 - row]) for row in range(9)]
    assert [ray.get(one)["row"].to_pylist() for one in waiting] == [[r, 8 - r] for r in range(9)]
    assert served.desk.take([3, 3])["row"].to_pylist() == [3, 3]


def test_planned_rows_are_made_ahead_and_others_only_when_asked_for(
    serve: Callable[..., Served],
) -> None:
    prompts, ahead = Numbers(10 * AHEAD), list(range(3 * AHEAD, 0, -1))
    served = serve(prompts, ahead)
    until(lambda: len(prompts.made) == len(ahead))
    assert prompts.made == ahead
    served.desk.take([9 * AHEAD])
    assert prompts.made == [*ahead, 9 * AHEAD]


def test_a_row_that_cannot_be_used_is_known_before_its_turn(serve: Callable[..., Served]) -> None:
    served = serve(Numbers(4 * AHEAD, bad=3 * AHEAD), range(4 * AHEAD))
    until(lambda: not served.server.is_alive())
    with pytest.raises(UserError, match=f"rows.jsonl:{3 * AHEAD}: no reference"):
        served.server.check()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_requests_survive_the_desk(serve: Callable[..., Served], number: int) -> None:
    class Slow(Numbers):
        def take(self, indices: Sequence[int]) -> pa.Table:
            time.sleep(0.5)
            return super().take(indices)

    served = serve(Slow(4))
    pid = ray.get(served.handle.__ray_call__.remote(lambda _: os.getpid()))
    waiting = [served.desk.take.remote([row]) for row in range(4)]
    time.sleep(0.3)
    os.kill(pid, number)
    if number == signal.SIGSTOP:  # as the driver's liveness probe does
        ray.kill(served.handle, no_restart=False)
    tables = [ray.get(one, timeout=60) for one in waiting]
    assert [table["row"].to_pylist() for table in tables] == [[0], [1], [2], [3]]
    served.server.check()


def test_a_late_answer_is_dropped() -> None:
    async def scenario() -> None:
        desk = PromptDesk()
        asked = asyncio.create_task(desk.take([1]))
        ((key, rows),) = (await desk.requests()).items()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await desk.answer(key, pa.table({"row": rows}))
        assert not desk.asked
        again = asyncio.create_task(desk.take([2]))
        ((key, rows),) = (await desk.requests()).items()
        await desk.answer(key, pa.table({"row": rows}))
        await desk.answer(key, pa.table({"row": [7]}))
        assert (await again)["row"].to_pylist() == [2]

    asyncio.run(scenario())


@pytest.mark.parametrize("step", [0, 3])
def test_rows_are_planned_in_the_order_of_the_ledger(step: int) -> None:
    training = {"batch_size": 8, "max_steps": 6, "max_staleness": 1}
    config = Config.model_validate({"training": training, "seed": 5})
    for rows in (7, 1000):
        planned = visited_rows(config, rows, step)
        ledger = Ledger(rows, 8, 1000, 1000, seed=5)
        order = [admission.row for admission in ledger.admit(8 * 12)]
        assert list(dict.fromkeys(order[8 * step :])) == planned
