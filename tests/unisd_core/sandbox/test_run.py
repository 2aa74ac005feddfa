"""Verdicts on ordinary programs, many at a time, under other limits and in the weaker modes."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unisd_core.sandbox.hostile import BRIEF, PATIENT
from tests.unisd_core.sandbox.traces import children, marked, processes
from unisd_core.common.errors import UserError
from unisd_core.sandbox import Limits, Program, drive, isolation, run, run_program, run_programs
from unisd_core.sandbox.drive import LaunchError, Mode


def test_a_right_program_passes() -> None:
    program = Program("def double(x):\n    return 2 * x\n", "assert double(4) == 8")
    verdict = run_program(program, PATIENT)
    assert (verdict.passed, verdict.outcome, verdict.detail) == (True, "passed", "")
    assert 0 < verdict.seconds < PATIENT.wall_s


@pytest.mark.parametrize(
    ("candidate", "tests", "detail"),
    [
        ("x = 1", "assert x == 2, 'not two'", "tests: AssertionError: not two"),
        ("x = [][1]", "", "candidate: IndexError: list index out of range"),
        ("def f(:", "", "candidate: SyntaxError: invalid syntax (<candidate>, line 1)"),
        ("x = 1", "assert x ==", "tests: SyntaxError: invalid syntax (<tests>, line 1)"),
        ("x = '\ud800'", "", "candidate: UnicodeEncodeError: "),
        ("x = '\0'", "", "candidate: SyntaxError: source code string cannot contain null bytes"),
        ("raise ValueError('a\\n\\tb' * 900)", "", "candidate: ValueError: a ba ba ba b"),
        ("raise ValueError('\\x1b[31m')", "", "candidate: ValueError: ?[31m"),
        ("(" * 5000 + ")" * 5000, "", "candidate: "),
    ],
)
def test_what_failed_is_said_in_one_line(candidate: str, tests: str, detail: str) -> None:
    verdict = run_program(Program(candidate, tests), PATIENT)
    assert verdict.outcome == "failed"
    assert verdict.detail.startswith(detail)
    assert len(verdict.detail) <= 200 and verdict.detail.isprintable()


def test_text_outside_ascii() -> None:
    program = Program("größe = '数 \U0001f40d'\nprint(größe)", "assert len(größe) == 3")
    assert run_program(program, PATIENT).passed


def test_a_class_of_the_program_finds_its_module() -> None:
    candidate = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from typing import get_type_hints\n"
        "@dataclass\nclass P:\n    x: int\n"
        "if __name__ == '__main__':\n    raise SystemExit"
    )
    program = Program(candidate, "assert P(1) == P(1) and get_type_hints(P) == {'x': int}")
    assert run_program(program, PATIENT).passed


def test_verdicts_repeat_although_sets_have_no_order() -> None:
    program = Program("x = list({'a', 'b', 'c', 'd', 'e', 'f'})", "raise ValueError(x)")
    assert len({run_program(program, PATIENT).detail for _ in range(3)}) == 1


def test_many_programs_keep_their_order() -> None:
    programs = [
        Program(f"import time\ntime.sleep({(11 - i) / 20})", f"assert {i} % 3") for i in range(12)
    ]
    verdicts = run_programs(programs, PATIENT, workers=4)
    assert [verdict.passed for verdict in verdicts] == [i % 3 != 0 for i in range(12)]
    assert run_programs([]) == []


@pytest.mark.parametrize(
    ("limits", "candidate"),
    [
        (replace(PATIENT, memory_mib=512), "x = bytearray(600 << 20)"),
        (replace(PATIENT, file_mib=2), "open('f', 'wb', buffering=0).write(bytes(3 << 20)) + f"),
        (replace(PATIENT, wall_s=1.5), "import time\ntime.sleep(20)"),
        (
            replace(PATIENT, processes=8),
            "from threading import Event, Thread\n"
            "for _ in range(10): Thread(target=Event().wait, daemon=True).start()",
        ),
    ],
)
def test_limits_hold(limits: Limits, candidate: str) -> None:
    assert not run_program(Program(candidate, ""), limits).passed
    generous = Limits(wall_s=120, cpu_s=60, memory_mib=2048, file_mib=16, processes=32)
    assert run_program(Program(candidate.replace(" + f", ""), ""), generous).passed


def test_the_end_of_the_output_explains_an_early_end() -> None:
    program = Program("import os\nos.write(1, b'x' * 9000 + b'\\nlast words\\n')\nos._exit(7)", "")
    verdict = run_program(program, replace(PATIENT, output_kib=1))
    assert verdict.detail == "exit code 7 before the tests ended: last words"


@settings(max_examples=20)
@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_any_text_gets_a_verdict(candidate: str, tests: str) -> None:
    verdict = run_program(Program(candidate, tests), PATIENT)
    assert verdict.outcome in ("passed", "failed")


@given(st.text(st.characters(exclude_categories=())))
def test_a_detail_is_one_short_printable_line(text: str) -> None:
    line = drive._line(text)
    assert len(line) <= drive.DETAIL_CHARACTERS
    assert line.isprintable()


MODES: list[Mode] = ["user", "limits"]


@pytest.fixture(params=MODES)
def weaker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mode:
    """A weaker mode that works here, with temporary files in ``tmp_path``."""
    mode: Mode = request.param
    try:
        drive.drive(Program("", ""), PATIENT, mode)
    except LaunchError as error:
        # As root another interpreter than one in root's own home may do.
        monkeypatch.setattr(drive, "INTERPRETER", os.path.realpath("/usr/bin/python3"))
        if mode != "user" or os.getuid() != 0 or not os.path.exists(drive.INTERPRETER):
            pytest.skip(f"not possible here: {error}")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return mode


@pytest.mark.parametrize(
    ("candidate", "tests", "outcome"),
    [
        ("open('f', 'w').write('x')", "assert open('f').read() == 'x'", "passed"),
        ("x = 1", "assert x == 2", "failed"),
        ("import os\nos._exit(0)", "", "exited"),
        ("import os\nos.kill(os.getpid(), 9)", "", "killed"),
        ("while True: pass", "", "timeout"),
        ("x = bytearray(3 << 30)", "", "failed"),
        (
            "import os, time\n"
            "for _ in range(4):\n"
            "    if os.fork() == 0:\n"
            "        os.setsid()\n"
            "        if os.fork() == 0: time.sleep(60)\n"
            "        os._exit(0)",
            "",
            "passed",
        ),
    ],
)
def test_weaker_modes_judge_and_clean_up(
    weaker: Mode, tmp_path: Path, candidate: str, tests: str, outcome: str
) -> None:
    before = children()
    marker = "w" + secrets.token_hex(6)
    limits = BRIEF if outcome == "timeout" else PATIENT
    verdict = drive.drive(marked(Program(candidate, tests), marker), limits, weaker)
    assert verdict.outcome == outcome, verdict
    assert processes(marker) == []
    assert children() == before
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def fresh_mode() -> Iterator[None]:
    """The mode is found anew in the test and after it."""
    run._mode.cache_clear()
    yield
    run._mode.cache_clear()


def test_the_mode_is_the_first_that_works(
    fresh_mode: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_limits(program: Program, limits: Limits, mode: Mode) -> object:
        if mode != "limits":
            raise LaunchError("unshare: Operation not permitted")
        return drive.drive(program, limits, mode)

    monkeypatch.setattr(run, "drive", only_limits)
    assert isolation().startswith("process limits only")


def test_a_system_that_runs_nothing_is_said_in_one_line(
    fresh_mode: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "LAUNCHER", "/nowhere/launch.py")
    with pytest.raises(UserError, match="generated programs cannot be run here") as caught:
        isolation()
    assert "\n" not in str(caught.value)
