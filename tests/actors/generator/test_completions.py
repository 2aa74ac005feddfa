import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.generator import completions as module
from actors.generator.completions import CachedCompletions
from actors.generator.types import Sampling
from unisd_core.common.completion import Completion
from unisd_core.models.completion_cache import CompletionText, TextCache

GREEDY = Sampling(0.0, 1.0, 8, None, (2,))
WARM = dataclasses.replace(GREEDY, temperature=0.7, seed=1)


class Letters:
    """Writes token ids as letters."""

    def text(self, ids: list[int]) -> str:
        return "".join(chr(ord("a") + token) for token in ids)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Prompts that reached the pool; each is answered by itself, cut off when longer than two.
    A prompt [9] breaks the connection."""
    seen: list[list[int]] = []

    def sample(
        pool: Any, prompts: list[list[int]], samplings: Any, version: int, in_flight: int
    ) -> Iterator[Completion]:
        for ids in prompts:
            if ids == [9]:
                raise ConnectionError
            seen.append(ids)
            reason = "length" if len(ids) > 2 else "stop"
            yield Completion(ids, [0.0] * len(ids), reason, version, version, 0)

    monkeypatch.setattr(module, "sample", sample)
    return seen


def completions(folder: Path, weights: str | None = "w") -> CachedCompletions:
    return CachedCompletions(None, Letters(), weights, cache=TextCache(folder))  # type: ignore[arg-type]


def test_answers_come_in_the_order_of_the_prompts_and_are_asked_for_once(
    tmp_path: Path, asked: list[list[int]]
) -> None:
    first = completions(tmp_path).complete([[1], [0, 1, 2]], [GREEDY] * 2)
    assert first == [CompletionText("b", True), CompletionText("abc", False)]
    again = completions(tmp_path).complete([[2], [0, 1, 2], [1]], [GREEDY] * 3)
    assert again == [
        CompletionText("c", True),
        CompletionText("abc", False),
        CompletionText("b", True),
    ]
    assert asked == [[1], [0, 1, 2], [2]]


@pytest.mark.parametrize(
    ("weights", "sampling"),
    [("other", WARM), ("w", GREEDY), ("w", dataclasses.replace(WARM, seed=2)), (None, WARM)],
)
def test_nothing_of_other_weights_or_decoding_is_read_back(
    tmp_path: Path, asked: list[list[int]], weights: str | None, sampling: Sampling
) -> None:
    completions(tmp_path).complete([[1]], [WARM])
    completions(tmp_path, weights).complete([[1]], [sampling])
    assert asked == [[1], [1]]


def test_an_interrupted_evaluation_keeps_what_had_arrived(
    tmp_path: Path, asked: list[list[int]]
) -> None:
    with pytest.raises(ConnectionError):
        completions(tmp_path).complete([[1], [9], [2]], [GREEDY] * 3)
    completions(tmp_path).complete([[1], [2]], [GREEDY] * 2)
    assert asked == [[1], [2]]
