"""The resource plan, before anything starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from actors.runtime.resource_plan import check_plan, local_cpus, render_plan, resource_plan
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config


def test_the_default_plan_fits_two_cores():
    check_plan(resource_plan(Config()), [{"CPU": 1.0}, {"CPU": 1.0}])


def test_a_plan_that_does_not_fit_is_refused_with_the_keys_to_lower():
    plan = resource_plan(Config.model_validate({"generator": {"replicas": 8, "cpus": 4.0}}))
    with pytest.raises(UserError, match=r"needs 33\.2 CPUs .* has 2\.0.*generator\.replicas"):
        check_plan(plan, [{"CPU": 2.0}])


def test_a_gpu_plan_needs_gpus():
    plan = resource_plan(
        Config.model_validate({"generator": {"gpus": 1.0, "tensor_parallel_size": 2}})
    )
    with pytest.raises(UserError, match=r"needs 2\.0 GPUs"):
        check_plan(plan, [{"CPU": 64.0}])
    assert "generator" in render_plan(plan)


def test_one_replica_must_fit_on_one_node():
    plan = resource_plan(
        Config.model_validate({"generator": {"gpus": 1.0, "tensor_parallel_size": 2}})
    )
    check_plan(plan, [{"CPU": 8.0, "GPU": 2.0}])
    with pytest.raises(
        UserError, match=r"no node .* one actor of the generator \(0\.5 CPU, 2 GPU\)"
    ):
        check_plan(plan, [{"CPU": 8.0, "GPU": 1.0}] * 2)


def test_a_stage_needs_a_node_of_its_kind():
    tree = {"scorer": {"node_resource": "on_demand"}, "learner": {"placement": "spread"}}
    plan = resource_plan(Config.model_validate(tree))
    check_plan(plan, [{"CPU": 2.0}, {"CPU": 1.0, "on_demand": 1.0}])
    with pytest.raises(UserError, match="the scorer .*on_demand.* node_resource"):
        check_plan(plan, [{"CPU": 3.0}])
    rows = render_plan(plan).splitlines()
    assert any(row.startswith("scorer") and row.endswith("on_demand") for row in rows)
    assert any(row.startswith("learner") and row.endswith("spread") for row in rows)


def test_a_dry_run_prints_settings_and_plan_without_torch_or_ray():
    code = (
        "import sys\n"
        "sys.argv = ['unisd_full', '--preset', 'demo', '--dry-run', 'training.max_steps=3']\n"
        "import runpy\n"
        "try: runpy.run_module('pipelines.unisd_full', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'ray', 'vllm', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "steps: 3" in done.stdout and "learner" in done.stdout


def test_a_cluster_of_our_own_has_room_for_every_actor_at_its_largest():
    tree = {"generator": {"replicas": 2, "max_replicas": 6}, "scorer": {"workers": 4}}
    config = Config.model_validate(tree)
    assert local_cpus(Config(), cores=16) == 16
    nodes = [{"CPU": float(local_cpus(config, cores=2))}]
    check_plan(resource_plan(config), nodes)
    grown = config.generator.model_copy(update={"replicas": 6})
    check_plan(resource_plan(config.model_copy(update={"generator": grown})), nodes)
