"""The watchdog ends work that takes too long, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from actors.supervision.incidents import Incident
from actors.supervision.watchdog import Watchdog


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The actors that were killed, to be restarted."""
    actors: list[Any] = []

    def kill(actor: Any, *, no_restart: bool) -> None:
        assert not no_restart
        actors.append(actor)

    monkeypatch.setattr(ray, "kill", kill)
    return actors


def incidents_of(scenario: Callable[[Watchdog], Awaitable[None]]) -> list[Incident]:
    async def whole() -> list[Incident]:
        watchdog = Watchdog(interval_s=0.01)
        await scenario(watchdog)
        await asyncio.sleep(0.6)
        return await watchdog.drain()

    return asyncio.run(whole())


class Stage:
    """The handle of a stage that gives so many signs of life, and then an error or none."""

    def __init__(self, signs: int = 99, error: Exception | None = None) -> None:
        self.signs, self.error = signs, error
        self.__ray_ready__ = SimpleNamespace(remote=lambda: SimpleNamespace(future=self._ask))

    def _ask(self) -> Future[None]:
        answer: Future[None] = Future()
        self.signs -= 1
        if self.signs >= 0:
            answer.set_result(None)
        elif self.error:
            answer.set_exception(self.error)
        return answer


def test_work_that_ends_in_time_is_left_alone(killed: list[Any]) -> None:
    async def scenario(watchdog: Watchdog) -> None:
        await watchdog.begin("a", "scorer", Stage(), 0.05)
        await watchdog.end("a")
        await watchdog.begin("b", "scorer", Stage(), 60.0)

    assert incidents_of(scenario) == [] and killed == []


def test_work_that_takes_too_long_is_ended_once_and_recorded(killed: list[Any]) -> None:
    first = Stage()

    async def scenario(watchdog: Watchdog) -> None:
        await watchdog.begin("a", "scorer", first, 0.02)
        await watchdog.begin("b", "scorer", Stage(), 60.0)

    (incident,) = incidents_of(scenario)
    assert killed == [first]
    assert (incident.who, incident.what) == ("scorer", "stuck for 0 s; replaced")


def test_an_actor_that_begins_again_gets_its_time_again(killed: list[Any]) -> None:
    async def scenario(watchdog: Watchdog) -> None:
        for _ in range(5):
            await watchdog.begin("a", "scorer", Stage(), 1.0)
            await asyncio.sleep(0.3)
        await watchdog.end("a")

    incidents_of(scenario)
    assert killed == []


def test_an_actor_that_hangs_between_two_pieces_of_work_is_replaced_once(killed: list[Any]) -> None:
    hangs, lives, dies = Stage(2), Stage(), Stage(1, RayActorError())

    async def scenario(watchdog: Watchdog) -> None:
        for key, actor in (("a", hangs), ("b", lives), ("c", dies)):
            await watchdog.begin(key, "scorer", actor, 0.05)
            await watchdog.end(key)

    (incident,) = incidents_of(scenario)
    assert killed == [hangs], "Ray restarts what is dead by itself"
    assert incident.what == "gave no sign of life for 0 s; replaced"


def test_a_question_that_waits_behind_new_work_costs_nobody_anything(killed: list[Any]) -> None:
    async def scenario(watchdog: Watchdog) -> None:
        busy = Stage(0)  # answers nothing while it works
        await watchdog.begin("a", "scorer", busy, 0.5)
        await watchdog.end("a")
        await asyncio.sleep(0.03)
        assert busy.signs < 0, "it was asked"
        await watchdog.begin("a", "scorer", busy, 60.0)

    assert incidents_of(scenario) == [] and killed == []


class GateHandle:
    """The handle of a gate at stream 3."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.stream_broke = SimpleNamespace(remote=self._broke)

    async def _broke(self, stream: int, reason: str) -> bool:
        self.told.append(reason)
        return stream == 3


@pytest.mark.parametrize(
    ("error", "reason"), [(None, "gave no sign of life"), (RayActorError(), "RayActorError")]
)
def test_the_gate_is_told_of_a_stage_that_is_lost(
    killed: list[Any], error: Exception | None, reason: str
) -> None:
    gate, old, well = GateHandle(), GateHandle(), GateHandle()

    async def scenario(watchdog: Watchdog) -> None:
        await watchdog.monitor("agreement stage", Stage(2, error), gate, 3, 0.03)
        await watchdog.monitor("agreement stage", Stage(2, error), old, 2, 0.03)
        await watchdog.monitor("agreement stage", Stage(), well, 3, 60.0)

    (incident,) = incidents_of(scenario)
    assert len(gate.told) == len(old.told) == 1 and reason in gate.told[0]
    assert incident.who == "agreement stage" and "begins again" in incident.what
    assert well.told == [] and killed == []


def test_a_supervision_that_fails_is_told_and_begins_again(killed: list[Any]) -> None:
    lost = Stage()

    async def scenario(watchdog: Watchdog) -> None:
        looks = iter([ValueError("no such answer")])
        look = watchdog.supervisor.look

        def broken() -> None:
            for error in looks:
                raise error
            look()

        watchdog.supervisor.look = broken  # type: ignore[method-assign]
        await watchdog.begin("a", "scorer", Stage(), 60.0)
        await asyncio.sleep(0.1)
        await watchdog.begin("b", "scorer", lost, 0.02)

    failed, replaced = incidents_of(scenario)
    assert (failed.who, failed.what) == (
        "watchdog",
        "supervision failed: ValueError: no such answer",
    )
    assert killed == [lost] and replaced.what == "stuck for 0 s; replaced"


def test_a_worker_that_cannot_be_killed_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(actor: Any, *, no_restart: bool) -> None:
        raise ValueError("no such actor")

    monkeypatch.setattr(ray, "kill", kill)

    async def scenario(watchdog: Watchdog) -> None:
        await watchdog.begin("a", "scorer", Stage(), 0.02)

    stuck, failed = incidents_of(scenario)
    assert stuck.what == "stuck for 0 s; replaced"
    assert failed.what == "the replacement of the scorer failed: ValueError: no such actor"
