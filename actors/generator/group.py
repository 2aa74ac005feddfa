"""Generator group: the generator pool and the watchdog, which every command that samples needs."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import RayError

from actors.generator.pool import GeneratorPool, PoolClient
from actors.generator.replica import GeneratorReplica
from actors.runtime.calls import START_TIMEOUT_S, coordinator_actor, remote_reason
from actors.runtime.resource_plan import StageResources, check_plan, generating_plan
from actors.supervision.watchdog import Watchdog, WatchdogClient
from actors.weights.buckets import stored
from actors.weights.update import WeightUpdate
from unisd_core.config.run import Config

log = logging.getLogger(__name__)


class GeneratorGroup:
    """The actors that sample completions, created and ended together.

    The replicas, actors of class ``replica_class``, begin to load at once. A context manager:
    leaving it ends every actor. Raises UserError when the cluster lacks what ``plan``, by default
    the replicas alone, reserves.
    """

    def __init__(
        self,
        config: Config,
        model_dir: Path,
        plan: list[StageResources] | None = None,
        replica_class: type = GeneratorReplica,
    ) -> None:
        self.config, self.model_dir = config, model_dir
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        check_plan(plan or generating_plan(config), nodes)
        self.watchdog = WatchdogClient(coordinator_actor(Watchdog, "watchdog").remote())
        pool = coordinator_actor(GeneratorPool, "pool")
        self.pool = PoolClient(
            pool.remote(config, str(model_dir), WatchdogClient("watchdog"), replica_class)
        )
        # Engines take long to load; the caller prepares its prompts in the meantime.
        self._starting = self.pool.start.remote()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.pool.stop()
        except (RayError, TimeoutError) as failure:
            log.warning("the generator pool did not stop: %s", remote_reason(failure))
        finally:
            for actor in self._actors():
                ray.kill(actor)

    def _actors(self) -> list[Any]:
        return [self.pool.handle, self.watchdog.handle]

    def wait_ready(self) -> None:
        """Return when every replica answers and reports its version; at once when called again."""
        self.pool.wait(self._starting, START_TIMEOUT_S)

    def load(self, update: WeightUpdate) -> None:
        """Bring every replica to ``update`` and wait until each reports it."""
        self.wait_ready()
        limit = START_TIMEOUT_S + 2 * self.config.generator.timeout_s
        self.pool.push.within(limit)(stored(update, ray.put))
        self.pool.reports.within(limit)(update.version)
