"""What can be read of a record, whatever its journal holds: journals come from other versions and other programs.

A field of the wrong type, a number that JSON or a float cannot hold, and a missing field all read as absent. A record
with one sample that is no time has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from convbench.measurement.machine.facts import machine_facts
from convbench.problem import ConvProblem
from convbench.stats.process_variation import ProcessVariation, half_width_of_process_variation
from convbench.stats.ragged import Ragged
from convbench.stats.session_drift import SessionDrift
from convbench.status import Status
from convbench.store.schema import FIELDS, Kind, Record
from convbench.verification.timed_data import NORMAL

_LARGEST = 1e300
_SHORTEST_S, _LONGEST_S = 1e-18, 1e18
"""No time lies outside. Ratios and logarithms of times inside are finite, in float32 as well."""
_LONGEST_IMPLEMENTATION = 200

Walls = dict[int, dict[int, float]]
"""Seconds per call by process, then by round."""


def as_number(value: object) -> float | None:
    """`value`, if it is a finite number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
    return float(value) if is_number else None  # type: ignore[arg-type]


def cache_of(record: Mapping[str, object]) -> str:
    """The state of caches that a record was timed in: `warm`, `cold`, or `pass of N bytes`."""
    settings = table(record, "settings")
    cache = str(settings.get("cache") or "warm")
    return f"pass of {settings.get('pass_bytes')} bytes" if cache == "pass" else cache


def isa_of(record: Mapping[str, object]) -> str:
    """The instruction set that a record's library was held to; empty where it was not."""
    return str(table(record, "settings").get("isa") or "")


def data_of(record: Mapping[str, object]) -> str:
    """What a record was timed on: `normal`, `denormal`, `zeros`, or a file's name with a mark of its content."""
    return str(table(record, "settings").get("data") or NORMAL)


def number(record: Mapping[str, object], name: str) -> float | None:
    """The number in a field; None without one."""
    return as_number(record.get(name))


def implementation(record: Mapping[str, object]) -> str | None:
    """The kernel or algorithm that ran; None where it is not known, or where the field holds no short text."""
    value = record.get("implementation")
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_IMPLEMENTATION else None


def count(record: Mapping[str, object]) -> int:
    """How often a model has the case of a record; 1 where it does not say."""
    times = number(record, "count")
    return int(times) if times is not None and times >= 1 else 1


def table(record: Mapping[str, object], name: str) -> Mapping[str, Any]:
    """The object in a field; an empty one without it."""
    value = record.get(name)
    return value if isinstance(value, Mapping) else {}


class Hardware(NamedTuple):
    """What a machine is besides its name, which may go to another: in a pool, or where a host is replaced. What is
    empty or None is unknown."""

    cpu: str = ""
    cpus: int | None = None
    isa: str = ""

    def __str__(self) -> str:
        cpus = f"{self.cpus} CPU{'s' * (self.cpus != 1)}" if self.cpus else ""
        return ", ".join(filter(None, (self.cpu, cpus, self.isa)))

    def is_other_than(self, other: Hardware) -> bool:
        """Whether the two differ in something that is known of both."""
        return any(ours and theirs and ours != theirs for ours, theirs in zip(self, other, strict=True))


def machine_of(record: Record) -> str:
    """The name of the machine that measured the record; empty where it has none."""
    return str(table(record, "machine").get("machine") or "")


def hardware_of(machine: Mapping[str, object]) -> Hardware:
    """The hardware in a record's table of the machine."""
    cpu, cpus, isa = machine.get("cpu"), as_number(machine.get("num_cpu")), machine.get("vector_isa")
    return Hardware(
        cpu if isinstance(cpu, str) else "", int(cpus) if cpus else None, isa if isinstance(isa, str) else ""
    )


def this_hardware() -> Hardware:
    """That of this machine."""
    return hardware_of(machine_facts())


HARDWARE_FIELDS = ("machine.cpu", "machine.num_cpu", "machine.vector_isa")
"""Where `hardware_of` looks, as `read_records` takes it."""


def time_of(record: Record) -> datetime | None:
    """When the record was taken, in UTC; None if it does not say."""
    try:
        time = datetime.fromisoformat(record.get("time") or "")
    except (TypeError, ValueError):
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def problem_of(record: Record) -> ConvProblem | None:
    """The problem of a record; None if it has none, or an impossible one."""
    try:
        return ConvProblem(**record["problem"])
    except (KeyError, TypeError, ValueError):
        return None


