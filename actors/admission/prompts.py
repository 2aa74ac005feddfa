"""Prompts of admitted rows: made in the driver, which has the rows, for the stage that asks.

The driver makes those that the run is going to visit ahead of use, in the order of their visits,
and any other when it is asked for. Between it and the generating stage stands the desk, an actor
that only passes messages: a process cannot call the driver.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import pyarrow as pa
import ray
from ray.exceptions import RayActorError

from actors.runtime.calls import ActorClient, remote_method
from unisd_core.common.errors import reason

log = logging.getLogger(__name__)

AHEAD = 64
"""Rows made at a time while nobody asks: a request waits for them at most."""
LOOK_S = 1.0
"""Seconds that a look for requests waits for one."""


class Prompts(Protocol):
    """Rows that can be asked for by their index; see ``PromptTable``."""

    @property
    def num_rows(self) -> int: ...

    @property
    def uids(self) -> list[str]: ...

    def make(self, indices: Sequence[int]) -> None: ...

    def take(self, indices: Sequence[int]) -> pa.Table: ...


class PromptDesk:
    """Async actor: holds each request until it is answered. One that Ray restarted has none; the
    calls that wait here are made again."""

    def __init__(self) -> None:
        self.asked: dict[str, list[int]] = {}
        self.answers: dict[str, asyncio.Future[pa.Table]] = {}
        self.arrived = asyncio.Event()

    async def take(self, indices: Sequence[int]) -> pa.Table:
        """The prompts of these rows (schema ``PROMPT``), once the driver has made them."""
        # Unique, for answers to requests that an earlier desk passed on may still come.
        key = uuid.uuid4().hex
        self.asked[key] = list(indices)
        self.answers[key] = asyncio.get_running_loop().create_future()
        self.arrived.set()
        try:
            return await self.answers[key]
        finally:
            self.asked.pop(key, None)
            self.answers.pop(key, None)

    async def requests(self) -> dict[str, list[int]]:
        """The rows of all requests that are not answered yet; waits a while for the first."""
        if not self.asked:
            self.arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.arrived.wait(), LOOK_S)
        return dict(self.asked)

    async def answer(self, key: str, prompts: pa.Table) -> None:
        """Answer the request ``key``."""
        self.asked.pop(key, None)
        waiting = self.answers.get(key)
        if waiting is not None and not waiting.done():
            waiting.set_result(prompts)


class PromptDeskClient(ActorClient):
    """Calls the desk."""

    who = "the prompt desk"

    take = remote_method(PromptDesk.take)
    requests = remote_method(PromptDesk.requests)
    answer = remote_method(PromptDesk.answer)


class PromptServer(threading.Thread):
    """Answers the requests at ``desk`` from ``prompts``, and makes those of the rows ``ahead``
    while there is none."""

    def __init__(self, prompts: Prompts, ahead: Sequence[int], desk: PromptDeskClient) -> None:
        super().__init__(name="prompts", daemon=True)
        self.desk = desk
        self._prompts, self._ahead = prompts, ahead
        self._ended = threading.Event()
        self._error: Exception | None = None

    def check(self) -> None:
        """Raises what ended the thread: UserError where a row cannot be used."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Return when nothing is made any more."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        try:
            self._serve()
        except Exception as error:
            self._error = error

    def _serve(self) -> None:
        made = 0
        asked = self.desk.requests.remote()
        while not self._ended.is_set():
            more = made < len(self._ahead)
            if ray.wait([asked], timeout=0 if more else 2 * LOOK_S)[0]:
                self._answer(asked)
                asked = self.desk.requests.remote()
            elif more:
                self._prompts.make(self._ahead[made : made + AHEAD])
                made += AHEAD
        # Ray would say of a call that still waits that its actor is dead.
        ray.wait([asked], timeout=2 * LOOK_S)

    def _answer(self, asked: ray.ObjectRef[dict[str, list[int]]]) -> None:
        try:
            requests = self.desk.wait(asked)
        except RayActorError as error:
            # The desk was lost; what it held is asked of its successor again.
            log.warning("the prompt desk did not answer: %s", reason(error))
            self._ended.wait(LOOK_S)
            return
        answered = [
            self.desk.answer.remote(key, self._prompts.take(indices))
            for key, indices in requests.items()
        ]
        # Not before they have arrived: the desk would name them again.
        ray.wait(answered, num_returns=len(answered), timeout=LOOK_S)
