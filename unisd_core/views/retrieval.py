"""Auxiliary contexts from the most similar other rows (docs/method.md, "Auxiliary contexts").

BM25 needs no model and no network and is the default; sentence embeddings, as in the
paper, are used when a model is named.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from unisd_core.common.errors import UserError
from unisd_core.tasks.row import Row
from unisd_core.views.example_pool import ExamplePool

_SPARE = 32
"""Neighbours ranked beyond K at first; excluded rows are often among the nearest."""
_QUERIES_PER_BLOCK = 256

Scores = npt.NDArray[np.float32]


Similarity = Callable[[Sequence[Row]], Iterator[Scores]]
"""For each row its similarity to each row of the pool."""


class Retrieval:
    """The rows of ``pool`` under an index, which is made once.

    Similarity is over ``Row.retrieval_text``: BM25, or the cosine of embeddings of the model
    folder or hub id ``embedding_model``. Raises UserError when that model cannot be used.
    """

    def __init__(self, pool: ExamplePool, embedding_model: str | None) -> None:
        self._pool = pool
        self._similarity: Similarity = (
            _bm25(pool) if embedding_model is None else _embeddings(pool, embedding_model)
        )

    def examples(self, rows: Sequence[Row], count: int) -> list[list[str]]:
        """``count`` demonstrations for each row, the nearest first; ties go by uid. Raises
        UserError when a row has fewer admissible examples."""
        pool = self._pool
        found: list[list[str]] = []
        for row, scores_N in zip(rows, self._similarity(rows), strict=True):
            examples = pool.choose(row, _nearest(scores_N, count + _SPARE), count)
            if examples is None:
                examples = pool.choose(row, _nearest(scores_N, len(pool.rows)), count)
            if examples is None:
                raise pool.too_few(row, count)
            found.append(examples)
        return found


def _nearest(scores_N: Scores, limit: int) -> list[int]:
    """Indices of at least the ``limit`` highest scores, descending; equal scores by index."""
    size = len(scores_N)
    limit = min(limit, size)
    # Every index tied with the last place is kept, so that the cut does not decide between equals.
    last_place = np.partition(scores_N, size - limit)[size - limit]
    kept = np.flatnonzero(scores_N >= last_place)
    order: list[int] = kept[np.argsort(-scores_N[kept], kind="stable")].tolist()
    return order


def _bm25(pool: ExamplePool) -> Similarity:
    import bm25s

    # It sets its own logger to DEBUG, past whatever level the program chose.
    logging.getLogger("bm25s").setLevel(logging.WARNING)

    def words(rows: Sequence[Row]) -> list[list[str]]:
        texts = [row.retrieval_text for row in rows]
        # Stop words stay in: their weight is small anyway, and some questions have little else.
        found: list[list[str]] = bm25s.tokenize(
            texts, stopwords=None, return_ids=False, show_progress=False
        )
        return found

    tokens = words(pool.rows)
    index = bm25s.BM25()
    if any(tokens):
        index.index(tokens, show_progress=False)

    def similarity(rows: Sequence[Row]) -> Iterator[Scores]:
        for query in words(rows):
            if query and any(tokens):
                yield np.asarray(index.get_scores(query), dtype=np.float32)
            else:
                # The library refuses an empty query; a text without words is equally far from all.
                yield np.zeros(len(tokens), dtype=np.float32)

    return similarity


def _embeddings(pool: ExamplePool, model: str) -> Similarity:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UserError(
            f"views.embedding_model={model} needs the package sentence-transformers: "
            "pip install -e '.[embeddings]', or views.embedding_model=null to retrieve with BM25"
        ) from None
    try:
        encoder = SentenceTransformer(model)
    except (OSError, ValueError) as error:
        raise UserError(
            f"views.embedding_model={model} could not be loaded ({error}); give a folder or a "
            "hub id, or null to retrieve with BM25"
        ) from error

    def vectors(rows: Sequence[Row]) -> Scores:
        texts = [row.retrieval_text for row in rows]
        encoded = encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(encoded, dtype=np.float32)

    pool_ND = vectors(pool.rows)

    def similarity(rows: Sequence[Row]) -> Iterator[Scores]:
        for start in range(0, len(rows), _QUERIES_PER_BLOCK):
            block = rows[start : start + _QUERIES_PER_BLOCK]
            known = [pool.index.get(row.uid) for row in block]
            new = [row for row, index in zip(block, known, strict=True) if index is None]
            encoded = iter(vectors(new) if new else ())
            queries = [next(encoded) if index is None else pool_ND[index] for index in known]
            yield from np.stack(queries) @ pool_ND.T

    return similarity
