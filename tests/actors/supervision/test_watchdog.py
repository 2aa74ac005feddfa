"""The watch ends work that takes too long, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError

from actors.supervision import watchdog as watch_module
from actors.supervision.watchdog import Watchdog, Work


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the actors that were killed, to be restarted."""
    names: list[str] = []

    def kill(actor: str, *, no_restart: bool) -> None:
        assert not no_restart
        names.append(actor)

    monkeypatch.setattr(watch_module, "INTERVAL_S", 0.01)
    monkeypatch.setattr(watch_module.ray, "kill", kill)
    return names


def played(scenario: Callable) -> Watchdog:
    async def whole() -> Watchdog:
        watch = Watchdog()
        await scenario(watch)
        await asyncio.sleep(0.6)
        return watch

    return asyncio.run(whole())


def test_work_that_ends_in_time_is_left_alone(killed: list[str]) -> None:
    async def scenario(watch: Watchdog) -> None:
        await watch.begin("a", "scorer", Stage(99), 0.05)
        await watch.end("a")
        await watch.begin("b", "scorer", Stage(99), 60.0)

    assert played(scenario).incidents == [] and killed == []


def test_work_that_takes_too_long_is_ended_once_and_noted(killed: list[str]) -> None:
    async def scenario(watch: Watchdog) -> None:
        await watch.begin("a", "scorer", "first", 0.02)
        await watch.begin("b", "scorer", "second", 60.0)

    (incident,) = played(scenario).incidents
    assert killed == ["first"]
    assert incident.who == "scorer" and incident.what.startswith("stuck for")


def test_an_actor_that_begins_again_gets_its_time_again(killed: list[str]) -> None:
    async def scenario(watch: Watchdog) -> None:
        for _ in range(5):
            await watch.begin("a", "scorer", Stage(99), 0.1)
            await asyncio.sleep(0.04)
        await watch.end("a")

    played(scenario)
    assert killed == []


class Stage:
    """The handle of a stage that gives so many signs of life, and then an error or none."""

    def __init__(self, signs: int, error: Exception | None = None) -> None:
        self.signs, self.error = signs, error
        self.__ray_ready__ = SimpleNamespace(remote=self._ready)

    async def _ready(self) -> None:
        self.signs -= 1
        if self.signs < 0:
            if self.error:
                raise self.error
            await asyncio.sleep(60)


def test_an_actor_that_hangs_between_two_pieces_of_work_is_replaced_once(killed: list) -> None:
    hangs, lives, dies = Stage(2), Stage(99), Stage(1, RayActorError())

    async def scenario(watch: Watchdog) -> None:
        for key, actor in (("a", hangs), ("b", lives), ("c", dies)):
            await watch.begin(key, "scorer", actor, 0.05)
            await watch.end(key)

    (incident,) = played(scenario).incidents
    assert killed == [hangs], "Ray restarts what is dead by itself"
    assert incident.what.startswith("gave no sign of life")


def test_a_question_that_waits_behind_new_work_costs_nobody_anything(killed: list) -> None:
    async def scenario(watch: Watchdog) -> None:
        busy = Stage(0)  # answers nothing while it works
        await watch.begin("a", "scorer", busy, 60.0)
        await watch.end("a")
        watch.followed["a"].cancel()
        watch.followed["a"] = asyncio.create_task(
            watch._follow("a", Work("scorer", busy, 0.0, 0.05))
        )
        await asyncio.sleep(0.03)
        await watch.begin("a", "scorer", busy, 60.0)

    assert played(scenario).incidents == [] and killed == []


class Door:
    """The handle of a gate at stream 3."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.stream_broke = SimpleNamespace(remote=self._broke)

    async def _broke(self, stream: int, reason: str) -> bool:
        self.told.append(reason)
        return stream == 3


@pytest.mark.parametrize("error", [None, RayActorError()])
def test_the_gate_is_told_of_a_stage_that_is_lost(
    killed: list[str], error: Exception | None
) -> None:
    door, old = Door(), Door()

    async def scenario(watch: Watchdog) -> None:
        await watch.attend("agreement stage", Stage(2, error), door, 3, 0.03)
        await watch.attend("agreement stage", Stage(2, error), old, 2, 0.03)
        await watch.attend("agreement stage", Stage(99), Door(), 3, 60.0)

    (incident,) = played(scenario).incidents
    assert len(door.told) == len(old.told) == 1
    assert incident.who == "agreement stage" and "begins again" in incident.what
    assert killed == []


def test_incidents_are_handed_out_once() -> None:
    async def scenario(watch: Watchdog) -> None:
        await watch.note("gate", "lost")
        assert [one.what for one in await watch.take()] == ["lost"]
        assert await watch.take() == []

    played(scenario)
