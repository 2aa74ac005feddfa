"""The folder of a synthesis, on any file system fsspec knows. No file is ever seen half written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from unisd_core.common.errors import UserError, reason

log = logging.getLogger(__name__)

SHARDS = "data"
IDENTITY = "synthesis.json"


class OutputFolder:
    """``url``: a local folder or an fsspec URL. Methods raise UserError where it cannot be
    reached."""

    def __init__(self, url: str) -> None:
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise UserError(
                "--output: leave credentials out of the URL; fsspec reads them from the environment"
            )
        # Other processes have other working directories.
        self.url = url if "://" in url else str(Path(url).expanduser().resolve())

    @property
    def local(self) -> Path | None:
        """The folder, where it is one of this machine."""
        return None if "://" in self.url else Path(self.url)

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Record what decides the rows, so that no others are added later. Raises UserError naming
        what differs where the folder holds rows made otherwise."""
        wanted = json.loads(json.dumps(identity))
        known = self.read(IDENTITY)
        if known is None:
            if self._listed(self.root):
                raise UserError(
                    f"--output {self.url}: holds files but no {IDENTITY}; choose another"
                )
            self.write(IDENTITY, (json.dumps(wanted, indent=2) + "\n").encode())
            return
        try:
            before = json.loads(known)
            changed = [key for key in wanted | before if before.get(key) != wanted.get(key)]
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise UserError(
                f"--output {self.url}: {IDENTITY} cannot be read; choose another"
            ) from None
        if changed:
            raise UserError(
                f"--output {self.url}: holds rows made with another {changed[0]}; choose another"
            )

    def names(self) -> list[str]:
        """Names of the finished shards in order, for ``open`` and ``write``."""
        found = self._listed(f"{self.root}/{SHARDS}")
        return [f"{SHARDS}/{name}" for name in found if name.endswith(".parquet")]

    def _listed(self, path: str) -> list[str]:
        """Names in a folder in order, without what a killed writer left, which begins with a
        dot."""
        with self._reached():
            self._files.invalidate_cache()
            try:
                paths = self._files.ls(path, detail=False)
            except FileNotFoundError:
                return []
        names = [str(path).rstrip("/").rpartition("/")[2] for path in paths]
        return sorted(name for name in names if not name.startswith("."))

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none."""
        with self._reached():
            try:
                return bytes(self._files.cat_file(f"{self.root}/{name}"))
            except FileNotFoundError:
                return None

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """A file to read from at any place."""
        with self._reached():
            file = self._files.open(f"{self.root}/{name}", "rb")
        with file:
            yield file

    def write(self, name: str, content: bytes) -> None:
        """Put ``content`` in the place of a file."""
        with self.writing(name) as file:
            file.write(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """A binary file that takes its name when the block ends without an error."""
        folder, _, last = f"{self.root}/{name}".rpartition("/")
        temporary = f"{folder}/.{last}.tmp"
        with self._reached():
            self._files.makedirs(folder, exist_ok=True)
            with self._files.open(temporary, "wb") as file:
                yield file
            self._files.mv(temporary, f"{folder}/{last}")

    @cached_property
    def _place(self) -> tuple[Any, str]:
        files, path = url_to_fs(self.url)
        return files, str(path).rstrip("/")

    @property
    def _files(self) -> Any:
        return self._place[0]

    @property
    def root(self) -> str:
        """Path of the folder on its file system."""
        with self._reached():
            return self._place[1]

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (UserError, FileNotFoundError):
            raise
        except (OSError, ValueError, ImportError) as error:
            raise UserError(f"--output {self.url}: {reason(error)}") from error
