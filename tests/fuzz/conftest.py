"""Says how many inputs of each kind there were."""

from __future__ import annotations

import pytest

from tests.fuzz.harness import COUNTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        terminalreporter.section("fuzzed inputs")
        for kind, count in sorted(COUNTS.items()):
            terminalreporter.write_line(f"{count:8,}  {kind}")
        terminalreporter.write_line(f"{COUNTS.total():8,}  in total")
