"""The fields of a record: their types, and how each is kept when many records become columns.

The names are keys in stored history, added to and never renamed. A field that is not named here is kept as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Annotated, Any, Required, TypedDict, get_args, get_origin, get_type_hints


class Kind(Enum):
    """How the values of a field are kept: distinct values once, as plain arrays, or as they stand in the journal."""

    TEXT = auto()
    NUMBER = auto()
    COUNT = auto()
    TABLE = auto()
    """An object that many records share; each distinct one is decoded once."""
    DEFERRED = auto()
    """Long and seldom alike; decoded when it is looked at."""
    ANY = auto()


Name = Annotated[str, Kind.TEXT]
Text = Annotated[str | None, Kind.TEXT]
Number = Annotated[float | None, Kind.NUMBER]
Count = Annotated[int | None, Kind.COUNT]
Whole = Annotated[int, Kind.COUNT]
Table = Annotated[dict[str, Any], Kind.TABLE]


class Samples(TypedDict, total=False):
    """A list each, one element per sample; seconds and joules are per call. `process` is there if the backend had
    several processes. From `minor_faults` on, only what the machine lets convbench read is there."""

    round: list[int]
    load: list[float]
    calls: list[int]
    wall_s: list[float]
    cpu_s: list[float]
    system_s: list[float]
    minor_faults: list[float]
    energy_j: list[float]
    host_s: list[float]
    launch_s: list[float]
    sm_mhz: list[float]
    slowed: list[bool]
    process: list[int]


class Record(TypedDict, total=False):
    """One backend on one case, as a run writes it; seconds are per call.

    A journal from elsewhere may hold other types. Only `case`, `backend` and `status` are sure to be strings, and the
    fields in `TABLES` to be objects or missing; `store.readings` reads the others with care.
    """

    format: Whole
    run: Name
    session: Name
    time: Name
    began: Text
    ended: Text
    suite: Name
    case: Required[Name]
    backend: Required[Name]
    status: Required[Name]
    reason: Text
    median_s: Number
    low_s: Number
    high_s: Number
    interval: Text
    energy_j: Number
    gflops: Number
    images_per_s: Number
    gbytes_per_s: Number
    first_call_s: Number
    prepare_s: Number
    backend_s: Number
    max_error_over_bound: Number
    denormals: Text
    threads: Whole
    dtype: Name
    case_id: Name
    count: Whole
    layer: Text
    flops: Whole
    stopped: Text
    settle_s: Number
    settling_s: Number
    processes: Whole
    cores: Annotated[list[int], Kind.DEFERRED]
    before_bytes: Count
    peak_bytes: Count
    steady_bytes: Count
    timer: Text
    device_held_bytes: Count
    device_peak_bytes: Count
    send_s: Number
    fetch_s: Number
    gpu: Annotated[dict[str, Any] | None, Kind.TABLE]
    samples: Annotated[Samples, Kind.DEFERRED]
    twin: Annotated[Samples | None, Kind.DEFERRED]
    self_ratio: Annotated[dict[str, Any] | None, Kind.DEFERRED]
    process_variation: Annotated[dict[str, Any] | None, Kind.DEFERRED]
    session_drift: Annotated[dict[str, Any] | None, Kind.DEFERRED]
    hazards: Annotated[list[dict[str, Any]], Kind.DEFERRED]
    verdicts: Annotated[list[dict[str, Any]], Kind.DEFERRED]
    problem: Table
    settings: Table
    declared: Table
    implementation: Text
    versions: Table
    release: Table
    convbench: Name
    commit: Text
    dirty: Annotated[bool | None, Kind.ANY]
    machine: Table
    stderr_tail: Text


def _kind(hint: Any) -> Kind:
    kind: Kind = (get_args(hint)[0] if get_origin(hint) is Required else hint).__metadata__[0]
    return kind


_HINTS = get_type_hints(Record, include_extras=True)
FIELDS: Mapping[str, Kind] = {name: _kind(hint) for name, hint in _HINTS.items()}
REQUIRED = tuple(name for name, hint in _HINTS.items() if get_origin(hint) is Required)
"""Texts that make an object a record."""
TABLES = ("problem", "settings", "machine", "samples")
"""Fields that are objects, or missing."""
SAMPLES = tuple(Samples.__annotations__)

ON_REQUEST = ("twin", "self_ratio", "verdicts")
"""Nested fields that a frame has only if they are named."""
SETTINGS_KEPT = ("allocator", "seed")
MACHINE_KEPT = ("machine", "cpu", "os", "python")
"""The members of these two tables that a frame has as columns unless others are named."""
