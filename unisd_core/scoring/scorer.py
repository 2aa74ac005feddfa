"""Scores sampled completions under the views of the teacher; no Ray, no gradient.

For every completion: the primary teacher's final hidden state per token (the learner applies
the LM head, so the full vocabulary never travels) or its most likely tokens, and the log-prob of
each sampled token under the K auxiliary views and the negative view.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from peft import PeftModel
from torch import Tensor

from unisd_core.common.columns import list_array
from unisd_core.common.process import peak_memory, stage_device, use_threads
from unisd_core.common.schema import SCORED, SCORED_BFLOAT16
from unisd_core.config.run import Config
from unisd_core.models.acceleration.lora_linear import FoldedAdapter
from unisd_core.models.acceleration.prefix_tree import by_tokens, predicting, right_padded
from unisd_core.models.load import layer_states, lm_head_weight, load_base
from unisd_core.models.model_files import ModelFiles, model_folder
from unisd_core.models.trained_weights import load_trained_state, make_trainable
from unisd_core.objective.divergence import sampled_logprobs, teacher_topk
from unisd_core.scoring.score_cache import ScoreCache, ViewScores
from unisd_core.views.builder import auxiliary_count, needs_teacher

TEACHER_COLUMNS = (
    "teacher_hidden",
    "teacher_features",
    "teacher_topk_ids",
    "teacher_topk_logprobs",
    "teacher_logprobs",
)
"""What the teacher's view leaves in a row; null where nothing reads it or it travels as the other
kind."""

NOTHING = np.empty(0, np.float32)
"""Log-probs of an empty completion."""


@dataclass(frozen=True)
class View:
    """One completion after one view's prompt; ``start`` is where the completion begins."""

    row: int
    index: int
    ids: list[int]
    start: int

    @property
    def tokens(self) -> int:
        """Tokens of the completion."""
        return len(self.ids) - self.start


