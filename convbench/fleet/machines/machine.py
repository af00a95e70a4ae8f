"""`Machine`: what is known of a machine of the fleet, as its own process describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from convbench.fleet.cluster.quiet import RESOURCE
from convbench.store.readings import hardware_of


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine, with the Dask workers on it that convbench may use."""

    name: str
    addresses: tuple[str, ...]
    """Of its Dask workers, sorted."""
    resource: str = RESOURCE
    """What its workers announce one unit of."""
    replaceable: bool = False
    """Whether its workers announce the name, so that Dask knows one that takes the place of another."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """As records have them."""
    gpus: tuple[str, ...] = ()
    convbench: str = ""
    source: str = ""
    """A digest of the source text of convbench and its backends: two checkouts may have one version."""
    backends: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The versions of what each backend needs, by the names of those that can run."""
    boot: str = ""
    """The start of its system: two machines of one name differ in it."""
    lock_place: str = ""
    """The folder of the lock for which its timings wait, as its system numbers it."""
    clock_ahead_s: float = 0.0
    doctor: Mapping[str, Any] | None = None
    """How well it can measure, where that was looked into."""

    @property
    def kind(self) -> str:
        """What machines are alike in: CPU, number of CPUs, instruction set, GPUs."""
        return ", ".join(filter(None, (str(hardware_of(self.facts)), *self.gpus)))
