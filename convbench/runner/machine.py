"""`convbench machine`: what is known of this machine, and what it can do at most, measured when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.best_convolution import BestConvolution, best_convolutions
from convbench.analysis.roofline import IMPLAUSIBLE
from convbench.errors import ConvbenchError
from convbench.measurement.ceilings.figures import Ceilings, Figure
from convbench.measurement.ceilings.process import measure_ceilings
from convbench.measurement.machine.energy import why_not_metered
from convbench.measurement.machine.facts import machine_facts, machine_name, usable_cpus
from convbench.measurement.machine.gpu import first_gpu
from convbench.reporting.console import plain_table, print_json, show_journal_warnings, stderr, stdout
from convbench.reporting.gpu import gpu_in_words
from convbench.reporting.numbers import aligned, percent, significant
from convbench.store.ceilings import keep_ceilings, kept_ceilings
from convbench.store.locations import machine_folder, results_folder

_UNKNOWN = (
    "What it can do at most is not known yet: convbench machine --measure finds out, in half a minute, once. "
    "Tables then say what share of that a time is."
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given."""

    measure: bool = False
    threads: str | None = None
    results: Path | None = None
    as_json: bool = False


def show_machine(request: Request) -> None:
    """Show what is known, after measuring if asked to. Raises `ConvbenchError` for threads that cannot be."""
    show_journal_warnings()
    threads = _threads(request)
    if request.measure:
        folder = machine_folder(results_folder(request.results), machine_name())
        keep_ceilings(folder, _measured(threads))
    folder = results_folder(request.results) / machine_name()
    facts = machine_facts()
    ceilings = [one for one in kept_ceilings(folder) if one.cpu == facts["cpu"]]
    convolutions = best_convolutions(folder, ceilings)
    gpu = first_gpu()
    if request.as_json:
        told = {"ceilings": msgspec.to_builtins(ceilings), "best_convolutions": [asdict(one) for one in convolutions]}
        print_json([facts | {"gpu": gpu and gpu.facts()} | told])
        return
    console = stdout()
    rows = [(name, _fact(name, value)) for name, value in facts.items() if value not in (None, {}, "")]
    rows += [("gpu", gpu_in_words(gpu.facts()))] if gpu else []
    console.print(plain_table(("fact", "value"), rows))
    console.print()
    console.print(_report(ceilings, convolutions) if ceilings else Text(_UNKNOWN))
    if (reason := why_not_metered()) is not None:
        console.print(Text(f"{reason[0].upper()}{reason[1:]}."))


# --- measuring --------------------------------------------------------------------------------------------------------


def _threads(request: Request) -> list[int]:
    """The numbers of threads to measure, by default one and as many as there are CPUs."""
    if request.threads is None:
        return sorted({1, usable_cpus()})
    if not request.measure:
        raise ConvbenchError("--threads says with how many threads to measure; it goes with --measure.")
    words = [word.strip() for word in request.threads.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) for word in words):
        raise ConvbenchError(f"--threads is {request.threads!r}; it should be numbers from 1, as in --threads 1,2.")
    if max(map(int, words)) > usable_cpus():
        raise ConvbenchError(
            f"--threads is {request.threads!r}, but convbench may use {usable_cpus()} CPUs: more threads than that do "
            "not run side by side, so there is no ceiling to measure."
        )
    return sorted({int(word) for word in words})


def _measured(threads: Sequence[int]) -> list[Ceilings]:
    found = []
    with _watching() as watch:
        for count in threads:
            watch(_threaded(count))
            found.append(measure_ceilings(count, watch))
    return found


@contextmanager
def _watching() -> Iterator[Callable[[str], None]]:
    """Something to tell what is being done: on a terminal it is shown while it is, elsewhere it is not."""
    console = stderr()
    if not console.is_terminal:
        console.print("measuring what this machine can do ...", markup=False)
        yield lambda what: None
        return
    with console.status(Text("measuring")) as status:
        yield lambda what: status.update(Text(f"measuring {what}"))


# --- what a person sees -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A line of the table: what, with how many threads, its rate and half its interval's width, and by what."""

    what: str
    threads: int
    rate: float
    half_width: float | None
    how: str


