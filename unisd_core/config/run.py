"""The configuration tree of a run; unknown keys are refused.

Imports neither torch, ray nor vllm, so that a configuration can be checked and
printed anywhere (``--dry-run``). Each field states its unit and what it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from unisd_core.config.base import Section
from unisd_core.config.data import CustomConfig, SynthesisConfig
from unisd_core.config.load import PRESETS_DIR, read_saved, resolve
from unisd_core.config.method import FilterConfig, ObjectiveConfig, TeacherConfig, ViewsConfig
from unisd_core.config.stages import GeneratorConfig, LearnerConfig, ScorerConfig


class LoraConfig(Section):
    """The LoRA adapter."""

    r: int = Field(16, ge=1)
    """Rank of the update BA of each adapted matrix."""
    lora_alpha: float = Field(32.0, gt=0)
    """Scale numerator: the update is multiplied by lora_alpha / r."""
    target_modules: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip
    """Names of the linear layers that receive an adapter."""

    @property
    def scale(self) -> float:
        """What the update BA is multiplied by."""
        return self.lora_alpha / self.r


class ModelConfig(Section):
    """The model that is trained, and the limits of its prompts."""

    name_or_path: str = "HuggingFaceTB/SmolLM2-135M-Instruct"
    """Hub id or local folder (safetensors, tokenizer with a chat template)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Storage type of the frozen weights. Trained weights, their average and all reductions stay
    float32."""
    finetune: Literal["lora", "full"] = "lora"
    """What is trained: a low-rank adapter, or every weight. full pushes whole models (merged)."""
    chat_template_kwargs: dict[str, bool | int | float | str] = {}
    """Options of the chat template, the same in every view, such as enable_thinking: true or
    reasoning_effort: low. A template that can switch thinking off has it off unless it is set."""
    chat_template_date: date = date(2025, 1, 1)
    """What a chat template that writes today's date takes for today, so that prompts stay the same
    from day to day."""
    max_prompt_length: int = Field(512, ge=8)
    """Rows whose student prompt is longer are left out and counted."""
    max_view_length: int = Field(1536, ge=8)
    """Rows with a teacher, auxiliary or negative prompt longer than this are left out and
    counted."""
    lora: LoraConfig = LoraConfig()


class RolloutConfig(Section):
    """Where completions come from, and how the student samples them."""

    temperature: float = Field(0.9, gt=0)
    """Sampling temperature of the student's completions."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus mass; below 1 the sampled distribution is narrower than the reported log-probs."""
    top_k: int = Field(0, ge=0)
    """Sampling keeps this many most likely tokens; 0 keeps all."""
    max_completion_length: int = Field(0, ge=0)
    """Sampling stops after this many tokens; 0 takes the task's own limit."""
    teacher_share: float = Field(0.0, ge=0, le=1)
    """Share of completions sampled by the model reading the reference."""
    gold_share: float = Field(0.0, ge=0, le=1)
    """Share of completions that are the reference itself. The student samples the rest."""
    chunk_size: int = Field(8, ge=1)
    """Rollouts that travel through the stream together. Must divide training.batch_size."""


