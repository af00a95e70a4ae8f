"""From records to series: what one backend took for one case on one machine, over releases, commits or time."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convbench.status import Status
from convbench.store.journal import Record

FIELDS = (
    *"suite case backend status median_s low_s high_s threads dtype commit dirty run session time release".split(),
    *("machine.machine", "settings.allocator", "samples.wall_s"),
)
"""The fields of a record that are looked at, as `read_records` takes them."""

_COMMIT_DIGITS = 8


class SeriesKey(NamedTuple):
    """What has to be equal for two records to be points of one series."""

    machine: str
    suite: str
    case: str
    backend: str
    """In a series over releases without the release: `onnxruntime` for `onnxruntime@1.20.0`."""
    threads: int
    dtype: str
    allocator: str
    cache: str
    """`warm`, or `cold` where the caches were emptied before each call."""
    library: str
    """The library whose releases the points are; empty for a series over commits or time."""


@dataclass(frozen=True, eq=False)
class Point:
    """One run of a series: its place on the axis, its median with interval, and its raw samples. NaN where there is no
    interval, empty where there are no samples; seconds."""

    label: str
    """`onnxruntime 1.20.0`; else `1a2b3c4d`, with a `+` where the checkout had changes; else `2026-11-03 14:05`."""
    date: str
    """YYYY-MM-DD of the release, else of the run."""
    median_s: float
    low_s: float
    high_s: float
    samples_s: NDArray[np.float64]
    session: tuple[str, str]
    """Run and session of the record: what was measured in one session was measured side by side."""


@dataclass(frozen=True, eq=False)
class Series:
    """The points of one key, oldest first."""

    key: SeriesKey
    points: tuple[Point, ...]


def series_of(records: Iterable[Record]) -> tuple[list[Series], Counter[str]]:
    """The series that the records make, in the order in which they appear, and how many records were left out by why.

    Releases are ordered by date, then version; commits and runs by the time of the record, whatever order git has them
    in. Several runs at one release or commit are several points. A record that is there twice, as in a copied journal,
    counts once.
    """
    found: dict[SeriesKey, dict[tuple[Any, ...], tuple[tuple[Any, ...], Point]]] = {}
    left_out: Counter[str] = Counter()
    for number, record in enumerate(records):
        placed = _placed(record)
        if isinstance(placed, str):
            left_out[placed] += 1
            continue
        key, order, point = placed
        points = found.setdefault(key, {})
        identity = (order, point.label, point.session if point.session[0] else number, point.median_s)
        if identity in points:
            left_out["there twice"] += 1
        points[identity] = order, point
    return [
        Series(key, tuple(point for _, point in sorted(points.values(), key=lambda placed: placed[0])))
        for key, points in found.items()
    ], left_out


def _placed(record: Record) -> tuple[SeriesKey, tuple[Any, ...], Point] | str:
    """Which series a record belongs to, what orders it there, and the point it is; or why it is none."""
    if record["status"] != Status.OK:
        return record["status"] if record["status"] in set(Status) else "of a status that is not known"
    median_s = _number(record.get("median_s"))
    if not median_s > 0:
        return "without a median"
    when = _time(record.get("time"))
    release = record.get("release")
    order: tuple[Any, ...]
    if isinstance(release, dict):
        library, version, date = (str(release.get(name) or "") for name in ("library", "version", "date"))
        label, order = f"{library} {version}", (date, _version_order(version), when.isoformat() if when else "")
        backend = record["backend"].partition("@")[0]
    elif when is None:
        return "without a time"
    else:
        library, date, backend = "", f"{when:%Y-%m-%d}", record["backend"]
        label, order = _commit_label(record) or f"{when:%Y-%m-%d %H:%M}", (when.isoformat(),)
    settings = record.get("settings") or {}
    key = SeriesKey(
        machine=str((record.get("machine") or {}).get("machine") or ""),
        suite=str(record.get("suite") or ""),
        case=record["case"],
        backend=backend,
        threads=int(_number(record.get("threads"), 1)),
        dtype=str(record.get("dtype") or ""),
        allocator=str(settings.get("allocator") or ""),
        cache=str(settings.get("cache") or "warm"),
        library=library,
    )
    walls = (record.get("samples") or {}).get("wall_s")
    samples = np.array([_number(wall_s) for wall_s in walls] if isinstance(walls, list) else [], dtype=np.float64)
    low_s, high_s = (_number(record.get(end)) for end in ("low_s", "high_s"))
    session = (str(record.get("run") or ""), str(record.get("session") or ""))
    return key, order, Point(label, date, median_s, low_s, high_s, samples[samples > 0], session)


def _number(value: Any, otherwise: float = math.nan) -> float:
    sound = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if sound else otherwise


def _time(text: Any) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """1.9 before 1.10, and 1.10rc1 before 1.10."""
    parts = re.findall(r"\d+|[a-z]+", version.lower())
    return (*((1, int(part[:18]), "") if part.isdigit() else (-1, 0, part) for part in parts), (0, 0, ""))


def _commit_label(record: Record) -> str | None:
    commit = record.get("commit")
    if not isinstance(commit, str) or not commit:
        return None
    return commit[:_COMMIT_DIGITS] + ("+" if record.get("dirty") else "")