def median_s(record: Record) -> float | None:
    """The time of a right answer, in seconds per call. A wrong answer may have been timed on request, but has none."""
    seconds = number(record, "median_s")
    return seconds if record["status"] == Status.OK and seconds and seconds > 0 else None


def in_one_process(record: Record, other: Record) -> bool:
    """Whether one process of convbench measured both. Its sessions begin alike: a time, a hyphen and a process id; the
    further heats of a race add a number."""
    one, two = (str(r.get("session")).split("-")[:2] for r in (record, other))
    return one == two


def has_interval(record: Record) -> bool:
    """Whether low_s and high_s are an interval, and not the range of samples that were too few for one."""
    return record.get("interval") != "range"


def self_log_ratios(records: Iterable[Record]) -> list[float]:
    """The logarithms of the ratios between two processes of one backend, one for each session and case of `records`."""
    logs: dict[tuple[str, str], float] = {}
    for record in records:
        value = number(table(record, "self_ratio"), "value")
        if value is not None and value > 0:
            logs[str(record.get("session")), record["case"]] = math.log(value)
    return list(logs.values())


def half_width_between_processes(records: Iterable[Record], spread: float = 0.0) -> float:
    """Half of the 95 % interval, of a logarithm, for what two processes differ by without a cause: by what was known of
    the machine when the records were made, in old records by their own self-ratios. `spread` as for
    `half_width_of_process_variation`."""
    records = list(records)
    known = [variation for record in records if (variation := _variation(record)) is not None]
    if known:
        return half_width_of_process_variation([], spread, max(known, key=lambda variation: variation.pairs))
    return half_width_of_process_variation(self_log_ratios(records), spread)


def half_width_not_included(records: Iterable[Record], cases: int = 1) -> float:
    """What `half_width_between_processes` adds to a ratio, as a geometric mean over `cases`, from the intervals of
    `records`. That of a record of one process includes half of the variance, except in old records and ranges; that of
    several processes is over processes."""
    records = list(records)
    intervals = [(str(record.get("interval")), _variation(record)) for record in records]
    included = sum(name.startswith("process") or bool(known and name != "range") for name, known in intervals)
    return half_width_between_processes(records) * math.sqrt(1 - included / (2 * cases**2))


def interval_within_session(record: Record) -> tuple[float, float] | None:
    """low_s and high_s without what sessions differ by: what two times of one session are compared by. None where the
    record has no interval."""
    middle, low, high = (number(record, name) for name in ("median_s", "low_s", "high_s"))
    if middle is None or low is None or high is None or not 0 < low <= middle <= high:
        return None
    other = _half_width_of_other_session(record) if has_interval(record) else 0.0
    if not other:
        return low, high
    below, above = (math.sqrt(max(0.0, math.log(ratio) ** 2 - other**2)) for ratio in (middle / low, high / middle))
    return middle * math.exp(-below), middle * math.exp(above)


def _half_width_of_other_session(record: Record) -> float:
    """What an interval includes for the other session: its drift, and its process if one process was measured."""
    drift, process = half_width_of_session_drift(record), half_width_of_a_process(record)
    return math.hypot(drift, process) if drift and process else drift


def half_width_of_a_process(record: Record) -> float | None:
    """Half of the 95 % interval, of a logarithm, for what one process differs from a typical one by; None in old
    records and for several processes, whose interval is over them."""
    is_of_one, variation = not str(record.get("interval")).startswith("process"), _variation(record)
    return variation.half_width_of_time if is_of_one and variation else None


def half_width_of_session_drift(record: Record) -> float:
    """Half of the 95 % interval, of a logarithm, for what sessions differ by, as it was known when the record was made;
    0 in old records."""
    drift = session_drift(record)
    return drift.half_width_of_ratio if drift else 0.0


def session_drift(record: Record) -> SessionDrift | None:
    """What was known of sessions when the record was made; None in old records."""
    known = _scale(record, "session_drift")
    return SessionDrift(*known) if known else None


def _variation(record: Record) -> ProcessVariation | None:
    known = _scale(record, "process_variation")
    return ProcessVariation(*known) if known else None


def _scale(record: Record, name: str) -> tuple[float, float] | None:
    scale, pairs = (number(table(record, name), part) for part in ("scale", "pairs"))
    return (scale, pairs) if scale is not None and 0 < scale < 1 and pairs is not None and pairs >= 0 else None


