"""Weights of the teacher: frozen, a moving average of the student, or the student itself.

Knows named tensors, not models: the adapter's A and B factors (or full weights). Averages are
kept in float32, because in bfloat16 a step of (1 - beta) times a small change rounds to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unisd_core.config.method import TeacherConfig

State = dict[str, Tensor]


class TeacherWeights:
    """The teacher's weights over a run, whatever its kind.

    An exponential moving average of named tensors (paper, section on EMA teachers). A and B of a
    LoRA update are averaged separately. EMA(B) EMA(A) is not EMA(BA): the product of averages lags
    the average of products by the covariance of the two factors, which is small while the student
    moves slowly, and costs rank r instead of growing without bound.

    Frozen is an average that is never updated, live one that forgets everything at each step.
    With ``follows`` frozen the average is told nothing of the trained tensors, as in the released
    code, and never moves (docs/method.md, "Differences from the paper and its released code").
    """

    def __init__(self, settings: TeacherConfig, initial: Mapping[str, Tensor]) -> None:
        """Starts at a float32 copy of ``initial``; for LoRA that is the base model, as B is 0."""
        self._moves = settings.kind != "frozen" and settings.follows == "trained"
        self._decay = settings.ema_decay if settings.kind == "ema" else 0.0
        self._every = settings.ema_every if settings.kind == "ema" else 1
        self._initial = _copy(initial)
        self._average = _copy(initial)

    def after_step(self, step: int, student: Mapping[str, Tensor]) -> bool:
        """Follow the student after optimizer step ``step`` (counted from 1):
        avg <- decay * avg + (1 - decay) * student.

        Returns whether the teacher was updated, that is, whether its weights must be sent again.
        Raises ValueError for other names or shapes than at the start.
        """
        if not self._moves or step % self._every:
            return False
        self._require_same_names(student)
        for name, average in self._average.items():
            average.lerp_(_like(student[name], average, name), 1.0 - self._decay)
        return True

    def state(self) -> State:
        """A float32 copy of the teacher's weights, which later steps leave alone."""
        return _copy(self._average)

    def metrics(self, student: Mapping[str, Tensor]) -> dict[str, float]:
        """Euclidean norms over all tensors: ``ema_distance``, from the student, and
        ``teacher_moved``, from the start."""
        self._require_same_names(student)
        return {
            "ema_distance": _distance(self._average, student),
            "teacher_moved": _distance(self._average, self._initial),
        }

    def state_dict(self) -> State:
        """All a checkpoint needs, flat and ready for safetensors."""
        return {
            **{f"average.{name}": tensor for name, tensor in _copy(self._average).items()},
            **{f"initial.{name}": tensor for name, tensor in _copy(self._initial).items()},
        }

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        """Restores ``state_dict``. Raises ValueError where its names or shapes differ."""
        expected = self.state_dict()
        if saved.keys() != expected.keys():
            raise ValueError(f"teacher state: {_difference(saved, expected)}")
        for prefix, tensors in (("average.", self._average), ("initial.", self._initial)):
            for name, tensor in tensors.items():
                tensor.copy_(_like(saved[prefix + name], tensor, name))

    def _require_same_names(self, student: Mapping[str, Tensor]) -> None:
        if student.keys() != self._average.keys():
            raise ValueError(f"student state: {_difference(student, self._average)}")


def _copy(tensors: Mapping[str, Tensor]) -> State:
    return {
        name: tensor.detach().to(torch.float32, copy=True).contiguous()
        for name, tensor in tensors.items()
    }


def _like(tensor: Tensor, reference: Tensor, name: str) -> Tensor:
    if tensor.shape != reference.shape:
        raise ValueError(f"{name}: shape {tuple(tensor.shape)}, expected {tuple(reference.shape)}")
    return tensor.detach().to(reference)


def _distance(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    squares = [
        (tensor - _like(right[name], tensor, name)).square().sum(dtype=torch.float64)
        for name, tensor in left.items()
    ]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def _difference(got: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    missing, unknown = expected.keys() - got.keys(), got.keys() - expected.keys()
    name = min(missing or unknown)
    return f"{len(missing)} tensors missing and {len(unknown)} unknown, among them {name}"
