"""Score: the stage that reads each completion through the views of the teacher.

Torch is imported where it is used, for many processes import this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import ray

from actors.runtime.calls import restarted
from actors.runtime.metrics import record
from actors.supervision.watchdog import WatchdogClient
from actors.weights.buckets import unpack
from actors.weights.store import WeightStoreClient
from unisd_core.common.columns import lengths
from unisd_core.common.fast_imports import importing
from unisd_core.common.process import lower_priority
from unisd_core.config.run import Config


class Score:
    """Scores chunks of rollouts with the teacher's newest weights: those that follow the version
    which a rollout is of, or newer ones.

    It tells the watchdog when it begins and ends a chunk. A scorer that hangs is replaced, and Ray
    Data gives its chunk to the successor.
    """

    def __init__(
        self, config: Config, model_dir: str, store: WeightStoreClient, watchdog: WatchdogClient
    ) -> None:
        with importing():
            from unisd_core.scoring.scorer import TeacherScorer

        if not config.scorer.gpus:
            lower_priority()
        self.scorer = TeacherScorer(config, model_dir)
        self.store, self.watchdog = store, watchdog
        self.frozen = config.teacher.kind == "frozen"
        self.limit_s = config.scorer.timeout_s
        context = ray.get_runtime_context()
        self.actor, self.name = context.current_actor, str(context.get_actor_id())
        if restarted():
            watchdog.record.tell("scorer", "back")

    def __call__(self, table: pa.Table) -> pa.Table:
        """``TRAJECTORY`` rows in, ``SCORED`` rows out."""
        if table.num_rows == 0:
            return self.scorer.schema.empty_table()
        with self._at_work():
            self._load_teacher(max(table["version_first"].to_pylist()))
            scored = self.scorer.score(table)
        record("scored_tokens", sum(lengths(scored["completion_ids"])))
        return scored

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self.watchdog.begin.tell(self.name, "scorer", self.actor, self.limit_s)
        try:
            yield
        finally:
            self.watchdog.end.tell(self.name)

    def _load_teacher(self, student: int) -> None:
        """Load the newest teacher, which follows the version ``student`` at least."""
        if self.scorer.idle or self.frozen:
            return
        update = self.store.teacher_if_not(self.scorer.version, student)
        if update is not None:
            self.scorer.load(update.version, unpack(update))