class TrainingConfig(Section):
    """Steps, batches, optimizer, staleness, checkpoints and restarts."""

    max_steps: int = Field(100, ge=1)
    """Optimizer steps of the run."""
    batch_size: int = Field(16, ge=1)
    """B, rollouts per optimizer step over all learner workers."""
    max_staleness: int = Field(2, ge=0)
    """S: a row sampled by version v is never trained on after version v + S. 0 is synchronous."""
    learning_rate: float = Field(2e-5, gt=0)
    """Peak rate of AdamW."""
    lr_scheduler_type: Literal["constant", "cosine"] = "cosine"
    """Shape of the rate after warm-up; cosine falls to a tenth of the peak."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the rate rises linearly."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decoupled decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """The gradient is scaled down to this Euclidean norm."""
    skip_grad_norm: float | None = Field(None, gt=0)
    """A batch whose gradient has a larger Euclidean norm than this, before it is scaled down, is
    skipped. None: off."""
    max_bad_batches: int = Field(10, ge=0)
    """Batches in a row that may lose rows, or be skipped, because of numbers that are not finite or
    skip_grad_norm; one more ends the run with an error. bad_rows.jsonl lists the rows."""
    micro_batch_tokens: int = Field(512, ge=1)
    """Tokens per forward and backward pass of a learner worker; a prefix that rows share
    counts once. On CPU a thousand is 5 % faster than 512 and needs 0.8 GB more for a model of 135M
    parameters; raise it on a GPU."""
    save_steps: int = Field(10, ge=1)
    """Optimizer steps between two checkpoints."""
    save_total_limit: int = Field(2, ge=1)
    """Newest checkpoints kept on disk."""
    checkpoint_mirror: str | None = None
    """fsspec URL, as s3://bucket/folder, to whose <run name> each complete checkpoint is copied. A
    run whose own folder has none, as on a new machine after a preemption, resumes from there."""
    max_restarts: int = Field(8, ge=0)
    """Times a failed learner group, or a stream that broke, is started again from the last
    checkpoint."""
    stream_timeout_s: float = Field(3600.0, gt=0)
    """Seconds without progress after which a stream is given up and started again."""
    stop_grace_s: float = Field(120.0, gt=0)
    """Seconds a run that is told to stop (Ctrl-C, SIGTERM) may take to finish and save its step."""


class EvaluationConfig(Section):
    """Accuracy before, during and after training."""

    rows: int = Field(200, ge=1)
    """Rows of each test set scored before and after training."""
    bootstrap: int = Field(10_000, ge=100)
    """Paired resamples behind each 95 % interval."""
    teacher_rows: int = Field(32, ge=0)
    """Training rows on which each view's accuracy is measured before training; 0 skips it."""
    require_better_teacher: bool = True
    """Stop before training when the teacher is no more accurate than the student."""
    eval_steps: int = Field(0, ge=0)
    """Optimizer steps between two evaluations on validation rows during training; 0: none.
    A multiple of training.save_steps."""
    validation_rows: int = Field(32, ge=1)
    """Training rows set aside for eval_steps; rows that ask the same question stay together."""
    early_stopping_patience: int = Field(0, ge=0)
    """Evaluations in a row without a better accuracy after which training ends; 0: never."""
    select: Literal["last", "best"] = "last"
    """Which weights are the result: the last, or those with the best accuracy on validation
    rows."""


class OutputsConfig(Section):
    """Files and services that receive the results of a run."""

    trajectories: bool = True
    """Write every trained trajectory to Parquet."""
    tensorboard: bool = True
    """Write TensorBoard events beside metrics.jsonl."""
    mlflow: str | None = None
    """MLflow experiment that gets the numbers of metrics.jsonl too (extra mlflow), on the server of
    MLFLOW_TRACKING_URI or, without one, in the run's folder. None: no MLflow."""
    wandb: str | None = None
    """Weights & Biases project that gets them too (extra wandb); with WANDB_MODE=offline they stay
    in the run's folder. None: none."""
    merged_model: bool = False
    """Also save base and adapter merged into one model folder."""


