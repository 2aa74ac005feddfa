"""The most memory a process held so far."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


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
