"""This process: its cores, threads, priority, device and peak memory.

Torch is imported where it is used: actors that only pass messages import this file too.
"""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

LOWEST_PRIORITY = 19
"""As of nice, for stages that work ahead of a learner on CPU; Ray's workers have 15."""

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


def use_threads(threads: int, share: int = 1) -> None:
    """Set torch's CPU threads; 0 takes the usable cores divided by ``share`` processes."""
    import torch

    torch.set_num_threads(threads or max(1, usable_cores() // share))


def lower_priority() -> None:
    """Let learners on the same cores go first. On Linux this holds for the calling thread, and for
    the threads and processes that it starts from then on."""
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)


def stage_device(gpus: float) -> torch.device:
    """The GPU Ray reserved for this process, or the CPU."""
    import torch

    return torch.device("cuda" if gpus > 0 else "cpu")


def peak_memory(device: torch.device) -> int:
    """Peak of this process in bytes: what torch allocated on a GPU, or resident memory on the CPU.

    On a GPU it leaves out other allocators' memory, an engine's for one.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    own = _resident_peak(psutil.Process().pid)
    # Without /proc; on Linux this would hand on the peak of the process that started us.
    return own or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tree_memory() -> int:
    """Peaks of this process and of all below it, added up, in bytes of main memory. What they
    share counts more than once."""
    own = psutil.Process()
    return sum(_resident_peak(process.pid) for process in [own, *own.children(recursive=True)])


def _resident_peak(pid: int) -> int:
    """0 for a process that has ended, or where there is no /proc."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
