"""Score: reads each completion through the views of the teacher.

Torch is imported where it is used, for many processes import this file.
"""

from __future__ import annotations

import pyarrow as pa
import ray

from actors.runtime.calls import restarted
from actors.runtime.metrics import record
from actors.supervision.watchdog import WatchdogClient
from actors.weights.buckets import unpack
from actors.weights.store import WeightStoreClient
from unisd_core.common.fast_imports import importing
from unisd_core.common.process import lower_priority
from unisd_core.common.schema import SCORED
from unisd_core.config.run import Config


class Score:
    """Reads each completion through the teacher's views.

    Tells the watch when it begins and ends, which replaces it where it hangs; Ray Data then gives
    the chunk to its successor.
    """

    def __init__(
        self, config: Config, model_dir: str, store: WeightStoreClient, watch: WatchdogClient
    ) -> None:
        with importing():
            from unisd_core.scoring.scorer import TeacherScorer

        if not config.scorer.gpus:
            lower_priority()
        self.scorer = TeacherScorer(config, model_dir)
        self.store, self.watch = store, watch
        self.limit_s = config.scorer.timeout_s
        context = ray.get_runtime_context()
        self.actor, self.name = context.current_actor, str(context.get_actor_id())
        if restarted():
            watch.note.remote("scorer", "back")

    def __call__(self, table: pa.Table) -> pa.Table:
        if table.num_rows == 0:
            return SCORED.empty_table()
        self.watch.begin.remote(self.name, "scorer", self.actor, self.limit_s)
        try:
            return self._score(table)
        finally:
            self.watch.end.remote(self.name)

    def _score(self, table: pa.Table) -> pa.Table:
        if not self.scorer.idle:
            update = self.store.teacher_if_not(self.scorer.version)
            if update is not None:
                self.scorer.load(update.version, unpack(update))
        scored = self.scorer.score(table)
        record("scored_tokens", sum(map(len, scored["completion_ids"])))
        return scored
