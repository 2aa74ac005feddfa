"""DirectClient: stands in for an actor's client where a test needs no Ray."""

from __future__ import annotations

import asyncio
from typing import Any


class DirectClient:
    """Calls the methods of ``actor``, an object of this process, and waits for none of them."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def __getattr__(self, name: str) -> DirectMethod:
        return DirectMethod(getattr(self.actor, name))


class DirectMethod:
    """``remote`` gives the answer itself, not a reference to it."""

    def __init__(self, method: Any) -> None:
        self.method = method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return asyncio.run(self.method(*args, **kwargs))

    remote = __call__

    def within(self, limit_s: float) -> DirectMethod:
        return self
