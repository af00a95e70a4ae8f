"""An API server of Kubernetes that knows Dask's operator, as far as `KubeCluster` asks: pods are processes here.

A `DaskCluster` that is created becomes a Dask scheduler and its workers, with the words and variables that the
specification of their containers has. There is no container, no node and no affinity. What is asked is kept in
`requests`.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fleet_of_processes import FleetOfProcesses

CONFIG = """
apiVersion: v1
kind: Config
current-context: here
clusters: [{{name: here, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{}}}}]
contexts: [{{name: here, context: {{cluster: here, user: me, namespace: default}}}}]
"""
_GROUP = "kubernetes.dask.org/v1"
_LABELS = {"dask.org/component": "scheduler"}
_NOT_FOUND = 404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"}


@dataclass
class FakeKubernetes:
    """`created` are the DaskClusters by name, as they were asked for; `deleted` the names of those that were ended."""

    fleet: FleetOfProcesses
    created: dict[str, dict[str, Any]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and what is answered."""
        self.requests.append(f"{method} {path}")
        where = path.partition("?")[0].rstrip("/")
        if where == "/version":
            return 200, {"major": "1", "minor": "31", "gitVersion": "v1.31.0"}
        if method == "POST" and where.endswith("/daskclusters"):
            return 201, self._create(body)
        if named := re.search(r"/daskclusters/([\w-]+)$", where):
            return self._cluster(method, named[1])
        if where.endswith("/daskclusters"):
            status, one = self._cluster("GET", path.rpartition("metadata.name%3D")[2])
            return 200, _list("DaskCluster", [one] if status == 200 else [])
        if where.endswith("/pods"):
            return 200, _list("Pod", [self._pod()] if self.created else [])
        if where.endswith("/pods/scheduler-0"):
            return 200, self._pod()
        if "/services" in where and self.created:
            return 200, self._service() if where.endswith("-scheduler") else _list("Service", [self._service()])
        return _NOT_FOUND

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        name = body["metadata"]["name"]
        self.fleet.start_scheduler()
        [container] = body["spec"]["worker"]["spec"]["containers"]
        variables = {one["name"]: one["value"] for one in container["env"]}
        for number in range(body["spec"]["worker"]["replicas"]):
            pod = f"{name}-default-worker-{number}"
            self.fleet.start_container(pod, container["args"], {**variables, "DASK_WORKER_NAME": pod})
        self.created[name] = body
        return self._with_status(body)

    def _cluster(self, method: str, name: str) -> tuple[int, dict[str, Any]]:
        if method == "DELETE" and name in self.created:
            self.deleted.append(name)
        if name not in self.created or name in self.deleted:
            return _NOT_FOUND
        return 200, self._with_status(self.created[name])

    @staticmethod
    def _with_status(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "metadata": {**body["metadata"], "namespace": "default"}, "status": {"phase": "Running"}}

    def _pod(self) -> dict[str, Any]:
        ready = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")]
        metadata = {"name": "scheduler-0", "namespace": "default", "labels": _LABELS}
        status = {"phase": "Running", "conditions": ready}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": status}

    def _service(self) -> dict[str, Any]:
        port = int(self.fleet.address.rpartition(":")[2])
        ports = [{"name": name, "port": port, "protocol": "TCP"} for name in ("tcp-comm", "http-dashboard")]
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"{next(iter(self.created))}-scheduler", "namespace": "default", "labels": _LABELS},
            "spec": {"type": "LoadBalancer", "ports": ports, "clusterIP": "127.0.0.1", "selector": _LABELS},
            "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}},
        }


def _list(kind: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    group = _GROUP if kind == "DaskCluster" else "v1"
    return {"apiVersion": group, "kind": f"{kind}List", "items": items, "metadata": {}}


@contextlib.contextmanager
def kubernetes(folder: Path) -> Iterator[tuple[FakeKubernetes, dict[str, str]]]:
    """The server, and the variables with which a command finds it."""
    fleet = FleetOfProcesses(folder, certificates={})
    fake = FakeKubernetes(fleet)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(fake)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = folder / "kubeconfig"
        config.write_text(CONFIG.format(port=server.server_port), encoding="utf-8")
        try:
            yield fake, {"KUBECONFIG": str(config)}
        finally:
            server.shutdown()
            fleet.end()


def _handler_of(fake: FakeKubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            status, answer = fake.answer(self.command, self.path, body)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # who asked may have ended meanwhile
                self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "POST", "DELETE", "PATCH"):
        setattr(Handler, f"do_{method}", Handler.do)
    return Handler
