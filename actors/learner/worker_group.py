"""Worker group: the messages between the workers of a learner."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

import pyarrow as pa
import torch.distributed as dist

from unisd_core.common.columns import packed, unpacked

T = TypeVar("T")


class WorkerGroup:
    """One worker, ``rank`` of ``size``, and its way to the others.

    Messages stay on the CPU, whatever the gradients use. All workers have to make the same calls
    in the same order; one that waits for another for ``limit_s`` seconds raises an error. More
    than one worker needs an initialised torch process group.
    """

    def __init__(self, rank: int, size: int, limit_s: float) -> None:
        self.rank, self.size = rank, size
        self._group = None
        if size > 1:
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=limit_s))

    @property
    def is_first(self) -> bool:
        """Whether this worker talks to the other actors for all of them."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """``value`` of every worker, by rank."""
        if self.size == 1:
            return [value]
        parts: list[T] = [value] * self.size
        dist.all_gather_object(parts, value, group=self._group)
        return parts

    def from_first(self, value: T) -> T:
        """The first worker's ``value``."""
        return self.gather(value)[0]

    def barrier(self) -> None:
        """Return when all workers have come here."""
        self.gather(None)

    def share(self, batch: pa.Table | None) -> pa.Table | None:
        """This worker's share of the first worker's ``batch``, as large as the others'; None when
        it has none."""
        if self.size == 1:
            return batch
        received: list[pa.Buffer | None] = [None]
        if not self.is_first:
            dist.scatter_object_list(received, None, src=0, group=self._group)
            return None if received[0] is None else unpacked(received[0])
        sent: list[pa.Buffer | None] = [None] * self.size
        if batch is not None:
            # A pickled slice would be the whole batch. The first share stays as it is.
            rows = batch.num_rows // self.size
            starts = range(rows, self.size * rows, rows)
            sent[1:] = [packed(batch.slice(start, rows)) for start in starts]
            batch = batch.slice(0, rows)
        dist.scatter_object_list(received, sent, src=0, group=self._group)
        return batch
