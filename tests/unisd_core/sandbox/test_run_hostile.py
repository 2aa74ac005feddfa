"""Programs that try to break out or to cheat: the verdict is right and nothing is left."""

from __future__ import annotations

import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unisd_core.sandbox.hostile import HOSTILE, PATIENT
from tests.unisd_core.sandbox.traces import children, marked, processes
from unisd_core.sandbox import Program, Verdict, isolation, run_program
from unisd_core.sandbox.drive import drive

SECRET = "correct horse battery staple"


class Outside:
    """What hostile programs aim at."""

    def __init__(self, folder: Path) -> None:
        self.marker = "u" + secrets.token_hex(6)
        self.sentinel = folder / "outside" / "sentinel"
        self.sentinel.parent.mkdir(mode=0o777)
        self.sentinel.write_text(SECRET)
        self.sentinel.chmod(0o666)
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)

    def program(self, candidate: str, tests: str) -> Program:
        values = {
            "SENTINEL": repr(str(self.sentinel)),
            "PORT": str(self.listener.getsockname()[1]),
            "SECRET": repr(SECRET),
        }
        for name, value in values.items():
            candidate, tests = candidate.replace(name, value), tests.replace(name, value)
        return marked(Program(candidate, tests), self.marker)

    def connected(self) -> bool:
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    monkeypatch.setenv("UNISD_SECRET", SECRET)
    # Others must be able to reach the sentinel, or reading it fails for the wrong reason.
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    outside = Outside(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(outside.temporary))
    with outside.listener:
        yield outside


needs_namespaces = pytest.mark.skipif(
    not isolation().startswith("namespaces"), reason="the system forbids namespaces"
)


@needs_namespaces
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_is_contained(outside: Outside, name: str) -> None:
    hostile = HOSTILE[name]
    before = children()
    verdict = run_program(outside.program(hostile.candidate, hostile.tests), hostile.limits)
    assert verdict.outcome in hostile.outcomes.split(), verdict
    assert verdict.passed == (verdict.outcome == "passed")
    assert len(verdict.detail) <= 200 and (not verdict.detail or verdict.detail.isprintable())
    assert processes(outside.marker) == []
    assert children() == before
    assert outside.sentinel.read_text() == SECRET
    assert list(outside.sentinel.parent.iterdir()) == [outside.sentinel]
    assert list(outside.temporary.iterdir()) == []
    assert not outside.connected()
    assert run_program(Program("x = 1", "assert x == 1"), PATIENT).passed


@pytest.mark.parametrize("name", ["read a file", "look around", "write files"])
def test_the_same_program_succeeds_without_namespaces(outside: Outside, name: str) -> None:
    """The attack works where nothing contains it, so its failure above is containment."""
    hostile = HOSTILE[name]
    # The only path outside the test's own folder that this one would write to.
    candidate = hostile.candidate.replace("'/f', '/lib/f', os.__file__, '/dev/f', '/etc/f'", "")
    program = outside.program(candidate, hostile.tests)
    assert drive(program, PATIENT, "limits").outcome == "failed"


def test_the_listener_would_have_noticed(outside: Outside) -> None:
    program = outside.program(HOSTILE["network"].candidate, "")
    assert drive(program, PATIENT, "limits").passed
    assert outside.connected()


def test_a_running_program_is_found_by_its_mark(outside: Outside) -> None:
    verdicts: list[Verdict] = []
    program = outside.program("import time\ntime.sleep(5)", "")
    thread = threading.Thread(target=lambda: verdicts.append(run_program(program, PATIENT)))
    thread.start()
    found: list[int] = []
    while thread.is_alive() and not found:
        found = processes(outside.marker)
        time.sleep(0.05)
    thread.join()
    assert found
    assert verdicts[0].passed


def test_a_program_written_against_the_harness_can_forge_a_verdict() -> None:
    """What the package says it does not prevent; whoever prevents it changes that text."""
    candidate = (
        "import os\n"
        "for fd in range(3, 1024):\n"
        "    try:\n"
        "        token = os.read(fd, 64)\n"
        "    except OSError:\n"
        "        continue\n"
        "    break\n"
        "for fd in range(fd + 1, 1024):\n"
        "    try:\n"
        "        os.write(fd, token)\n"
        "    except OSError:\n"
        "        pass\n"
        "os._exit(0)"
    )
    assert run_program(Program(candidate, "assert False"), PATIENT).passed
