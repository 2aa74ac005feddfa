"""Signals: the first one asks, the second one ends, and the exit code says which it was."""

from __future__ import annotations

import os
import signal

import pytest

from pipelines.command.cli import run_main
from pipelines.command.signals import Interrupted, StopRequest, interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = StopRequest()
    with pytest.raises(Interrupted) as raised, stop.awaited():
        assert not stop.asked.is_set()
        os.kill(os.getpid(), number)
        assert stop.asked.wait(5) and stop.number == number
        os.kill(os.getpid(), number)
        signal.pause()
    assert raised.value.exit_code == 128 + number
    assert signal.getsignal(number) == before


def test_a_sigterm_elsewhere_is_an_interrupt_with_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(*_: object) -> None:
        with interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

    assert run_main(main, argv=[]) == 143
    assert capsys.readouterr().err == "interrupted\n"


def test_what_is_saved_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def main(*_: object) -> None:
        raise Interrupted(signal.SIGTERM, "step 3 is saved")

    assert run_main(main, argv=[]) == 143
    assert capsys.readouterr().err == "step 3 is saved\n"
