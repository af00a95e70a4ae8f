"""What came of one machine of a run on many."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

from convbench.fleet.machines.machine import Machine
from convbench.measurement.hazards.catalogue import Hazard
from convbench.runner.session import Measurements
from convbench.store.journal import read_records
from convbench.store.line_file import JournalWarning


@dataclass
class MachineRun:
    """What came of a machine. `lost` is why not everything came."""

    machine: Machine
    journals: set[Path] = field(default_factory=set)
    ids: list[str] = field(default_factory=list)
    written: int = 0
    exit_code: int = 0
    hazards: tuple[Hazard, ...] = ()
    lost: str | None = None
    is_done: bool = False

    def measurements(self) -> Measurements:
        """Its records, read from its journals here."""
        with warnings.catch_warnings(action="ignore", category=JournalWarning):
            records = tuple(record for path in sorted(self.journals) for record in read_records(path))
        journal = max(self.journals) if self.journals else None
        return Measurements(records=records, machine_hazards=self.hazards, journal=journal, written=self.written)
