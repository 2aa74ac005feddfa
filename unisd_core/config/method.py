"""Settings of the method: views, teacher, objective and filter."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from unisd_core.config.base import Section


class InductionConfig(Section):
    """Instructions the model writes for auxiliary=induction."""

    examples: int = Field(3, ge=1)
    """Solved rows the model reads before it writes an instruction."""
    pool: int = Field(32, ge=1)
    """Instructions written for a run, from different rows where there are enough."""
    max_tokens: int = Field(160, ge=8)
    """Length limit of an instruction."""
    temperature: float = Field(0.7, ge=0)
    """Sampling temperature of instructions."""
    retries: int = Field(2, ge=0)
    """Further tries for an instruction that is empty, cut off or gives an answer away; after them
    a solved example takes its place."""


class NegativesConfig(Section):
    """Wrong references of the negative view."""

    source: Literal["rule", "generated"] = "rule"
    """Who makes wrong references: a rule of the task, or the model, with the rule where it
    fails."""
    per_row: int = Field(1, ge=1)
    """Wrong references made for each row. Each visit takes one of them at random."""
    max_tokens: int = Field(160, ge=8)
    """generated: length limit of a wrong reference."""
    temperature: float = Field(0.7, ge=0)
    """generated: sampling temperature."""
    retries: int = Field(2, ge=0)
    """generated: further tries for a text that is empty, unreadable or right; then the rule."""


class ViewsConfig(Section):
    """Prompts under which the teacher reads the student's completions."""

    reference_format: Literal["appended", "chat_turn"] = "chat_turn"
    """How the teacher sees the reference: after the question in one user turn (the paper's
    template), or as an earlier assistant turn (what a small model can follow)."""
    repeat_prompt: bool = True
    """chat_turn: repeat the question after the reference. Without it the teacher
    reads a third fewer tokens and may be a little less often right."""
    auxiliary: Literal["random", "retrieval", "induction"] = "retrieval"
    """Contexts of the auxiliary views: solved examples drawn at random, those of the most similar
    rows, or instructions the model wrote from solved examples."""
    num_auxiliary: int = Field(3, ge=1)
    """K, the number of auxiliary views whose agreement is measured. At 1 every agreement weight
    is 1."""
    pool_rows: int = Field(10_000, ge=0)
    """Training rows from which examples are drawn, the same for every seed and whatever their
    order; 0: all. Each row is compared with all of them, which takes time in large sets."""
    embedding_model: str | None = None
    """Folder or hub id of a sentence-embedding model for retrieval (extra embeddings); None
    retrieves with BM25."""
    induction: InductionConfig = InductionConfig()
    negatives: NegativesConfig = NegativesConfig()


class TeacherConfig(Section):
    """Weights of the teacher."""

    kind: Literal["frozen", "ema", "live"] = "ema"
    """Weights of the teacher: the base model, a moving average of the student, or the student
    itself."""
    ema_decay: float = Field(0.9, ge=0, le=1)
    """beta in avg <- beta * avg + (1 - beta) * student, kept in float32 (paper, section on
    EMA teachers)."""
    ema_every: int = Field(1, ge=1)
    """Optimizer steps between two updates of the average."""
    follows: Literal["trained", "frozen"] = "trained"
    """Which weights the average follows. frozen repeats the released code, whose average skips the
    adapter, so that the teacher never moves."""


class DivergenceConfig(Section):
    """Divergence between student and teacher on every token."""

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
    clip_quantile: float | None = Field(None, gt=0, lt=1)
    """Bound one token's divergence by this quantile over the previous batch instead."""
    clip_entries: float | None = Field(None, gt=0)
    """Upper bound in nats on the contribution of each vocabulary entry, before the sum (OPSD).
    None: off."""
    top_k: int = Field(0, ge=0)
    """Compare only the teacher's k most likely tokens and one bucket for all others, which travel
    in place of hidden states; 0 compares the whole vocabulary."""


