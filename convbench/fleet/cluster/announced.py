"""The workers behind a scheduler, and which of them announce what convbench may use."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from convbench.fleet.cluster.connection import Client


def workers_of(client: Client) -> dict[str, Mapping[str, Any]]:
    """What the scheduler knows of each Dask worker, by address."""
    return dict(client.scheduler_info(n_workers=-1)["workers"])


def announcing(client: Client, resource: str, wait_s: float, least: int) -> tuple[list[str], list[str]]:
    """The addresses of the workers that announce `resource`, and of the others; waits for so many at least."""
    until_s = time.monotonic() + wait_s
    while True:
        workers = workers_of(client)
        ours = sorted(address for address, worker in workers.items() if worker["resources"].get(resource, 0) > 0)
        if len(ours) >= least or time.monotonic() > until_s:
            return ours, sorted(set(workers) - set(ours))
        time.sleep(0.2)
