"""Machines of different names on one host, such as two pods on a node, that do not see each other's lock."""

from __future__ import annotations

from collections.abc import Sequence

from convbench.fleet.machines.machine import Machine


def unseen_on_the_same_host(machines: Sequence[Machine]) -> dict[str, list[Machine]]:
    """By machine, the others on its host that may be timed at the same time, because their locks lie elsewhere. One
    host is one start of one kernel, which containers and cgroups share."""
    beside = {machine.name: [other for other in machines if _are_unseen(machine, other)] for machine in machines}
    return {name: others for name, others in beside.items() if others}


def _are_unseen(one: Machine, other: Machine) -> bool:
    return bool(one.boot) and one.boot == other.boot and one.name != other.name and one.lock_place != other.lock_place