def _report(ceilings: Sequence[Ceilings], convolutions: Sequence[BestConvolution]) -> RenderableType:
    rows = [row for what in _rows(ceilings, convolutions).values() for row in what]
    rates = aligned([significant(row.rate) for row in rows])
    cells = [
        (
            row.what if before is None or before.what != row.what else "",
            str(row.threads),
            rate,
            "" if row.half_width is None else f"± {percent(row.half_width)} %",
            row.how,
        )
        for row, before, rate in zip(rows, [None, *rows], rates, strict=False)
    ]
    parts: list[RenderableType] = [
        Text(f"What it can do at most, measured {_ages(ceilings)}:"),
        Text(),
        plain_table(("ceiling", "threads", "rate", "95 %", "by"), cells, right=(1, 2, 3)),
    ]
    notes = [(one.threads, note) for one in ceilings for note in [*one.notes, *_unmeasured(one)]]
    notes += [(one.threads, _implausible(one)) for one in convolutions if one.share > IMPLAUSIBLE]
    if notes:
        parts += [Text(), *(Text(f"{_threaded(threads)}: {note}", style="yellow") for threads, note in notes)]
    return Group(*parts)


def _rows(ceilings: Sequence[Ceilings], convolutions: Sequence[BestConvolution]) -> dict[str, list[_Row]]:
    """The lines, those of one ceiling together."""
    found: dict[str, list[_Row]] = {}

    def add(what: str, threads: int, figure: Figure, unit: float, more: str = "") -> None:
        half_width = (figure.high - figure.low) / 2 / figure.value
        found.setdefault(what, []).append(_Row(what, threads, figure.value / unit, half_width, figure.how + more))

    for one in ceilings:
        if one.clock:
            add("clock, GHz", one.threads, one.clock, 1e9)
    for dtype in dict.fromkeys(dtype for one in ceilings for dtype in (*one.multiply_adds, *one.matrix_products)):
        for one in ceilings:
            for figure in one.multiply_adds.get(dtype, ())[:1]:
                per_cycle = one.per_cycle(figure)
                more = f", {significant(per_cycle)} FLOP a cycle" if per_cycle else ""
                add(f"{dtype}, GFLOP/s", one.threads, figure, 1e9, more)
        for one in ceilings:
            for figure in one.matrix_products.get(dtype, ())[:1]:
                add(f"{dtype} matrix product, GFLOP/s", one.threads, figure, 1e9)
        what = f"{dtype} convolution, GFLOP/s"
        for best in convolutions:
            if best.dtype == dtype:
                how = f"{best.backend} on {best.case_id}, {percent(best.share)} % of its limit"
                found.setdefault(what, []).append(_Row(what, best.threads, best.gflops, None, how))
    for name in dict.fromkeys(level.name for one in ceilings for level in one.levels):
        for one in ceilings:
            for level in one.levels:
                if level.name == name and level.fastest:
                    add(f"{name}, GB/s", one.threads, level.fastest, 1e9)
    return found


def _unmeasured(one: Ceilings) -> list[str]:
    return [
        f"{dtype} has no ceiling: the CPU multiplies it by {how}, for which there is no loop here"
        for dtype, how in one.unmeasured.items()
    ]


def _implausible(one: BestConvolution) -> str:
    return (
        f"{one.backend} on {one.case_id} was {one.share:.1f} times as fast as the limit. Either it was timed without "
        "waiting for its work to end (sync), or the ceilings are too low: measure them when the machine is idle"
    )


def _threaded(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _ages(ceilings: Sequence[Ceilings]) -> str:
    """How long ago they were measured, each for itself where that differs."""
    ages = [_age(one.time) for one in ceilings]
    if len(set(ages)) == 1:
        return ages[0]
    return ", ".join(f"{age} with {_threaded(one.threads)}" for age, one in zip(ages, ceilings, strict=True))


def _age(time: str) -> str:
    """How long ago an ISO time is, in the largest unit that fits."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()
    except (ValueError, TypeError):
        return "at an unknown time"
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def _fact(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact('bytes', size)}" for key, size in value.items())
    if name == "ram" or name.endswith("bytes"):
        size = int(value)
        return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**10:,.0f} KiB"
    return str(value)
