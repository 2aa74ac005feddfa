"""Router: what each state of a replica means for requests and for those who wait."""

from __future__ import annotations

import asyncio

import pytest

from actors.generator.router import Replica, ReplicaState, Router
from actors.generator.types import ReplicaReport


def report(replica: Replica, version: int = 0) -> ReplicaReport:
    return ReplicaReport(replica.index, version, "", 0, 0.0)


async def router_with(*versions: int) -> Router:
    """Ready replicas at these versions."""
    router = Router(len(versions), stall_timeout_s=0.05)
    async with router.changed:
        for replica, version in zip(router.replicas, versions, strict=True):
            replica.actor = f"actor {replica.index}"
            router.mark_ready(replica, report(replica, version))
    return router


@pytest.mark.parametrize(
    ("state", "takes_requests", "awaited"),
    [
        (ReplicaState.STARTING, False, True),
        (ReplicaState.JOINING, False, False),
        (ReplicaState.READY, True, True),
        (ReplicaState.DRAINING, False, False),
        (ReplicaState.LOST, False, True),
        (ReplicaState.ABANDONED, False, False),
    ],
)
def test_each_state_says_who_gets_requests_and_who_is_waited_for(
    state: ReplicaState, takes_requests: bool, awaited: bool
) -> None:
    async def scenario() -> None:
        router = await router_with(0)
        (replica,) = router.replicas
        replica.state = state
        assert (replica in router.ready(), replica.awaited) == (takes_requests, awaited)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "state",
    [ReplicaState.STARTING, ReplicaState.JOINING, ReplicaState.LOST, ReplicaState.ABANDONED],
)
def test_a_started_replica_is_ready_wherever_it_came_from(state: ReplicaState) -> None:
    async def scenario() -> None:
        router = await router_with(0)
        replica = router.add(state)
        await router.fail("nobody is left")
        async with router.changed:
            router.mark_ready(replica, report(replica, 3))
        assert router.ready(min_version=3) == [replica]
        assert router.failure is None

    asyncio.run(scenario())


def test_requests_of_a_lost_replica_no_longer_count_when_they_fail_late() -> None:
    async def scenario() -> None:
        router = await router_with(0)
        replica = await router.acquire(0, load=4)
        actor = replica.actor
        router.mark_lost(replica)
        assert replica.state is ReplicaState.LOST
        replica.actor = "next actor"
        async with router.changed:
            router.mark_ready(replica, report(replica))
        await router.acquire(0, load=2)
        await router.release(replica, actor, 4)
        assert replica.running == 2

    asyncio.run(scenario())


def test_a_draining_replica_that_is_lost_goes_on_draining_with_nothing_to_answer() -> None:
    async def scenario() -> None:
        router = await router_with(0)
        replica = await router.acquire(0, load=4)
        replica.state = ReplicaState.DRAINING
        with pytest.raises(TimeoutError, match="replica 0 still works on 4 requests"):
            await router.wait_drained(replica)
        router.mark_lost(replica)
        assert replica.state is ReplicaState.DRAINING
        await router.wait_drained(replica)
        await router.remove(replica)
        assert router.replicas == []

    asyncio.run(scenario())


def test_who_waits_is_told_the_versions_or_why_the_pool_has_failed() -> None:
    async def scenario() -> None:
        router = await router_with(2, 1)
        with pytest.raises(TimeoutError, match=r"reached version 3 \(they are at \[2, 1\]\)"):
            await router.acquire(3, load=1)
        await router.fail("no room")
        with pytest.raises(RuntimeError, match="no room"):
            await router.acquire(3, load=1)

    asyncio.run(scenario())


def test_a_replica_with_a_new_version_takes_no_more_than_one_load_above_the_others() -> None:
    async def scenario() -> None:
        router = await router_with(1, 0)
        first = await router.acquire(1, load=4)
        assert first.index == 0
        with pytest.raises(TimeoutError):
            await router.acquire(1, load=4)
        other = await router.acquire(0, load=4)
        assert other.index == 1
        assert (await router.acquire(1, load=4)).index == 0

    asyncio.run(scenario())
