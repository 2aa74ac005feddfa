"""The student: model, optimizer and one update from one batch of scored rows. Knows no Ray.

Rows are dealt out to workers and micro-batches; each computes its share of the global batch's
loss, so that the update does not depend on how the rows were dealt out.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from actors.device import stage_device
from actors.teacher_scorer import right_padded
from unisd_core.adapters import adapter_state, add_lora, load_adapter_state
from unisd_core.config import Config, Training
from unisd_core.models import hidden_states, lm_head_weight, load_base
from unisd_core.objective.divergence import sampled_logprobs
from unisd_core.objective.metrics import add_metrics
from unisd_core.objective.terms import MicroBatch, objective


class _Backbone(nn.Module):
    """Token ids to final hidden states, as a module that DDP can wrap."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BT: Tensor) -> Tensor:
        return hidden_states(self.model, ids_BT)


class Student:
    """Trains the adapter. ``world`` > 1 needs an initialised torch process group."""

    def __init__(self, config: Config, model_dir: Path, world: int = 1) -> None:
        self.config, self.world = config, world
        self.device = stage_device(config.learner.gpus)
        self.model = add_lora(
            load_base(model_dir, config.model.dtype), config.model.lora, config.seed
        ).to(self.device)
        self.head_VH = lm_head_weight(self.model)
        self.forward: nn.Module = _Backbone(self.model)
        if world > 1:
            self.forward = DistributedDataParallel(self.forward)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.training.learning_rate,
            betas=(0.9, 0.999),
            weight_decay=config.training.weight_decay,
            fused=True,
        )

    def update(self, rows: pa.Table, version: int, global_rows: int) -> dict[str, float]:
        """One optimizer step on this worker's rows; returns sums for ``finalise_metrics``.

        ``version`` is the version that computes the gradient; ``global_rows`` the rows of all
        workers.
        """
        batches = list(self._micro_batches(rows.to_pylist()))
        sums: list[dict[str, float]] = []
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            with contextlib.nullcontext() if last else self._no_sync():
                output = objective(
                    self._micro_batch(batch, version, global_rows),
                    self.head_VH,
                    self.config.objective,
                )
                # DDP averages over workers; the loss is already a share of the whole batch's.
                (output.loss * self.world).backward()
            sums.append(output.metrics)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.training.max_grad_norm)
        if not torch.isfinite(norm):
            uids = ", ".join(rows["uid"].to_pylist()[:4])
            raise FloatingPointError(
                f"the gradient of step {version} is not finite (rows {uids} ...)"
            )
        rate = learning_rate(self.config.training, version)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.last = {"grad_norm": float(norm), "learning_rate": rate}
        return add_metrics(*sums)

    def _no_sync(self) -> contextlib.AbstractContextManager[None]:
        if isinstance(self.forward, DistributedDataParallel):
            return self.forward.no_sync()
        return contextlib.nullcontext()

    def _micro_batches(self, rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Rows of similar length together, up to training.micro_batch_tokens padded tokens."""
        limit = self.config.training.micro_batch_tokens
        batch: list[dict[str, Any]] = []
        for row in sorted(rows, key=_length):
            if batch and (len(batch) + 1) * _length(row) > limit:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _micro_batch(
        self, rows: list[dict[str, Any]], version: int, global_rows: int
    ) -> MicroBatch:
        """Forward pass of the student and everything the terms need, flattened over rows."""
        counts = [len(row["completion_ids"]) for row in rows]
        ids_BT = right_padded([row["prompt_ids"] + row["completion_ids"] for row in rows])
        hidden_BTH = self.forward(ids_BT.to(self.device))
        student_NH = torch.cat(
            [
                hidden_BTH[b, len(row["prompt_ids"]) - 1 : _length(row) - 1]
                for b, row in enumerate(rows)
            ]
        )
        width = student_NH.shape[1]

        def flat(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
            joined = np.concatenate([np.asarray(row[name]) for row in rows])
            return torch.as_tensor(joined, dtype=dtype, device=self.device)

        def per_token(values: list[Any], dtype: torch.dtype) -> Tensor:
            repeated = np.repeat(np.asarray(values), counts)
            return torch.as_tensor(repeated, dtype=dtype, device=self.device)

        negatives = [
            row["negative_logprobs"] or [0.0] * count
            for row, count in zip(rows, counts, strict=True)
        ]
        return MicroBatch(
            student_hidden_NH=student_NH,
            teacher_hidden_NH=flat("teacher_hidden").view(-1, width),
            token_N=flat("completion_ids", torch.long),
            row_N=per_token(list(range(len(rows))), torch.long),
            token_weight_N=flat("token_weights"),
            sequence_weight_R=torch.tensor(
                [row["sequence_weight"] for row in rows], device=self.device
            ),
            negative_logprob_N=torch.tensor(
                [value for row in negatives for value in row], device=self.device
            ),
            has_negative_N=per_token([bool(row["negative_logprobs"]) for row in rows], torch.bool),
            behaviour_logprob_N=flat("logprobs"),
            same_version_N=per_token([_served_by(row, version) for row in rows], torch.bool),
            global_rows=global_rows,
        )

    @torch.no_grad()
    def logprob_gap(self, row: dict[str, Any], adapter: dict[str, Tensor]) -> float:
        """Mean |engine - learner| log-prob of a row's tokens under the adapter that sampled it,
        nats."""
        current = self.adapter()
        prompt = row["prompt_ids"] if row["source"] == "student" else row["view_ids"][0]
        load_adapter_state(self.model, adapter)
        ids_BT = right_padded([prompt + row["completion_ids"]]).to(self.device)
        hidden_TH = hidden_states(self.model, ids_BT)[0, len(prompt) - 1 : -1]
        load_adapter_state(self.model, current)
        token_T = torch.tensor(row["completion_ids"], device=self.device)
        learner_T = sampled_logprobs(
            hidden_TH, self.head_VH, token_T, self.config.objective.chunk_tokens
        )
        engine_T = torch.tensor(row["logprobs"], device=self.device)
        return float((learner_T.float() - engine_T).abs().mean())

    def adapter(self) -> dict[str, Tensor]:
        """The adapter in float32 on the CPU, by parameter name."""
        return adapter_state(self.model)

    def optimizer_state(self) -> dict[str, Tensor]:
        """AdamW's moments and step counts as plain tensors, by parameter index."""
        state = self.optimizer.state_dict()["state"]
        return {
            f"{index}.{name}": value.detach().to("cpu", copy=True)
            for index, entry in state.items()
            for name, value in entry.items()
        }

    def restore(self, adapter: dict[str, Tensor], optimizer: dict[str, Tensor]) -> None:
        """Return to a checkpoint."""
        load_adapter_state(self.model, adapter)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in optimizer.items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def learning_rate(settings: Training, step: int) -> float:
    """Rate of the step that makes version ``step + 1``: linear warm-up, then constant or cosine
    to a tenth."""
    warmup = settings.warmup * settings.steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (math.floor(warmup) + 1)
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = (step - warmup) / max(1.0, settings.steps - warmup)
    return settings.learning_rate * (0.55 + 0.45 * math.cos(math.pi * progress))


def _length(row: dict[str, Any]) -> int:
    return len(row["prompt_ids"]) + len(row["completion_ids"])


def _served_by(row: dict[str, Any], version: int) -> bool:
    """Whether engine and learner log-probs of the row are comparable at this version."""
    return row["source"] == "student" and row["version_first"] == row["version_last"] == version
