"""Ray session: joins Ray, or starts it, before anything else is loaded."""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import ray
from ray.util.annotations import RayDeprecationWarning

from actors.runtime.resource_plan import local_cpus
from unisd_core.common.errors import UserError, reason
from unisd_core.common.process import usable_cores
from unisd_core.common.scratch import keep_scratch_folder
from unisd_core.config.run import Config


def connect(config: Config) -> None:
    """Join the cluster named by RAY_ADDRESS, as in a Ray job, or start one on loopback.

    What every pipeline needs and takes seconds to import is imported meanwhile. Raises UserError
    where Ray is not to be had."""
    meanwhile = threading.Thread(target=_import_models, name="imports")
    meanwhile.start()
    for name in ("ray", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if not os.environ.get("RAY_ADDRESS"):
        cpus = local_cpus(config, usable_cores())
        options |= {"address": "local", "include_dashboard": False, "num_cpus": cpus}
        options |= _spilling()
        # Clouds take nodes away with a warning, for which Ray Train keeps a process of its own.
        os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
    # Read by Ray Train's controller.
    os.environ["RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"] = str(config.learner.timeout_s)
    warnings.filterwarnings("ignore", category=RayDeprecationWarning)
    try:
        ray.init(**options)
    except Exception as error:  # Ray raises this very class where a process of its own is late
        raise UserError(
            f"Ray cannot be started or reached ({reason(error)}); check RAY_ADDRESS, and whether "
            "the machine has memory and time left"
        ) from error
    finally:
        meanwhile.join()
    configure_streams()


def _spilling() -> dict[str, Any]:
    """Have spilled objects removed after a killed run, which Ray leaves in its session's folder."""
    if any(name.startswith("RAY_object_spilling") for name in os.environ):
        return {}
    place = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    folder = keep_scratch_folder(place)
    atexit.register(ray.shutdown)  # before the folder goes, or Ray makes it once more
    return {"object_spilling_directory": str(folder)}


def cluster_cores() -> int:
    """CPU cores of the cluster. A single node's own are counted: ``connect`` may have promised Ray
    more of them."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) == 1:
        return usable_cores()
    return round(sum(node["Resources"].get("CPU", 0) for node in nodes))


def configure_streams() -> None:
    """Rows are trained in the order of their admission, on which the staleness bound rests."""
    from ray.data import DataContext, ExecutionOptions  # late: Ray starts before this is imported

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options = ExecutionOptions(preserve_order=True)


def _import_models() -> None:
    importlib.import_module("unisd_core.models.load")
