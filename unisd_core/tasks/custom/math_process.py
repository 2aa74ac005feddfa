"""Compares expressions in a process that is ended when one takes too long.

math-verify bounds its time by signals, which other threads than the main one cannot have and which
one long operation of Python does not see.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from unisd_core.common.errors import UserError

CPU_S = 3.0
"""Processor time of one comparison: hundreds of times what a usual one takes."""
WALL_S = 60.0
"""Time until a process that gives no answer is ended: it may wait for a busy machine."""
START_S = 300.0
_WORKER = str(Path(__file__).with_name("math_worker.py"))


class PairVerdict(NamedTuple):
    """What came of comparing an answer with a reference, both LaTeX."""

    answer_read: bool
    equal: bool


class MathProcess:
    """A process for comparisons, started with the first and again after one that took too long.
    Several threads may call it."""

    def __init__(self, cpu_s: float = CPU_S) -> None:
        self._cpu_s = cpu_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def compare(self, pairs: Sequence[tuple[str, str]]) -> list[PairVerdict]:
        """Compare each reference with its answer. One that takes too long counts as not read.

        Raises UserError where the process cannot be started.
        """
        with self._lock:
            return [self._compared(*pair) for pair in pairs]

    def close(self) -> None:
        """End the process; a later comparison starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _compared(self, reference: str, answer: str) -> PairVerdict:
        process = self._started()
        line = json.dumps([reference, answer]).encode() + b"\n"
        try:
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
            said = self._line(process, WALL_S)
        except BrokenPipeError:
            said = b""
        if not said:
            self.close()
            return PairVerdict(False, False)
        return PairVerdict(*json.loads(said))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid():  # a fork has its own
            self._owner = os.getpid()
            # -P: the folder of the file is not for imports.
            command = [sys.executable, "-P", _WORKER, str(self._cpu_s)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            if not self._line(self._process, START_S):
                self._process.kill()
                _, said = self._process.communicate()
                self._process = None
                last = said.decode(errors="replace").strip().rpartition("\n")[2]
                raise UserError(f"metric=math: math-verify cannot be started: {last}")
        return self._process

    @staticmethod
    def _line(process: subprocess.Popen[bytes], wall_s: float) -> bytes:
        """The next line of the process; empty where it ended or took too long."""
        assert process.stdout is not None
        said, deadline = b"", time.monotonic() + wall_s
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not said.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return b""
                data = os.read(process.stdout.fileno(), 1 << 12)
                if not data:
                    return b""
                said += data
        return said


@functools.cache
def math_process() -> MathProcess:
    """The process that all metrics of this interpreter share; it ends with the interpreter."""
    process = MathProcess()
    atexit.register(process.close)
    return process
