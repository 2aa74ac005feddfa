"""One typed tree for every setting of a run; unknown keys are refused.

Imports neither torch, ray nor vllm, so that a configuration can be checked and
printed anywhere (``--dry-run``). Each field states its unit and what it changes.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """Base of every section: immutable, no unknown keys, documented fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Lora(Section):
    rank: int = Field(16, ge=1)
    """Rank r of the update BA of each adapted matrix."""
    alpha: float = Field(32.0, gt=0)
    """Scale numerator: the update is multiplied by alpha / rank."""
    targets: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip
    """Names of the linear layers that receive an adapter."""


class Model(Section):
    path: str = "HuggingFaceTB/SmolLM2-135M-Instruct"
    """Hub id or local folder (safetensors, tokenizer with a chat template)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Storage type of the frozen weights. The adapter, its average and all reductions stay
    float32."""
    max_prompt_tokens: int = Field(512, ge=8)
    """Rows whose student prompt is longer are left out and counted."""
    max_view_tokens: int = Field(1536, ge=8)
    """Rows with a teacher, auxiliary or negative prompt longer than this are left out and
    counted."""
    lora: Lora = Lora()


class Rollout(Section):
    temperature: float = Field(0.9, gt=0)
    """Sampling temperature of the student's completions."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus mass; 1 keeps the behaviour log-probs exact."""
    max_completion_tokens: int = Field(0, ge=0)
    """Sampling stops after this many tokens; 0 takes the task's own limit."""
    on_policy_fraction: float = Field(1.0, ge=0, le=1)
    """Share of completions sampled by the student; the rest is sampled by the model reading the
    reference."""
    chunk: int = Field(8, ge=1)
    """Rollouts that travel through the stream together. Must divide training.batch."""


class Views(Section):
    reference_format: Literal["appended", "chat_turn"] = "chat_turn"
    """How the teacher sees the reference: after the question in one user turn (the paper's
    template),
    or as an earlier assistant turn (what a small model can follow)."""
    repeat_prompt: bool = True
    """chat_turn: whether the question stands again after the reference. Without it the teacher
    reads a third fewer tokens and may be a little less often right."""
    auxiliary: Literal["random", "retrieval"] = "retrieval"
    """Where the solved examples of the auxiliary views come from."""
    count: int = Field(3, ge=1)
    """K, the number of auxiliary views whose agreement is measured. At 1 every agreement weight
    is 1."""
    embedding_model: str | None = None
    """Folder or hub id of a sentence-embedding model for retrieval; None retrieves with BM25."""


class Teacher(Section):
    kind: Literal["frozen", "ema", "live"] = "ema"
    """Weights of the teacher: the base model, a moving average of the student, or the student
    itself."""
    ema_rate: float = Field(0.9, ge=0, le=1)
    """beta in avg <- beta * avg + (1 - beta) * student, kept in float32 (paper, section 2.2)."""
    ema_every: int = Field(1, ge=1)
    """Optimizer steps between two updates of the average."""


class Divergence(Section):
    weight: float = Field(1.0, ge=0)
    """Factor of the token divergence in the loss; 0 does not compute it."""
    alpha: float = Field(0.0, ge=0, le=1)
    """0: KL(teacher || student); 1: KL(student || teacher); between: JSD with this mass on the
    teacher."""
    temperature: float = Field(1.0, gt=0)
    """Both distributions are softened by this before they are compared."""
    clip: float | None = Field(10.0, gt=0)
    """Upper bound in nats on the divergence of one token (kappa); a clipped token has no
    gradient. None: off."""


class Agreement(Section):
    level: Literal["off", "token", "sequence"] = "token"
    """Whether disagreement between the auxiliary views lowers the weight of a token or of a whole
    row."""
    statistic: Literal["var", "range"] = "var"
    """Disagreement over the K views: variance, or largest minus smallest log-prob."""
    gamma: float = Field(1.0, ge=0)
    """Strength; 0 gives weights of 1."""
    quantile: float = Field(0.95, gt=0, le=1)
    """Token level: disagreement is divided by this quantile over the global batch."""
    cap: float = Field(10.0, gt=0)
    """Token level: upper bound on the scaled disagreement."""
    floor: float = Field(0.01, gt=0, le=1)
    """Smallest weight a token or row can get."""


class Contrastive(Section):
    weight: float = Field(0.1, ge=0)
    """lambda_c; 0 scores no negative view."""
    margin: float = Field(0.5, ge=0)
    """Hinge margin in nats between the distances to the reference view and to the negative view."""


class Features(Section):
    weight: float = Field(0.1, ge=0)
    """lambda_f, factor of the mean squared distance between final hidden states; 0 turns it off."""


class Objective(Section):
    divergence: Divergence = Divergence()
    agreement: Agreement = Agreement()
    contrastive: Contrastive = Contrastive()
    features: Features = Features()
    chunk_tokens: int = Field(256, ge=1)
    """Completion tokens whose full-vocabulary logits exist at one time."""


class Filter(Section):
    drop_truncated: bool = False
    """Leave out completions that ran into the token limit."""
    min_agreement: float = Field(0.0, ge=0, le=1)
    """Leave out rows whose mean token agreement weight (gamma = 1) is below this."""


