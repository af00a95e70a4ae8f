"""From records to series: the times of one backend on one case and machine, over releases, commits or time."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convbench.status import Status
from convbench.store.readings import (
    HARDWARE_FIELDS,
    cache_of,
    data_of,
    hardware_of,
    implementation,
    isa_of,
    machine_of,
    median_s,
    number,
    table,
    time_of,
    walls,
)
from convbench.store.schema import Record
from convbench.verification.timed_data import NORMAL

FIELDS = (
    *"suite case backend status median_s low_s high_s threads dtype commit dirty run session time release".split(),
    *("machine.machine", "settings.allocator", "settings.cache", "settings.pass_bytes", "settings.isa"),
    *("settings.data", "samples.wall_s", "implementation", *HARDWARE_FIELDS),
)
"""The fields of a record that this module looks at, as `read_records` takes them."""

_COMMIT_DIGITS = 8


class SeriesKey(NamedTuple):
    """What two points of one series have in common."""

    machine: str
    suite: str
    case: str
    backend: str
    """In a series over releases, without the release: `onnxruntime` for `onnxruntime@1.20.0`."""
    threads: int
    dtype: str
    allocator: str
    cache: str
    """`warm`, `cold` if the caches were emptied before each call, or `pass of N bytes`."""
    library: str
    """The library whose releases the points are; empty for a series over commits or time."""
    hardware: str = ""
    """CPU, number of CPUs and ISA: where another machine takes over the name, a series ends."""
    isa: str = ""
    """The instruction set that the library was held to; empty where it was not."""
    data: str = NORMAL
    """What was timed."""


@dataclass(frozen=True, eq=False)
class Point:
    """One run of a series: its place on the axis, its median with interval (or NaN), and its samples, in seconds."""

    label: str
    """`onnxruntime 1.20.0`; else `1a2b3c4d`, with a `+` where the checkout had changes; else `2026-11-03 14:05`."""
    date: str
    """YYYY-MM-DD of the release, else of the run."""
    median_s: float
    low_s: float
    high_s: float
    samples_s: NDArray[np.float64]
    session: tuple[str, str]
    """Run and session of the record. Records of one session were measured side by side."""
    implementation: str | None = None
    """The kernel that ran, if it is known."""


@dataclass(frozen=True, eq=False)
class Series:
    """The points of one key, oldest first."""

    key: SeriesKey
    points: tuple[Point, ...]


def series_of(records: Iterable[Record]) -> tuple[list[Series], Counter[str]]:
    """The series of the records, in the order in which they appear, and the number of records left out, by reason.

    Releases are ordered by date, then version; commits and runs by the time of the record. Several runs at one release
    or commit are several points. A record that appears twice counts once.
    """
    placed_by_key: dict[SeriesKey, dict[tuple[Any, ...], tuple[tuple[Any, ...], Point]]] = {}
    left_out: Counter[str] = Counter()
    for index, record in enumerate(records):
        placed = _placed(record)
        if isinstance(placed, str):
            left_out[placed] += 1
            continue
        key, order, point = placed
        points = placed_by_key.setdefault(key, {})
        identity = (order, point.label, point.session if point.session[0] else index, point.median_s)
        if identity in points:
            left_out["there twice"] += 1
        points[identity] = order, point
    return [
        Series(key, tuple(point for _, point in sorted(points.values(), key=lambda placed: placed[0])))
        for key, points in placed_by_key.items()
    ], left_out


def _placed(record: Record) -> tuple[SeriesKey, tuple[Any, ...], Point] | str:
    """The series that a record belongs to, its sort key there, and its point; or the reason why it has none."""
    if record["status"] != Status.OK:
        return record["status"] if record["status"] in set(Status) else "of a status that is not known"
    if (seconds := median_s(record)) is None:
        return "without a median"
    when = time_of(record)
    order: tuple[Any, ...]
    if (release := record.get("release")) is not None and isinstance(release, dict):
        library, version, date = (str(release.get(name) or "") for name in ("library", "version", "date"))
        label, order = f"{library} {version}", (date, _version_order(version), when.isoformat() if when else "")
        backend = record["backend"].partition("@")[0]
    elif when is None:
        return "without a time"
    else:
        library, date, backend = "", f"{when:%Y-%m-%d}", record["backend"]
        label, order = _commit_label(record) or f"{when:%Y-%m-%d %H:%M}", (when.isoformat(),)
    settings = table(record, "settings")
    key = SeriesKey(
        machine=machine_of(record),
        suite=str(record.get("suite") or ""),
        case=record["case"],
        backend=backend,
        threads=int(number(record, "threads") or 1),
        dtype=str(record.get("dtype") or ""),
        allocator=str(settings.get("allocator") or ""),
        cache=cache_of(record),
        library=library,
        hardware=str(hardware_of(table(record, "machine"))),
        isa=isa_of(record),
        data=data_of(record),
    )
    low_s, high_s = (math.nan if (end_s := number(record, end)) is None else end_s for end in ("low_s", "high_s"))
    session = (str(record.get("run") or ""), str(record.get("session") or ""))
    return (
        key,
        order,
        Point(label, date, seconds, low_s, high_s, np.array(walls(record)), session, implementation(record)),
    )


def _version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """1.9 before 1.10, and 1.10rc1 before 1.10."""
    parts = re.findall(r"\d+|[a-z]+", version.lower())
    return (*((1, int(part[:18]), "") if part.isdigit() else (-1, 0, part) for part in parts), (0, 0, ""))


def _commit_label(record: Record) -> str | None:
    commit = record.get("commit")
    if not isinstance(commit, str) or not commit:
        return None
    return commit[:_COMMIT_DIGITS] + ("+" if record.get("dirty") else "")
