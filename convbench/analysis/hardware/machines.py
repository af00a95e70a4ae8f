"""The machines of records, and whether those of one kind took as long for the same pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convbench.analysis.hardware.differences import kinds
from convbench.store.readings import hardware_of, machine_of, median_s, table
from convbench.store.schema import Record

NAMELESS = "a machine without a name"


@dataclass(frozen=True)
class MeasuredMachine:
    """A machine as its records describe it."""

    name: str
    records: tuple[Record, ...]

    @property
    def facts(self) -> Mapping[str, Any]:
        return table(self.records[-1], "machine")

    @property
    def kind(self) -> str:
        """What machines are alike in: CPU, number of CPUs, instruction set, GPU."""
        gpus = {str(table(record, "gpu").get("name") or "") for record in self.records}
        return ", ".join(filter(None, (str(hardware_of(self.facts)), *sorted(gpus)))) or "unknown hardware"

    @property
    def backends(self) -> Mapping[str, Mapping[str, str]]:
        """The versions of what each backend needs, and that of convbench."""
        own = {"convbench": {"convbench": str(self.records[-1].get("convbench") or "")}}
        versions = {record["backend"]: table(record, "versions") for record in self.records}
        return own | {name: dict(each) for name, each in versions.items() if each}

    @property
    def days(self) -> tuple[str, str] | None:
        """The first and the last day on which it measured; None where no record says."""
        days = sorted(str(record["time"])[:10] for record in self.records if record.get("time"))
        return (days[0], days[-1]) if days else None


def measured_machines(records: Iterable[Record]) -> list[MeasuredMachine]:
    """The machines, by name."""
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(machine_of(record) or NAMELESS, []).append(record)
    return [MeasuredMachine(name, tuple(of)) for name, of in sorted(by_name.items())]


@dataclass(frozen=True)
class SameKindRatio:
    """How many times as long `other` took as `first`, a machine of the same kind, for the pairs that both timed."""

    first: str
    other: str
    pairs: int
    ratio: float
    """The geometric mean."""
    least: float
    most: float


def same_kind_ratios(machines: Sequence[MeasuredMachine]) -> list[SameKindRatio]:
    """For each machine but the first of each kind, where it shares pairs with the first."""
    ratios = []
    for first, *others in kinds(machines).values():
        before = _medians(first)
        for other in others:
            after = _medians(other)
            logs = [math.log(after[pair] / seconds) for pair, seconds in before.items() if pair in after]
            if logs:
                mean, ends = sum(logs) / len(logs), (min(logs), max(logs))
                ratios.append(SameKindRatio(first.name, other.name, len(logs), *map(math.exp, (mean, *ends))))
    return ratios


def _medians(machine: MeasuredMachine) -> dict[tuple[str, ...], float]:
    """Seconds by what was timed and how; of several records of a pair the last counts."""
    medians = {}
    for record in machine.records:
        if (seconds := median_s(record)) is not None:
            settings = table(record, "settings")
            named = (record.get("suite"), record["case"], record["backend"], record.get("threads"), record.get("dtype"))
            how = (settings.get(name) for name in ("allocator", "cache", "isa", "data"))
            medians[tuple(map(str, (*named, *how)))] = seconds
    return medians
