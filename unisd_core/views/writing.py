"""The seam to whatever lets the model write texts: instructions and wrong references.

Knows nothing of engines. A text that was written once is not asked for again, refused ones
included, so that the same run makes the same contexts without the model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from unisd_core.common.errors import UserError
from unisd_core.models.completion_cache import CompletionText, Determinants, TextCache

T = TypeVar("T")

__all__ = [
    "WritingResult",
    "Writer",
    "Writing",
    "WritingRequest",
    "WritingSettings",
    "write_all",
]


class Writer(Protocol):
    """Lets the model answer user turns."""

    def __call__(
        self, prompts: Sequence[str], *, temperature: float, max_tokens: int, seeds: Sequence[int]
    ) -> list[CompletionText]:
        """One text per prompt, in their order; ``seeds[i]`` fixes the sampling of prompt i."""
        ...


@dataclass(frozen=True)
class Writing:
    """A writer, where its texts are kept, and the checksum of the model that writes
    (see ``Determinants.model``)."""

    writer: Writer
    model: str
    cache: TextCache


@dataclass(frozen=True)
class WritingRequest(Generic[T]):
    """One text to be written. ``kind`` names its use and prompt version for the cache;
    ``accept`` turns the text into what was wanted, or refuses it with None."""

    kind: str
    prompt: str
    seed: int
    accept: Callable[[str], T | None]


@dataclass(frozen=True)
class WritingSettings:
    """Sampling temperature, length limit in tokens, and further tries after a refused text."""

    temperature: float
    max_tokens: int
    retries: int


@dataclass(frozen=True)
class WritingResult(Generic[T]):
    """What became of the requests, in their order: accepted values, or None."""

    values: list[T | None]
    written: int
    """Texts the writer was asked for, refused ones included."""
    cached: int
    """Texts found in the cache, refused ones included."""
    failed: int
    """Requests whose every text was refused."""

    def counts(self, name: str) -> Mapping[str, int]:
        """The three numbers under ``<name>.written``, ``.cached`` and ``.failed``."""
        return {
            f"{name}.written": self.written,
            f"{name}.cached": self.cached,
            f"{name}.failed": self.failed,
        }


def draw_seed(*parts: object) -> int:
    """A sampling seed of 31 bits that depends on ``parts`` alone."""
    return random.Random(":".join(map(str, parts))).getrandbits(31)


def write_all(
    requests: Sequence[WritingRequest[T]], writing: Writing, settings: WritingSettings
) -> WritingResult[T]:
    """Serve every request from the cache or by the writer, which gets one batch per round of
    tries. A text is refused when it is cut off or its request does not accept it; then the request
    is tried again with another seed.

    Raises UserError when a text cannot be kept, or when the writer returns another number of
    texts than it was asked for.
    """
    values: list[T | None] = [None] * len(requests)
    open_requests = list(range(len(requests)))
    written_texts = cached_texts = 0
    # Without randomness another try would give the same text.
    tries = 1 + (settings.retries if settings.temperature > 0 else 0)
    for attempt in range(tries):
        if not open_requests:
            break
        asked = {n: _determinants(requests[n], writing, settings, attempt) for n in open_requests}
        texts = {n: writing.cache.get(entry.key) for n, entry in asked.items()}
        missing = [n for n in open_requests if texts[n] is None]
        cached_texts += len(open_requests) - len(missing)
        written_texts += len(missing)
        if missing:
            answers = writing.writer(
                [asked[n].prompt for n in missing],
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                seeds=[asked[n].seed for n in missing],
            )
            if len(answers) != len(missing):
                raise UserError(
                    f"{requests[0].kind}: {len(answers)} texts came back for {len(missing)} "
                    "prompts; check the generator"
                )
            for n, answer in zip(missing, answers, strict=True):
                writing.cache.put(asked[n].key, answer)
                texts[n] = answer
        for n in open_requests:
            text = texts[n]
            if text is not None and text.finished:
                values[n] = requests[n].accept(text.text)
        open_requests = [n for n in open_requests if values[n] is None]
    return WritingResult(values, written_texts, cached_texts, len(open_requests))


def _determinants(
    request: WritingRequest[T], writing: Writing, settings: WritingSettings, attempt: int
) -> Determinants:
    return Determinants(
        kind=request.kind,
        prompt=request.prompt,
        model=writing.model,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        seed=request.seed if attempt == 0 else draw_seed(request.seed, attempt),
        attempt=attempt,
    )
