"""A cluster on Kubernetes: what is asked of Dask's operator, which starts the pods.

A measuring pod repels other workers of Dask: each has its node for itself, as far as Dask is concerned. Pods of one
cluster speak to each other without encryption, because the operator has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convbench.errors import FleetError
from convbench.fleet.cluster.quiet import RESOURCE, as_environment

_REPELLING = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "labelSelector": {"matchLabels": {"dask.org/component": "worker"}},
                "topologyKey": "kubernetes.io/hostname",
            }
        ]
    }
}
_WORKER = ("dask", "worker", "--no-nanny", "--nthreads", "1", "--resources", f"{RESOURCE}=1")


def kube_cluster(operator: Any, config: Any, options: Mapping[str, Any], *, insecure: bool) -> Any:
    """The running cluster, by `dask_kubernetes.operator` and `dask.config`. Raises `FleetError` unless `insecure`."""
    if not insecure:
        raise FleetError(
            "Dask's operator for Kubernetes does not encrypt what pods say to each other. Keep others away by a "
            "network policy, and type --insecure."
        )
    config.set({"distributed.comm.require-encryption": False})
    where = {"namespace": options["namespace"]} if "namespace" in options else {}
    return operator.KubeCluster(custom_cluster_spec=specification(operator, options), quiet=True, **where)


def specification(operator: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The `DaskCluster` that the operator is asked for, from the table `[kubernetes]` of a cluster file."""
    wanted: dict[str, Any] = operator.make_cluster_spec(
        name=options.get("name", "convbench"),
        image=options["image"],
        n_workers=options["workers"],
        env=as_environment(),
        resources=options.get("resources", {}),
        worker_command=list(_WORKER),
    )
    wanted["spec"]["worker"]["spec"]["affinity"] = _REPELLING
    return wanted
