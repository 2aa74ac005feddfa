"""Judges programs, one or many at a time, in the strongest mode the system allows."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from unisd_core.common.errors import UserError
from unisd_core.sandbox.drive import LaunchError, Mode, drive
from unisd_core.sandbox.program import Limits, Program, Verdict

logger = logging.getLogger(__name__)

MODES: dict[Mode, str] = {
    "namespaces": "namespaces: programs see no other process, no network and no file but the "
    "standard library and an empty working directory",
    "user": "process limits and a user of their own: programs can read what every user can and "
    "use the network",
    "limits": "process limits only: programs can do to files, processes and the network whatever "
    "the user who runs this can",
}
"""Strongest first, with the sentence that describes each."""


def run_program(program: Program, limits: Limits | None = None) -> Verdict:
    """Run ``program`` in a fresh interpreter and judge it.

    Whatever the source text is, it gets a verdict. Raises UserError where no program can run at
    all, and LaunchError if the system refuses another process.
    """
    return drive(program, limits or Limits(), _mode())


def run_programs(
    programs: Sequence[Program], limits: Limits | None = None, workers: int | None = None
) -> list[Verdict]:
    """``run_program`` of each, ``workers`` at a time (default: one per usable core), in order."""
    workers = workers or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(workers, thread_name_prefix="sandbox") as pool:
        return list(pool.map(lambda program: run_program(program, limits), programs))


def isolation() -> str:
    """One sentence for a report on what keeps programs apart on this system."""
    return MODES[_mode()]


@functools.cache
def _mode() -> Mode:
    """The first mode in which an empty program passes."""
    reasons = [f"the system is {sys.platform}, not linux"]
    if sys.platform == "linux":
        reasons = []
        for mode in MODES:
            try:
                verdict = drive(Program("", ""), Limits(), mode)
            except LaunchError as error:
                reasons.append(f"{mode}: {error}")
                continue
            if verdict.passed:
                if mode != "namespaces":
                    logger.warning("generated programs run under %s", MODES[mode])
                return mode
            reasons.append(f"{mode}: {verdict.detail}")
    raise UserError(f"generated programs cannot be run here ({'; '.join(reasons)})")
