"""Starts the launcher for one program, reads what comes back and turns it into a verdict."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

from unisd_core.common.scratch import scratch_folder
from unisd_core.sandbox.program import Limits, Outcome, Program, Verdict

Mode = Literal["namespaces", "user", "limits"]

LAUNCHER = str(Path(__file__).with_name("launch.py"))
# Not the link in a virtual environment: the environment is hidden from the program.
INTERPRETER = os.path.realpath(getattr(sys, "_base_executable", sys.executable))

GRACE_S = 60.0
"""How long the launcher may take to end everything once it has been told to: milliseconds, but
on an overloaded machine it has to be scheduled first, and killed early it leaves processes."""
DETAIL_CHARACTERS = 200
REPORT_BYTES = 4096


class LaunchError(RuntimeError):
    """The system refused to set up the sandbox; says nothing about the program."""


def drive(program: Program, limits: Limits, mode: Mode) -> Verdict:
    """Run ``program`` in ``mode`` and wait until all of it is gone. Raises LaunchError."""
    started = time.monotonic()
    token = secrets.token_hex(16).encode()
    with contextlib.ExitStack() as stack:
        folder = "/"
        if mode != "namespaces":
            folder = str(stack.enter_context(scratch_folder()))
        source = stack.enter_context(open(os.memfd_create("program"), "wb", buffering=0))
        source.write(_packed(program, token))
        source.seek(0)
        readers, writers = zip(*(os.pipe() for _ in range(3)), strict=True)
        for reader in readers:
            stack.callback(os.close, reader)
        output, report, status = writers
        try:
            bounds = (limits.cpu_s, limits.memory_mib, limits.file_mib, limits.processes)
            numbers = (source.fileno(), report, status, *bounds)
            process = subprocess.Popen(
                [INTERPRETER, "-I", "-S", LAUNCHER, mode, *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(source.fileno(), report, status),
                cwd=folder,
                env={},
                start_new_session=True,
            )
        finally:
            for writer in writers:
                os.close(writer)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        sizes = (limits.output_kib << 10, REPORT_BYTES, REPORT_BYTES)
        kept, timed_out = _read(process, dict(zip(readers, sizes, strict=True)), limits.wall_s)
    printed, reported, ended = (kept[reader] for reader in readers)
    outcome, detail = _judge(reported, token, ended.decode(), printed, timed_out)
    return Verdict(outcome == "passed", outcome, _line(detail), time.monotonic() - started)


def _packed(program: Program, token: bytes) -> bytes:
    """The form ``child.py`` reads: two lengths of 20 bytes, both parts, the token."""
    # Generated text may hold lone surrogates; the compiler in the child refuses them.
    candidate = program.candidate.encode("utf-8", "surrogatepass")
    tests = program.tests.encode("utf-8", "surrogatepass")
    return b"%-20d%-20d" % (len(candidate), len(tests)) + candidate + tests + token


def _read(
    process: subprocess.Popen[bytes], bounds: dict[int, int], wall_s: float
) -> tuple[dict[int, bytes], bool]:
    """The last bytes that came from each descriptor until nobody holds its other end, and
    whether the time ran out before."""
    kept = {descriptor: b"" for descriptor in bounds}
    timed_out = False
    deadline = time.monotonic() + wall_s
    with selectors.DefaultSelector() as selector:
        for descriptor in bounds:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                if timed_out:
                    process.kill()
                    break
                process.terminate()
                timed_out, deadline = True, deadline + GRACE_S
                continue
            for key, _ in selector.select(left):
                data = os.read(key.fd, 1 << 16)
                if data:
                    kept[key.fd] = (kept[key.fd] + data)[-bounds[key.fd] :]
                else:
                    selector.unregister(key.fd)
    return kept, timed_out


def _judge(
    report: bytes, token: bytes, status: str, printed: bytes, timed_out: bool
) -> tuple[Outcome, str]:
    """Outcome and detail from what the child (``report``) and the keeper (``status``) sent."""
    if report == token:
        return "passed", ""
    if status.startswith("error"):
        raise LaunchError(_line(status.removeprefix("error ").splitlines()[0]))
    if timed_out:
        return "timeout", "wall clock"
    if status == str(-signal.SIGXCPU):
        return "timeout", "CPU time"
    kind, _, detail = report.decode("utf-8", "replace").partition(" ")
    if kind == "failed":
        return "failed", detail
    if kind == "exited":
        return "exited", detail
    lines = printed.decode("utf-8", "replace").rstrip().splitlines()
    last = f": {lines[-1]}" if lines else ""
    # No status: the keeper itself was killed.
    if status.startswith("-") or not status:
        return "killed", f"signal {status.removeprefix('-') or 'unknown'}{last}"
    return "exited", f"exit code {status} before the tests ended{last}"


def _line(text: str) -> str:
    """``text`` as one short printable line."""
    line = " ".join(text[: 4 * DETAIL_CHARACTERS].split())[:DETAIL_CHARACTERS]
    return "".join(character if character.isprintable() else "?" for character in line)
