"""The machines behind a scheduler, and the sentences on those that cannot take part."""

from __future__ import annotations

import json
import pkgutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import uuid4

from convbench.analysis.hardware.differences import differences
from convbench.errors import FleetError
from convbench.fleet.cluster.announced import announcing, workers_of
from convbench.fleet.cluster.connection import Client
from convbench.fleet.cluster.neighbours import HAS_CONVBENCH
from convbench.fleet.cluster.quiet import RESOURCE, resource_of
from convbench.fleet.machines.describe import source_digest
from convbench.fleet.machines.machine import Machine
from convbench.fleet.remote import in_child
from convbench.installation import VERSION

_FETCHING_S = 30.0
CLOCK_S = 5.0
"""Clocks that are further apart are worth a sentence; records carry the time of their own machine."""
_REMEDY = f"pip install 'convbench[cluster]=={VERSION}'"
_OF_THE_SCHEDULER = "deserialization of the task graph"  # in Dask's message
_ANNOUNCING = f'dask worker ADDRESS --nthreads 1 --no-nanny --resources "{RESOURCE}=1"'


@dataclass(frozen=True)
class Inventory:
    """The machines that can take part, by name, and what there is to say."""

    machines: tuple[Machine, ...]
    remarks: tuple[str, ...] = ()


def inventory(
    client: Client, *, wait_s: float, doctor: bool = False, workers: int = 1, resource: str = RESOURCE
) -> Inventory:
    """Ask every worker that announces `resource` what its machine is. One that does not answer within `wait_s` is left
    out. Waits as long for `workers` of them. Raises `FleetError` where no machine is left."""
    addresses, ignored = announcing(client, resource, wait_s, workers)
    request = json.dumps({"doctor": doctor})
    begun_s, announced = time.time(), workers_of(client)
    machines: list[Machine] = []
    remarks = [_of_ignored(ignored)] if ignored and resource == RESOURCE else []
    remarks += [_of_late(len(addresses), workers, wait_s)] if len(addresses) < workers else []
    for address, answered in sorted(_answers(client, addresses, resource, request, wait_s)):
        try:
            answer = json.loads(answered())
            machines.append(_machine(address, answer, begun_s, announced[address]["resources"], resource))
        except Exception as error:
            remarks.append(_why_left_out(address, error, wait_s))
    merged, further = _merged(machines)
    usable, other_versions = _of_this_version(merged)
    remarks += [*further, *other_versions, *_of_clocks(usable), *differences(usable)]
    if not usable:
        raise FleetError(" ".join(["there is no machine to measure on.", *remarks]))
    return Inventory(tuple(sorted(usable, key=lambda machine: machine.name)), tuple(remarks))


def _answers(
    client: Client, addresses: Sequence[str], resource: str, request: str, wait_s: float
) -> Iterator[tuple[str, Callable[[], str]]]:
    """What each worker answers, by address: a function that gives it, or raises why there is no answer. A worker is
    asked first whether it has convbench: one that is sent a function which it does not have ends without an answer."""
    pending = {address: _looked_for_on(client, address, resource) for address in addresses}
    having: set[str] = set()
    until_s = time.monotonic() + wait_s
    while pending:
        for address, future in list(pending.items()):
            if future.status == "finished" and address not in having:
                having.add(address)
                pending[address] = _described_on(client, address, resource, request)
            elif future.status != "pending" or time.monotonic() > until_s:
                yield address, partial(future.result, timeout=0.1 if future.status == "pending" else _FETCHING_S)
                del pending[address]
        time.sleep(0.05)


def _looked_for_on(client: Client, address: str, resource: str) -> Any:
    """A task that needs no convbench, and fails where there is none."""
    name = f"{in_child.__module__}:{in_child.__name__}.__name__"
    return client.submit(
        pkgutil.resolve_name, name, key=f"{HAS_CONVBENCH}{uuid4().hex}",
        workers=[address], allow_other_workers=False, resources={resource: 1}, retries=0,
    )  # fmt: skip


