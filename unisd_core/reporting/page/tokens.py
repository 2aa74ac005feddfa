"""The text of single tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

Decode = Callable[[list[int]], str]
"""Token ids to text, special tokens included."""

_LONGEST_LETTER = 4
"""Bytes of a letter in UTF-8, each of which may be a token."""


def token_texts(ids: Sequence[int], decode: Decode | None) -> Iterator[tuple[str, int]]:
    """Consecutive pieces of ``ids`` as (text, number of tokens); ids where there is no ``decode``.

    Most pieces are one token. Tokens that only together make up a letter are one piece, and each
    is decoded after the one before it, because some tokenizers drop a leading space.
    """
    if decode is None:
        yield from ((f"{number} ", 1) for number in ids)
        return
    context = done = 0
    for end in range(1, len(ids) + 1):
        before, text = decode(list(ids[context:done])), decode(list(ids[context:end]))
        if text.endswith("\ufffd") and end - done < _LONGEST_LETTER and end < len(ids):
            continue
        yield text[len(before) :], end - done
        context, done = done, end
