"""Auxiliary contexts from the most similar other rows (docs/method.md, "Auxiliary contexts").

BM25 needs no model and no network and is the default; sentence embeddings, as in the
paper, are used when a model is named.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from unisd_core.common.errors import UserError
from unisd_core.tasks.row import Row
from unisd_core.views.example_pool import ExamplePool

_SPARE = 32
"""Neighbours ranked beyond K at first; excluded rows are often among the nearest."""
_QUERIES_PER_BLOCK = 256

Scores = npt.NDArray[np.float32]


def retrieved_examples(
    pool: ExamplePool, rows: Sequence[Row], count: int, embedding_model: str | None
) -> list[list[str]]:
    """``count`` demonstrations for each row, the nearest first; ties go by uid.

    Similarity is over ``Row.retrieval_text``: BM25, or the cosine of embeddings of the
    model folder or hub id ``embedding_model``. Raises UserError when a row has fewer
    admissible examples, or when the embedding model cannot be used.
    """
    texts = [row.retrieval_text for row in pool.rows]
    queries = [pool.index[row.uid] for row in rows]
    scores = (
        _bm25(texts, queries)
        if embedding_model is None
        else _embeddings(texts, queries, embedding_model)
    )
    found: list[list[str]] = []
    for row, scores_N in zip(rows, scores, strict=True):
        examples = pool.choose(row, _nearest(scores_N, count + _SPARE), count)
        if examples is None:
            examples = pool.choose(row, _nearest(scores_N, len(texts)), count)
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


def _bm25(texts: Sequence[str], queries: Sequence[int]) -> Iterator[Scores]:
    import bm25s

    # It sets its own logger to DEBUG, past whatever level the program chose.
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    # Stop words stay in: their weight is small anyway, and some questions have little else.
    tokens: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords=None, return_ids=False, show_progress=False
    )
    index = bm25s.BM25()
    if any(tokens):
        index.index(tokens, show_progress=False)
    for query in queries:
        if tokens[query]:
            yield np.asarray(index.get_scores(tokens[query]), dtype=np.float32)
        else:
            # The library refuses an empty query; a text without words is equally far from all.
            yield np.zeros(len(texts), dtype=np.float32)


def _embeddings(texts: Sequence[str], queries: Sequence[int], model: str) -> Iterator[Scores]:
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
    vectors_ND = np.asarray(
        encoder.encode(list(texts), normalize_embeddings=True, show_progress_bar=False),
        dtype=np.float32,
    )
    for start in range(0, len(queries), _QUERIES_PER_BLOCK):
        block = list(queries[start : start + _QUERIES_PER_BLOCK])
        yield from vectors_ND[block] @ vectors_ND.T
