"""A model's folder, tokenizer and limits, before any engine loads it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import AutoConfig, PreTrainedTokenizerBase

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.models.fetch import resolve_model, weights_checksum
from unisd_core.models.load import check_vocabulary, load_tokenizer, stop_token_ids
from unisd_core.models.text_model import text_model


@dataclass(frozen=True)
class ModelFiles:
    """The untrained model of config.model, ready to be loaded."""

    config: Config
    folder: Path
    tokenizer: PreTrainedTokenizerBase
    stop_token_ids: tuple[int, ...]
    longest: int | None
    """Tokens the model can read; None where it does not say."""

    @cached_property
    def weights(self) -> str:
        """Digest of the weights and of the type they are computed in."""
        return f"{weights_checksum(self.folder)}/{self.config.model.dtype}"

    def check_length(self, key: str) -> None:
        """Raise UserError when the longest prompt, config.model's ``key``, and its completion do
        not fit the model."""
        model = self.config.model
        tokens = getattr(model, key) + self.config.rollout.max_completion_length
        if self.longest is not None and tokens > self.longest:
            raise UserError(
                f"model.{key} plus the completion limit is {tokens}, "
                f"{model.name_or_path} reads {self.longest}; lower model.{key}"
            )


def open_model(config: Config) -> ModelFiles:
    """Find the model and load its tokenizer. Raises UserError for one that cannot be used."""
    folder = text_model(resolve_model(config.model.name_or_path))
    tokenizer = load_tokenizer(folder)
    model_config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    check_vocabulary(tokenizer, model_config)
    return ModelFiles(
        config,
        folder,
        tokenizer,
        tuple(stop_token_ids(folder, tokenizer)),
        getattr(model_config, "max_position_embeddings", None),
    )


def with_completion_limit(config: Config, tokens: int) -> Config:
    """``config`` with the tasks' own limit where rollout.max_completion_length is 0."""
    if config.rollout.max_completion_length:
        return config
    rollout = config.rollout.model_copy(update={"max_completion_length": tokens})
    return config.model_copy(update={"rollout": rollout})
