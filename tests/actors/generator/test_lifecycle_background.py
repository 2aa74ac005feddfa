"""What the pool does in the background: many replicas stop at once, and failures have a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import ActorUnavailableError, RayTaskError

from actors.admission.idle_time import IdleShares
from actors.generator.lifecycle import STOP_S, ReplicaLifecycle
from actors.generator.router import ReplicaState, Router
from actors.supervision.incidents import IncidentLog
from tests.support.direct_client import DirectClient
from tests.support.jumping_clock import seconds_of
from unisd_core.config.run import Config

MANY = 64


class Engines:
    """The handles of many replicas. Those in ``hung`` never stop; the others stop once all have
    been asked to."""

    def __init__(self, count: int, hung: set[int] = frozenset()) -> None:
        self.count, self.hung = count, hung
        self.asked: set[int] = set()
        self.stopping = self.most = 0
        self.all_asked = asyncio.Event()

    def handle(self, index: int) -> Any:
        return SimpleNamespace(index=index, stop=SimpleNamespace(remote=lambda: self._stop(index)))

    async def _stop(self, index: int) -> None:
        self.asked.add(index)
        self.stopping += 1
        self.most = max(self.most, self.stopping)
        if len(self.asked) == self.count:
            self.all_asked.set()
        await (asyncio.Event() if index in self.hung else self.all_asked).wait()
        self.stopping -= 1


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Indices of the replicas whose actors were killed."""
    indices: list[int] = []
    monkeypatch.setattr(ray, "kill", lambda actor: indices.append(actor.index))
    return indices


def lifecycle(count: int, **generator: Any) -> ReplicaLifecycle:
    """Of a pool of ``count`` replicas that are ready, without Ray."""
    settings = {"replicas": count, "scale_s": 1.0, **generator}
    config = Config.model_validate({"generator": settings})
    router = Router(count, 100.0)
    for replica in router.replicas:
        replica.state, replica.version = ReplicaState.READY, 0
    watchdog: Any = DirectClient(IncidentLog())
    return ReplicaLifecycle(config, "no model", watchdog, router, object)


async def told(pool: ReplicaLifecycle) -> list[str]:
    return [f"{one.who}: {one.what}" for one in await pool.watchdog.actor.drain()]  # type: ignore[attr-defined]


def stop_many(killed: list[int], hung: set[int]) -> tuple[float, Engines, list[str]]:
    """Stops MANY replicas; returns the seconds that took, the engines, and the incidents."""
    seen: dict[str, Any] = {}

    async def scenario() -> None:
        pool, engines = lifecycle(MANY), Engines(MANY, hung)
        for replica in pool.router.replicas:
            replica.actor = engines.handle(replica.index)
        await pool.stop()
        seen.update(engines=engines, told=await told(pool))

    seconds = seconds_of(scenario())
    assert sorted(killed) == list(range(MANY))
    return seconds, seen["engines"], seen["told"]


def test_many_replicas_stop_at_the_same_time(killed: list[int]) -> None:
    seconds, engines, incidents = stop_many(killed, hung=set())
    assert engines.most == MANY
    assert seconds == 0.0 and incidents == []


def test_replicas_that_do_not_stop_are_killed_after_one_wait_for_all(killed: list[int]) -> None:
    seconds, engines, incidents = stop_many(killed, hung={3, 17, 40, 63})
    assert engines.most == MANY
    assert seconds == pytest.approx(STOP_S)
    assert set(incidents) == {
        f"generator replica {index}: did not stop: TimeoutError" for index in (3, 17, 40, 63)
    }


def test_a_pool_that_stops_while_it_starts_starts_nobody_again(killed: list[int]) -> None:
    started: list[int] = []

    async def scenario() -> None:
        pool, engines = lifecycle(2), Engines(2)

        async def start(replica: Any) -> Any:
            started.append(replica.index)
            replica.actor = engines.handle(replica.index)
            await asyncio.Event().wait()

        pool._start = start  # type: ignore[method-assign]
        starting = pool.background.start("the start", start_all(pool))
        await asyncio.sleep(1)
        await pool.stop()
        assert starting.cancelled() and await told(pool) == []

    async def start_all(pool: ReplicaLifecycle) -> None:
        await asyncio.gather(*map(pool._start_with_retries, pool.router.replicas))

    seconds_of(scenario())
    assert started == [0, 1] and sorted(killed) == [0, 1]