def column(record: Record, name: str) -> list[float]:
    """A column of the samples; empty if it is missing or holds anything but finite numbers."""
    values = table(record, "samples").get(name)
    return values if isinstance(values, list) and _are_numbers(values) else []


def rounds(record: Record) -> list[int]:
    """The round of each sample; empty if any is not a whole number."""
    return _whole(record, "round")


def walls(record: Record) -> list[float]:
    """Wall seconds per call of each sample."""
    values = column(record, "wall_s")
    return values if values and min(values) >= _SHORTEST_S and max(values) <= _LONGEST_S else []


def ragged_walls(records: Sequence[Record]) -> Ragged:
    """The `walls` of many records, a row each; that of a record whose answer is not right is empty."""
    columns = [table(r, "samples").get("wall_s") if r["status"] == Status.OK else None for r in records]
    rows: list[list[float]] = [values if isinstance(values, list) else [] for values in columns]
    if not set(map(type, chain.from_iterable(rows))) <= {float, int}:
        rows = [row if _are_numbers(row) else [] for row in rows]
    try:
        ragged = Ragged.of(rows)
    except OverflowError:  # an integer beyond any float
        ragged = Ragged.of([row if _are_numbers(row) else [] for row in rows])
    return ragged.kept_between(_SHORTEST_S, _LONGEST_S)


def walls_by_process(record: Record) -> Walls:
    """Wall seconds per call by process and round. Samples of a single process are those of process 0."""
    numbers, seconds = rounds(record), walls(record)
    processes = _whole(record, "process") or [0] * len(numbers)
    by_process: Walls = {}
    for process, round_, wall_s in zip(processes, numbers, seconds, strict=False):
        by_process.setdefault(process, {})[round_] = wall_s
    return by_process


def paired_walls(slower: Record, faster: Record) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Wall seconds per call of both records in the rounds that both were sampled in: for each process that both have,
    two arrays of one length, not 0. Records of two sessions have none: their rounds share only the numbers."""
    if slower.get("session") != faster.get("session"):
        return []
    one, other = walls_by_process(slower), walls_by_process(faster)
    return [
        (np.array([one[process][r] for r in shared]), np.array([other[process][r] for r in shared]))
        for process in sorted(one.keys() & other.keys())
        if (shared := sorted(one[process].keys() & other[process].keys()))
    ]


def paired_log_ratios(slower: Record, faster: Record) -> list[NDArray[np.float64]]:
    """The logarithm of slower over faster in each round that both were sampled in, an array for each process."""
    return [np.log(one / other) for one, other in paired_walls(slower, faster)]


def _are_numbers(values: Sequence[object]) -> bool:
    if set(map(type, values)) == {float} and math.isfinite(sum(values)):  # type: ignore[arg-type]
        return min(values) > -_LARGEST and max(values) < _LARGEST  # type: ignore[type-var, operator]
    return all(as_number(value) is not None for value in values)


def _whole(record: Record, name: str) -> list[int]:
    values = table(record, "samples").get(name)
    return values if isinstance(values, list) and set(map(type, values)) <= {int} else []


def complete(record: Record) -> Record:
    """The record with every field, for readers that need all of them. Those that a journal from elsewhere lacks, or has
    of another type, are None, and tables and lists are empty."""
    whole: dict[str, Any] = {**record}
    for name, kind in FIELDS.items():
        value = whole.get(name)
        if kind is Kind.NUMBER:
            whole[name] = number(record, name)
        elif kind is Kind.TABLE or name == "samples":
            whole[name] = dict(table(record, name)) or (None if name == "gpu" else {})
        elif name in _LISTS:
            whole[name] = [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
        elif name in _TABLES_OR_NONE:
            whole[name] = value if isinstance(value, Mapping) and value else None
        elif kind in (Kind.TEXT, Kind.COUNT):
            whole[name] = value if isinstance(value, str if kind is Kind.TEXT else int) else None
        else:
            whole.setdefault(name, None)
    own_error = table(record, "self_ratio")
    if number(own_error, "value") is None or not isinstance(own_error.get("backend"), str):
        whole["self_ratio"] = None
    return cast("Record", whole)


_LISTS = ("hazards", "verdicts")
_TABLES_OR_NONE = ("self_ratio", "twin", "process_variation", "session_drift")
