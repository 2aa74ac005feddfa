"""Settings of the stages: what generator, scorer and learner reserve, and how they run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from unisd_core.config.base import Section


class PlacementConfig(Section):
    """A stage whose actors may be kept to certain nodes."""

    node_resource: str | None = None
    """Custom Ray resource without which a node gets none of these actors, as spot or on_demand in
    cluster/; they take a thousandth of it. None: any node that has the CPUs and GPUs."""
    placement: Literal["pack", "spread"] = "pack"
    """On as few nodes as there is room, or on as many, so that a lost node takes fewer of them."""

    @property
    def custom_resources(self) -> dict[str, float]:
        """What Ray is asked for beside CPUs and GPUs."""
        return {self.node_resource: 0.001} if self.node_resource else {}


class GeneratorConfig(PlacementConfig):
    """vLLM replicas: number, resources, and transport of new weights."""

    replicas: int = Field(1, ge=1)
    """vLLM engines, each in a Ray actor of its own. A data synthesis on CPU takes two with half of
    the cores each where neither their number nor threads is given and memory allows."""
    min_replicas: int | None = Field(None, ge=1)
    """Engines a run needs to begin, and keeps while they are idle; None: replicas. Fewer than
    replicas suit a cluster whose nodes come and go: the others join when there is room."""
    max_replicas: int | None = Field(None, ge=1)
    """Engines a run may grow to while the learner waits for them; None: replicas."""
    scale_s: float = Field(60.0, gt=0)
    """Seconds over which waiting times are measured before a replica is added or removed."""
    cpus: float = Field(0.5, gt=0)
    """Logical CPUs a replica reserves in Ray."""
    gpus: float = Field(0.0, ge=0)
    """GPUs a replica reserves for each of its tensor-parallel ranks; 0 runs the CPU engine."""
    tensor_parallel_size: int = Field(1, ge=1)
    """GPUs one engine is split over."""
    threads: int = Field(0, ge=0)
    """Compute threads of a CPU engine; 0 takes all cores the process may use."""
    own_process: bool = False
    """Run a CPU engine in a process of its own, as GPU engines always do. On a thread of the
    replica, the default, it starts sooner and takes less memory."""
    max_num_seqs: int = Field(64, ge=1)
    """Rollouts one engine keeps in flight."""
    kv_cache_gib: float = Field(1.0, gt=0)
    """Memory for keys and values on CPU, GiB."""
    gpu_memory_utilization: float = Field(0.5, gt=0, le=1)
    """Share of GPU memory the engine may take."""
    transport: Literal["auto", "adapter", "merged", "nccl"] = "auto"
    """How new weights reach an engine: a LoRA adapter under a new name, merged weights in place
    that each replica reads from files, or the same broadcast to all GPUs over NCCL. auto picks
    merged on CPU (its LoRA kernels are slow) and adapter on GPU."""
    sender_gpus: float = Field(0.1, gt=0)
    """nccl: share of a GPU for the sending process, on a GPU that is not one of the replicas'."""
    timeout_s: float = Field(600.0, gt=0)
    """Longest wait in seconds for one answer of a replica before it is replaced."""
    stall_s: float = Field(120.0, gt=0)
    """Seconds without a new token while requests run, or without an answer to a health check,
    after which a replica is replaced; coordinator actors must answer as fast."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.least <= self.replicas <= self.most:
            raise ValueError("min_replicas, replicas and max_replicas must not decrease")
        if self.transport == "nccl" and not self.gpus:
            raise ValueError("transport=nccl needs replicas on GPUs; set gpus above 0")
        return self

    @property
    def least(self) -> int:
        """Replicas that are always kept."""
        return self.replicas if self.min_replicas is None else self.min_replicas

    @property
    def most(self) -> int:
        """Replicas the pool may grow to."""
        return self.replicas if self.max_replicas is None else self.max_replicas

    @property
    def groups_in_flight(self) -> int:
        """Groups of requests outside the stream that are under way at a time: two for each
        replica keep all busy."""
        return 2 * self.replicas


class ScorerConfig(PlacementConfig):
    """The stage that reads completions through the teacher's views."""

    workers: int = Field(1, ge=1)
    """Actors of the scoring stage. With several views on CPU this stage has the most to do: one
    worker for each core helps."""
    cpus: float = Field(0.5, gt=0)
    """Logical CPUs each reserves."""
    gpus: float = Field(0.0, ge=0)
    """GPUs each reserves."""
    threads: int = Field(0, ge=0)
    """Torch threads on CPU; 0 divides the usable cores among the workers."""
    batch_tokens: int = Field(1024, ge=1)
    """Tokens per forward pass; a prefix that views share counts once. On CPU about a thousand is
    fastest; raise it on a GPU."""
    cache_mib: float = Field(256.0, ge=0)
    """teacher.kind=frozen: MiB of scores kept for completions that come again, as references that
    are rollouts do once an epoch; 0 scores them anew, as max_staleness=0 always does."""
    timeout_s: float = Field(600.0, gt=0)
    """Longest time in seconds an actor may spend on one chunk of rollouts before it is replaced;
    the agreement stage, which keeps state, must give signs of life as fast."""


class LearnerConfig(PlacementConfig):
    """Ray Train workers that update the student."""

    workers: int = Field(1, ge=1)
    """Data-parallel training processes; must divide training.batch_size."""
    cpus: float = Field(0.5, gt=0)
    """Logical CPUs each reserves."""
    gpus: float = Field(0.0, ge=0)
    """GPUs each reserves."""
    threads: int = Field(0, ge=0)
    """Torch threads on CPU; 0 divides half of the usable cores among the workers, as engine and
    scorer work meanwhile (staleness 0: all cores)."""
    sharding: Literal["ddp", "fsdp"] = "ddp"
    """Several workers: each holds the whole model, or a shard of its blocks (FSDP2)."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds a worker may leave Ray's health checks unanswered before the group is restarted."""
