"""One output file: rows that were kept, and in its footer what became of every prompt.

Rows and account are one file, so that a prompt is done exactly when its rows are there.
"""

from __future__ import annotations

import json
import logging
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.common.errors import reason
from unisd_core.config.base import FrozenModel
from unisd_core.synthesis.inventory import Digests, uid_digest
from unisd_core.synthesis.output import OutputFolder

LEFT_OUT = "left out: "
"""Begins the finish reason of a prompt that is not sampled; a setting follows."""
FAILED = "failed: "
"""Begins the finish reason of a prompt that could not be sampled; an error follows."""

log = logging.getLogger(__name__)

_KEY = b"synthesis"

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

SHARD = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),  # number among those of the prompt
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("completion", pa.string(), nullable=False),  # without special tokens
        pa.field("messages", MESSAGES),  # both as a chat
        pa.field("prompt_ids", pa.list_(pa.int32())),  # (P,) as the student reads it
        pa.field("token_ids", pa.list_(pa.int32())),  # (T,), the end-of-turn token included
        pa.field("logprobs", pa.list_(pa.float32())),  # (T,) nats at temperature 1
        pa.field("mean_logprob", pa.float32()),
        pa.field("finish_reason", pa.string()),
        pa.field("source", pa.string()),  # "student", or "teacher": sampled reading the reference
        pa.field("policy_version", pa.int32()),  # 0 is the untrained model
        pa.field("weights", pa.string()),  # digest of model and adapter
        pa.field("agreement", pa.float32()),  # mean token weight at gamma 1; null without views
        pa.field("token_weights", pa.list_(pa.float32())),  # (T,); null without views
        pa.field("sequence_weight", pa.float32()),
    ]
)


class Account(FrozenModel):
    """What became of prompts and their completions. ``sampled`` is ``kept`` and all ``dropped``."""

    prompts: int = 0
    """Prompts that are done, those that were left out included."""
    left_out: Mapping[str, int] = {}
    """Prompts that were not sampled, by the setting whose limit they exceed."""
    failed: Mapping[str, int] = {}
    """Prompts that could not be sampled, by error; they are not done."""
    sampled: int = 0
    dropped: Mapping[str, int] = {}
    """Completions that were left out, by filter."""
    kept: int = 0
    sampled_tokens: int = 0
    kept_tokens: int = 0
    scored: int = 0
    """Kept completions with an agreement, and the sum of these."""
    agreement: float = 0.0


@dataclass(frozen=True)
class Footer:
    """What a shard says of itself."""

    account: Account
    uids: Sequence[str]
    """Prompts that are done with it."""


def add_up(accounts: Iterable[Account]) -> Account:
    """The sum of ``accounts``."""
    totals = Account().model_dump()
    for account in accounts:
        for key, value in account.model_dump().items():
            if isinstance(value, dict):
                totals[key] = dict(Counter(totals[key]) + Counter(value))
            else:
                totals[key] += value
    return Account.model_validate(totals)


def shard_bytes(rows: pa.Table, footer: Footer) -> bytes:
    """The Parquet file of ``rows`` (schema ``SHARD``)."""
    said = {"account": footer.account.model_dump(mode="json"), "uids": list(footer.uids)}
    buffer = BytesIO()
    noted = rows.replace_schema_metadata({_KEY: json.dumps(said).encode()})
    pq.write_table(noted, buffer, compression="zstd")
    return buffer.getvalue()


@dataclass(frozen=True)
class Survey:
    """The finished shards of an output: their names in order, the sum of their accounts, and the
    uids of the prompts that are done."""

    names: list[str]
    account: Account
    done: Digests


def survey(folder: OutputFolder) -> Survey:
    """Read every footer of ``folder``, one at a time. A shard that is damaged counts as not there;
    its prompts are sampled again."""
    names, account, done = [], Account(), array("Q")
    for name in folder.names():
        try:
            footer = _read_footer(folder, name)
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            log.warning("%s/%s is skipped: %s", folder.url, name, reason(error))
            continue
        names.append(name)
        account = add_up([account, footer.account])
        done.extend(map(uid_digest, footer.uids))
    return Survey(names, account, np.frombuffer(done, dtype=np.uint64))


def _read_footer(folder: OutputFolder, name: str) -> Footer:
    with folder.open(name) as file:
        metadata = pq.read_schema(file).metadata or {}
    said = json.loads(metadata[_KEY])
    return Footer(Account.model_validate(said["account"]), list(said["uids"]))
