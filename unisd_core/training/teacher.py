"""Weights of the teacher: frozen, a moving average of the student, or the student itself.

Knows named tensors, not models: the adapter's A and B factors (or full weights). Averages are
kept in float32, because in bfloat16 a step of (1 - beta) times a small change rounds to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unisd_core.config import method as config

State = dict[str, Tensor]


class AdapterAverage:
    """Exponential moving average of named tensors (paper, section on the EMA teacher).

    A and B of a LoRA update are averaged separately. EMA(B) EMA(A) is not EMA(BA): the product
    of averages lags the average of products by the covariance of the two factors, which is
    small while the student moves slowly, and costs rank r instead of growing without bound.
    """

    def __init__(self, initial: Mapping[str, Tensor]) -> None:
        """Starts at a float32 copy of ``initial``."""
        self._initial = _copy(initial)
        self._average = _copy(initial)

    def update(self, student: Mapping[str, Tensor], rate: float) -> None:
        """avg <- rate * avg + (1 - rate) * student; rate 1 keeps the average, 0 is the student.

        Raises ValueError for a rate outside [0, 1] or other names or shapes than at the start.
        """
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"averaging rate {rate} is outside [0, 1]")
        self._require_same_names(student)
        for name, average in self._average.items():
            average.lerp_(_like(student[name], average, name), 1.0 - rate)

    def state(self) -> State:
        """A float32 copy of the average, which later updates leave alone."""
        return _copy(self._average)

    def distance(self, student: Mapping[str, Tensor]) -> float:
        """Euclidean norm of average minus student, over all tensors together."""
        self._require_same_names(student)
        return _distance(self._average, student)

    def moved(self) -> float:
        """Euclidean norm of average minus its initial value."""
        return _distance(self._average, self._initial)

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


class TeacherWeights:
    """The teacher's weights over a run, whatever its kind.

    Frozen is an average that is never updated, live one that forgets everything at each step.
    With ``follows`` frozen the average is told nothing of the trained tensors, as in the released
    code, and never moves (docs/method.md, "Differences from the paper and its released code").
    """

    def __init__(self, settings: config.TeacherConfig, initial: Mapping[str, Tensor]) -> None:
        self._moves = settings.kind != "frozen" and settings.follows == "trained"
        self._rate = settings.ema_decay if settings.kind == "ema" else 0.0
        self._every = settings.ema_every if settings.kind == "ema" else 1
        self._average = AdapterAverage(initial)

    def after_step(self, step: int, student: Mapping[str, Tensor]) -> bool:
        """Follows the student after optimizer step ``step`` (counted from 1).

        Returns whether the teacher was updated, that is, whether its weights must be sent again.
        """
        if not self._moves or step % self._every:
            return False
        self._average.update(student, self._rate)
        return True

    def state(self) -> State:
        """A float32 copy of the teacher's current weights."""
        return self._average.state()

    def metrics(self, student: Mapping[str, Tensor]) -> dict[str, float]:
        """``ema_distance``, from the student, and ``teacher_moved``, from the start."""
        return {
            "ema_distance": self._average.distance(student),
            "teacher_moved": self._average.moved(),
        }

    def state_dict(self) -> State:
        """All a checkpoint needs, flat and ready for safetensors."""
        return self._average.state_dict()

    def load_state_dict(self, saved: Mapping[str, Tensor]) -> None:
        """Restores ``state_dict``. Raises ValueError where its names or shapes differ."""
        self._average.load_state_dict(saved)


def make_teacher(
    settings: config.TeacherConfig, initial_state: Mapping[str, Tensor]
) -> TeacherWeights:
    """Teacher of ``settings.kind`` that starts at ``initial_state``.

    For LoRA the initial B is zero, so that a frozen teacher is the base model.
    """
    return TeacherWeights(settings, initial_state)


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