def _described_on(client: Client, address: str, resource: str, request: str) -> Any:
    topic = f"convbench-describe-{address}"
    return client.submit(
        in_child, "describe", request, topic, address,
        workers=[address], allow_other_workers=False, resources={resource: 1}, pure=False, retries=0,
    )  # fmt: skip


def _machine(
    address: str, answer: Mapping[str, Any], begun_s: float, resources: Mapping[str, float], resource: str
) -> Machine:
    if answer.get("failure") or "described" not in answer:
        raise FleetError(f"its process {answer.get('failure') or 'said nothing'}")
    fields = answer["described"]
    now_s = time.time()
    ahead_s = max(answer["clock_s"] - now_s, min(0.0, answer["clock_s"] - begun_s))
    known = {"addresses": (address,), "gpus": tuple(fields["gpus"]), "clock_ahead_s": ahead_s}
    return Machine(**fields | known, resource=resource, replaceable=resource_of(fields["name"]) in resources)


def _why_left_out(address: str, error: Exception, wait_s: float) -> str:
    """A sentence. Raises `FleetError` for an error of the scheduler, which all would have."""
    from distributed import TimeoutError as DaskTimeoutError

    if _OF_THE_SCHEDULER in str(error):
        raise FleetError(
            "the scheduler cannot read what is sent to its workers: it has no convbench, or another one; type where it "
            f"runs: {_REMEDY}."
        ) from None
    if isinstance(error, (TimeoutError, DaskTimeoutError)):
        return f"{address} is left out: no answer within {wait_s:g} s; it hangs, or is busy with another task."
    if isinstance(error, (ImportError, AttributeError)):
        return (
            f"{address} is left out: it has no convbench that knows of clusters ({error}); type there: {_REMEDY}, or "
            "type --ship here."
        )
    return f"{address} is left out: {type(error).__name__}: {error}"


def _merged(machines: Sequence[Machine]) -> tuple[list[Machine], list[str]]:
    """One of each name, with all its addresses; sentences on names that two machines have."""
    merged: dict[str, Machine] = {}
    remarks = []
    for machine in machines:
        first = merged.setdefault(machine.name, machine)
        if first.boot != machine.boot:
            remarks.append(
                f"{machine.addresses[0]} is left out: its machine is called {machine.name}, as that of "
                f"{first.addresses[0]}; set CONVBENCH_MACHINE to another name there, before its worker starts."
            )
        elif first is not machine:
            replaceable = first.replaceable and machine.replaceable
            addresses = (*first.addresses, *machine.addresses)
            merged[machine.name] = replace(first, addresses=addresses, replaceable=replaceable)
    return list(merged.values()), remarks


def _of_this_version(machines: Sequence[Machine]) -> tuple[list[Machine], list[str]]:
    own = source_digest()
    usable, remarks = [], []
    for machine in machines:
        if machine.convbench != VERSION:
            remarks.append(
                f"{machine.name} is left out: it has convbench {machine.convbench}, and this is {VERSION}; type there: "
                f"pip install convbench=={VERSION}, or type --ship here"
            )
        elif machine.source != own:
            remarks.append(
                f"{machine.name} is left out: its convbench {VERSION} has other source text than this one; install the "
                "same checkout there, or type --ship."
            )
        else:
            usable.append(machine)
    return usable, remarks


def _of_clocks(machines: Sequence[Machine]) -> list[str]:
    return [
        f"The clock of {m.name} is {abs(m.clock_ahead_s):,.0f} s {'ahead' if m.clock_ahead_s > 0 else 'behind'}: its "
        "records have the time of that clock. How long calls take does not depend on it."
        for m in machines
        if abs(m.clock_ahead_s) > CLOCK_S
    ]


def _of_late(came: int, workers: int, wait_s: float) -> str:
    return (
        f"{came} of {workers} workers came within {wait_s:g} s. With wait_s in the cluster file more time is given, "
        "for example for a queue."
    )


def _of_ignored(addresses: Sequence[str]) -> str:
    return (
        f"{len(addresses)} of the scheduler's workers do not announce that convbench may use them, and are left alone; "
        f"one that does is started by `convbench worker ADDRESS`, or: {_ANNOUNCING}"
    )
