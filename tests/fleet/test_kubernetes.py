"""`[kubernetes]` in a cluster file: Dask's own KubeCluster against a fake API server, whose pods are processes here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kubernetes_on_this_machine import kubernetes

pytest.importorskip("dask_kubernetes", reason="pip install dask-kubernetes")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FILE = """
wait_s = 300
[kubernetes]
image = "registry.example/convbench:1"
workers = 2
name = "fleet"
resources = { requests = { cpu = "4" }, limits = { cpu = "4" } }
"""


def test_the_operator_is_asked_for_workers_that_convbench_may_use_each_on_a_node_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "kubernetes.toml").write_text(FILE)
    with kubernetes(tmp_path) as (fake, variables):
        refused = fake.fleet.convbench("cluster", "kubernetes.toml", **variables)
        assert (refused.returncode, fake.created) == (2, {})
        assert "does not encrypt what pods say to each other" in " ".join(refused.stderr.split())
        done = fake.fleet.convbench("cluster", "kubernetes.toml", "--insecure", "--json", **variables)
    assert done.returncode == 0, done.stderr
    names = [json.loads(line)["name"] for line in done.stdout.splitlines()]
    assert names == ["fleet-default-worker-0", "fleet-default-worker-1"]
    assert fake.deleted == ["fleet"], "the pods end with the command"
    worker = fake.created["fleet"]["spec"]["worker"]
    [container] = worker["spec"]["containers"]
    assert (worker["replicas"], container["image"]) == (2, "registry.example/convbench:1")
    assert container["resources"] == {"requests": {"cpu": "4"}, "limits": {"cpu": "4"}}
    assert {"name": "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED", "value": "False"} in container["env"]
    [repelled] = worker["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert repelled["topologyKey"] == "kubernetes.io/hostname"
