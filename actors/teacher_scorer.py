"""Scores sampled completions under the views of the teacher; no Ray, no gradient.

For every completion: the primary teacher's final hidden state per token (the learner applies
the LM head, so the full vocabulary never travels), and the log-prob of each sampled token
under the K auxiliary views and the negative view.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from actors.device import stage_device, use_threads
from actors.messages import WeightUpdate
from unisd_core.adapters import add_lora, load_adapter_state
from unisd_core.config import Config
from unisd_core.models import hidden_states, lm_head_weight, load_base
from unisd_core.objective.divergence import sampled_logprobs
from unisd_core.schema import SCORED
from unisd_core.views import auxiliary_count

NOTHING = np.empty(0, np.float32)
"""What the views say about an empty completion."""


@dataclass(frozen=True)
class View:
    """One completion after one view's prompt; ``start`` is where the completion begins."""

    row: int
    index: int
    ids: list[int]
    start: int

    @property
    def tokens(self) -> int:
        return len(self.ids) - self.start


class TeacherScorer:
    """Holds the teacher's weights: the frozen base and, where it moves, an adapter."""

    def __init__(self, config: Config, model_dir: str) -> None:
        use_threads(config.scorer.threads)
        self.config = config
        self.device = stage_device(config.scorer.gpus)
        self.model: torch.nn.Module = load_base(Path(model_dir), config.model.dtype)
        if config.teacher.kind != "frozen":
            self.model = add_lora(self.model, config.model.lora, config.seed)
        self.model.to(self.device).eval()
        self.head_VH = lm_head_weight(self.model)
        self.version = 0

    def load(self, update: WeightUpdate) -> None:
        """Read with this version of the teacher from now on."""
        state = {name: torch.from_numpy(array.copy()) for name, array in update.adapter.items()}
        load_adapter_state(self.model, state)
        self.version = update.version

    @torch.inference_mode()
    def score(self, table: pa.Table) -> pa.Table:
        """``TRAJECTORY`` rows in, ``SCORED`` rows out, in the same order."""
        began = time.perf_counter()
        rows = table.to_pylist()
        auxiliary = auxiliary_count(self.config)
        hidden: list[np.ndarray] = [NOTHING] * len(rows)
        logprobs: list[dict[int, np.ndarray]] = [{} for _ in rows]
        views = [view for index, row in enumerate(rows) for view in _views(index, row)]
        for batch in batches_by_tokens(views, self.config.scorer.batch_tokens):
            for view, hidden_TH, logprob_T in self._read(batch):
                if view.index == 0:
                    hidden[view.row] = hidden_TH.float().cpu().numpy().ravel()
                else:
                    logprobs[view.row][view.index] = logprob_T.float().cpu().numpy()
        seconds = (time.perf_counter() - began) / max(1, len(rows))
        columns = {name: table[name] for name in table.schema.names}
        columns |= {
            "teacher_version": pa.array([self.version] * len(rows), pa.int32()),
            "teacher_hidden": pa.array(hidden, pa.large_list(pa.float32())),
            "auxiliary_logprobs": pa.array(
                [[row.get(k, NOTHING) for k in range(1, auxiliary + 1)] for row in logprobs],
                pa.list_(pa.list_(pa.float32())),
            ),
            "negative_logprobs": pa.array(
                [row.get(auxiliary + 1) for row in logprobs], pa.list_(pa.float32())
            ),
            "token_weights": pa.nulls(len(rows), pa.list_(pa.float32())),
            "sequence_weight": pa.nulls(len(rows), pa.float32()),
            "batch": pa.nulls(len(rows), pa.int32()),
            "score_seconds": pa.array([seconds] * len(rows), pa.float32()),
        }
        return pa.table([columns[name] for name in SCORED.names], schema=SCORED)

    def _read(self, views: list[View]) -> Iterator[tuple[View, torch.Tensor, torch.Tensor]]:
        """One forward pass; yields per view (T, H) hidden states and (T,) log-probs (empty for
        the teacher's)."""
        ids_BT = right_padded([view.ids for view in views]).to(self.device)
        hidden_BTH = hidden_states(self.model, ids_BT)
        # The state at position i predicts token i + 1.
        parts = [hidden_BTH[b, view.start - 1 : len(view.ids) - 1] for b, view in enumerate(views)]
        scored = [b for b, view in enumerate(views) if view.index > 0]
        logprob_N = torch.empty(0)
        if scored:
            token_N = torch.cat(
                [torch.tensor(views[b].ids[views[b].start :], device=self.device) for b in scored]
            )
            logprob_N = sampled_logprobs(
                torch.cat([parts[b] for b in scored]),
                self.head_VH,
                token_N,
                self.config.objective.chunk_tokens,
            )
        split = iter(logprob_N.split([views[b].tokens for b in scored]))
        for view, hidden_TH in zip(views, parts, strict=True):
            yield view, hidden_TH, next(split) if view.index > 0 else torch.empty(0)


def _views(index: int, row: dict) -> Iterator[View]:
    completion = row["completion_ids"]
    if not completion:
        return
    for number, prompt in enumerate(row["view_ids"]):
        yield View(index, number, prompt + completion, len(prompt))


def batches_by_tokens(views: list[View], limit: int) -> Iterator[list[View]]:
    """Views of similar length together, at most ``limit`` padded tokens (but at least one view)."""
    batch: list[View] = []
    for view in sorted(views, key=lambda view: len(view.ids)):
        if batch and (len(batch) + 1) * len(view.ids) > limit:
            yield batch
            batch = []
        batch.append(view)
    if batch:
        yield batch


def right_padded(rows: list[list[int]]) -> torch.Tensor:
    """(B, T) int64; causal attention never looks at the padding on the right, so its id is
    arbitrary."""
    out_BT = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for index, ids in enumerate(rows):
        out_BT[index, : len(ids)] = torch.tensor(ids)
    return out_BT
