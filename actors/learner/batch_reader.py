"""Batch reader: takes batches from the stream for the learner, and never waits without limit."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import pyarrow as pa


class BatchReader:
    """Takes batches from a stream one at a time, on demand, in a thread of its own.

    While it waits, it asks ``wanted`` every ``look_s`` seconds whether a batch is still wanted;
    ``limit_s`` is the longest wait.
    """

    def __init__(
        self,
        source: Iterator[pa.Table],
        wanted: Callable[[], bool],
        limit_s: float,
        look_s: float = 2.0,
    ) -> None:
        self.wanted, self.limit_s, self.look_s = wanted, limit_s, look_s
        self._asked: queue.Queue[None] = queue.Queue()
        self._answers: queue.Queue[pa.Table | BaseException | None] = queue.Queue()
        self._waits = False
        # A daemon: a stream that hangs must not keep the process alive.
        threading.Thread(target=self._serve, args=(source,), daemon=True).start()

    def begin(self) -> None:
        """Ask for the batch that :meth:`next` will wait for."""
        if not self._waits:
            self._waits = True
            self._asked.put(None)

    def next(self) -> pa.Table | None:
        """The next batch; None when the stream has ended or nobody wants one any more.

        Raises the stream's error, and TimeoutError after ``limit_s`` seconds.
        """
        self.begin()
        deadline = time.monotonic() + self.limit_s
        while True:
            try:
                answer = self._answers.get(timeout=self.look_s)
            except queue.Empty:
                if not self.wanted():
                    return None
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"the stream gave no batch within {self.limit_s:.0f} s"
                    ) from None
                continue
            self._waits = False
            if isinstance(answer, BaseException):
                raise answer
            return answer

    def _serve(self, source: Iterator[pa.Table]) -> None:
        while True:
            self._asked.get()
            try:
                self._answers.put(next(source, None))
            except BaseException as error:
                self._answers.put(error)
