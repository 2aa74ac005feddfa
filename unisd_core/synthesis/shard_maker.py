"""Shard maker: selects the completions of a block to keep and writes their file; no Ray."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.common.schema import STATES
from unisd_core.config.run import Config
from unisd_core.models.chat.chat import Chat
from unisd_core.models.load import load_tokenizer
from unisd_core.scoring.agreement_columns import row_agreement, with_agreement_weights
from unisd_core.scoring.rollout_filter import RolloutFilter, without
from unisd_core.synthesis.duplicates import DuplicateIndex, alike, shingles
from unisd_core.synthesis.output import SHARDS, OutputFolder
from unisd_core.synthesis.shard import FAILED, LEFT_OUT, SHARD, Account, Footer, shard_bytes, survey
from unisd_core.synthesis.sources import PromptSource
from unisd_core.tasks.row import Row
from unisd_core.views.builder import auxiliary_count


class ShardMaker:
    """Turns scored blocks into shards of ``folder``. ``weights`` is the digest that is written
    beside each row."""

    def __init__(
        self, config: Config, model_dir: str, source: PromptSource, folder: str, weights: str
    ) -> None:
        self.config, self.source, self.weights = config, source, weights
        self.folder = OutputFolder(folder)
        self.chat = Chat(load_tokenizer(Path(model_dir)), config.model)
        self.filter = RolloutFilter(config, model_dir, self._parseable)
        self.rows: dict[int, Row] = {}
        self.known: DuplicateIndex | None = None
        if config.synthesis.duplicates == "all":
            self.known = DuplicateIndex(config.synthesis.similarity)
            self._remember()

    def _remember(self) -> None:
        """What earlier runs wrote counts as seen."""
        assert self.known is not None
        for name in survey(self.folder).names:
            with self.folder.open(name) as file:
                rows = pq.read_table(file, columns=["uid", "sample", "prompt", "completion"])
            for uid, sample, prompt, completion in zip(*rows.to_pydict().values(), strict=True):
                self.known.add(f"{uid}/{sample}", f"{prompt}\n{completion}")

    def write(self, table: pa.Table) -> tuple[str, Account]:
        """Write what is kept of a block (schema ``SCORED``); returns the shard's name and
        account."""
        reasons = table["finish_reason"].to_pylist()
        uids, numbers = table["uid"].to_pylist(), table["row"].to_pylist()
        # Of a prompt that failed once nothing is kept, so that it is done again as a whole.
        failed = {u: r for u, r in zip(uids, reasons, strict=True) if r.startswith(FAILED)}
        left_out = {u: r for u, r in zip(uids, reasons, strict=True) if r.startswith(LEFT_OUT)}
        sampled = table.filter(
            pa.array([uid not in failed and uid not in left_out for uid in uids])
        )
        first = min(numbers)
        self.rows = dict(enumerate(self.source.read(first, max(numbers) + 1), first))
        rows, account = self._kept(sampled)
        done = [uid for uid in dict.fromkeys(uids) if uid not in failed]
        account = account.model_copy(
            update={
                "prompts": len(done),
                "failed": dict(Counter(r.removeprefix(FAILED) for r in failed.values())),
                "left_out": dict(Counter(r.removeprefix(LEFT_OUT) for r in left_out.values())),
            }
        )
        digest = hashlib.sha256("\0".join(done).encode()).hexdigest()[:8]
        name = f"{SHARDS}/shard-{first:09d}-{digest}.parquet"
        self.folder.write(name, shard_bytes(rows, Footer(account, done)))
        return name, account

    def _kept(self, table: pa.Table) -> tuple[pa.Table, Account]:
        texts = self._texts(table["completion_ids"].to_pylist())
        agreement = np.full(table.num_rows, np.nan)
        if auxiliary_count(self.config):
            agreement = row_agreement(table, self.config.objective.agreement)
        reasons = self.filter.reasons(table)
        # Special tokens alone: nothing to read, and nothing to train on.
        reasons = [
            reason or (None if text else "no text")
            for reason, text in zip(reasons, texts, strict=True)
        ]
        self._choose(table, texts, agreement, reasons)
        kept = [index for index, reason in enumerate(reasons) if reason is None]
        lengths = [len(ids) for ids in table["completion_ids"]]
        scored = agreement[kept][np.isfinite(agreement[kept])]
        account = Account(
            sampled=table.num_rows,
            dropped=dict(Counter(reason for reason in reasons if reason is not None)),
            kept=len(kept),
            sampled_tokens=sum(lengths),
            kept_tokens=sum(lengths[index] for index in kept),
            scored=len(scored),
            agreement=float(scored.sum()),
        )
        chosen, _ = with_agreement_weights(without(table, reasons), self.config, 0, None)
        entries = [
            self._entry(row, texts[index], agreement[index])
            for index, row in zip(kept, chosen.drop_columns(list(STATES)).to_pylist(), strict=True)
        ]
        return pa.Table.from_pylist(entries, schema=SHARD), account

    def _choose(
        self,
        table: pa.Table,
        texts: Sequence[str],
        agreement: np.ndarray,
        reasons: list[str | None],
    ) -> None:
        """Give reasons to duplicates and, where only some of a prompt are kept, to the others: the
        views agree most on those that stay."""
        settings = self.config.synthesis
        prompts: dict[str, list[int]] = {}
        for index, uid in enumerate(table["uid"].to_pylist()):
            if reasons[index] is None:
                prompts.setdefault(uid, []).append(index)
        samples = self._samples(table)
        for uid, indices in prompts.items():
            kept: list[set[str]] = []
            if settings.keep:
                indices.sort(key=lambda index: -agreement[index])
            for index in indices:
                if settings.keep and len(kept) == settings.keep:
                    reasons[index] = "not among the best"
                    continue
                pieces = shingles(texts[index]) if settings.duplicates != "off" else set()
                if settings.duplicates != "off" and any(
                    alike(pieces, other, settings.similarity) for other in kept
                ):
                    reasons[index] = "near-duplicate"
                    continue
                if self.known is not None:
                    prompt = self.rows[table["row"][index].as_py()].prompt
                    if self.known.add(f"{uid}/{samples[index]}", f"{prompt}\n{texts[index]}"):
                        reasons[index] = "near-duplicate"
                        continue
                kept.append(pieces)

    def _samples(self, table: pa.Table) -> list[int]:
        count = self.config.synthesis.samples
        return [position % count for position in table["position"].to_pylist()]

    def _entry(self, row: dict[str, Any], text: str, agreement: float) -> dict[str, Any]:
        prompt = self.rows[row["row"]].prompt
        viewed = auxiliary_count(self.config) > 0
        return {
            "uid": row["uid"],
            "sample": row["position"] % self.config.synthesis.samples,
            "prompt": prompt,
            "completion": text,
            "messages": [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": text},
            ],
            "prompt_ids": row["prompt_ids"],
            "token_ids": row["completion_ids"],
            "logprobs": row["logprobs"],
            "mean_logprob": sum(row["logprobs"]) / len(row["logprobs"]),
            "finish_reason": row["finish_reason"],
            "source": row["source"],
            "policy_version": row["version_first"],
            "weights": self.weights,
            "agreement": float(agreement) if viewed else None,
            "token_weights": row["token_weights"] if viewed else None,
            "sequence_weight": row["sequence_weight"] if viewed else None,
        }

    def _texts(self, completions: Sequence[list[int]]) -> list[str]:
        return [self.chat.text(ids).strip() for ids in completions]

    def _parseable(self, number: int, ids: list[int]) -> bool:
        (text,) = self._texts([ids])
        return self.source.task.parseable(self.rows[number], text)
