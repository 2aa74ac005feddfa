from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from pipelines.command.cli import build_parser, run_main
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config


class RemoteError(UserError):
    """Shaped like a task error of Ray: an instance of the cause's class with a long text."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("Traceback (most recent call last):\n  ...\nUserError: bad row 7")
        self.cause = cause


def failing(error: BaseException) -> Callable[[Config, argparse.Namespace], None]:
    def main(config: Config, args: argparse.Namespace) -> None:
        raise error

    return main


def chained(inner: Exception) -> RuntimeError:
    outer = RuntimeError("training failed")
    outer.__cause__ = inner
    return outer


def test_overrides_and_flags_may_stand_anywhere() -> None:
    seen: dict[str, object] = {}

    def main(config: Config, args: argparse.Namespace) -> None:
        seen.update(steps=config.training.max_steps, seed=config.seed)
        seen.update(resume=args.resume, dry_run=args.dry_run)

    argv = ["seed=4", "--preset", "demo", "--resume", "training.max_steps=3"]
    assert run_main(main, argv=argv) == 0
    assert seen == {"steps": 3, "seed": 4, "resume": True, "dry_run": False}


def test_the_later_of_two_presets_wins() -> None:
    seen: list[Config] = []
    argv = ["--preset", "demo", "training.max_steps=3", "--preset=models/qwen2.5-0.5b"]
    assert run_main(lambda config, args: seen.append(config), argv=argv) == 0
    config = seen[0]
    assert (config.name, config.training.max_steps) == ("demo", 3)
    assert config.model.name_or_path == "Qwen/Qwen2.5-0.5B-Instruct"


def test_the_exit_code_of_main_is_returned() -> None:
    assert run_main(lambda config, args: 7, argv=[]) == 7


def test_a_pipeline_adds_its_own_options() -> None:
    parser = build_parser()
    parser.add_argument("--checkpoint")
    seen: list[str] = []

    def main(config: Config, args: argparse.Namespace) -> None:
        seen.append(args.checkpoint)

    assert run_main(main, parser, ["--checkpoint", "x", "seed=1"]) == 0
    assert seen == ["x"]


@pytest.mark.parametrize(
    "error",
    [
        UserError("bad row 7"),
        UserError("bad\n row 7"),
        RemoteError(UserError("bad row 7")),
        chained(UserError("bad row 7")),
        chained(RemoteError(UserError("bad row 7"))),
    ],
)
def test_a_user_error_is_one_line_and_code_2(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(failing(error), argv=[]) == 2
    assert capsys.readouterr().err == "error: bad row 7\n"


def test_debug_shows_the_traceback_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(failing(UserError("bad row 7")), argv=["--debug"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("error: bad row 7\n")


def test_a_wrong_setting_is_a_user_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(failing(AssertionError()), argv=["views.num_auxiliary=0"]) == 2
    assert capsys.readouterr().err == "error: views.num_auxiliary=0: K must be at least 1\n"


def test_an_interrupt_is_one_line_and_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(failing(KeyboardInterrupt()), argv=[]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_main(failing(ZeroDivisionError()), argv=[])
