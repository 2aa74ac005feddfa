"""Processes that work ahead of a learner let it go first."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from unisd_core.common.process import LOWEST_PRIORITY, lower_priority


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a priority is that of the process")
def test_the_calling_thread_and_what_it_begins_give_way() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    found: list[int] = []

    def work() -> None:
        lower_priority()
        own = threading.Thread(target=lambda: found.append(os.getpriority(os.PRIO_PROCESS, 0)))
        own.start()
        own.join()
        program = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
        found.append(int(subprocess.check_output([sys.executable, "-c", program])))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [LOWEST_PRIORITY, LOWEST_PRIORITY]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
