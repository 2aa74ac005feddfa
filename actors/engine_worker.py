"""A method added to vLLM's workers, by name, so that this file needs no vLLM."""

from __future__ import annotations

from typing import Any


class TiedHead:
    """Keeps an LM head that shares the embeddings' weights up to date.

    On CPU the head computes from a packed copy of its weight, which vLLM makes anew only for layers
    whose own name is in the files it reloads; a tied head has none.
    """

    model_runner: Any

    def repack_head(self) -> None:
        """Prepare the head again from the weights now in place."""
        head = getattr(self.model_runner.get_model(), "lm_head", None)
        method = getattr(head, "quant_method", None)
        if method is not None:
            method.process_weights_after_loading(head)
