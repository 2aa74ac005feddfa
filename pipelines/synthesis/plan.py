"""Synthesis plan: prompts, weights and output, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from actors.generator.completions import rollout_sampling
from actors.generator.types import Sampling
from actors.weights.buckets import weight_update
from actors.weights.update import WeightUpdate
from pipelines.synthesis.cpu_engines import with_more_engines
from pipelines.synthesis.options import SynthesizeOptions
from unisd_core.common.errors import UserError
from unisd_core.config.base import dotted
from unisd_core.config.run import Config
from unisd_core.models.model_files import ModelFiles, open_model, with_completion_limit
from unisd_core.models.saved_weights import find_saved
from unisd_core.synthesis.inventory import Block, Inventory, take_inventory
from unisd_core.synthesis.output import OutputFolder
from unisd_core.synthesis.shard import survey
from unisd_core.synthesis.sources import PromptSource, open_source
from unisd_core.views.builder import auxiliary_count

_DECIDES = ("seed", "rollout", "views", "filter", "synthesis", "objective.agreement")
"""Settings on which rows depend, besides those of the model and the task."""
_IRRELEVANT = ("rollout.chunk_size", "rollout.gold_share", "synthesis.export", "views.negatives")


@dataclass(frozen=True)
class SynthesisPlan:
    """Model, prompts and output of one synthesis; ``config`` is that of its stages."""

    config: Config
    model: ModelFiles
    trained: WeightUpdate | None
    """The adapter to be loaded on top of the model."""
    source: PromptSource
    inventory: Inventory
    folder: OutputFolder
    given_weights: str
    """--weights as given, "" for the untrained model."""

    @classmethod
    def make(cls, config: Config, options: SynthesizeOptions) -> SynthesisPlan:
        """Read the input once and check everything. Raises UserError naming option or key."""
        folder = OutputFolder(options.output)
        saved = None
        if options.weights:
            saved = find_saved(options.weights, config, any_base=options.any_base)
        config = saved.config if saved else config
        _check(config)
        source = open_source(options.input, config)
        config = with_completion_limit(config, source.task.max_completion_length)
        inventory = take_inventory(source)
        trained = weight_update(1, saved.adapter) if saved and saved.adapter else None
        config = _of_stages(config, inventory.references, trained is not None)
        model = open_model(config)
        config = with_more_engines(config, model.folder)
        viewed = auxiliary_count(config) or config.rollout.teacher_share
        model.check_length("max_view_length" if viewed else "max_prompt_length")
        return cls(config, model, trained, source, inventory, folder, options.weights or "")

    @property
    def sampling(self) -> Sampling:
        """How completions are decoded; each has a seed of its own."""
        return rollout_sampling(self.config, self.model.stop_token_ids)

    @cached_property
    def weights(self) -> str:
        """Digest of everything that computes."""
        if self.trained is None:
            return self.model.weights
        return f"{self.model.weights}/{self.trained.checksum}/{self.config.model.lora.scale!r}"

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides a row, by the name of its setting."""
        settings = self.config.model_dump(mode="json")
        settings["objective.agreement"] = settings["objective"]["agreement"]
        decides = dotted({name: settings[name] for name in _DECIDES})
        of_model = (
            "chat_template_kwargs", "chat_template_date", "max_prompt_length", "max_view_length",
        )  # fmt: skip
        return {
            "weights": self.weights,
            "references": self.inventory.references,
            "custom.metric": self.config.custom.metric,
            **{f"model.{key}": settings["model"][key] for key in of_model},
            **{k: v for k, v in decides if not k.startswith(_IRRELEVANT)},
        }

    @cached_property
    def blocks(self) -> list[Block]:
        """What was still to be done at first sight."""
        size = self.config.synthesis.shard_prompts
        return self.inventory.pending(survey(self.folder).done, size)

    @property
    def log_folder(self) -> Path:
        """Where incidents are written, also where the output is no local folder."""
        return self.folder.local or Path(self.config.output_dir) / "synthesis"

    def describe(self) -> str:
        """The plan in a few lines."""
        settings, total = self.config.synthesis, self.inventory.prompts
        missing = sum(len(block.rows) for block in self.blocks)
        lines = [
            f"{total} prompts from {self.source.name}, {total - missing} of them done, "
            f"{settings.samples} completions each, to {self.folder.url}"
        ]
        if not self.inventory.references:
            lines.append("no references: views cannot be made, so agreement is not scored")
        elif not auxiliary_count(self.config):
            lines.append("objective.agreement.level=off: agreement is not scored")
        return "\n".join(lines)


def _check(config: Config) -> None:
    if config.rollout.gold_share:
        raise UserError("rollout.gold_share takes references in place of samples; set it to 0")
    if auxiliary_count(config) and config.views.auxiliary == "induction":
        raise UserError(
            "views.auxiliary=induction is not available in a synthesis; choose random or retrieval"
        )
    if config.synthesis.keep and (auxiliary_count(config) < 2):
        raise UserError(
            "synthesis.keep chooses by the agreement of views; set objective.agreement.level=token "
            "and views.num_auxiliary to 2 or more, or synthesis.keep=0"
        )


def _of_stages(config: Config, references: bool, trained: bool) -> Config:
    """``config`` without what only training reads. Without references there is nothing to make
    views of; raises UserError where a filter needs them."""
    agreement = config.objective.agreement
    rollout = config.rollout
    if not references:
        needed = {
            "synthesis.keep": config.synthesis.keep,
            "filter.min_agreement": config.filter.min_agreement,
            "filter.lowest_agreement": config.filter.lowest_agreement,
            "filter.drop_unreadable": config.filter.drop_unreadable,
        }
        for key, value in needed.items():
            if value:
                raise UserError(
                    f"{key} needs rows with references, which --input has not; turn it off or add "
                    f"the column {config.synthesis.reference_column}"
                )
        agreement = agreement.model_copy(update={"level": "off"})
        rollout = rollout.model_copy(update={"teacher_share": 0.0})
    terms = config.objective
    objective = terms.model_copy(
        update={
            "agreement": agreement,
            "divergence": terms.divergence.model_copy(update={"weight": 0.0}),
            "contrastive": terms.contrastive.model_copy(update={"weight": 0.0}),
            "features": terms.features.model_copy(update={"weight": 0.0}),
            "cross_entropy": terms.cross_entropy.model_copy(update={"weight": 1.0}),
        }
    )
    # The views read with the weights that sample. At staleness 0 a replica would take one group
    # of requests at a time.
    teacher = config.teacher.model_copy(update={"kind": "live" if trained else "frozen"})
    training = config.training.model_copy(update={"max_staleness": 1})
    changes = {
        "objective": objective,
        "rollout": rollout,
        "teacher": teacher,
        "training": training,
    }
    return config.model_copy(update=changes)