class Config(Section):
    """A run: its name, seeds and task, and one section for each part."""

    name: str = Field("unisd", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; its files go to <output_dir>/<name>."""
    seed: int = Field(0, ge=0)
    """Seeds data order, sampling, negatives and initial adapter."""
    task_seed: int = Field(0, ge=0)
    """Seeds what the task generates: rows, order of options. Runs that are compared share it."""
    task: str = "minitools"
    """Name of a task (--help lists them), or module:Class for one of your own."""
    data_dir: str | None = None
    """Folder with one subfolder of JSONL files per task; None reads the hub."""
    custom: CustomConfig = CustomConfig()
    output_dir: str = "runs"
    """Parent of all run folders."""
    model: ModelConfig = ModelConfig()
    rollout: RolloutConfig = RolloutConfig()
    views: ViewsConfig = ViewsConfig()
    teacher: TeacherConfig = TeacherConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    filter: FilterConfig = FilterConfig()
    training: TrainingConfig = TrainingConfig()
    generator: GeneratorConfig = GeneratorConfig()
    scorer: ScorerConfig = ScorerConfig()
    learner: LearnerConfig = LearnerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    outputs: OutputsConfig = OutputsConfig()
    synthesis: SynthesisConfig = SynthesisConfig()

    @classmethod
    def from_preset(
        cls,
        preset: str | Sequence[str] | None = None,
        overrides: Sequence[str] | Mapping[str, Any] = (),
        presets_dir: Path = PRESETS_DIR,
    ) -> Config:
        """Presets and overrides as one checked configuration.

        Each preset is a name in ``presets_dir`` (``models/qwen2.5-7b`` in its subfolders) or a path
        to a YAML file; of several, later ones override earlier ones key by key; None starts from
        the defaults. A preset may name another one under ``base``, which it overrides.
        ``overrides`` are texts such as ``training.max_steps=20``, or values by key.
        Raises UserError for a missing or malformed preset and for unknown, ill-typed or
        out-of-range settings.
        """
        return resolve(cls, preset, overrides, presets_dir)

    @classmethod
    def from_saved(cls, path: Path) -> Config:
        """The configuration that a run wrote to ``path``, whatever its settings were called then.

        Raises UserError for a file that is none and for the task that custom rows belonged to
        once.
        """
        return read_saved(cls, path)

    @property
    def stall_timeout_s(self) -> float:
        """Seconds without progress after which a stream is given up: training.stream_timeout_s, or
        four timeouts of a replica where those are longer."""
        return max(self.training.stream_timeout_s, 4 * self.generator.timeout_s)

    def with_model(self, **changes: Any) -> Config:
        """The same settings but for these of the model section."""
        return self.model_copy(update={"model": self.model.model_copy(update=changes)})

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        batch, terms = self.training.batch_size, self.objective
        if batch % self.learner.workers:
            raise ValueError(
                f"training.batch_size ({batch}) must be a multiple of learner.workers "
                f"({self.learner.workers})"
            )
        if batch % self.rollout.chunk_size:
            raise ValueError(
                f"rollout.chunk_size ({self.rollout.chunk_size}) must divide training.batch_size "
                f"({batch})"
            )
        if self.rollout.teacher_share + self.rollout.gold_share > 1:
            raise ValueError("rollout.teacher_share and rollout.gold_share add up to more than 1")
        weights = (terms.divergence, terms.contrastive, terms.features, terms.cross_entropy)
        if not any(term.weight for term in weights):
            raise ValueError("objective: at least one term needs a weight above 0")
        if terms.divergence.clip is not None and terms.divergence.clip_quantile is not None:
            raise ValueError("objective.divergence: set clip or clip_quantile, the other to null")
        if terms.divergence.top_k and terms.features.weight:
            raise ValueError(
                "objective.divergence.top_k sends no hidden states; set objective.features.weight=0"
            )
        if self.synthesis.keep > self.synthesis.samples:
            raise ValueError("synthesis.keep must be at most synthesis.samples")
        every = self.evaluation.eval_steps
        if every % self.training.save_steps:
            raise ValueError(
                f"evaluation.eval_steps ({every}) must be a multiple of training.save_steps "
                f"({self.training.save_steps})"
            )
        if not every and (
            self.evaluation.early_stopping_patience or self.evaluation.select == "best"
        ):
            raise ValueError(
                "evaluation.early_stopping_patience and select=best need evaluation.eval_steps "
                "above 0"
            )
        mirror = self.training.checkpoint_mirror or ""
        if "@" in mirror.partition("://")[2].partition("/")[0]:
            raise ValueError(
                "training.checkpoint_mirror: leave credentials out of the URL, which is written to "
                "config.yaml; fsspec reads them from the environment"
            )
        if self.model.finetune == "full" and self.generator.transport == "adapter":
            raise ValueError("model.finetune=full has no adapter; set generator.transport=merged")
        return self
