"""The cluster launcher's files, by Ray's own checks."""

from __future__ import annotations

from typing import Any

import pytest
from ray.autoscaler._private.util import prepare_config, validate_config

from actors.runtime.resource_plan import check_plan, resource_plan
from tests.cluster.files import CLUSTER, LAUNCHERS, load
from unisd_core.config.run import Config

LAUNCHED = pytest.mark.parametrize("name", LAUNCHERS)


@LAUNCHED
def test_ray_takes_the_file(name: str) -> None:
    validate_config(prepare_config(load(name)))


@LAUNCHED
def test_only_generators_are_on_spot_nodes(name: str) -> None:
    for kind, node in load(name)["available_node_types"].items():
        settings = node["node_config"]
        market = settings.get("InstanceMarketOptions", {}).get("MarketType")
        spot = market == "spot" or any(
            rule.get("provisioningModel") == "SPOT" for rule in settings.get("scheduling", [])
        )
        assert spot == (kind == "spot") == ("spot" in node["resources"])


@LAUNCHED
def test_a_run_placed_by_the_preset_fits_on_the_nodes_that_are_always_there(name: str) -> None:
    launcher = load(name)
    nodes: list[dict[str, float]] = []
    for kind, node in launcher["available_node_types"].items():
        count = 1 if kind == launcher["head_node_type"] else node["min_workers"]
        nodes += [node["resources"]] * count
    config = Config.from_preset([str(CLUSTER / "placement.yaml")], [], CLUSTER)
    check_plan(resource_plan(config), nodes)
    stages: tuple[Any, ...] = (config.generator, config.scorer, config.learner)
    assert {stage.node_resource for stage in stages} <= {name for node in nodes for name in node}


@LAUNCHED
def test_every_node_wants_the_token_and_finds_it_in_a_file(name: str) -> None:
    launcher = load(name)
    starts = [
        command
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in launcher[key]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert launcher["file_mounts"] == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}
    assert "--dashboard-host=127.0.0.1" in starts[0]
