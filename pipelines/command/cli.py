"""Command line shared by every pipeline: preset, overrides, flags and how failures are shown."""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
from collections.abc import Callable, Sequence

from pipelines.command.help import CommandParser
from unisd_core.common.errors import UserError
from unisd_core.config.load import PRESETS_DIR
from unisd_core.config.run import Config

Main = Callable[[Config, argparse.Namespace], int | None]


def build_parser(description: str | None = None) -> argparse.ArgumentParser:
    """Parser with the arguments every pipeline takes; a pipeline may add its own options."""
    parser = CommandParser(PRESETS_DIR, description=description)
    parser.add_argument(
        "--preset",
        action="append",
        metavar="NAME",
        help="name of a preset, or a YAML file; may be given several times, the last one wins",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings, as training.max_steps=20"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the resolved settings and stop"
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue the run of this name from its checkpoint"
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks of user errors")
    return parser


def run_main(
    main: Main,
    parser: argparse.ArgumentParser | None = None,
    argv: Sequence[str] | None = None,
) -> int:
    """Parse ``argv``, resolve the configuration, call ``main(config, args)``; return the exit code.

    A UserError, also one that reached us inside a remote task's error, is printed as one
    line and gives 2; an interrupt gives 130 (Ctrl-C) or 143 (SIGTERM); any other exception is a
    bug and propagates.
    """
    # Intermixed: overrides may stand before, between and after the options.
    args = (parser or build_parser(main.__doc__)).parse_intermixed_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("unisd_core").setLevel(logging.INFO)
    try:
        config = Config.from_preset(args.preset, args.overrides)
        return main(config, args) or 0
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"{str(interrupt) or 'interrupted'}\n")
        return getattr(interrupt, "exit_code", 130)
    except Exception as error:
        user_error = _user_error(error)
        if user_error is None:
            raise
        if args.debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {' '.join(str(user_error).split())}\n")
        return 2


def _user_error(error: object) -> UserError | None:
    """The innermost UserError that ``error`` is or wraps.

    Ray's task errors are instances of the remote error's class whose text is a whole
    traceback; the plain one is under ``cause``. Ray Train collects the workers' errors by rank.
    """
    found: UserError | None = None
    while isinstance(error, BaseException):
        if isinstance(error, UserError):
            found = error
        workers = getattr(error, "worker_failures", None) or {}
        inner = next((failure for failure in map(_user_error, workers.values()) if failure), None)
        error = inner or getattr(error, "cause", None) or error.__cause__
    return found
