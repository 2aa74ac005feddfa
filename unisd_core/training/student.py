"""The student: model, optimizer and one update from one batch of scored rows. Knows no Ray.

Rows are dealt out to workers and micro-batches; each computes its share of the global batch's
loss, so that the update does not depend on how the rows were dealt out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from unisd_core.common.errors import UserError
from unisd_core.common.process import stage_device
from unisd_core.config.run import Config, TrainingConfig
from unisd_core.models.acceleration.prefix_tree import predicting, right_padded
from unisd_core.models.load import backbone, layer_states, lm_head_weight, load_base
from unisd_core.models.model_files import ModelFiles, model_folder
from unisd_core.models.sharded import distribute_like, full_tensor
from unisd_core.models.trained_weights import load_trained_state, make_trainable, trained_state
from unisd_core.objective.divergence import sampled_logprobs
from unisd_core.objective.metrics import add_metrics
from unisd_core.objective.terms import ObjectiveOutput, objective
from unisd_core.training.micro_batches import (
    group_by_length,
    input_ids,
    micro_batch,
    scored_rows,
)
from unisd_core.training.parallel import (
    average_replicated,
    clip_gradients,
    no_grad_sync,
    parallelize,
    synchronized_passes,
)

Gather = Callable[[Any], list[Any]]
"""A value of this worker -> the values of all workers, by rank."""

SMALLEST_CLIP = 1e-6
"""Nats; a quantile below this would clip every token."""


def alone(value: Any) -> list[Any]:
    """``Gather`` where there is one worker."""
    return [value]


class BadBatch(Exception):
    """Why no step was taken on a batch; nothing has changed."""


class _Backbone(nn.Module):
    """Token ids to hidden states, as a module that DDP can wrap."""

    def __init__(self, model: nn.Module, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.model, self.layers = model, layers

    def forward(self, ids_BT: Tensor, wanted_BT: Tensor) -> tuple[Tensor, list[Tensor]]:
        return layer_states(self.model, ids_BT, self.layers, wanted_BT)


class Student:
    """Trains what model.finetune names. ``world`` > 1 needs an initialised torch process group."""

    def __init__(self, config: Config, model: ModelFiles | Path | str, world: int = 1) -> None:
        self.config, self.world = config, world
        self.device = stage_device(config.learner.gpus)
        self.full = config.model.finetune == "full"
        base = load_base(model_folder(model), config.model.dtype, self.device)
        self.model = make_trainable(base, config).to(self.device)
        self.head_VH = lm_head_weight(self.model)
        self.teacher_heads: dict[int, Tensor] = {}
        """Full fine-tuning: the LM head of each teacher version that rows may have been scored
        with. While there is none, the student's own stands in."""
        self.clip = config.objective.divergence.clip
        """Bound on one token's divergence in the next update."""
        self.divergences = np.empty(0, np.float32)
        """Token divergences of the last update before the clip."""
        self.last: dict[str, float] = {}
        terms = config.objective
        vocabulary = (terms.divergence, terms.contrastive, terms.cross_entropy)
        if not any(term.weight for term in vocabulary):
            _freeze_unused(self.model, terms.features.extra_layers)
        self.forward: nn.Module = _Backbone(self.model, terms.features.extra_layers)
        # Without a gradient: one process of several replicas may run it alone.
        self.forward_alone = self.forward
        self.sharded = world > 1 and config.learner.sharding == "fsdp"
        if world > 1:
            layers = list(cast(nn.ModuleList, backbone(self.model).layers))
            self.forward = parallelize(self.forward, layers, config.learner.sharding)
        self.names = [name for name, p in self.model.named_parameters() if p.requires_grad]
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            # One kind of tensor per group: whole ones, and shards.
            [{"params": group} for group in _by_kind(self.parameters)],
            lr=config.training.learning_rate,
            betas=(0.9, 0.999),
            weight_decay=config.training.weight_decay,
            fused=True,
        )

    def update(
        self,
        rows: pa.Table,
        version: int = 0,
        global_rows: int | None = None,
        gather: Gather = alone,
    ) -> dict[str, float]:
        """One optimizer step on this worker's ``rows`` (``SCORED``, with weights); returns sums for
        ``finalise_metrics``.

        ``version`` is the version that computes the gradient; ``global_rows`` the rows of all
        workers, by default these alone. Sums are those of the workers whose values ``gather``
        collects. Raises BadBatch where one of them has a loss or gradient that is not finite or
        too large; weights and optimizer are then untouched.
        """
        limit = self.config.training.micro_batch_tokens
        global_rows = rows.num_rows if global_rows is None else global_rows
        batches = list(group_by_length(scored_rows(rows), limit, by_teacher=self.full))
        # The largest first: what it leaves behind in the allocator has room for the others.
        batches.sort(key=lambda batch: sum(len(input_ids(row)) for row in batch), reverse=True)
        sums: list[dict[str, float]] = []
        divergences: list[Tensor] = []
        passes = synchronized_passes(self.forward, len(batches))
        for number in range(passes):
            real = number < len(batches)
            batch = batches[number if real else -1]
            with no_grad_sync(self.forward, back=number < passes - 1):
                output = self._objective(batch, self.forward, version, global_rows)
                # Gradients are averaged over workers; the loss is a share of the whole batch's.
                (output.loss * (self.world if real else 0)).backward()
            if not real:
                continue
            sums.append(output.metrics)
            if output.divergence_N is not None:
                divergences.append(output.divergence_N)
        average_replicated(self.forward, self.parameters)
        norm = clip_gradients(self.parameters, self.config.training.max_grad_norm)
        parts = gather((add_metrics(*sums), float(norm)))
        total = add_metrics(*(part for part, _ in parts))
        problem = self._problem(total, [norm for _, norm in parts])
        if problem is not None:
            self.optimizer.zero_grad(set_to_none=True)
            raise BadBatch(problem)
        rate = learning_rate(self.config.training, version)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.last = {"grad_norm": float(norm), "learning_rate": rate}
        if divergences:
            self.divergences = torch.cat(divergences).float().cpu().numpy()
        return total

    def move_clip(self, gather: Gather = alone) -> dict[str, float]:
        """Set the clip of the next update where it is a quantile of this one's divergences, over
        the workers that ``gather`` collects. Returns the metric ``clip_threshold``, the clip that
        was in force."""
        settings = self.config.objective.divergence
        if settings.clip_quantile is None or not settings.weight:
            return {}
        used = self.clip
        divergences = np.concatenate(gather(self.divergences))
        self.clip = max(float(np.quantile(divergences, settings.clip_quantile)), SMALLEST_CLIP)
        return {} if used is None else {"clip_threshold": used}

    def keep_teacher_head(self, version: int, teacher: Mapping[str, Tensor]) -> None:
        """Full fine-tuning: keep the LM head among the weights of ``teacher``, for rows that it
        scores as ``version``."""
        if self.full:
            names = {id(parameter): name for name, parameter in self.model.named_parameters()}
            self.teacher_heads[version] = teacher[names[id(self.head_VH)]].to(self.device)

    def _problem(self, sums: dict[str, float], norms: list[float]) -> str | None:
        """Why there must be no step, from the sums and gradient norms of all workers."""
        if sums["non_finite"]:
            return "not finite: loss"
        if not all(map(math.isfinite, norms)):
            return "not finite: gradient"
        limit = self.config.training.skip_grad_norm
        if limit is not None and max(norms) > limit:
            # One digit: reasons are counted by their text.
            return f"gradient norm {max(norms):.0e} above training.skip_grad_norm"
        return None

    @torch.no_grad()
    def examine(self, rows: pa.Table, version: int) -> list[str | None]:
        """For each row alone what of its loss is not finite, or None. All workers call this
        together, each with at least one row."""
        alone = [[row] for row in scored_rows(rows)]
        reasons: list[str | None] = []
        for number in range(synchronized_passes(self.forward_alone, len(alone))):
            row = alone[min(number, len(alone) - 1)]
            sums = self._objective(row, self.forward_alone, version, global_rows=1).metrics
            reasons.append(_first_not_finite(sums) if sums["non_finite"] else None)
        return reasons[: len(alone)]

    def _objective(
        self, rows: list[dict[str, Any]], forward: nn.Module, version: int, global_rows: int
    ) -> ObjectiveOutput:
        """The terms of one micro-batch."""
        prepared = micro_batch(
            rows,
            *self._states(rows, forward),
            version=version,
            global_rows=global_rows,
            clip=self.clip,
            teacher_head_VH=self._teacher_head(rows[0]["teacher_version"]),
        )
        return objective(prepared, self.head_VH, self.config.objective)

    def _teacher_head(self, version: int) -> Tensor | None:
        """The LM head rows were scored with; None where it is the student's own. Raises
        RuntimeError when it has been forgotten: another head would give another teacher."""
        if self.teacher_heads and version not in self.teacher_heads:
            raise RuntimeError(
                f"rows were scored by teacher {version}; heads are kept of {[*self.teacher_heads]}"
            )
        return self.teacher_heads.get(version)

    def _states(
        self, rows: list[dict[str, Any]], forward: nn.Module
    ) -> tuple[Tensor, Tensor | None]:
        """States at the positions that predict completion tokens: the last ones (N, H), and those
        of the layers that are compared beside it (L, N, H)."""
        ids_BT = right_padded([input_ids(row) for row in rows]).to(self.device)
        wanted_BT = predicting(ids_BT, [len(row["prompt_ids"]) for row in rows])
        hidden_NH, layers_LNH = forward(ids_BT, wanted_BT)
        return hidden_NH, torch.stack(layers_LNH) if layers_LNH else None

    @torch.no_grad()
    def logprob_gap(self, row: dict[str, Any], adapter: dict[str, Tensor]) -> float:
        """Mean |engine - learner| log-prob of a row's tokens under the adapter that sampled it,
        nats."""
        current = self.weights()
        prompt = row["prompt_ids"] if row["source"] == "student" else row["view_ids"][0]
        load_trained_state(self.model, adapter)
        learner_T = self.logprobs(prompt + row["completion_ids"], len(prompt))
        load_trained_state(self.model, current)
        return float((learner_T - torch.tensor(row["logprobs"])).abs().mean())

    @torch.no_grad()
    def logprobs(self, ids: list[int], start: int) -> Tensor:
        """(T,) float32 log-probs on the CPU that the present weights give to ``ids[start:]``.

        Every process that holds a shard of the model has to call."""
        ids_1T = right_padded([ids]).to(self.device)
        hidden_TH, _ = self.forward_alone(ids_1T, predicting(ids_1T, [start]))
        token_T = torch.tensor(ids[start:], device=self.device)
        chunk = self.config.objective.chunk_tokens
        return sampled_logprobs(hidden_TH, self.head_VH, token_T, chunk).float().cpu()

    def weights(self) -> dict[str, Tensor]:
        """The trained weights in float32 on the CPU, by parameter name."""
        return trained_state(self.model)

    def optimizer_state(self) -> dict[str, Tensor]:
        """AdamW's moments and step counts as whole tensors on the CPU, as <kind>/<parameter>."""
        return {
            f"{kind}/{name}": full_tensor(value).detach().to("cpu", copy=True)
            for name, parameter in zip(self.names, self.parameters, strict=True)
            for kind, value in self.optimizer.state[parameter].items()
        }

    def restore(self, weights: dict[str, Tensor], optimizer: dict[str, Tensor]) -> None:
        """Return to a checkpoint."""
        load_trained_state(self.model, weights)
        self.optimizer.state.clear()
        for key, value in optimizer.items():
            kind, name = key.split("/", 1)
            parameter = self.parameters[self.names.index(name)]
            moment = value.shape == parameter.shape
            # A fused optimizer wants its step count where the parameter is.
            self.optimizer.state[parameter][kind] = (
                distribute_like(value, parameter) if moment else value.to(parameter.device)
            )


