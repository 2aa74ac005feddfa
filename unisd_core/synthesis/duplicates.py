"""Near-duplicate texts: exact among a few, by MinHash (datasketch) among many."""

from __future__ import annotations

from typing import Any

LENGTH = 5
"""Characters of a shingle: short enough for one-line answers, and the same in every script."""


def shingles(text: str) -> set[str]:
    """Runs of LENGTH characters, without case and with white space as one blank; a shorter text is
    one run."""
    plain = " ".join(text.casefold().split())
    return {plain[at : at + LENGTH] for at in range(max(1, len(plain) - LENGTH + 1))}


def alike(one: set[str], other: set[str], similarity: float) -> bool:
    """Whether the Jaccard similarity of two texts' shingles is at least ``similarity``."""
    return len(one & other) >= similarity * len(one | other)


class DuplicateIndex:
    """Texts seen so far under their keys, about 3 kB each. Neighbours come from a MinHash index and
    are compared by their signatures (128 hashes, standard error of the similarity up to 0.045)."""

    def __init__(self, similarity: float) -> None:
        from datasketch import MinHashLSH

        self.similarity = similarity
        # Its own threshold decides whom it proposes; a lower one misses fewer.
        self._index = MinHashLSH(threshold=max(0.1, similarity - 0.1), num_perm=128)
        self._signatures: dict[str, Any] = {}

    def add(self, key: str, text: str) -> bool:
        """Whether another key's text is like this one; if none is, this one is kept from now on."""
        from datasketch import LeanMinHash, MinHash

        signature = MinHash(num_perm=128)
        signature.update_batch([piece.encode("utf-8") for piece in shingles(text)])
        lean = LeanMinHash(signature)
        if key in self._signatures:
            return False
        for other in self._index.query(lean):
            if lean.jaccard(self._signatures[other]) >= self.similarity:
                return True
        self._index.insert(key, lean)
        self._signatures[key] = lean
        return False
