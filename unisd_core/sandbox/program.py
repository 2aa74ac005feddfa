"""Program and Verdict: the input of the sandbox and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "timeout", "killed", "exited"]


@dataclass(frozen=True)
class Limits:
    """Bounds of one program; each holds for it and everything it starts.

    ``wall_s``: seconds from the start of the interpreter until everything is killed; on an
    overloaded machine waiting for a core counts. ``cpu_s``: seconds of CPU time of each process,
    killed beyond. ``memory_mib``: MiB of address space of each process; allocations beyond fail.
    ``file_mib``: MiB of the largest file and, with namespaces, of the whole working directory;
    writes beyond fail. ``processes``: processes and threads at one time; starting more fails.
    ``output_kib``: KiB at the end of what is printed that are kept to explain an early end; the
    rest is read and dropped.
    """

    wall_s: float = 10.0
    cpu_s: int = 10
    memory_mib: int = 1024
    file_mib: int = 16
    processes: int = 32
    output_kib: int = 64


@dataclass(frozen=True)
class Program:
    """Source text to judge. ``tests`` runs after ``candidate`` and in its namespace, with the
    builtins as they were before ``candidate``; it fails by raising."""

    candidate: str
    tests: str


@dataclass(frozen=True)
class Verdict:
    """What became of a program.

    ``outcome`` is "passed" if the tests ran to their end; "failed" if either part does not
    compile or raised; "timeout" if the wall clock or the CPU time ran out; "killed" if a signal
    ended the interpreter; "exited" if it ended by itself before the tests did. ``detail`` is one
    short printable line on why, empty for "passed"; parts of it are the program's own words.
    ``seconds`` is the wall-clock time including the start of the interpreter.
    """

    passed: bool
    outcome: Outcome
    detail: str
    seconds: float
