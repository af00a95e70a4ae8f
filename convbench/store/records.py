"""Records: what an outcome is in the journal, every record at a place, and the newest under the same conditions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from statistics import median
from typing import Any, cast

from convbench.errors import ResultsError, did_you_mean
from convbench.installation import VERSION
from convbench.measurement.hazards.catalogue import Hazard, Kind, in_order
from convbench.measurement.hazards.of_samples import hazards_of_samples
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.settings import Cache, Settings
from convbench.stats.estimates import Estimate
from convbench.stats.process_groups import Groups, two_groups
from convbench.store.journal import Span, journals, read_records
from convbench.store.locations import CheckoutState, results_folder
from convbench.store.parallel_read import read_parts
from convbench.store.readings import HARDWARE_FIELDS, Hardware, data_of, hardware_of, table
from convbench.store.schema import Record
from convbench.verification.timed_data import NORMAL

FORMAT = 1
_AT_A_TIME = 1000
Place = str | PathLike[str]
"""A journal, or a folder with journals in it."""


_AS_IN_OUTCOME = (
    "suite", "backend", "reason", "energy_j", "first_call_s", "prepare_s", "max_error_over_bound", "stopped",
    "before_bytes", "peak_bytes", "steady_bytes", "backend_s", "declared", "implementation", "versions",
    "stderr_tail",
)  # fmt: skip


def record_of(outcome: Outcome, run: str, session: str, checkout: CheckoutState) -> Record:
    """The record of `outcome`, measured by `run` in the process `session` at the commit of `checkout`."""
    problem, samples = outcome.case.problem, _columns(outcome.samples)
    record = {
        "format": FORMAT,
        "run": run,
        "session": session,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: getattr(outcome, name) for name in _AS_IN_OUTCOME},
        **_time_fields(outcome),
        **_device_fields(outcome),
        "case": outcome.case.name,
        "status": str(outcome.status),
        "threads": outcome.settings.threads,
        "processes": outcome.settings.processes,
        "cores": list(outcome.cores),
        "dtype": problem.dtype,
        "case_id": problem.case_id,
        "count": outcome.case.count,
        "layer": outcome.case.layer,
        "flops": problem.flops,
        "samples": samples,
        "twin": _columns(outcome.aa_samples) or None,
        "self_ratio": asdict(outcome.self_ratio) if outcome.self_ratio else None,
        "process_variation": asdict(outcome.variation) if samples else None,
        "session_drift": asdict(outcome.drift) if samples and outcome.drift else None,
        "denormals": next((v.denormals for v in outcome.verdicts if v.denormals is not None), None),
        "hazards": [hazard.as_dict() for hazard in _hazards(outcome, samples)],
        "verdicts": [asdict(verdict) for verdict in outcome.verdicts],
        "problem": problem.as_dict(),
        "settings": asdict(outcome.settings),
        "convbench": VERSION,
        "commit": checkout.commit,
        "dirty": checkout.dirty,
        "machine": machine_facts(),
    }
    return cast(Record, record)


def _time_fields(outcome: Outcome) -> dict[str, Any]:
    problem, estimate, settling = outcome.case.problem, _estimate(outcome), outcome.settling
    ends = (estimate.median, estimate.low, estimate.high, estimate.interval) if estimate else (None,) * 4
    return {
        **dict(zip(("median_s", "low_s", "high_s", "interval"), ends, strict=True)),
        "gflops": _per_second(problem.flops, estimate, 1e9),
        "images_per_s": _per_second(problem.batch, estimate),
        "gbytes_per_s": _per_second(problem.bytes, estimate, 1e9),
        "settle_s": settling.calls * estimate.median if settling and estimate else None,
        "settling_s": settling.spent_s if settling else None,
    }


def _device_fields(outcome: Outcome) -> dict[str, Any]:
    device = outcome.on_device
    return {
        "timer": device.timer if device else "host" if outcome.samples else None,
        "device_held_bytes": device.held_bytes if device else None,
        "device_peak_bytes": device.peak_bytes if device else None,
        "send_s": device.send_s if device else None,
        "fetch_s": device.fetch_s if device else None,
        "gpu": dict(device.gpu) if device and device.gpu is not None else None,
    }


def _estimate(outcome: Outcome) -> Estimate | None:
    """The time of a call, with an interval that holds what another session would measure: it includes between-process
    variation and session drift. That over several processes has the former already, and a range of too few samples
    stays one."""
    estimate = outcome.estimate
    if estimate is None or not estimate.covers:
        return estimate
    widths = [outcome.variation.half_width_of_time] if estimate.processes == 1 else []
    if outcome.drift is not None:  # the other session has a process of its own, too
        widths += [*widths, outcome.drift.half_width_of_ratio]
    return estimate.widened(math.hypot(*widths))


def _per_second(amount: int, estimate: Estimate | None, unit: float = 1.0) -> float | None:
    """`amount` a call as a rate, in units of `unit`; None where nothing was timed."""
    return amount / estimate.median / unit if estimate and estimate.median > 0 else None


def _columns(samples: tuple[RoundSample, ...]) -> dict[str, list[Any]]:
    """The samples by column: what could be read in every one, and `process`, from 0, where there are several."""
    rows = [{"round": s.round, "load": s.load, **asdict(s.sample), "process": s.process} for s in samples]
    absent = {"process"} if not any(s.process for s in samples) else set()
    absent |= {name for row in rows for name, value in row.items() if value is None}
    names = [name for name in rows[0] if name not in absent] if rows else []
    return {name: [row[name] for row in rows] for name in names}


def _hazards(outcome: Outcome, samples: dict[str, list[Any]]) -> list[Hazard]:
    settings = outcome.settings
    device = outcome.declared.get("device", "cpu")
    hazards = hazards_of_samples(samples, settings.threads, settings.allocator, device)
    if samples and outcome.settling and not outcome.settling.reached:
        hazards.append(Hazard(Kind.SETTLING, {"visit_ms": outcome.settling.visit_s * 1e3}))
    if samples and outcome.clock_doubt is not None:
        accounted_s, waited_s = outcome.clock_doubt
        hazards.append(Hazard(Kind.CLOCK_DOUBT, {"accounted_s": accounted_s, "waited_s": waited_s}))
    if (groups := _groups(outcome)) is not None:
        hazards.append(groups)
    if samples and settings.cache == "pass" and not outcome.touches_input:
        hazards.append(Hazard(Kind.APPROXIMATE_PASS))
    if settings.cache == "pass":  # each call is timed by itself, however short it is
        hazards = [hazard for hazard in hazards if hazard.kind is not Kind.SHORT_SAMPLES]
    return in_order(hazards)


def _groups(outcome: Outcome) -> Hazard | None:
    """Two groups among the processes of an outcome, if they are further apart than the precision."""
    walls: dict[int, list[float]] = {}
    for s in outcome.samples:
        walls.setdefault(s.process, []).append(s.sample.wall_s)
    medians = [median(of_process) for of_process in walls.values()]
    groups = two_groups([math.log(seconds) for seconds in medians]) if medians and min(medians) > 0 else None
    return process_groups(groups, outcome.settings.precision)


def process_groups(groups: Groups | None, precision: float) -> Hazard | None:
    """The hazard of two groups of processes that are further apart than the precision."""
    apart = math.expm1(groups.apart) if groups else 0.0
    return Hazard(Kind.PROCESS_GROUPS, {"apart": apart}) if apart > precision else None


def records(path: Place | Iterable[Place] | None = None, only: Iterable[str] | None = None) -> Iterator[Record]:
    """Every record in a journal, a results folder or several such places; by default of the folder that runs write to.
    With `only`, at least these fields of each, as `read_records` takes them. Raises `ResultsError` without such a
    place."""
    paths = journals_at(path)
    if only is None:
        for journal in paths:
            yield from read_records(journal)
    else:
        for part in read_parts(paths, partial(_batches, tuple(only))):
            yield from chain.from_iterable(part)


def _batches(only: tuple[str, ...], part: Sequence[Span]) -> Iterator[list[Record]]:
    for path, start, stop in part:
        remaining = read_records(path, only, start, stop)
        while batch := list(islice(remaining, _AT_A_TIME)):
            yield batch


def journals_at(path: Place | Iterable[Place] | None = None) -> list[Path]:
    """The journals that `records` reads, each once, the oldest first within a place."""
    places = [results_folder()] if path is None else [path] if isinstance(path, (str, PathLike)) else path
    paths: dict[Path, None] = {}
    for place in map(Path, places):
        if place.is_file():
            paths[place] = None
        elif place.is_dir():
            paths |= dict.fromkeys(journals(place))
        else:
            raise ResultsError(f"there are no results at {place}; it should be a journal (.jsonl) or a results folder.")
    return list(paths)


_FIELDS = (
    *"status median_s low_s high_s problem threads case_id time run stopped versions declared".split(),
    *("settings.allocator", "settings.cache", "settings.pass_bytes", "settings.handed_over", "settings.isa"),
    "settings.data",
    *HARDWARE_FIELDS,
)


@dataclass(frozen=True)
class Conditions:
    """The conditions under which times are comparable. `hardware` None means that of the newest record."""

    threads: int
    allocator: str = "steady"
    cache: Cache = "warm"
    hardware: Hardware | None = None
    handed_over: bool = False
    pass_bytes: int | None = None
    isa: str | None = None
    data: str = NORMAL

    @classmethod
    def of(cls, settings: Settings, hardware: Hardware | None) -> Conditions:
        """The conditions of times measured with `settings`."""
        return cls(
            settings.threads,
            settings.allocator,
            settings.cache,
            hardware,
            settings.handed_over,
            settings.pass_bytes,
            settings.isa,
            settings.data,
        )

    def hold(self, record: Record) -> bool:
        """Whether `record` was taken under these conditions."""
        settings, machine = table(record, "settings"), table(record, "machine")
        return (
            record.get("threads") == self.threads
            and settings.get("allocator") == self.allocator
            and settings.get("cache") == self.cache
            and _is_handed_over(record) == self.handed_over
            and settings.get("pass_bytes") == self.pass_bytes
            and settings.get("isa") == self.isa
            and data_of(record) == self.data
            and (self.hardware is None or _is_of(self.hardware, hardware_of(machine)))
            and isinstance(record.get("problem"), Mapping)
            and isinstance(record.get("case_id"), str)
        )


def _is_handed_over(record: Record) -> bool | None:
    """Whether its calls were handed tensors; None for records of earlier versions, which handed the wrong layout to
    backends that compute in channels-last."""
    if not table(record, "settings").get("handed_over"):
        return False
    declared = table(record, "declared")
    return True if "gives" in declared or "takes" not in declared else None


def machine_with_results(results: Path, machine: str) -> Path:
    """The folder of a machine's results. Raises `ResultsError`, with the known machines, if it does not exist."""
    folder = results / machine
    known = sorted(path.name for path in results.iterdir() if path.is_dir()) if results.is_dir() else []
    if machine in known:
        return folder
    there = f"There are: {', '.join(known)}." if known else "It has no results at all; convbench run makes some."
    raise ResultsError(f"{results} has no machine {machine!r}.{did_you_mean(machine, known)} {there}")


def earlier_records(folder: Path, conditions: Conditions, *, whole: bool) -> list[Record]:
    """The newest record of each backend and problem in `folder` under these `conditions`, oldest first; unless `whole`,
    only with the fields about its time."""
    newest: dict[tuple[Any, ...], Record] = {}
    candidates = records(folder, None if whole else _FIELDS)
    for record in candidates if folder.is_dir() else ():
        if conditions.hold(record):
            key = record["case_id"], record["backend"]
            newest.pop(key, None)  # so that the order is that of the newest
            newest[key] = record
    if conditions.hardware is not None or not newest:
        return list(newest.values())
    *_, last = newest.values()
    hardware = hardware_of(table(last, "machine"))  # the name may have gone to another machine meanwhile
    return [one for one in newest.values() if not hardware_of(table(one, "machine")).is_other_than(hardware)]


def _is_of(hardware: Hardware, measured: Hardware) -> bool:
    return measured.cpu == hardware.cpu and not measured.is_other_than(hardware)


def by_case_id(candidates: Iterable[Record]) -> dict[str, list[Record]]:
    grouped: dict[str, list[Record]] = {}
    for record in candidates:
        grouped.setdefault(record["case_id"], []).append(record)
    return grouped