class TeacherScorer:
    """Holds the teacher's weights: the frozen base, or a copy that follows the student."""

    def __init__(self, config: Config, model: ModelFiles | Path | str) -> None:
        use_threads(config.scorer.threads, config.scorer.workers)
        self.config = config
        self.device = stage_device(config.scorer.gpus)
        self.scores_teacher = needs_teacher(config)
        self.auxiliary = auxiliary_count(config)
        self.layers = config.objective.features.extra_layers
        self.idle = not (self.scores_teacher or self.auxiliary)
        """No term needs any view, so that no model is loaded."""
        self.version = 0
        self.schema = SCORED
        """Of what :meth:`score` returns; ``SCORED_BFLOAT16`` by a model in bfloat16."""
        # Other teachers score differently each time. At staleness 0 the last bits must not depend
        # on what was scored before, with which the batches of views change.
        keeps = config.teacher.kind == "frozen" and config.training.max_staleness > 0
        self.cache = ScoreCache(int(config.scorer.cache_mib * 2**20) if keeps else 0)
        if self.idle:
            return
        self.model: torch.nn.Module = load_base(
            model_folder(model), config.model.dtype, self.device
        )
        if config.teacher.kind != "frozen":
            self.model = make_trainable(self.model, config)
        self.model.to(self.device).eval()
        # In float32 the sum with an adapter is as exact as the adapter beside it. A GPU has less
        # room for a second copy of the weights, and less to gain.
        folds = isinstance(self.model, PeftModel) and config.model.dtype == "float32"
        cpu = self.device.type == "cpu"
        self.folded = FoldedAdapter(self.model) if folds and cpu else None
        self.head_VH = lm_head_weight(self.model)
        if self.head_VH.dtype == torch.bfloat16:
            self.schema = SCORED_BFLOAT16

    def load(self, version: int, state: Mapping[str, Tensor]) -> None:
        """Score with these trained weights, ``version`` of the teacher, from now on."""
        if self.idle:
            return
        load_trained_state(self.model, state)
        if self.folded:
            self.folded.fold()
        self.version = version

    @torch.inference_mode()
    def score(self, table: pa.Table) -> pa.Table:
        """``TRAJECTORY`` rows in, rows of :attr:`schema` out, in the same order."""
        began, began_unix = time.perf_counter(), time.time()
        rows = table.to_pylist()
        teacher: list[dict[str, Any]] = [{} for _ in rows]
        logprobs: list[dict[int, np.ndarray]] = [{} for _ in rows]
        views = [view for index, row in enumerate(rows) for view in self._views(index, row)]
        for view, scores in self._all(views):
            if view.index == 0:
                teacher[view.row] = scores
            else:
                logprobs[view.row][view.index] = scores["logprobs"]
        seconds = (time.perf_counter() - began) / max(1, len(rows))
        columns = {name: table[name] for name in table.schema.names}
        columns |= {
            name: list_array([row.get(name) for row in teacher], self.schema.field(name).type)
            for name in TEACHER_COLUMNS
        }
        columns |= {
            "teacher_version": pa.array([self.version] * len(rows), pa.int32()),
            "auxiliary_logprobs": list_array(
                [self._auxiliary(row) for row in logprobs],
                SCORED.field("auxiliary_logprobs").type,
            ),
            "negative_logprobs": list_array(
                [row.get(self.auxiliary + 1) for row in logprobs],
                SCORED.field("negative_logprobs").type,
            ),
            "score_seconds": pa.array([seconds] * len(rows), pa.float32()),
            "scored_from": pa.array([began_unix] * len(rows), pa.float64()),
            "scored_until": pa.array([time.time()] * len(rows), pa.float64()),
            "score_memory": pa.array([peak_memory(self.device)] * len(rows), pa.int64()),
        }
        for field in self.schema:
            if field.name not in columns:  # the agreement stage's
                columns[field.name] = pa.nulls(len(rows), field.type)
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)

    def _auxiliary(self, logprobs: dict[int, np.ndarray]) -> np.ndarray:
        """(K, T) log-probs of a row by view; an empty completion has no views."""
        views = [logprobs.get(k, NOTHING) for k in range(1, self.auxiliary + 1)]
        return np.stack(views) if views else np.empty((0, 0), np.float32)

    def _views(self, index: int, row: dict[str, Any]) -> Iterator[View]:
        completion = row["completion_ids"]
        if not completion:
            return
        for number, prompt in enumerate(row["view_ids"]):
            if number > 0 or self.scores_teacher:
                yield View(index, number, prompt + completion, len(prompt))

    def _all(self, views: list[View]) -> Iterator[tuple[View, ViewScores]]:
        """The scores of every view; a frozen teacher scores nothing twice."""
        missing = views
        if self.cache.limit:
            keys = {id(v): self.cache.key(v.ids, v.start, v.index == 0) for v in views}
            known = [(view, self.cache.get(keys[id(view)])) for view in views]
            yield from ((view, scores) for view, scores in known if scores is not None)
            missing = [view for view, scores in known if scores is None]
        for batch in in_batches(missing, self.config.scorer.batch_tokens):
            for view, scores in self._forward(batch):
                if self.cache.limit:
                    self.cache.put(keys[id(view)], scores)
                yield view, scores

    def _forward(self, views: list[View]) -> Iterator[tuple[View, ViewScores]]:
        """One forward pass; yields the scores of each view."""
        ids_BT = right_padded([view.ids for view in views]).to(self.device)
        wanted_BT = predicting(ids_BT, [view.start for view in views])
        hidden_NH, layers_LNH = layer_states(self.model, ids_BT, self.layers, wanted_BT)
        counts = [view.tokens for view in views]
        parts = hidden_NH.split(counts)
        layers_BTLH = torch.stack(layers_LNH, dim=1).split(counts) if layers_LNH else ()
        logprob_bT = self._logprobs(views, parts)
        for b, view in enumerate(views):
            if view.index > 0:
                yield view, {"logprobs": _numbers(logprob_bT[b])}
            elif self.config.objective.divergence.top_k:
                yield view, self._most_likely(view, parts[b])
            else:
                scores = {"teacher_hidden": self._state(parts[b])}
                if layers_LNH:
                    scores["teacher_features"] = self._state(layers_BTLH[b])
                yield view, scores

    def _logprobs(self, views: list[View], parts: Sequence[Tensor]) -> dict[int, Tensor]:
        """(T,) log-probs of the sampled tokens under every view but the teacher's, by place."""
        scored = [b for b, view in enumerate(views) if view.index > 0]
        if not scored:
            return {}
        logprob_N = sampled_logprobs(
            parts[scored[0]] if len(scored) == 1 else torch.cat([parts[b] for b in scored]),
            self.head_VH,
            torch.cat([self._completion(views[b]) for b in scored]),
            self.config.objective.chunk_tokens,
        )
        return dict(zip(scored, logprob_N.split([views[b].tokens for b in scored]), strict=True))

    def _most_likely(self, view: View, hidden_TH: Tensor) -> ViewScores:
        settings = self.config.objective.divergence
        likely = teacher_topk(
            hidden_TH,
            self.head_VH,
            self._completion(view),
            settings.top_k,
            settings.temperature,
            self.config.objective.chunk_tokens,
        )
        return {
            "teacher_topk_ids": likely.token_NK.to(torch.int32).cpu().numpy(),
            "teacher_topk_logprobs": _numbers(likely.logprob_NK),
            "teacher_logprobs": _numbers(likely.sampled_logprob_N),
        }

    def _state(self, states: Tensor) -> np.ndarray:
        """Hidden states as they travel: flat, in the type that the model computes in."""
        if self.schema is not SCORED_BFLOAT16:
            return _numbers(states).ravel()
        return states.to(torch.bfloat16).cpu().view(torch.uint16).numpy().ravel()

    def _completion(self, view: View) -> Tensor:
        return torch.tensor(view.ids[view.start :], device=self.device)


def _numbers(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()


def in_batches(views: list[View], limit: int) -> Iterator[list[View]]:
    """The views of a row one behind the other, as they begin alike, among those of rows of similar
    length; batches of at most ``limit`` different tokens (but at least one view)."""
    longest: dict[int, int] = {}
    for view in views:
        longest[view.row] = max(longest.get(view.row, 0), len(view.ids))
    ordered = sorted(views, key=lambda view: (longest[view.row], view.row, view.ids))
    return by_tokens(ordered, lambda view: view.ids, limit)
