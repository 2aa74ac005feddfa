"""Checkpoint mirror: copies on any fsspec path, from which another machine can resume."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from actors.checkpoints.files import FILES, MARKER, BrokenCheckpoint, read
from actors.checkpoints.folder import Note, install, newest, step_of, temporary_for
from unisd_core.common.errors import UserError, reason
from unisd_core.common.files import atomic_path
from unisd_core.common.scratch import scratch_folder
from unisd_core.config.load import changed_keys, dump_config
from unisd_core.config.run import Config
from unisd_core.reporting.run_dir import MAY_CHANGE

log = logging.getLogger(__name__)

OWNER = "config.yaml"


class CheckpointMirror:
    """The copies in ``<url>/<run name>``. All methods raise UserError when it cannot be reached."""

    def __init__(self, url: str, run_name: str) -> None:
        self._url, self._name = url, run_name

    def claim(self, config: Config) -> None:
        """Record that the place belongs to the run of ``config``. Raises UserError when it belongs
        to a run that cannot resume under these settings."""
        with self._reached():
            file = f"{self._root}/{OWNER}"
            self._files.invalidate_cache()
            if self._files.exists(file):
                self._check_owner(self._files.cat_file(file), config)
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(file, dump_config(config).encode())

    def put(self, checkpoint: Path, keep: int) -> None:
        """Copy a complete checkpoint, its marker last, then delete all but the newest ``keep``."""
        with self._reached():
            copy = f"{self._root}/{checkpoint.name}"
            self._remove(copy)
            self._files.makedirs(copy, exist_ok=True)
            for name in (*FILES, MARKER):
                self._files.put_file(str(checkpoint / name), f"{copy}/{name}")
            self._prune(step_of(checkpoint.name), keep)

    def fetch(self, folder: Path, note: Note) -> int | None:
        """Copy the newest checkpoint that is whole into ``folder``; returns its step. Broken ones
        are skipped, with a line for ``note``."""
        with self._reached():
            folder.mkdir(parents=True, exist_ok=True)
            for step, copy in self._copies():
                name = copy.rpartition("/")[2]
                temporary = temporary_for(folder / name)
                try:
                    self._get(copy, temporary)
                    read(temporary, step)
                except BrokenCheckpoint as problem:
                    shutil.rmtree(temporary)
                    note(f"checkpoint {name} in {self._shown} is skipped: {problem}")
                    continue
                install(temporary, folder / name)
                return step
        return None

    def keep(self, file: Path) -> None:
        """Copy ``file`` of the run beside the checkpoints, under its name."""
        with self._reached():
            self._files.put_file(str(file), f"{self._root}/{file.name}")

    def bring(self, file: Path) -> None:
        """Copy what was kept of ``file`` to its place, where there is a copy."""
        with self._reached():
            self._files.invalidate_cache()
            if self._files.exists(f"{self._root}/{file.name}"):
                with atomic_path(file) as temporary:
                    self._files.get_file(f"{self._root}/{file.name}", str(temporary))

    @property
    def _shown(self) -> str:
        return f"training.checkpoint_mirror={self._url}"

    @cached_property
    def _place(self) -> tuple[Any, str]:
        if "://" not in self._url and not Path(self._url).is_absolute():
            # The processes of a run have different working directories.
            raise UserError(f"{self._shown}: give a URL or an absolute path")
        files, path = url_to_fs(self._url)
        return files, f"{path.rstrip('/')}/{self._name}"

    @property
    def _files(self) -> Any:
        return self._place[0]

    @property
    def _root(self) -> str:
        return self._place[1]

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise UserError(f"{self._shown}: {reason(error)}") from error

    def _check_owner(self, text: bytes, config: Config) -> None:
        with scratch_folder() as folder:
            file = folder / OWNER
            file.write_bytes(text)
            try:
                before = Config.from_saved(file)
            except UserError as error:
                why = str(error).removeprefix(f"{file}: ")
                raise UserError(
                    f"{self._shown}: {self._name}/{OWNER} cannot be read ({why}); "
                    "choose another name=..."
                ) from None
        fixed = [key for key in changed_keys(before, config) if not key.startswith(MAY_CHANGE)]
        if fixed:
            raise UserError(
                f"{self._shown}: holds a run {self._name} with another {fixed[0]}; "
                "choose another name=..."
            )

    def _get(self, copy: str, folder: Path) -> None:
        for name in (MARKER, *FILES):
            try:
                self._files.get_file(f"{copy}/{name}", str(folder / name))
            except FileNotFoundError:
                raise BrokenCheckpoint(f"{name} is missing") from None

    def _copies(self) -> list[tuple[int, str]]:
        """Step and path of every copy, whole or not, the newest first."""
        self._files.invalidate_cache()
        try:
            paths = self._files.ls(self._root, detail=False)
        except FileNotFoundError:
            return []
        paths = [str(path).rstrip("/") for path in paths]
        steps = [(step_of(path.rpartition("/")[2]), path) for path in paths]
        return sorted(((step, path) for step, path in steps if step is not None), reverse=True)

    def _prune(self, newest_step: int | None, keep: int) -> None:
        kept = 0
        for step, copy in self._copies():
            # Later ones were rolled back; those without a marker are torn.
            whole = newest_step is not None and step <= newest_step
            if whole and kept < keep and self._files.exists(f"{copy}/{MARKER}"):
                kept += 1
            else:
                self._remove(copy)

    def _remove(self, copy: str) -> None:
        # Without its marker it is no checkpoint any more, however far the rest gets.
        for path in (f"{copy}/{MARKER}", copy):
            with suppress(FileNotFoundError):
                self._files.rm(path, recursive=path == copy)


def mirror_of(config: Config) -> CheckpointMirror | None:
    """The mirror of a run; None where training.checkpoint_mirror is not set."""
    url = config.training.checkpoint_mirror
    return None if url is None else CheckpointMirror(url, config.name)


def fetch_missing(
    folder: Path, mirror: CheckpointMirror | None, note: Note = log.warning
) -> int | None:
    """The step from which a run with these checkpoints resumes. When ``folder`` holds no whole
    checkpoint, the mirror's newest is copied into it first."""
    found = newest(folder, note)
    if found is not None:
        return found.version
    return None if mirror is None else mirror.fetch(folder, note)
