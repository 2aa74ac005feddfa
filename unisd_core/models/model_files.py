"""Model files: folder, tokenizer and limits of the untrained model, and its weights if wanted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from unisd_core.common.errors import UserError
from unisd_core.common.process import stage_device
from unisd_core.config.run import Config
from unisd_core.models.chat.chat import Chat
from unisd_core.models.fetch import resolve_model, weights_checksum
from unisd_core.models.load import check_vocabulary, load_base, load_tokenizer, stop_token_ids
from unisd_core.models.text_model import text_model


@dataclass(frozen=True)
class ModelFiles:
    """The untrained model of config.model, ready to be loaded."""

    config: Config
    folder: Path
    tokenizer: PreTrainedTokenizerBase
    chat: Chat
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


@dataclass(frozen=True)
class LoadedModel(ModelFiles):
    """The same with its weights in memory, for what happens in this process."""

    network: PreTrainedModel
    """The untrained model, without gradients."""


def open_model(config: Config) -> ModelFiles:
    """Find the model and load its tokenizer. Raises UserError for one that cannot be used."""
    folder = text_model(resolve_model(config.model.name_or_path))
    tokenizer = load_tokenizer(folder)
    model_config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    check_vocabulary(tokenizer, model_config)
    chat = Chat(tokenizer, config.model)
    return ModelFiles(
        config,
        folder,
        tokenizer,
        chat,
        tuple(stop_token_ids(folder, tokenizer, chat.turn_end)),
        getattr(model_config, "max_position_embeddings", None),
    )


def load_model(config: Config) -> LoadedModel:
    """Find the model of ``config`` and load it, to the GPU where learner.gpus is above 0. Raises
    UserError for one that cannot be used."""
    files = open_model(config)
    network = load_base(files.folder, config.model.dtype, stage_device(config.learner.gpus))
    return LoadedModel(**vars(files), network=network)


def model_folder(model: ModelFiles | Path | str) -> Path:
    """The folder of a model that was opened, or the one given."""
    return model.folder if isinstance(model, ModelFiles) else Path(model)


def with_completion_limit(config: Config, tokens: int) -> Config:
    """``config`` with the tasks' own limit where rollout.max_completion_length is 0."""
    if config.rollout.max_completion_length:
        return config
    rollout = config.rollout.model_copy(update={"max_completion_length": tokens})
    return config.model_copy(update={"rollout": rollout})