class Training(Section):
    steps: int = Field(100, ge=1)
    """Optimizer steps of the run."""
    batch: int = Field(16, ge=1)
    """B, rollouts per optimizer step over all learner workers."""
    staleness: int = Field(2, ge=0)
    """S: a row sampled by version v is never trained on after version v + S. 0 is synchronous."""
    learning_rate: float = Field(2e-5, gt=0)
    """Peak rate of AdamW."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Shape of the rate after warm-up; cosine falls to a tenth of the peak."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the rate rises linearly."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decoupled decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """The gradient is scaled down to this Euclidean norm."""
    micro_batch_tokens: int = Field(1024, ge=1)
    """Padded tokens per forward and backward pass of a learner worker. On CPU about a thousand is
    fastest (activations stay in the cache); raise it on a GPU."""
    checkpoint_every: int = Field(10, ge=1)
    """Optimizer steps between two checkpoints."""
    checkpoint_keep: int = Field(2, ge=1)
    """Newest checkpoints kept on disk."""
    max_restarts: int = Field(2, ge=0)
    """Times a failed learner group is started again from the last checkpoint."""


class Generator(Section):
    replicas: int = Field(1, ge=1)
    """vLLM engines, each in a Ray actor of its own."""
    cpus: float = Field(0.5, gt=0)
    """Logical CPUs a replica reserves in Ray."""
    gpus: float = Field(0.0, ge=0)
    """GPUs a replica reserves for each of its tensor-parallel ranks; 0 runs the CPU engine."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs one engine is split over."""
    threads: int = Field(0, ge=0)
    """Compute threads of a CPU engine; 0 takes all cores the process may use."""
    max_sequences: int = Field(64, ge=1)
    """Rollouts one engine keeps in flight."""
    kv_cache_gib: float = Field(1.0, gt=0)
    """Memory for keys and values on CPU, GiB."""
    gpu_memory: float = Field(0.5, gt=0, le=1)
    """Share of GPU memory the engine may take."""
    transport: Literal["auto", "adapter", "merged"] = "auto"
    """How new weights reach an engine: a LoRA adapter under a new name, or merged weights in place.
    auto picks merged on CPU (its LoRA kernels are slow) and adapter on GPU."""
    timeout_s: float = Field(600.0, gt=0)
    """Longest wait for one answer of a replica before it is replaced."""


class Scorer(Section):
    workers: int = Field(1, ge=1)
    """Actors of the scoring stage."""
    cpus: float = Field(0.5, gt=0)
    """Logical CPUs each reserves."""
    gpus: float = Field(0.0, ge=0)
    """GPUs each reserves."""
    threads: int = Field(0, ge=0)
    """Torch threads on CPU; 0 takes all cores the process may use."""
    batch_tokens: int = Field(1024, ge=1)
    """Padded tokens per forward pass. On CPU about a thousand is fastest; raise it on a GPU."""


class Learner(Section):
    workers: int = Field(1, ge=1)
    """Data-parallel training processes; must divide training.batch."""
    cpus: float = Field(0.5, gt=0)
    """Logical CPUs each reserves."""
    gpus: float = Field(0.0, ge=0)
    """GPUs each reserves."""
    threads: int = Field(0, ge=0)
    """Torch threads on CPU; 0 divides the usable cores among the workers."""


class Evaluation(Section):
    rows: int = Field(200, ge=1)
    """Rows of each test set scored before and after training."""
    bootstrap: int = Field(10_000, ge=100)
    """Paired resamples behind each 95 % interval."""
    teacher_rows: int = Field(32, ge=0)
    """Training rows on which each view's accuracy is measured before training; 0 skips it."""
    require_better_teacher: bool = True
    """Stop before training when the teacher is no more accurate than the student."""


class Outputs(Section):
    trajectories: bool = True
    """Write every trained trajectory to Parquet."""
    tensorboard: bool = True
    """Write TensorBoard events beside metrics.jsonl."""
    merged_model: bool = False
    """Also save base and adapter merged into one model folder."""


class Config(Section):
    name: str = Field("unisd", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; its files go to <output_dir>/<name>."""
    seed: int = Field(0, ge=0)
    """Seeds data order, sampling, negatives and initial adapter."""
    task: str = "minitools"
    """Registered task name."""
    data_dir: str | None = None
    """Folder with one subfolder of JSONL files per task; None reads the hub."""
    output_dir: str = "runs"
    """Parent of all run folders."""
    model: Model = Model()
    rollout: Rollout = Rollout()
    views: Views = Views()
    teacher: Teacher = Teacher()
    objective: Objective = Objective()
    filter: Filter = Filter()
    training: Training = Training()
    generator: Generator = Generator()
    scorer: Scorer = Scorer()
    learner: Learner = Learner()
    evaluation: Evaluation = Evaluation()
    outputs: Outputs = Outputs()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        batch = self.training.batch
        if batch % self.learner.workers:
            raise ValueError(
                f"training.batch ({batch}) must be a multiple of learner.workers "
                f"({self.learner.workers})"
            )
        if batch % self.rollout.chunk:
            raise ValueError(
                f"rollout.chunk ({self.rollout.chunk}) must divide training.batch ({batch})"
            )
        terms = self.objective
        if not (terms.divergence.weight or terms.contrastive.weight or terms.features.weight):
            raise ValueError("objective: at least one term needs a weight above 0")
        return self
