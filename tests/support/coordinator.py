"""An actor that only answers; in a file of its own, so that it imports no torch."""

from __future__ import annotations

import os


class Coordinator:
    async def pid(self) -> int:
        return os.getpid()
