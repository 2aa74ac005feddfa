"""Follower: a thread that looks at a run's files at intervals while it trains."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Follower(ABC):
    """Calls ``look`` every ``interval_s`` seconds in a background thread of the driver, and once
    more on leaving. A failure in ``look`` ends the looking and is raised on leaving, unless the
    run failed as well."""

    interval_s: float
    failed = False
    """At the last look: whether the run was stopped or failed."""

    def __init__(self) -> None:
        self._failure: BaseException | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @abstractmethod
    def look(self, at_end: bool) -> None:
        """Take in what is new. ``at_end``: the run has ended."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.failed = error is not None
        self._done.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._done.wait(self.interval_s):
                self.look(at_end=False)
            self.look(at_end=True)
        except BaseException as failure:
            self._failure = failure
