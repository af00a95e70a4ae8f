"""asv's own files, written through asv's API: one per machine, commit and environment, each put in place whole.

asv keeps state in module globals and changes `sys.path`: use this in a short-lived process alone, that holds a lock.

Names are for ever: asv matches stored results by their text. It reads every number as lower-is-better, so throughput is
derived from time and never stored there.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from convbench.files.scratch import scratch_folder
from convbench.status import Status
from convbench.store.schema import Record

ENVIRONMENT = "convbench"
_KEPT = "suite case backend status reason first_call_s prepare_s peak_bytes samples machine".split()


@dataclass(frozen=True)
class Point:
    """What results belong to: a commit, its date in milliseconds, and the version of Python, such as 3.11."""

    commit: str
    date: int
    python: str


def slim(record: Record) -> SlimRecord:
    settings, fields = record["settings"], cast(SlimRecord, record)
    return {key: fields[key] for key in _KEPT} | {
        "threads": settings["threads"],
        "allocator": settings["allocator"],
        "cache": settings.get("cache", "warm"),
        "pass_bytes": str(settings.get("pass_bytes") or ""),
        "pin": settings.get("pin", "auto"),
        "isa": settings.get("isa") or "",
        "data": settings.get("data") or "normal",
    }


def store_records(
    results: Path,
    benchmarks: Mapping[str, Any],
    point: Point,
    machine: Mapping[str, str],
    records: Iterable[SlimRecord],
) -> int:
    """Store slim `records` of one machine, whose strings asv knows, in the folder `results`; gives how many values."""
    return sum(
        _store_group(results, benchmarks, point, machine, dict(tags), group)
        for tags, group in _by_settings(records).items()
    )


_USUAL = {"allocator": "steady", "cache": "warm", "pass_bytes": "", "pin": "auto", "isa": "", "data": "normal"}


def _by_settings(records: Iterable[SlimRecord]) -> dict[tuple[tuple[str, str], ...], list[SlimRecord]]:
    """Records by the settings that asv tells apart as environment variables; the defaults have none."""
    groups: dict[tuple[tuple[str, str], ...], list[SlimRecord]] = {}
    for record in records:
        tags = [("CONVBENCH_THREADS", str(record["threads"]))] if record["threads"] != 1 else []
        tags += [
            (f"CONVBENCH_{name.upper()}", record[name])
            for name, usual in _USUAL.items()
            if record.get(name, usual) != usual
        ]
        groups.setdefault(tuple(tags), []).append(record)
    return groups


def _store_group(
    results: Path,
    benchmarks: Mapping[str, Any],
    point: Point,
    machine: Mapping[str, str],
    tags: Mapping[str, str],
    records: list[SlimRecord],
) -> int:
    from asv.environment import get_env_name
    from asv.results import Results, get_filename
    from asv.runner import BenchmarkResult

    # asv tells variables of the build from others, and takes a plain mapping for neither.
    name = get_env_name(ENVIRONMENT, point.python, {}, {("nobuild", key): value for key, value in tags.items()})
    parameters = {**machine, "python": point.python, **{f"env-{key}": value for key, value in tags.items()}}
    stored = Results(parameters, {}, point.commit, point.date, point.python, name, dict(tags))
    values = 0
    kept = results / get_filename(machine["machine"], point.commit, name)
    with scratch_folder(results, "asv") as scratch:
        draft = scratch / kept.relative_to(results)
        draft.parent.mkdir(parents=True)
        if kept.exists():
            shutil.copy(kept, draft)
            _take_over(stored, str(scratch), kept)
        for suite in dict.fromkeys(record["suite"] for record in records):
            for metric in METRICS:
                benchmark = benchmarks.get(benchmark_name(suite, metric))
                if benchmark is not None:
                    of_suite = [record for record in records if record["suite"] == suite]
                    columns, measured = _result(benchmark, metric, of_suite)
                    result = BenchmarkResult(*columns, 0, "", None)
                    stored.add_result(benchmark, result, record_samples=True, selected_idx=measured)
                    values += len(measured)
        if values:
            stored.save(str(scratch))
            kept.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(kept)
    return values


def left_out(benchmarks: Mapping[str, Any], records: Iterable[SlimRecord]) -> str | None:
    """What of the records has no place in the benchmarks that asv knows, as a clause; None if all have one."""
    missing: dict[str, dict[str, None]] = {"suite": {}, "backend": {}, "case": {}}
    for record in records:
        benchmark = benchmarks.get(benchmark_name(record["suite"], METRICS[0]))
        names = ("suite",) if benchmark is None else ("backend", "case")
        known = ([], []) if benchmark is None else benchmark["params"]
        for name, values in zip(names, known, strict=False):
            if repr(record[name]) not in values:
                missing[name].setdefault(record[name])
    parts = [f"no {name} {' or '.join(map(repr, list(values)[:3]))}" for name, values in missing.items() if values]
    return f"asv's benchmarks of this checkout have {', and '.join(parts)}" if parts else None


def _take_over(stored: Any, scratch: str, kept: Path) -> None:
    """Take over what the copy of `kept` in `scratch` has. Raises asv's `UserError`, with the path, if it is broken."""
    from asv.util import UserError

    try:
        stored.load_data(scratch)
    except (UserError, LookupError, TypeError, ValueError, AttributeError) as error:
        why = str(error).replace(scratch, str(kept.parent.parent)).strip().rstrip(".")
        raise UserError(f"{kept} is not as asv writes it ({why}); mend it or move it away") from None


