"""A causal LM as the measurements read it: hidden states, and the head that makes logits of them.

Two readers may share one module, with its adapter on and off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peft import PeftModel
from torch import Tensor, nn

from unisd_core.evaluation.texts import Batch
from unisd_core.models.load import hidden_states, lm_head_weight


@dataclass(frozen=True, eq=False)
class Reader:
    """Next-token distributions, as ``softmax(states @ head_VH.T)``."""

    states: Callable[[Tensor], Tensor]
    """From token ids (B, T), padded on the right, to the states (B, T, H) after the last norm."""
    head_VH: Tensor
    """Also says on which device ``states`` takes the ids."""

    def read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The states (N, H) that predict the batch's completion tokens, and these tokens (N,), on
        the reader's device."""
        device = self.head_VH.device
        states_BTH = self.states(batch.ids_BT.to(device))
        return batch.predicting(states_BTH), batch.token_N.to(device)


def reader(model: nn.Module) -> Reader:
    """Reads ``model`` as it is, with its adapter if it carries one.

    Reading raises ValueError in training mode, whose dropout would blur every number.
    """

    def states(ids_BT: Tensor) -> Tensor:
        if model.training:
            raise ValueError(f"{type(model).__name__} is in training mode; call eval() first")
        return hidden_states(model, ids_BT)

    return Reader(states, lm_head_weight(model))


def base_reader(model: PeftModel) -> Reader:
    """Reads the base under the adapter of ``model``, which is off only while it reads.

    Raises as ``reader`` does.
    """
    with_adapter = reader(model)

    def states(ids_BT: Tensor) -> Tensor:
        with model.disable_adapter():
            return with_adapter.states(ids_BT)

    return Reader(states, with_adapter.head_VH)
