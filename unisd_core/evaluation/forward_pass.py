"""Forward passes of a causal LM as the measurements need them: hidden states, and the head that
makes logits of them.

Two forward passes may share one module, with its adapter on and off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peft import PeftModel
from torch import Tensor, nn

from unisd_core.evaluation.texts import Batch
from unisd_core.models.load import layer_states, lm_head_weight


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """Next-token distributions, as ``softmax(states @ head_VH.T)``."""

    states: Callable[[Tensor, Tensor], Tensor]
    """From token ids (B, T), padded on the right, and the places wanted of them (B, T), to the
    states (N, H) after the last norm at these places, row after row."""
    head_VH: Tensor
    """Also says on which device ``states`` takes the ids."""

    @classmethod
    def of(cls, model: nn.Module) -> ForwardPass:
        """Of ``model`` as it is, with its adapter if it carries one.

        ``states`` raises ValueError in training mode, whose dropout would blur every number.
        """

        def states(ids_BT: Tensor, wanted_BT: Tensor) -> Tensor:
            if model.training:
                raise ValueError(f"{type(model).__name__} is in training mode; call eval() first")
            return layer_states(model, ids_BT, (), wanted_BT)[0]

        return cls(states, lm_head_weight(model))

    @classmethod
    def of_base(cls, model: PeftModel) -> ForwardPass:
        """Of the base under the adapter of ``model``, which is off only meanwhile. See ``of``."""
        with_adapter = cls.of(model)

        def states(ids_BT: Tensor, wanted_BT: Tensor) -> Tensor:
            with model.disable_adapter():
                return with_adapter.states(ids_BT, wanted_BT)

        return cls(states, with_adapter.head_VH)

    def predicting(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The states (N, H) that predict the batch's completion tokens, and these tokens (N,), on
        the model's device."""
        device = self.head_VH.device
        states_NH = self.states(batch.ids_BT.to(device), batch.predicting_BT.to(device))
        return states_NH, batch.token_N.to(device)
