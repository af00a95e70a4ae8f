"""What a record has: its fields, and how each is kept when many records become columns.

The names are keys in stored history: they are added to and never renamed. A field that is not named here, such as one
of a later version's journals, is kept as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto


class Kind(Enum):
    """How the values of a field are kept: distinct ones once, as plain arrays, or as they stand in the journal."""

    TEXT = auto()
    NUMBER = auto()
    COUNT = auto()
    TABLE = auto()
    """An object that many records have alike; each distinct one is decoded once."""
    DEFERRED = auto()
    """Long and seldom alike: decoded when it is looked at."""
    ANY = auto()


REQUIRED = ("case", "backend", "status")
"""Texts that make an object a record."""
TABLES = ("problem", "settings", "machine", "samples")
"""Objects, where they are there."""

FIELDS: Mapping[str, Kind] = {
    "format": Kind.COUNT,
    "run": Kind.TEXT,
    "session": Kind.TEXT,
    "time": Kind.TEXT,
    "suite": Kind.TEXT,
    "case": Kind.TEXT,
    "backend": Kind.TEXT,
    "status": Kind.TEXT,
    "reason": Kind.TEXT,
    "median_s": Kind.NUMBER,
    "low_s": Kind.NUMBER,
    "high_s": Kind.NUMBER,
    "interval": Kind.TEXT,
    "energy_j": Kind.NUMBER,
    "gflops": Kind.NUMBER,
    "images_per_s": Kind.NUMBER,
    "gbytes_per_s": Kind.NUMBER,
    "first_call_s": Kind.NUMBER,
    "prepare_s": Kind.NUMBER,
    "backend_s": Kind.NUMBER,
    "max_error_over_bound": Kind.NUMBER,
    "threads": Kind.COUNT,
    "dtype": Kind.TEXT,
    "case_id": Kind.TEXT,
    "count": Kind.COUNT,
    "layer": Kind.TEXT,
    "flops": Kind.COUNT,
    "stopped": Kind.TEXT,
    "processes": Kind.COUNT,
    "cores": Kind.DEFERRED,
    "before_bytes": Kind.COUNT,
    "peak_bytes": Kind.COUNT,
    "steady_bytes": Kind.COUNT,
    "timer": Kind.TEXT,
    "device_held_bytes": Kind.COUNT,
    "device_peak_bytes": Kind.COUNT,
    "send_s": Kind.NUMBER,
    "fetch_s": Kind.NUMBER,
    "gpu": Kind.TABLE,
    "samples": Kind.DEFERRED,
    "twin": Kind.DEFERRED,
    "self_ratio": Kind.DEFERRED,
    "hazards": Kind.DEFERRED,
    "verdicts": Kind.DEFERRED,
    "problem": Kind.TABLE,
    "settings": Kind.TABLE,
    "declared": Kind.TABLE,
    "versions": Kind.TABLE,
    "release": Kind.TABLE,
    "convbench": Kind.TEXT,
    "commit": Kind.TEXT,
    "dirty": Kind.ANY,
    "machine": Kind.TABLE,
    "stderr_tail": Kind.TEXT,
}

WHEN_ASKED = ("twin", "self_ratio", "verdicts")
"""Nested ones that a frame has when they are asked for."""
SAMPLES = (
    "round", "load", "calls", "wall_s", "cpu_s", "system_s", "minor_faults", "energy_j", "host_s", "launch_s", "sm_mhz",
    "slowed", "process",
)  # fmt: skip
"""The lists of the field `samples`, an element per sample; seconds and joules are per call. The last is there where
there were several processes, and of those before it what the machine lets be read."""
SETTINGS_KEPT = ("allocator", "seed")
MACHINE_KEPT = ("machine", "cpu", "os", "python")
"""Of these two tables, what a frame has as columns unless others are asked for."""
