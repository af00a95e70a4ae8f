"""Everything that a run shows: the tables of its suites, then what has to be known to read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.ranking import rank
from convbench.analysis.scaling import OtherDtype, other_dtypes, scalings, wider_isas
from convbench.isa import NATIVE
from convbench.reporting.console import Sentence, say, spaced, stderr, stdout
from convbench.reporting.gpu import gpu_sentence
from convbench.reporting.hazards import hazard_line, hazard_report
from convbench.reporting.numbers import aligned, count, duration, interval_text, milliseconds, percent, times
from convbench.reporting.run.suite_tables import doubts, suite_report
from convbench.reporting.tables import plain_table
from convbench.runner.run import Request
from convbench.runner.session import Measurements
from convbench.status import Status
from convbench.store.asv.results import Written
from convbench.store.readings import complete, data_of, hardware_of, isa_of, table
from convbench.store.schema import Record
from convbench.verification.timed_data import described

_SHORTEST_START_S = 1e-3  # no process starts in less, so none was started


def show_run(measurements: Measurements, request: Request) -> None:
    """Print the tables and notes; beside JSON lines, which were printed before, the notes alone on standard error."""
    if request.as_json:
        warnings = [text for ranking in rank(measurements.records) for text in doubts(ranking, measurements.limits)]
        notes = _notes(measurements, request.details)
        stderr().print(*warnings, Text(), spaced(*notes), sep="\n", crop=False)
    else:
        stdout().print(run_report(measurements, request), crop=False)


def end_run(measurements: Measurements, *remarks: str) -> None:
    """Print the remarks, and what an interrupt left. Raises the error that ended the run early, if one did."""
    if measurements.error is not None:
        raise measurements.error
    for remark in (*remarks, *((interrupted_sentence(measurements),) if measurements.interrupted else ())):
        say(remark, error=True)


def earlier_run_report(measurements: Measurements, *, details: bool = False) -> RenderableType:
    """The tables of an earlier run, apart for each number of threads and instruction set, as its records say them."""
    records = tuple(complete(record) for record in measurements.records if record["status"] in set(Status))
    threads = tuple(dict.fromkeys(n for record in records if isinstance(n := record.get("threads"), int)))
    isas = tuple(dict.fromkeys(isa_of(record) or NATIVE for record in records))
    data = tuple(dict.fromkeys(map(data_of, records)))
    first = next(iter(records), None)
    machine = table(first, "machine") if first else {}
    when = f", measured {first['time']}" if first and first.get("time") else ""
    when += f" on {machine['machine']} ({hardware_of(machine)})" if machine.get("machine") else ""
    ending = f"{count(len(records), 'record')} in {measurements.journal}{when}."
    shown = replace(measurements, records=records)
    request = Request(threads=threads or 1, isa=isas, data=data, case_glob="*", details=details)
    return run_report(shown, request, ending, bars=True)


def run_report(
    measurements: Measurements, request: Request, ending: str | None = None, *, bars: bool = False
) -> RenderableType:
    """The tables, apart for each combination of values on the request's axes, and the notes, the last of which is
    `ending` or how much was measured in what time. `bars` adds columns that show speeds as lengths."""
    parts: list[RenderableType] = []
    whole = request.takes_whole_suites and not (measurements.interrupted or measurements.error)
    for heading, records in variants(measurements.records, request.axes):
        if heading:
            parts.append(Text(heading, style="bold underline"))
        parts += [
            suite_report(
                ranking,
                measurements.limits,
                details=request.details,
                whole=whole,
                reasons=request.names_backends or bool(request.plugins),
                bars=bars,
            )
            for ranking in rank(records, request.lower_precision)
        ]
    return Group(
        Text(),
        spaced(
            *parts,
            scaling_report(measurements.records),
            isa_report(measurements.records),
            dtype_report(measurements.records),
            *_notes(measurements, request.details, ending),
        ),
    )


def asv_sentence(written: Written) -> str:
    """How many values were stored in asv's files, or why none were."""
    if written.refusal is not None:
        return f"Not stored in asv's files: {written.refusal}."
    stored = f"{written.values} values stored in asv's files under commit {(written.commit or '')[:8]}"
    remarks = [remark for remark in (written.machine, written.left_out) if remark]
    return f"{': '.join([stored, '; '.join(remarks)] if remarks else [stored])}."


def interrupted_sentence(measurements: Measurements) -> str:
    """What an interrupt left, and how to go on."""
    if measurements.journal is None:
        return f"Interrupted: this is what {len(measurements.records)} records say."
    kept = f"Interrupted: {len(measurements.records)} records are kept."
    if measurements.unfinished:
        kept += f" {measurements.unfinished} was not finished, and its backends without a record are measured again"
        return f"{kept} when the same command is given with --resume."
    return f"{kept} The same command with --resume goes on from here."


