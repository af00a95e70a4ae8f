"""The machines of a cluster for the length of a command: reached, shipped to where that was asked, and described."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from convbench.fleet.assignment import named
from convbench.fleet.cluster.cluster_file import ClusterDescription
from convbench.fleet.cluster.connection import Client, connected
from convbench.fleet.cluster.quiet import RESOURCE
from convbench.fleet.machines.inventory import Inventory, inventory
from convbench.fleet.machines.machine import Machine
from convbench.fleet.shipping.ship import shipped


@dataclass(frozen=True, kw_only=True)
class FleetOptions:
    """Which machines are used, and how they are reached."""

    cluster: ClusterDescription
    machines: tuple[str, ...] = ()
    shard: bool = False
    insecure: bool = False
    ship: bool = False
    wait: float | None = None
    """So many seconds workers and their answers are waited for; None as the cluster file says."""

    def chosen(self, machines: Sequence[Machine]) -> list[Machine]:
        """Those that were named, or all. Raises `FleetError` for a name that no machine has."""
        return named(machines, self.machines) if self.machines else list(machines)

    @property
    def wait_s(self) -> float:
        return self.cluster.wait_s if self.wait is None else self.wait


@contextlib.contextmanager
def gathered(
    options: FleetOptions, say: Callable[[str], object], *, doctor: bool = False
) -> Iterator[tuple[Client, Inventory]]:
    """The scheduler's client and the machines behind it. `say` gets a sentence on each that cannot take part. Raises
    `FleetError` where there is none."""
    wait_s = options.wait_s
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(connected(options.cluster, insecure=options.insecure, wait_s=wait_s))
        resource, workers = RESOURCE, options.cluster.expected
        if options.ship:
            resource, workers = stack.enter_context(shipped(client, say, wait_s=wait_s, workers=workers))
        there = inventory(client, wait_s=wait_s, doctor=doctor, workers=workers, resource=resource)
        for remark in there.remarks:
            say(remark)
        yield client, there
