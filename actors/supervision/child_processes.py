"""Child processes: those that a process started are killed when it ends, however it ends.

An engine runs in processes of its own. Ray kills them with the actor that owns them, but only while
the raylet lives: where the command is killed, a hung or stopped engine would stay, with its memory.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import psutil

SCRIPT = """
import os, signal, sys
sys.stdin.read()
for pair in sys.argv[1:]:
    pid, started = pair.split(":")
    try:
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[19] == started:
                os.kill(int(pid), signal.SIGKILL)
    except OSError:
        pass
"""
"""Reading ends when the process that holds the other end does. A process id may have been given to
somebody else since, so it only counts together with its start time (clock ticks, proc(5))."""


def reap_children() -> subprocess.Popen[bytes] | None:
    """Have all present descendants of this process killed when it ends; keep what is returned.

    None where there are none, or no /proc; descendants then end as they see fit.
    """
    if not sys.platform.startswith("linux"):
        return None
    children = psutil.Process().children(recursive=True)
    pairs = [f"{child.pid}:{started}" for child in children if (started := _started(child))]
    if not pairs:
        return None
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "start_new_session": True}
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", SCRIPT, *pairs], **options)


def _started(process: psutil.Process) -> str | None:
    try:
        with open(f"/proc/{process.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:  # ended meanwhile
        return None
