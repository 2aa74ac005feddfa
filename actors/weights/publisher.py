"""Policy publisher: keeps the learner's latest policy versions and hands them to the store."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

from torch import Tensor

from actors.weights.buckets import Bucket, stored, weight_update
from actors.weights.store import WeightStoreClient
from actors.weights.update import Probe, WeightUpdate
from unisd_core.config.run import Config
from unisd_core.reporting.spans import Span
from unisd_core.training.student import Student
from unisd_core.training.teacher import TeacherWeights

PROBE_TOKENS = 16
"""Tokens whose log-probs tell whether an engine computes with the weights it was sent."""


class PolicyPublisher:
    """Keeps as many versions of ``student`` as rows may be old, and the LM heads of the teacher's
    versions; publishes to ``store``."""

    def __init__(
        self, config: Config, student: Student, teacher: TeacherWeights, store: WeightStoreClient
    ) -> None:
        self.staleness = config.training.max_staleness
        self.student, self.teacher, self.store = student, teacher, store
        self.known: OrderedDict[int, dict[str, Tensor]] = OrderedDict()
        vocabulary = student.head_VH.shape[0]
        self.probe_ids = [97 * place % vocabulary for place in range(1, PROBE_TOKENS + 1)]
        self.probe: Probe | None = None
        self.published_bytes = 0
        """Size of the version that was published last."""

    def add(self, version: int, weights: dict[str, Tensor]) -> None:
        """Keep ``weights``, the student's of ``version``. All workers that hold a shard call."""
        self.known[version] = weights
        while len(self.known) > self.staleness + 1:
            self.known.popitem(last=False)
        logprobs = self.student.logprobs(self.probe_ids, start=1)
        self.probe = Probe(tuple(self.probe_ids), tuple(logprobs.tolist()))

    def add_head(self, version: int) -> None:
        """Full fine-tuning: keep the LM head of this teacher, for rows that it has scored."""
        if not self.student.full:
            return
        self.student.keep_teacher_head(version, self.teacher.state())
        # Rows in the stream were read by a teacher at most this much older than the student.
        oldest = max(self.known) - 2 * (self.staleness + 1)
        known = sorted(self.student.teacher_heads)
        for old, newer in itertools.pairwise(known):
            if newer <= oldest:
                del self.student.teacher_heads[old]

    def publish(
        self, version: int, incarnation: int, teacher_moved: bool, anew: bool = False
    ) -> list[Span]:
        """Hand the newest version to the store, as learners of ``incarnation``; ``anew`` when they
        have started again. Returns the times of earlier pushes since the last call."""
        student = self._kept(weight_update(version, self.known[version], self.probe))
        self.published_bytes = student.size
        teacher = None
        if teacher_moved:
            teacher = self._kept(weight_update(version, self.teacher.state()))
        return self.store.publish(student, teacher, anew, incarnation)

    def _kept(self, update: WeightUpdate) -> WeightUpdate:
        """``update`` with references to its buckets, which the store takes over one at a time."""

        def keep(bucket: Bucket) -> Any:
            (reference,) = self.store.keep(bucket)
            return reference

        return stored(update, keep)
