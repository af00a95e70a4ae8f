"""`Machine`: what is known of a machine of the fleet, as its own process describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convbench.store.readings import hardware_of


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine, with the Dask workers on it that convbench may use."""

    name: str
    addresses: tuple[str, ...]
    """Of its Dask workers, sorted."""
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
    clock_ahead_s: float = 0.0
    doctor: Mapping[str, Any] | None = None
    """How well it can measure, where that was looked into."""

    @property
    def kind(self) -> str:
        """What machines are alike in: CPU, number of CPUs, instruction set, GPUs."""
        return ", ".join(filter(None, (str(hardware_of(self.facts)), *self.gpus)))


def kinds(machines: Sequence[Machine]) -> dict[str, list[Machine]]:
    """The machines of each kind, by name."""
    by_kind: dict[str, list[Machine]] = {}
    for machine in sorted(machines, key=lambda machine: machine.name):
        by_kind.setdefault(machine.kind, []).append(machine)
    return by_kind


def differences(machines: Sequence[Machine]) -> list[str]:
    """What differs between machines of one kind, which should be alike; a sentence each."""
    sentences = []
    for kind, alike in kinds(machines).items():
        for name, values in _compared(alike).items():
            if len({*values.values()}) > 1:
                each = "; ".join(
                    f"{value or 'none'} on {', '.join(where)}" for value, where in _grouped(values).items()
                )
                sentences.append(f"Machines of one kind ({kind}) differ in {name}: {each}.")
    return sentences


_FACTS = {"ram": "memory", "usable_cpus": "usable CPUs", "governor": "the governor", "os": "the system", "libc": "libc",
          "python": "Python"}  # fmt: skip


def _compared(machines: Sequence[Machine]) -> dict[str, dict[str, str]]:
    """The value of each thing by machine."""
    compared = {name: {m.name: str(m.facts.get(key) or "") for m in machines} for key, name in _FACTS.items()}
    for backend in sorted({name for machine in machines for name in machine.backends}):
        compared[f"backend {backend}"] = {m.name: _versions(m, backend) for m in machines}
    return compared


def _versions(machine: Machine, backend: str) -> str:
    if backend not in machine.backends:
        return ""
    return ", ".join(f"{name} {version}" for name, version in machine.backends[backend].items()) or "there"


def _grouped(values: Mapping[str, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for machine, value in values.items():
        grouped.setdefault(value, []).append(machine)
    return grouped
