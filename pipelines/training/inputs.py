"""Inputs: digests of what a run reads, kept beside its checkpoints, so that a run that goes on on
other rows or another model says so before anything starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from actors.admission.ledger import visited_rows
from actors.checkpoints import folder as checkpoints
from actors.checkpoints.mirror import mirror_of
from pipelines.command.console import report
from pipelines.training.setup import RunSetup
from unisd_core.common.errors import UserError, reason
from unisd_core.common.files import atomic_path
from unisd_core.reporting.run_dir import RunDir
from unisd_core.tasks.digests import PARTS, RowDigests, digest_rows, first_difference
from unisd_core.tasks.row import Row
from unisd_core.views.prompt_table import PromptTable

FILE = "inputs.safetensors"
PROMPTS, CONTEXTS = "prompts", "contexts"
SAMPLED = 32
"""Rows whose token ids are compared."""

_CONFIGURATION = ("config.json", "generation_config.json")
_TOKENIZER = (
    "added_tokens.json", "merges.txt", "special_tokens_map.json", "spiece.model", "tekken.json",
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt",
)  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """Digests of rows by the name of their set, and of the parts of the model by theirs."""

    rows: dict[str, RowDigests]
    parts: dict[str, str]

    def save(self, path: Path) -> None:
        """Write them to ``path``: eight bytes a row."""
        wholes = {name: digests.whole for name, digests in self.rows.items()}
        with atomic_path(path, durable=True) as temporary:
            save_file(
                {name: digests.parts_NP for name, digests in self.rows.items()},
                temporary,
                {"rows": json.dumps(wholes), "parts": json.dumps(self.parts)},
            )

    @classmethod
    def load(cls, path: Path) -> Inputs:
        """The digests in ``path``. Raises UserError where it cannot be read."""
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata()
                wholes, parts = json.loads(metadata["rows"]), json.loads(metadata["parts"])
                rows = {
                    name: RowDigests(file.get_tensor(name), str(whole))
                    for name, whole in wholes.items()
                }
            for name, digests in rows.items():
                if digests.parts_NP.shape[1:] != (len(PARTS),):
                    raise ValueError(f"{name} has the shape {digests.parts_NP.shape}")
            return cls(rows, dict(parts))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: cannot be read ({reason(error)}), so that nobody knows on which rows the "
                "run began; start a new run with another name=..."
            ) from None


def read_inputs(setup: RunSetup) -> Inputs:
    """Digests of all that is read: rows that are trained, validated and tested on, weights and
    configuration of the model, tokenizer and chat template."""
    model = setup.model
    parts = {
        "chat template": hashlib.sha256(json.dumps(model.tokenizer.chat_template).encode()),
        "tokenizer": _files(model.folder, _TOKENIZER),
        "model configuration": _files(model.folder, _CONFIGURATION),
    }
    named = {name: digest.hexdigest() for name, digest in parts.items()}
    rows = {name: digest_rows(rows) for name, rows in _row_sets(setup)}
    return Inputs(rows, {**named, "set of weights": model.weights})


def check_inputs(setup: RunSetup, run: RunDir, step: int | None) -> None:
    """Record what the run of ``setup`` reads; where it goes on from ``step``, compare that with
    what it read before. Raises UserError that names the first row that differs, or the part of the
    model."""
    file, mirror = run.path / FILE, mirror_of(setup.config)
    inputs = read_inputs(setup)
    if step:
        if mirror is not None and not file.exists():
            mirror.bring(file)
        if file.exists():
            before = Inputs.load(file)
            problem = difference(setup, before, inputs)
            if problem is not None:
                raise UserError(
                    f"{run.path}: cannot go on from step {step}: {problem}; restore what it was, "
                    "or start a new run with another name=..."
                )
            inputs.parts.update(
                {name: before.parts[name] for name in (PROMPTS, CONTEXTS) if name in before.parts}
            )
        else:
            _check_count(setup, run, step)
            report("the rows that the run began on are not on record; they are from now on")
    _keep(setup, run, inputs)


def check_prompts(setup: RunSetup, run: RunDir, prompts: PromptTable, step: int) -> None:
    """Record the token ids of the first rows that the run visits; where it goes on from ``step``,
    compare them, which holds everything that rendered them: other packages, an embedding model.

    Raises UserError when the student, the teacher or the reference reads otherwise. Other contexts
    or wrong references are only said: what the model wrote may be gone with the machine.
    """
    inputs = Inputs.load(run.path / FILE)
    rows = prompts.take(visited_rows(setup.config, prompts.num_rows)[:SAMPLED]).to_pylist()
    now = {
        PROMPTS: [(row["prompt_ids"], row["view_ids"][0], row["gold_ids"]) for row in rows],
        CONTEXTS: [(row["view_ids"][1:], row["negative_ids"]) for row in rows],
    }
    digests = {
        name: hashlib.sha256(json.dumps(ids).encode()).hexdigest() for name, ids in now.items()
    }
    changed = [name for name in digests if inputs.parts.get(name, digests[name]) != digests[name]]
    if step and PROMPTS in changed:
        raise UserError(
            f"{run.path}: cannot go on from step {step}: the rows, template and tokenizer are the "
            "same, but give other prompts; go on with the versions of unisd and transformers that "
            "the run began with, or start a new run with another name=..."
        )
    if step and changed:
        report("the auxiliary contexts or wrong references are not those that the run began with")
    inputs.parts.update(digests)
    _keep(setup, run, inputs)


def _keep(setup: RunSetup, run: RunDir, inputs: Inputs) -> None:
    inputs.save(run.path / FILE)
    mirror = mirror_of(setup.config)
    if mirror is not None:
        mirror.keep(run.path / FILE)


def difference(setup: RunSetup, before: Inputs, now: Inputs) -> str | None:
    """The first of all inputs that is not as before."""
    for name, digest in now.parts.items():
        if digest != before.parts.get(name):
            return f"{setup.config.model.name_or_path} has another {name} than before"
    for name, rows in _row_sets(setup):
        known, found = before.rows.get(name), now.rows[name]
        if known is None or known.whole != found.whole:
            place = (
                "it is new"
                if known is None
                else first_difference(known.parts_NP, found.parts_NP, rows, setup.task.place)
            )
            return f"the {name} of task {setup.task.name} is not what it was: {place}"
    return None


def _check_count(setup: RunSetup, run: RunDir, step: int) -> None:
    """Runs of versions that kept no digests: the ledger knows how many rows there were."""
    found = checkpoints.newest(run.path / "checkpoints")
    before, now = found.ledger["order"][0] if found else None, len(setup.rows.train)
    if before not in (None, now):
        raise UserError(
            f"{run.path}: cannot go on from step {step}: it was trained on {before} rows, now "
            f"there are {now}; restore them, or start a new run with another name=..."
        )


def _row_sets(setup: RunSetup) -> Iterable[tuple[str, list[Row]]]:
    yield "training set", setup.rows.train
    if setup.rows.validation:
        yield "validation set", setup.rows.validation
    for split in setup.task.test_splits:
        yield f"test set {split!r}", setup.task.rows(split)


def _files(folder: Path, names: Iterable[str]) -> hashlib._Hash:
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        if path.is_file():
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest
