"""`--ship`: for the length of a command each machine has workers of this checkout, whatever is installed there."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from convbench.errors import FleetError
from convbench.fleet.cluster.announced import announcing, workers_of
from convbench.fleet.cluster.connection import Client, dask
from convbench.fleet.cluster.quiet import RESOURCE
from convbench.fleet.shipping import install
from convbench.fleet.shipping.wheel import built_wheel

LONGEST_S = 900.0
"""So long a machine may take to install."""
_ENDING_S = 30.0


@contextlib.contextmanager
def shipped(client: Client, say: Callable[[str], object], *, wait_s: float, workers: int) -> Iterator[tuple[str, int]]:
    """The resource that the shipped workers announce, and how many there are. `say` gets a sentence on each worker that
    could not install. Raises `FleetError` where none could."""
    announced = f"{RESOURCE}-shipped-{secrets.token_hex(6)}"
    addresses, _ = announcing(client, RESOURCE, wait_s, workers)
    if not addresses:
        raise FleetError(f"there is no machine to ship to: no worker announces {RESOURCE} within {wait_s:g} s.")
    with tempfile.TemporaryDirectory() as folder:
        file = built_wheel(Path(folder))
        name, content = file.name, file.read_bytes()
    say(f"Installing {name} for this command, on {len(addresses)} worker{'s' * (len(addresses) != 1)}.")
    tasks = {address: _started(client, address, name, content, announced) for address in addresses}
    try:
        failures = _awaited(client, tasks, announced)
        for sentence in failures:
            say(sentence)
        if len(failures) == len(tasks):
            raise FleetError(" ".join(["--ship did not succeed on any machine.", *failures]))
        yield announced, len(tasks) - len(failures)
    finally:
        _end(client, list(tasks.values()), announced)


def _name(announced: str, address: str) -> str:
    return f"{announced}-{address}"


def _started(client: Client, address: str, name: str, content: bytes, announced: str) -> Any:
    """The task on the worker at `address`. Its code is sent along: the convbench there may be another, or none."""
    cloudpickle = dask("cloudpickle")
    cloudpickle.register_pickle_by_value(install)
    try:
        return client.submit(
            install.serve, name, content, announced, _name(announced, address),
            workers=[address], allow_other_workers=False, resources={RESOURCE: 1}, pure=False, retries=0,
        )  # fmt: skip
    finally:
        cloudpickle.unregister_pickle_by_value(install)


def _awaited(client: Client, tasks: Mapping[str, Any], announced: str) -> list[str]:
    """Wait until each has its shipped worker or has failed; a sentence for each that has failed."""
    waiting, failures = dict(tasks), []
    until_s = time.monotonic() + LONGEST_S
    while waiting:
        there = {worker["name"] for worker in workers_of(client).values()}
        for address, task in list(waiting.items()):
            if (reason := _failure(task)) is not None:
                failures.append(f"{address} is left out: {reason}.")
            elif _name(announced, address) not in there:
                continue
            del waiting[address]
        if time.monotonic() > until_s:
            return failures + [f"{address} is left out: not installed within {LONGEST_S:g} s." for address in waiting]
        time.sleep(0.5)
    return failures


def _failure(task: Any) -> str | None:
    if task.status == "error":
        return str(task.exception(timeout=30))
    return "its worker is gone" if task.status in ("lost", "cancelled", "finished") else None


def _end(client: Client, tasks: Sequence[Any], announced: str) -> None:
    """Ask all to end, and give them time to remove what they have installed."""
    with contextlib.suppress(Exception):  # of many kinds, where the scheduler is gone: the workers end with it
        client.cancel(list(tasks), force=True)
        until_s = time.monotonic() + _ENDING_S
        while time.monotonic() < until_s and _still_there(client, announced):
            time.sleep(0.5)


def _still_there(client: Client, announced: str) -> bool:
    return any(announced in worker["resources"] for worker in workers_of(client).values())
