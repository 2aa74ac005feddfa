"""Methods added to vLLM's workers, by name, so that this file needs no vLLM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


class InPlaceWeights:
    """Puts new weights in the place of those the worker computes with."""

    model_runner: Any
    reload_weights: Callable[..., None]

    def merge_adapter(self, base: str, adapter: str) -> None:
        """Load the model folder ``base``, which the worker began with, with a PEFT folder merged
        into it, tensor by tensor, so that the sum is never written anywhere."""
        from unisd_core.models.merge import merged_weights
        from unisd_core.models.saved_weights import read_adapter

        state, lora = read_adapter(Path(adapter))
        weights = merged_weights(Path(base), state, lora, everything=False)
        self.reload_weights(weights_iterator=weights)

    def repack_head(self) -> None:
        """Prepare the LM head again from the weights now in place.

        On CPU the head computes from a packed copy of its weight, which vLLM makes anew only for
        layers whose own name is in the files it reloads; a head tied to the embeddings has none.
        """
        head = getattr(self.model_runner.get_model(), "lm_head", None)
        method = getattr(head, "quant_method", None)
        if method is not None:
            method.process_weights_after_loading(head)