def journal_sentence(measurements: Measurements, what: str = "record") -> str:
    """`12 records in PATH, after 3.20 s, 1.10 s of them to start the workers.`"""
    place = f" in {measurements.journal}" if measurements.journal else ""
    started = measurements.starting_s >= _SHORTEST_START_S
    starting = f", {duration(measurements.starting_s)} of them to start the workers" if started else ""
    return f"{count(measurements.written, what)}{place}, after {duration(measurements.elapsed_s)}{starting}."


def measuring_notes(measurements: Measurements, *, details: bool = False) -> RenderableType:
    """The hazards of a choice's measurements, and how much was measured in what time."""
    sentence = journal_sentence(measurements)
    if measurements.interrupted:
        sentence = f"Interrupted: {sentence} The answer is for what was measured."
    hazards = _hazards(measurements, details)
    return Group(Text(), spaced(hazards, Sentence(sentence)))


def _hazards(measurements: Measurements, details: bool) -> RenderableType | None:
    shown = hazard_report if details else hazard_line
    return shown(measurements.records, measurements.machine_hazards)


def _notes(measurements: Measurements, details: bool, ending: str | None = None) -> list[RenderableType | None]:
    records = measurements.records
    journal = ending or (journal_sentence(measurements, "new record") if records else None)
    sentences = gpu_sentence(records), denormals_sentence(records), own_error_sentence(records), journal
    gpu, denormals, error, written = [Sentence(sentence) if sentence else None for sentence in sentences]
    return [gpu, denormals, error, _hazards(measurements, details), written]


def denormals_sentence(records: Sequence[Record]) -> str | None:
    """Which backends kept denormal numbers and which flushed them to zero; None where nothing was timed on any."""
    names: dict[str, dict[str, None]] = {"kept": {}, "flushed": {}}
    for record in records:
        if (what := record.get("denormals")) in names:
            names[str(what)][record["backend"]] = None
    names["kept"] = {name: None for name in names["kept"] if name not in names["flushed"]}
    parts = [
        f"{', '.join(names[what])} {verb}"
        for what, verb in (("kept", "computed with denormal numbers"), ("flushed", "took them for zero"))
        if names[what]
    ]
    return f"{'; '.join(parts)}. Both are right." if parts else None


def own_error_sentence(records: Sequence[Record]) -> str | None:
    """`This run's own error, by timing torch against itself: 0.4 % (...)`; None when there was no self-check."""
    errors_by_case = {}
    for record in records:
        ratio = record.get("self_ratio")
        if ratio and ratio["value"] > 0:
            key = (record.get("session"), record.get("suite"), record["case"], record.get("threads"))
            errors_by_case[key] = ratio["backend"], abs(math.log(ratio["value"]))
    if not errors_by_case:
        return None
    names = list(dict.fromkeys(name for name, _ in errors_by_case.values()))
    errors = [error for _, error in errors_by_case.values()]
    themselves = "itself" if len(names) == 1 else "themselves"
    sentence = f"This run's own error, by timing {' and '.join(names)} against {themselves} in another process: "
    if len(errors) == 1:
        return f"{sentence}{percent(errors[0])} %."
    return f"{sentence}{percent(median(errors))} % (median of {len(errors)} cases), {percent(max(errors))} % at worst."


