"""The machines of a fleet, as a table and as JSON-ready rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.hardware.differences import kinds
from convbench.fleet.cluster.cluster_file import ClusterDescription
from convbench.fleet.machines.machine import Machine
from convbench.reporting.numbers import count, percent
from convbench.reporting.tables import plain_table


def machine_row(machine: Machine, cluster: ClusterDescription) -> dict[str, Any]:
    """All that is known of one machine; `price_per_hour` is in `currency`."""
    return {
        **asdict(machine),
        "kind": machine.kind,
        "price_per_hour": cluster.price_of(machine.name),
        "currency": cluster.currency,
    }


def machines_report(machines: Sequence[Machine]) -> RenderableType:
    """A line for each machine, those of one kind together, and how many there are of each kind."""
    headers = ["machine", "CPU", "CPUs", "memory", "ISA", "GPUs", "convbench", "backends"]
    headers += ["own error %"] if any(machine.doctor is not None for machine in machines) else []
    ordered = [machine for alike in kinds(machines).values() for machine in alike]
    rows = [_cells(machine)[: len(headers)] for machine in ordered]
    return Group(
        plain_table(headers, rows, right=(2, 3), wraps=(1, 7), drops=(6, 5, 3)),
        *(
            Text(f"{m.name}: {hazard}", style="yellow")
            for m in ordered
            for hazard in (m.doctor or {}).get("hazards", ())
        ),
        Text(f"\n{count(len(machines), 'machine')} of {count(len(kinds(machines)), 'kind')}."),
    )


def _cells(machine: Machine) -> tuple[str, ...]:
    facts = machine.facts
    return (
        machine.name,
        str(facts.get("cpu", "")),
        str(facts.get("usable_cpus", "")),
        f"{int(facts.get('ram') or 0) / 2**30:.0f} GiB",
        str(facts.get("vector_isa") or ""),
        ", ".join(machine.gpus),
        machine.convbench,
        str(len(machine.backends)),
        percent(machine.doctor["typical_error"]) if machine.doctor else "",
    )
