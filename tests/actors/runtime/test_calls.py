"""Calls of one actor by another: typed, named, and never without a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
import ray

from actors.runtime.calls import ActorClient, remote_method


class Adder:
    async def add(self, left: int, right: int = 1) -> int:
        return left + right

    async def hang(self) -> None:
        await asyncio.sleep(60)

    async def refuse(self) -> None:
        raise ValueError("not today")


class AdderClient(ActorClient):
    who = "the adder"

    add = remote_method(Adder.add)
    hang = remote_method(Adder.hang)
    refuse = remote_method(Adder.refuse)


@pytest.fixture(scope="module")
def adder() -> Iterator[AdderClient]:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    actor = ray.remote(Adder).options(name="adder", num_cpus=0).remote()
    yield AdderClient(actor)
    ray.shutdown()


def test_a_call_waits_for_its_answer_and_a_reference_does_not(adder: AdderClient) -> None:
    assert adder.add(1, right=2) == 3
    assert adder.wait(adder.add.remote(1)) == 2
    ray.cancel(adder.hang.remote())


def test_an_actor_is_found_by_its_name(adder: AdderClient) -> None:
    assert AdderClient("adder").add(2) == 3
    with pytest.raises(ValueError, match="nobody"):
        AdderClient("nobody").add(2)


def test_an_actor_that_does_not_answer_is_named(adder: AdderClient) -> None:
    with pytest.raises(TimeoutError, match=r"^the adder did not answer within 0 s$"):
        adder.hang.within(0.1)()


def test_errors_keep_their_class(adder: AdderClient) -> None:
    with pytest.raises(ValueError, match="not today"):
        adder.refuse()


def test_a_client_travels_to_another_process(adder: AdderClient) -> None:
    @ray.remote(num_cpus=0)
    def ask(client: AdderClient) -> int:
        return client.add(4)

    assert ray.get(ask.remote(adder)) == 5
    assert ray.get(ask.remote(AdderClient("adder"))) == 5


def test_an_error_of_a_call_that_nobody_waits_for_is_logged(
    adder: AdderClient, caplog: pytest.LogCaptureFixture
) -> None:
    adder.refuse.tell()
    adder.add.tell(1)
    until(lambda: bool(caplog.records))
    (message,) = caplog.messages
    assert message.startswith("the adder failed at refuse: ") and "not today" in message


def test_the_loss_of_an_actor_that_nobody_waits_for_is_left_to_its_supervisor(
    adder: AdderClient, caplog: pytest.LogCaptureFixture
) -> None:
    lost = AdderClient(ray.remote(Adder).options(num_cpus=0).remote())
    lost.add(1)
    pending = lost.hang.remote()
    lost.hang.tell()
    ray.kill(lost.handle)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(pending, timeout=30)
    adder.refuse.tell()
    until(lambda: bool(caplog.records))
    (message,) = caplog.messages
    assert message.startswith("the adder failed at refuse: ") and "not today" in message


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
