"""The folder of kept texts stays below its limit, and what was used last stays."""

from __future__ import annotations

import os
from pathlib import Path

from unisd_core.models.completion_cache import CompletionText, TextCache, text_key

KEYS = [text_key({"number": number}) for number in range(12)]


def filled(folder: Path) -> int:
    """Keeps a text under all keys but the last, the first being the oldest; returns their bytes."""
    cache = TextCache(folder)
    for age, key in enumerate(reversed(KEYS[:-1])):
        cache.put(key, CompletionText("words", True))
        os.utime(folder / key[:2] / f"{key}.json", (1e9 - age, 1e9 - age))
    return sum(file.stat().st_blocks * 512 for file in folder.glob("*/*.json"))


def test_the_texts_unused_for_longest_make_room_for_new_ones(tmp_path: Path) -> None:
    size = filled(tmp_path)
    cache = TextCache(tmp_path, largest=size - 1)
    assert cache.get(KEYS[0]) is not None  # used now
    cache.put(KEYS[-1], CompletionText("new", True))
    kept = {number for number, key in enumerate(KEYS) if cache.get(key)}
    assert {0, 10, 11} <= kept and not kept & {1, 2, 3, 4, 5}


def test_nothing_is_dropped_below_the_limit(tmp_path: Path) -> None:
    size = filled(tmp_path)
    cache = TextCache(tmp_path, largest=size)
    cache.put(KEYS[-1], CompletionText("new", True))
    assert all(cache.get(key) for key in KEYS)


def test_what_killed_writers_left_is_dropped_and_what_is_being_written_is_not(
    tmp_path: Path,
) -> None:
    torn, fresh = (tmp_path / "ab" / f".{name}.json.0123abcd.tmp" for name in ("torn", "fresh"))
    torn.parent.mkdir()
    for file in (torn, fresh):
        file.touch()
    os.utime(torn, (1e9, 1e9))
    TextCache(tmp_path).put(KEYS[0], CompletionText("words", True))
    assert not torn.exists() and fresh.exists()