def variants(records: Iterable[Record], axes: Sequence[str]) -> list[tuple[str, list[Record]]]:
    """The records grouped by their values on `axes` (`threads`, `dtype`, `batch`, `direction`, `epilogue`, `isa`,
    `data`), which a ranking must not mix, each group with its heading, in which values stand as they are typed.
    Without axes there is one group with an empty heading. A record without a direction is forward."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        values = {
            "threads": _threads(record.get("threads")),
            "dtype": str(record.get("dtype")),
            "batch": f"batch {(record.get('problem') or {}).get('batch')}",
            "direction": str((record.get("problem") or {}).get("direction") or "forward"),
            "epilogue": str((record.get("problem") or {}).get("epilogue") or "no epilogue"),
            "isa": f"instruction sets up to {isa}" if (isa := isa_of(record)) else "all instruction sets of the CPU",
            "data": f"timed on {described(data_of(record))}",
        }
        groups.setdefault(tuple(values[axis] for axis in axes), []).append(record)
    return [(", ".join(key), members) for key, members in groups.items()]


def scaling_report(records: Sequence[Record]) -> RenderableType | None:
    """The speed-up that more threads gave each backend; None when all ran with the same number of threads."""
    results = scalings(records)
    if not results:
        return None
    fewest = _threads(results[0].fewest)
    thread_counts = sorted({scaling.threads for scaling in results})
    several = len({scaling.suite for scaling in results}) > 1
    by_key = {(s.suite, s.backend, s.isa, s.threads): s for s in results}
    rows = list(dict.fromkeys((s.suite, s.backend, s.isa) for s in results))
    names = [f"{name}, up to {isa}" if isa else name for _, name, isa in rows]
    columns = [*([[suite for suite, *_ in rows]] if several else []), names]
    for threads in thread_counts:
        cells = [by_key.get((*row, threads)) for row in rows]
        columns.append(aligned([times(s.speedup.value) if s else "–" for s in cells]))
        columns.append([interval_text(s.speedup.low, s.speedup.high, s.speedup.covers) if s else "" for s in cells])
        columns.append(aligned([percent(s.efficiency) if s else "–" for s in cells]))
    headers = [*(["suite"] if several else []), "backend"]
    headers += [heading for threads in thread_counts for heading in (_threads(threads), "95 %", "% of ideal")]
    numbers = range(1 + several, len(headers))
    drops = [*numbers[1::3], *numbers[2::3]]
    table = plain_table(headers, zip(*columns, strict=True), right=numbers, drops=drops)
    return Group(Text(f"Speed-up over {fewest}, a geometric mean over the cases that both ran"), Text(), table)


def isa_report(records: Sequence[Record]) -> RenderableType | None:
    """The speed-up that wider instruction sets gave each backend; None when all ran with the same."""
    results = wider_isas(records)
    if not results:
        return None
    several = len({(wider.suite, wider.threads) for wider in results}) > 1
    rows = [
        (
            *((wider.suite, _threads(wider.threads)) if several else ()),
            wider.backend,
            wider.isa,
            times(wider.speedup.value),
            interval_text(wider.speedup.low, wider.speedup.high, wider.speedup.covers),
            wider.narrowest,
        )
        for wider in results
    ]
    headers = [*(["suite", "threads"] if several else []), "backend", "up to", "as fast", "95 %", "as up to"]
    numbers = range(len(headers) - 3, len(headers) - 1)
    table = plain_table(headers, rows, right=numbers, drops=[numbers[1]])
    return Group(
        Text("Speed-up by wider instruction sets, a geometric mean over the cases that both ran"), Text(), table
    )


def dtype_report(records: Sequence[Record]) -> RenderableType | None:
    """What other dtypes gave each backend; None when all ran in one."""
    results = other_dtypes(records)
    if not results:
        return None
    several = len({(other.suite, other.threads, other.isa) for other in results}) > 1
    columns = [*([[_setting(other) for other in results]] if several else [])]
    columns += [[other.backend for other in results], [other.dtype for other in results]]
    columns.append(aligned([times(other.speedup.value) for other in results]))
    intervals = [(o.speedup.low, o.speedup.high, o.speedup.covers) for o in results]
    columns.append([interval_text(*interval) for interval in intervals])
    columns.append([other.widest for other in results])
    columns.append([f"{other.cases}" for other in results])
    columns.append(aligned([milliseconds(other.dtype_s) for other in results]))
    columns.append(aligned([milliseconds(other.widest_s) for other in results]))
    headers = [*(["setting"] if several else []), "backend", "dtype", "speed-up", "95 %", "over"]
    headers += ["cases", "all cases, ms", "before, ms"]
    first = several + 2
    numbers = (first, first + 1, *range(first + 3, len(headers)))
    drops = [first + 1, len(headers) - 1, len(headers) - 2]
    table = plain_table(headers, zip(*columns, strict=True), right=numbers, drops=drops)
    title = "Speed-up by narrower numbers, a geometric mean over the cases that both ran"
    answer = None if several else _least_times(results)
    return spaced(Group(Text(title), Text(), table), Sentence(answer) if answer else None)


def _least_times(results: Sequence[OtherDtype]) -> str | None:
    """The least time for all cases in each dtype, over the backends that ran all of them in both."""
    most = max(other.cases for other in results)
    whole = [other for other in results if other.cases == most and other.widest == results[0].widest]
    least = {other.widest: (other.widest_s, other.backend) for other in sorted(whole, key=lambda o: -o.widest_s)}
    for other in sorted(whole, key=lambda o: -o.dtype_s):
        least[other.dtype] = (other.dtype_s, other.backend)
    parts = [f"{milliseconds(s)} ms in {dtype} ({backend})" for dtype, (s, backend) in least.items()]
    of_cases = "the case" if most == 1 else f"all {most:,} cases"
    return f"The least time of these backends for {of_cases}: {', '.join(parts)}."


def _setting(other: OtherDtype) -> str:
    return ", ".join(filter(None, (other.suite, _threads(other.threads), other.isa)))


def _threads(number: Any) -> str:
    return "1 thread" if number == 1 else f"{number} threads"