def test_a_pool_without_supervision_says_so_to_whoever_asks(killed: list[int]) -> None:
    async def scenario() -> None:
        pool = lifecycle(1)

        async def broken() -> None:
            raise ValueError("no such answer")

        pool._supervisor.run = broken  # type: ignore[method-assign]
        pool._start_all = nothing_to_start  # type: ignore[method-assign]
        await pool.start()
        await asyncio.sleep(1)
        reason = "the supervision of the replicas failed: ValueError: no such answer"
        with pytest.raises(RuntimeError, match=reason):
            await pool.start()
        assert await told(pool) == [f"generator pool: {reason}"]
        await pool.stop()

    seconds_of(scenario())


async def nothing_to_start() -> list[Any]:
    return []


def test_a_replica_whose_start_fails_for_any_reason_is_told_of(killed: list[int]) -> None:
    async def scenario() -> None:
        pool = lifecycle(2)

        async def start(replica: Any) -> Any:
            raise ValueError("a place that is none")

        pool._start = start  # type: ignore[method-assign]
        await pool.scale_up("test")
        lost = pool.router.replicas[0]
        lost.actor = Engines(1).handle(0)
        pool.replace(lost, lost.actor, "test")
        await asyncio.sleep(1)
        assert [replica.index for replica in pool.router.replicas] == [0, 1]
        assert lost.state is ReplicaState.ABANDONED
        joins, *others = await told(pool)
        assert joins == "generator replica 2: asked for (test)"
        assert "generator replica 2: did not join: ValueError: a place that is none" in others
        assert (
            "generator replica 0: cannot be restarted: ValueError: a place that is none" in others
        )
        await pool.stop()

    seconds_of(scenario())


def test_a_replica_that_does_not_drain_leaves_nevertheless(killed: list[int]) -> None:
    async def scenario() -> None:
        pool, engines = lifecycle(2), Engines(1)
        leaving = pool.router.replicas[1]
        leaving.actor, leaving.running = engines.handle(1), 3
        pool.scale_down("test")
        await asyncio.sleep(101)
        assert [replica.index for replica in pool.router.replicas] == [0] and killed == [1]
        leaves, late = await told(pool)
        assert "leaves with requests: replica 1 still works on 3 requests" in late
        await pool.stop()

    seconds_of(scenario())


class Gate:
    """Answers each question by the next of these."""

    def __init__(self, *answers: Callable[[], Awaitable[IdleShares]]) -> None:
        self.answers = [*answers]
        self.idle = SimpleNamespace(remote=lambda: self.answers.pop(0)())


def not_there() -> Awaitable[IdleShares]:
    raise ValueError("Failed to look up actor with name 'gate'")


async def restarting() -> IdleShares:
    raise ActorUnavailableError("the gate", None)


async def balanced() -> IdleShares:
    return IdleShares(0.0, 0.0, 60.0)


async def wrong() -> IdleShares:
    cause = ValueError("math domain error")
    raise RayTaskError("idle", "ValueError: math domain error", cause).as_instanceof_cause()


def test_the_autoscaler_waits_for_a_gate_and_passes_on_other_errors(killed: list[int]) -> None:
    async def scenario() -> None:
        pool, gate = lifecycle(1), Gate(not_there, restarting, balanced, restarting, wrong)
        scaling: Any = pool.autoscale(gate, 1.0)  # type: ignore[arg-type]
        pool.background.start("the autoscaler", scaling)
        await asyncio.sleep(4.5)
        assert len(gate.answers) == 1 and await told(pool) == []
        await asyncio.sleep(1)
        (failure,) = await told(pool)
        assert failure.startswith("generator pool: the autoscaler failed: ")
        assert "math domain error" in failure
        await pool.stop()

    seconds_of(scenario())
