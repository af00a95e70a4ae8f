"""Other work of the same cluster on a machine that is to be timed.

convbench's own tasks wait for each other. Those of others, on a worker beside ours or on the same, do not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from convbench.fleet.cluster.connection import Client

HAS_CONVBENCH = "has_convbench-"
OWN = ("in_child-", "serve-", HAS_CONVBENCH)
"""What the keys of all tasks that convbench sends begin with: for most it is Dask that takes the name of a function."""


def host_of(address: str) -> str:
    """Of an address such as `tls://10.0.0.7:40331`."""
    return urlsplit(address).hostname or address


def neighbours_by_host(client: Client) -> dict[str, list[str]]:
    """The workers of each host, by address, that have a task under way which is not convbench's."""
    return by_host(client.processing())


def by_host(processing: Mapping[str, Collection[Any]]) -> dict[str, list[str]]:
    """From the keys of the tasks that each worker, by address, has under way."""
    busy: dict[str, list[str]] = {}
    for address, keys in sorted(processing.items()):
        if any(not str(key).startswith(OWN) for key in keys):
            busy.setdefault(host_of(address), []).append(address)
    return busy


def neighbours_of(addresses: Sequence[str], busy: Mapping[str, Sequence[str]]) -> list[str]:
    """The busy workers on the hosts of these."""
    return sorted({worker for host in map(host_of, addresses) for worker in busy.get(host, ())})
