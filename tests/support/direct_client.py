"""DirectClient: stands in for an actor's client where a test needs no Ray."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any


class DirectClient:
    """Calls the methods of ``actor``, an object of this process."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def __getattr__(self, name: str) -> DirectMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        return DirectMethod(getattr(self.actor, name))


class DirectMethod:
    """Called, it waits for the answer; ``remote`` gives what can be awaited, and ``tell`` goes as
    far as nobody waits."""

    def __init__(self, method: Any) -> None:
        self.remote = method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return asyncio.run(self.remote(*args, **kwargs))

    def tell(self, *args: Any, **kwargs: Any) -> None:
        call = self.remote(*args, **kwargs)
        with contextlib.suppress(StopIteration):
            call.send(None)

    def within(self, limit_s: float) -> DirectMethod:
        return self