def _first_not_finite(sums: dict[str, float]) -> str:
    """Which part of a loss is at fault; the student's log-prob comes before all terms."""
    parts = [name for name in sums if name.startswith("loss_") and "_unweighted" not in name]
    names = (name for name in ("student_logprob", *parts) if not math.isfinite(sums[name]))
    return f"not finite: {next(names, 'loss')}"


def _by_kind(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    shards: list[nn.Parameter] = [p for p in parameters if isinstance(p, DTensor)]
    others = [p for p in parameters if not isinstance(p, DTensor)]
    return [group for group in (shards, others) if group]


def _freeze_unused(model: nn.Module, layers: tuple[int, ...]) -> None:
    """Features alone: do not train what lies behind the last layer that is compared (blocks, norm,
    a head of its own); workers would wait for its gradient. Raises UserError if nothing is left."""
    device = next(model.parameters()).device
    last_BTH, states = layer_states(
        model, torch.zeros(1, 1, dtype=torch.long, device=device), layers
    )
    compared = [state.sum() for state in states or [last_BTH] if state.requires_grad]
    if not compared:
        raise UserError(
            "objective.features.layers: no trained weight comes before these layers; add a later "
            "one or give another term a weight"
        )
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(torch.stack(compared).sum(), trained, allow_unused=True)
    for parameter, gradient in zip(trained, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


def learning_rate(settings: TrainingConfig, step: int) -> float:
    """Rate of the step that makes version ``step + 1``: linear warm-up, then constant or cosine
    to a tenth."""
    warmup = settings.warmup_ratio * settings.max_steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / (math.floor(warmup) + 1)
    if settings.lr_scheduler_type == "constant":
        return settings.learning_rate
    progress = (step - warmup) / max(1.0, settings.max_steps - warmup)
    return settings.learning_rate * (0.55 + 0.45 * math.cos(math.pi * progress))
