"""A writer without a model, and what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from unisd_core.models.completion_cache import CompletionText, TextCache
from unisd_core.views.writing import Writing


class ScriptedWriter:
    """Answers by ``script(prompt, seed)``; ``finished`` says how each text ends."""

    def __init__(self, script: Callable[[str, int], str], finished: bool = True) -> None:
        self.script = script
        self.finished = finished
        self.prompts: list[str] = []
        self.seeds: list[int] = []
        self.calls: list[dict[str, float]] = []

    def __call__(
        self, prompts: Sequence[str], *, temperature: float, max_tokens: int, seeds: Sequence[int]
    ) -> list[CompletionText]:
        self.prompts += prompts
        self.seeds += seeds
        self.calls.append({"temperature": temperature, "max_tokens": max_tokens})
        pairs = zip(prompts, seeds, strict=True)
        return [CompletionText(self.script(prompt, seed), self.finished) for prompt, seed in pairs]

    def writing(self, folder: Path, model: str = "checksum") -> Writing:
        return Writing(self, model, TextCache(folder))