def clear_leftovers(results: Path) -> None:
    """Remove what a write that was killed left in the folder `results`; whoever calls holds the lock."""
    for left in results.glob(".asv-*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


def _result(
    benchmark: Mapping[str, Any], metric: Metric, records: list[SlimRecord]
) -> tuple[tuple[list[Any], list[Any], list[Any]], set[int]]:
    """asv's parallel lists (result, samples, number) over all parameter combinations, and which of them we have. NaN is
    asv's n/a, for what was not asked or does not apply; None is a failure."""
    backends, cases = benchmark["params"]
    size = len(backends) * len(cases)
    result: list[Any] = [math.nan] * size
    samples: list[Any] = [None] * size
    number: list[Any] = [None] * size
    measured: set[int] = set()
    for record in records:
        backend, case = repr(record["backend"]), repr(record["case"])
        if backend not in backends or case not in cases:
            continue  # a plugin's, or a case changed by --dtype: in the journal, and no part of the tracked series
        index = backends.index(backend) * len(cases) + cases.index(case)
        measured.add(index)
        try:
            value = metric.value(record)
        except LookupError:
            result[index] = None
            continue
        if isinstance(value, dict):
            # asv takes the median of the samples itself where it finds True.
            result[index], samples[index], number[index] = True, value["samples"], value["number"]
        else:
            result[index] = value if isinstance(value, int) or math.isfinite(value) else math.nan
    return (result, samples, number), measured


def save_benchmarks(conf: Any, benchmarks: Any, results: Path) -> None:
    """Put `benchmarks.json`, what asv knows of the benchmarks, into the folder `results`."""
    with scratch_folder(results, "asv") as scratch:
        conf.results_dir = str(scratch)  # where `save` writes to
        benchmarks.save()
        (scratch / "benchmarks.json").replace(results / "benchmarks.json")


MODULE = "track"
SlimRecord = dict[str, Any]
"""The fields of a record that asv's files are made from."""
_ABSENT = (Status.UNSUPPORTED, Status.UNAVAILABLE)


@dataclass(frozen=True)
class Metric:
    """One asv benchmark per suite: how asv shows it, and where its value is in a record."""

    name: str
    type: str
    unit: str
    read: Callable[[SlimRecord], Any]

    def value(self, record: SlimRecord) -> Any:
        """The result: a number, samples, NaN where the pair does not apply. Raises `LookupError` if the pair failed."""
        status = Status(record["status"])
        if status in _ABSENT:
            return math.nan
        if status is not Status.OK:
            raise LookupError(f"{status}: {record['reason']}")
        value = self.read(record)
        return math.nan if value is None else value


def _samples(record: SlimRecord) -> dict[str, Any]:
    samples = record["samples"]
    return {"samples": samples["wall_s"], "number": samples["calls"][0]}


METRICS = (
    Metric("time", "time", "seconds", _samples),
    Metric("first_call", "time", "seconds", lambda record: record["first_call_s"]),
    Metric("prepare", "time", "seconds", lambda record: record["prepare_s"]),
    Metric("peak_memory", "memory", "bytes", lambda record: record["peak_bytes"]),
)


def class_name(suite: str) -> str:
    """The asv class of a suite: `mobilenet-v2` is `MobilenetV2`."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", suite))


def benchmark_name(suite: str, metric: Metric) -> str:
    """asv's name of a metric of a suite: `track.Sizes.track_time`."""
    return f"{MODULE}.{class_name(suite)}.track_{metric.name}"


def benchmark_version(suite: str) -> str:
    """Raised by hand when what a suite measures changes its meaning; adding cases does not."""
    return f"{suite}-1"
