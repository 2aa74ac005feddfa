"""Buckets: weights cut into pieces of bounded size, which Ray's object store carries.

A bucket goes to each node once, however many replicas and scorers read it there. Neither sender nor
receiver holds more than one bucket on top of the weights themselves.

Torch is imported where it is used, because actors that only pass messages import this file too.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from actors.runtime.calls import get_with_timeout
from actors.weights.update import Probe, WeightUpdate

if TYPE_CHECKING:
    from torch import Tensor

BUCKET_BYTES = 512 * 2**20
"""Largest bucket. Small enough for a store of some GB, large enough to keep a network busy."""
FETCH_S = 600.0
"""Longest wait for a bucket from another node."""
DIGEST_THREADS = 4
"""Buckets whose checksums are taken at a time."""


@dataclass(frozen=True)
class TensorSlice:
    """Elements of one tensor, flattened, from ``first`` on."""

    name: str
    shape: tuple[int, ...]
    first: int
    values: np.ndarray


Bucket = list[TensorSlice]


def into_buckets(weights: Mapping[str, np.ndarray], limit: int = BUCKET_BYTES) -> Iterator[Bucket]:
    """Cut ``weights`` in the order of their names; a tensor may be spread over several buckets.

    Nothing is copied. Each bucket has at most ``limit`` bytes (but at least one element).
    """
    bucket: Bucket = []
    room = limit
    for name in sorted(weights):
        array = weights[name]
        flat, first = np.ascontiguousarray(array).reshape(-1), 0
        while True:
            count = min(flat.size - first, max(room // flat.itemsize, 0 if bucket else 1))
            if count or not flat.size:
                values = flat[first : first + count]
                bucket.append(TensorSlice(name, array.shape, first, values))
                first, room = first + count, room - values.nbytes
            if first >= flat.size:
                break
            yield bucket
            bucket, room = [], limit
    if bucket:
        yield bucket


def out_of_buckets(buckets: Iterable[Bucket]) -> dict[str, np.ndarray]:
    """Inverse of ``into_buckets``. A tensor that came in one piece is not copied and may be
    read-only."""
    weights: dict[str, np.ndarray] = {}
    for piece in (piece for bucket in buckets for piece in bucket):
        if piece.values.size == np.prod(piece.shape, dtype=np.int64):
            weights[piece.name] = piece.values.reshape(piece.shape)
            continue
        if piece.name not in weights:
            weights[piece.name] = np.empty(piece.shape, piece.values.dtype)
        flat = weights[piece.name].reshape(-1)
        flat[piece.first : piece.first + piece.values.size] = piece.values
    return weights


def pack(
    version: int,
    weights: Mapping[str, np.ndarray],
    probe: Probe | None = None,
    limit: int = BUCKET_BYTES,
) -> WeightUpdate:
    """``weights`` as policy version ``version``, in buckets and with a checksum."""
    buckets = tuple(into_buckets(weights, limit))
    size = sum(array.nbytes for array in weights.values())
    return WeightUpdate(version, buckets, _checksum(buckets), size, probe)


def stored(update: WeightUpdate, put: Callable[[Bucket], Any]) -> WeightUpdate:
    """``update`` with references in place of its buckets; ``put`` makes one."""
    return replace(update, buckets=tuple(map(put, update.buckets)))


def fetch(update: WeightUpdate) -> dict[str, np.ndarray]:
    """The weights of ``update``, from the object store where they are references. Read-only.

    Raises ValueError when they are not the weights that were published.
    """
    buckets = [
        get_with_timeout(bucket, "the object store", FETCH_S)
        if isinstance(bucket, ray.ObjectRef)
        else bucket
        for bucket in update.buckets
    ]
    checksum = _checksum(buckets)
    if checksum != update.checksum:
        raise ValueError(
            f"version {update.version}: received {checksum[:12]}, published {update.checksum[:12]}"
        )
    return out_of_buckets(buckets)


def unpack(update: WeightUpdate) -> dict[str, Tensor]:
    """What ``fetch`` returns, as tensors."""
    import torch

    # What lies in the object store is read where it is, and only read.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    return {name: torch.from_numpy(array) for name, array in fetch(update).items()}


def _checksum(buckets: Iterable[Bucket]) -> str:
    with ThreadPoolExecutor(DIGEST_THREADS) as threads:
        return hashlib.sha256(b"".join(threads.map(_digest, buckets))).hexdigest()


def _digest(bucket: Bucket) -> bytes:
    digest = hashlib.sha256()
    for piece in bucket:
        digest.update(f"{piece.name}\0{piece.shape}\0{piece.first}\0".encode())
        digest.update(piece.values.data)
    return digest.digest()


def weight_update(
    version: int, weights: dict[str, Tensor], probe: Probe | None = None
) -> WeightUpdate:
    """``pack`` for tensors."""
    return pack(version, {name: tensor.numpy() for name, tensor in weights.items()}, probe)
