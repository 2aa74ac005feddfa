"""Help of every command: ``--help`` lists presets and tasks, ``--settings`` explains settings."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisd_core.common.errors import UserError
from unisd_core.config.describe import describe_settings


class CommandParser(argparse.ArgumentParser):
    """Parser of a command that takes settings; ``presets_dir`` holds its presets."""

    def __init__(self, presets_dir: Path, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self._presets_dir = presets_dir
        self.add_argument(
            "--settings",
            action=_PrintSettings,
            dest=argparse.SUPPRESS,
            default=argparse.SUPPRESS,
            nargs="?",
            const="",
            metavar="PREFIX",
            help="print settings with default and meaning, as --settings training, and stop",
        )

    def format_help(self) -> str:
        """The help with presets and tasks at its end; reading them takes a second."""
        # Imported late: only the help needs it, and it brings all tasks.
        from unisd_core.tasks.registry import TASKS

        presets = preset_summaries(self._presets_dir)
        width = max(map(len, presets))
        lines = [f"  {name:<{width}}  {summary}" for name, summary in presets.items()]
        names = (*TASKS, "custom (your own rows)", "module:Class (your own task)")
        tasks = textwrap.fill(", ".join(names), 96)
        self.epilog = "\n".join(
            ("presets:", *lines, "", "tasks (task=NAME):", textwrap.indent(tasks, "  "))
        )
        return super().format_help()


class _PrintSettings(argparse.Action):
    """Prints the settings that begin with a prefix and ends the command, as ``--help`` does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            sys.stdout.write(describe_settings(str(values)) + "\n")
        except UserError as error:
            parser.exit(2, f"error: {error}\n")
        parser.exit()


def preset_summaries(presets_dir: Path) -> dict[str, str]:
    """Each preset's name, with its folder below ``presets_dir``, and its first line, a comment."""
    summaries = {}
    for path in sorted(presets_dir.rglob("*.yaml"), key=lambda path: (len(path.parts), path)):
        name = path.relative_to(presets_dir).with_suffix("").as_posix()
        with path.open(encoding="utf-8-sig") as file:
            summaries[name] = file.readline().lstrip("#").strip()
    return summaries
