"""A tool: its name, its arguments and the ways a person asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from unisd_core.tasks.minitools.parameters import Parameter


@dataclass(frozen=True)
class Tool:
    """One invented tool.

    ``requests`` are sentences in which ``{arg}`` stands for a value, ``{arg|yes|no}`` for the
    words of a boolean, and ``[...]`` for a part said only when the optional argument in it is
    wanted. ``clause`` is the same in the imperative without full stop, required arguments only;
    tools with a clause can be asked for twice in one request.
    """

    name: str
    parameters: tuple[Parameter, ...]
    requests: tuple[str, ...]
    clause: str = ""

    @property
    def documentation(self) -> str:
        """The line of the prompt that describes the tool."""
        return f"{self.name}({', '.join(p.documentation for p in self.parameters)})"
