"""Generators, weight store and stream of a data synthesis, created and ended together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.data import Dataset
from ray.exceptions import RayError

from actors.generator.group import GeneratorGroup
from actors.generator.pool import PoolClient
from actors.generator.types import Sampling
from actors.runtime.calls import START_TIMEOUT_S, coordinator_actor
from actors.runtime.placement import scorer_options
from actors.runtime.resource_plan import COORDINATOR_CPUS, synthesis_plan
from actors.stream.dataset import fixed_stage, stream_of
from actors.supervision.watchdog import WatchdogClient
from actors.synthesis.stages import (
    ReadPrompts,
    Sample,
    ScoreBlock,
    WriteShard,
    blocks_in_flight,
)
from actors.weights.buckets import stored
from actors.weights.store import WeightStore, WeightStoreClient
from actors.weights.update import WeightUpdate
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.synthesis.inventory import Block
from unisd_core.synthesis.sources import PromptSource
from unisd_core.views.builder import auxiliary_count


class Synthesizer(GeneratorGroup):
    """``config`` is that of the stages; an engine needs no more room than it samples from."""

    def __init__(self, config: Config, model_dir: Path) -> None:
        engine = config
        if not config.rollout.teacher_share:
            engine = config.with_model(max_view_length=config.model.max_prompt_length)
        super().__init__(engine, model_dir, synthesis_plan(config))
        self.stages = config
        self.version = 0
        store = coordinator_actor(WeightStore, "store")
        self.store = WeightStoreClient(store.remote(PoolClient("pool"), WatchdogClient("watchdog")))

    def _actors(self) -> list[Any]:
        return [self.store.handle, *super()._actors()]

    def serve(self, update: WeightUpdate | None) -> None:
        """Wait for the replicas; where there is an ``update``, until they sample and the scorers
        read with it."""
        self.wait_ready()
        if update is None:
            return
        limit = START_TIMEOUT_S + 2 * self.config.generator.timeout_s
        update = stored(update, ray.put)
        self.store.publish(update, update)
        self.store.wait_pushed.within(2 * limit)(limit)
        self.pool.reports.within(limit)(update.version)
        self.version = update.version

    def stream(
        self,
        blocks: Sequence[Block],
        source: PromptSource,
        sampling: Sampling,
        folder: str,
        weights: str,
    ) -> Dataset:
        """Read, sample, score, write: one row for each shard, with its name and account."""
        config, model = self.stages, str(self.model_dir)
        # A block stays whole on its way, however large: it is one file in the end.
        ray.data.DataContext.get_current().target_max_block_size = None
        items = [{**vars(block), "rows": block.rows.tolist()} for block in blocks]
        light = {"num_cpus": COORDINATOR_CPUS, **fixed_stage(1)}
        return (
            stream_of(items)
            .map_batches(
                ReadPrompts,
                fn_constructor_args=(config, model, source, auxiliary_count(config), self.watchdog),
                **light,
            )
            .map_batches(
                Sample,
                fn_constructor_args=(config, self.pool, sampling, self.version, self.watchdog),
                max_concurrency=blocks_in_flight(config),
                **light,
            )
            .map_batches(
                ScoreBlock,
                fn_constructor_args=(config, model, self.store, self.watchdog),
                **scorer_options(config.scorer),
                **fixed_stage(config.scorer.workers),
            )
            .map_batches(
                WriteShard,
                fn_constructor_args=(config, model, source, folder, weights, self.watchdog),
                # What counts as a duplicate depends on the order.
                allow_out_of_order_execution=False,
                **light,
            )
        )

    def shards(self, stream: Dataset) -> Iterator[dict[str, str]]:
        """The rows of ``stream``, each once its shard is in the output folder.

        Raises UserError where a stage ended for a reason a user can mend.
        """
        try:
            yield from stream.iter_rows()
        except RayError:
            failure = self.watchdog.failure()
            if failure:
                raise UserError(failure.reason) from None
            raise
