"""The resource plan, before anything starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from actors.plan import check_plan, render_plan, resource_plan
from unisd_core.config import Config
from unisd_core.errors import UserError


def test_the_default_plan_fits_two_cores():
    check_plan(resource_plan(Config()), {"CPU": 2.0})


def test_a_plan_that_does_not_fit_is_refused_with_the_keys_to_lower():
    plan = resource_plan(Config.model_validate({"generator": {"replicas": 8, "cpus": 4.0}}))
    with pytest.raises(UserError, match=r"needs 33\.2 CPUs .* has 2\.0.*generator\.replicas"):
        check_plan(plan, {"CPU": 2.0})


def test_a_gpu_plan_needs_gpus():
    plan = resource_plan(Config.model_validate({"generator": {"gpus": 1.0, "tensor_parallel": 2}}))
    with pytest.raises(UserError, match=r"needs 2\.0 GPUs"):
        check_plan(plan, {"CPU": 64.0})
    assert "generator" in render_plan(plan)


def test_a_dry_run_prints_settings_and_plan_without_torch_or_ray():
    code = (
        "import sys\n"
        "sys.argv = ['unisd_full', '--preset', 'demo', '--dry-run', 'training.steps=3']\n"
        "import runpy\n"
        "try: runpy.run_module('pipelines.unisd_full', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'ray', 'vllm', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "steps: 3" in done.stdout and "learner" in done.stdout
