"""Under which machine asv stores what was measured: a series is of one hardware, whatever the machine is called.

asv tells machines apart by name alone, and a name may go to another machine: in a pool, or where a host is replaced. A
name belongs to the hardware that stored under it first; other hardware stores under a longer name.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import msgspec

from convbench.errors import ResultsError
from convbench.files.user_file import FileKind, read_bytes
from convbench.store.line_file import JournalWarning
from convbench.store.locations import draft_of
from convbench.store.readings import Hardware, hardware_of, table
from convbench.store.records import records

_KEPT = "hardware"
_LONGEST = 80
_KIND = FileKind("a file of hardware", 2**20, "remove it", ResultsError)


def name_of(name: str, first: Hardware, here: Hardware) -> str:
    """`name`, if it belongs to this hardware, else one that tells the hardware as well."""
    if not here.is_other_than(first):
        return name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{name}-{here._replace(cpu=here.cpu[:_LONGEST])}").strip("-.")


def first_hardware(results: Path, name: str, here: Hardware) -> Hardware:
    """The hardware that the name belongs to. A file in the machine's folder keeps it; without one, the oldest record
    says it, and a machine without records is this one."""
    kept = results / name / _KEPT
    try:
        return msgspec.json.decode(read_bytes(kept, _KIND), type=Hardware)
    except (ResultsError, ValueError):
        first = _of_the_oldest_record(results / name) or here
    kept.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(kept) as draft:
        draft.write_bytes(msgspec.json.encode(first))
    return first


def _of_the_oldest_record(folder: Path) -> Hardware | None:
    if not folder.is_dir():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JournalWarning)
        known = (hardware_of(table(record, "machine")) for record in records(folder))
        return next((hardware for hardware in known if hardware.cpu), None)
