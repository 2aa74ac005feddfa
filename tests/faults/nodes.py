"""A whole node is lost while a run goes on: python -m tests.faults.nodes

Three Ray nodes on one machine: a head that runs no work, and two of which one is enough. The busier
one is taken away without notice, and comes back later.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from tests.faults.job import Job, check, command, title_of
from tests.support.tiny import make_tiny_model

STEPS, STALENESS, LIMIT_S = 16, 2, 600.0


def actors_on(node: Any) -> list[str]:
    """Titles of the actors that run on a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    titles = [title_of(process) for process in raylet.children(recursive=True)]
    return sorted(t for t in titles if t.startswith("ray::") and t != "ray::IDLE")


def main() -> int:
    """Run it; raises when the run does not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out or Path(tempfile.mkdtemp(prefix="unisd-nodes-"))
    out.mkdir(parents=True, exist_ok=True)
    model = make_tiny_model(out / "model")
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    job = Job(
        command(model, out, "nodes", STEPS, STALENESS), out / "nodes", RAY_ADDRESS=cluster.address
    )
    job.start()
    job.wait_for(3, LIMIT_S)
    lost = max(nodes, key=lambda node: len(actors_on(node)))
    on_it = actors_on(lost)
    hit, began = job.step(), time.monotonic()
    cluster.remove_node(lost, allow_graceful=False)
    print(f"node lost at step {hit} with {', '.join(on_it)}", flush=True)
    job.wait_for(hit + STALENESS + 2, LIMIT_S)
    print(f"recovered after {time.monotonic() - began:.0f} s", flush=True)
    cluster.add_node(num_cpus=2)
    job.finish(LIMIT_S)
    check(out / "nodes", STEPS, STALENESS)
    cluster.shutdown()
    print(f"finished; left behind: {job.left_behind() or 'nothing'}; {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