class AgreementConfig(Section):
    """Weights from the agreement of the auxiliary views."""

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
    scale: Literal["batch", "running"] = "batch"
    """Token level: take the quantile over the batch alone, or average it over batches."""
    running_rate: float = Field(0.9, ge=0, lt=1)
    """running: share of the old value in the averaged quantile."""
    normalise: Literal["batch", "row"] = "batch"
    """Sequence level: weights have mean 1 over the batch, or are divided by their own row's sum as
    in the paper's Eq. 9, where they cancel."""


class ContrastiveConfig(Section):
    """Contrast between the reference and a wrong reference."""

    weight: float = Field(0.1, ge=0)
    """lambda_c; 0 scores no negative view."""
    margin: float = Field(0.5, ge=0)
    """Hinge margin in nats between the distances to the reference view and to the negative view."""
    reduction: Literal["mean", "sum"] = "mean"
    """Over the tokens of a row: mean, or sum as in the paper's Eq. 5."""


class FeaturesConfig(Section):
    """Feature matching between student and teacher."""

    weight: float = Field(0.1, ge=0)
    """lambda_f, factor of the squared distance between hidden states; 0 turns it off."""
    layers: tuple[int, ...] = (-1,)
    """Hidden states to compare: -1 is the last one (after the final norm), 0 the embeddings, i the
    output of block i."""
    normalise: bool = False
    """Scale each state to a root mean square of 1 first, so that large states do not dominate."""
    reduction: Literal["mean", "sum"] = "mean"
    """Over a row's tokens and the features of a state: mean, or sum as in the paper's Eq. 6."""

    @property
    def extra_layers(self) -> tuple[int, ...]:
        """The layers whose states travel in a column of their own; none where the last one is all
        that is compared."""
        return self.layers if self.weight and self.layers != (-1,) else ()


class CrossEntropyConfig(Section):
    """Cross-entropy on the completions, as in supervised fine-tuning."""

    weight: float = Field(0.0, ge=0)
    """Factor of the negative log-prob of the completion under the student; 0 turns it off."""


class ImportanceConfig(Section):
    """Importance correction of stale rows."""

    level: Literal["off", "token", "sequence"] = "off"
    """Correct rows sampled by an older version: weight each token, or each row by the product over
    its tokens, with probability now over probability when it was sampled (at temperature 1)."""
    cap: float = Field(2.0, gt=0)
    """Largest correction weight."""


class ObjectiveConfig(Section):
    """The loss: a weighted sum of terms."""

    divergence: DivergenceConfig = DivergenceConfig()
    agreement: AgreementConfig = AgreementConfig()
    contrastive: ContrastiveConfig = ContrastiveConfig()
    features: FeaturesConfig = FeaturesConfig()
    cross_entropy: CrossEntropyConfig = CrossEntropyConfig()
    importance: ImportanceConfig = ImportanceConfig()
    chunk_tokens: int = Field(256, ge=1)
    """Completion tokens whose full-vocabulary logits exist at one time."""


class FilterConfig(Section):
    """Completions that are left out of training or synthesis."""

    drop_truncated: bool = False
    """Leave out completions that ran into the token limit."""
    min_agreement: float = Field(0.0, ge=0, le=1)
    """Leave out rows whose mean token agreement weight (gamma = 1) is below this. Disagreement is
    scaled over the batch, before rows are left out for it; rows that take their place are held
    against the same scale."""
    lowest_agreement: float = Field(0.0, ge=0, lt=1)
    """Leave out this share of each batch, those with the lowest mean agreement; rows that take
    their place have to agree as well as those that stayed."""
    min_tokens: int = Field(0, ge=0)
    """Leave out completions with fewer tokens."""
    drop_unreadable: bool = False
    """Leave out completions from which the task can read no answer."""

    @property
    def compares_rows(self) -> bool:
        """Whether rows are left out for the agreement of their views."""
        return self.min_agreement > 0 or self.lowest_agreement > 0
