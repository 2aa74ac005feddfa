"""Worker extension: methods that vLLM adds to its workers.

The engine names the class by its path, so that this file needs no vLLM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class InPlaceWeights:
    """Replaces the weights that the worker computes with."""

    model_runner: Any
    reload_weights: Callable[..., None]
    update_weights: Callable[..., None]
    weight_transfer_engine: Any

    def merge_adapter(self, base: str, adapter: str) -> None:
        """Load the model in ``base``, which the worker began with, and merge the PEFT folder
        ``adapter`` into it tensor by tensor, so that merged weights are never written to disk."""
        from unisd_core.models.adapters.merge import merged_weights
        from unisd_core.models.saved_weights import read_adapter

        state, lora = read_adapter(Path(adapter))
        weights = merged_weights(Path(base), state, lora, everything=False)
        self.reload_weights(weights_iterator=weights)

    def receive_checked(self, update_info: dict[str, Any]) -> str:
        """Receive tensors of a broadcast; returns the ``TensorChecksum`` of what has arrived, taken
        before the model splits and fuses it."""
        from actors.weights.tensor_checksum import TensorChecksum

        model, checksum = self.weight_transfer_engine.model, TensorChecksum()
        load_weights = model.load_weights

        def watched(weights: Iterable[tuple[str, Any]]) -> Any:
            arrived = list(weights)
            for name, tensor in arrived:
                checksum.add(name, tensor)
            return load_weights(arrived)

        model.load_weights = watched
        try:
            self.update_weights(update_info)
        finally:
            del model.load_weights
        return checksum.hexdigest()

    def repack_head(self) -> None:
        """Prepare the LM head again from the weights that are now in place.

        On CPU the head computes from a packed copy of its weight. vLLM renews the copy only for
        layers whose name is in the files it reloads, where a head tied to the embeddings is not.
        """
        head = getattr(self.model_runner.get_model(), "lm_head", None)
        method = getattr(head, "quant_method", None)
        if method is not None:
            method.process_weights_after_loading(head)
