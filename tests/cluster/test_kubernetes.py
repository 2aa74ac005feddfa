"""The KubeRay manifests: known fields only, whole pods, the pinned Ray, the token by reference."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import ray
import yaml
from kubernetes import client

from actors.runtime.resource_plan import check_plan, resource_plan
from pipelines import unisd_full
from pipelines.command.cli import build_parser
from tests.cluster.files import CLUSTER, cluster_spec, groups, load
from unisd_core.config.run import Config

PRESETS = CLUSTER.parent / "pipelines" / "presets"

# Of the API reference of ray.io/v1, KubeRay 1.6.2; its operator ignores or refuses others.
FIELDS = {
    "RayJob": {
        "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy",
        "entrypoint", "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId",
        "managedBy", "metadata", "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes",
        "submissionMode", "submitterConfig", "submitterPodTemplate", "suspend",
        "ttlSecondsAfterFinished",
    },
    "RayCluster": {
        "authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions",
        "headGroupSpec", "headServiceAnnotations", "managedBy", "rayVersion", "suspend",
        "workerGroupSpecs",
    },
    "head": {"enableIngress", "headService", "rayStartParams", "serviceType", "template"},
    "workers": {
        "groupName", "idleTimeoutSeconds", "maxReplicas", "minReplicas", "numOfHosts",
        "rayStartParams", "replicas", "scaleStrategy", "suspend", "template",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_manifests_are_of_the_kinds_they_say(kind: str) -> None:
    manifest = load(f"{kind.lower()}.yaml")
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", kind)
    assert manifest["metadata"]["name"]
    assert set(manifest["spec"]) <= FIELDS[kind]


def test_the_job_runs_on_the_same_cluster() -> None:
    assert load("rayjob.yaml")["spec"]["rayClusterSpec"] == cluster_spec()


def test_the_cluster_runs_the_ray_that_is_installed_and_wants_its_token() -> None:
    spec = cluster_spec()
    assert set(spec) <= FIELDS["RayCluster"]
    assert spec["rayVersion"] == ray.__version__
    assert spec["authOptions"] == {"mode": "token", "secretName": "unisd-ray-token"}
    readme = (CLUSTER / "README.md").read_text()
    assert "create secret generic unisd-ray-token --from-file=auth_token=" in readme


@pytest.mark.parametrize("group", groups(cluster_spec()), ids=lambda g: g.get("groupName", "head"))
def test_every_pod_is_whole_and_confined(group: dict[str, Any]) -> None:
    head = "groupName" not in group
    assert set(group) <= FIELDS["head" if head else "workers"]
    assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    pod = group["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == ("ray-head" if head else "ray-worker")
    resources = container["resources"]
    assert resources["requests"] == resources["limits"]
    assert {"cpu", "memory"} <= set(resources["limits"])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert group["rayStartParams"]["metrics-export-port"] == str(ports["metrics"])


@pytest.mark.parametrize("group", groups(cluster_spec()), ids=lambda g: g.get("groupName", "head"))
def test_kubernetes_knows_every_field_of_the_pods(group: dict[str, Any]) -> None:
    """Against the models that the Kubernetes client is generated with."""
    unknown(client, "V1PodTemplateSpec", group["template"])


def unknown(models: Any, kind: str, value: Any) -> None:
    """Fail for a key that ``kind`` does not have, anywhere in ``value``."""
    if kind.startswith("list["):
        for item in value:
            unknown(models, kind[5:-1], item)
    model = getattr(models, kind, None)
    if model is None:
        return
    types = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    assert set(value) <= set(types), kind
    for key, item in value.items():
        unknown(models, types[key], item)


def worker_resources(group: dict[str, Any]) -> dict[str, float]:
    """What one pod of a group offers to Ray."""
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    custom = json.loads(json.loads(group["rayStartParams"].get("resources", '"{}"')))
    return {"CPU": float(limits["cpu"]), "GPU": float(limits.get("nvidia.com/gpu", 0)), **custom}


def job_config() -> Config:
    """The configuration of the manifest's entrypoint, paths read from this clone."""
    python, script, *arguments = shlex.split(load("rayjob.yaml")["spec"]["entrypoint"])
    assert python == "python"
    here = [
        argument.replace("/opt/unisd", str(CLUSTER.parent)) for argument in (script, *arguments)
    ]
    assert here[0] == unisd_full.__file__
    args = build_parser().parse_intermixed_args(here[1:])
    return Config.from_preset(args.preset, args.overrides, PRESETS)


def test_the_job_fits_on_the_nodes_that_are_always_there() -> None:
    nodes = [{"CPU": 1.0}]  # the head
    for group in cluster_spec()["workerGroupSpecs"]:
        nodes += [worker_resources(group)] * group["minReplicas"]
    config = job_config()
    check_plan(resource_plan(config), nodes)
    for stage in (config.generator, config.scorer, config.learner):
        assert any(stage.node_resource in node for node in nodes)


def test_a_spot_node_is_filled_by_one_replica() -> None:
    spot = next(g for g in cluster_spec()["workerGroupSpecs"] if g["groupName"] == "spot")
    offered, generator = worker_resources(spot), job_config().generator
    assert offered == {"CPU": generator.cpus, "GPU": generator.gpus, "spot": 1}


def test_scraping_finds_the_port_of_the_pods() -> None:
    jobs = {job["job_name"]: job for job in load("prometheus.yaml")["scrape_configs"]}
    kept = {
        rule["source_labels"][0]: rule["regex"]
        for rule in jobs["ray-kubernetes"]["relabel_configs"]
        if rule.get("action") == "keep"
    }
    assert kept["__meta_kubernetes_pod_container_port_name"] == "metrics"
    assert yaml.safe_dump(jobs["ray-nodes"]).count("prom_metrics_service_discovery.json") == 1
