"""What a person sees of a machine: its facts, what it can do at most, and how near convolutions come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.roofline import IMPLAUSIBLE, BestConvolution
from convbench.measurement.ceilings.figures import Ceilings, Figure
from convbench.reporting.console import stderr
from convbench.reporting.gpu import gpu_in_words
from convbench.reporting.numbers import aligned, count, percent, significant
from convbench.reporting.tables import plain_table
from convbench.runner.machine import Machine

_UNKNOWN = (
    "What it can do at most is not known yet: convbench machine --measure finds out, in half a minute, once. "
    "Tables then say what share of that a time is."
)
_Line = tuple[str, int, float, str, str]
_EITHER = (
    "Either it was timed without waiting for its work to end (sync), or the ceilings are too low: measure them when "
    "the machine is idle"
)


def row(machine: Machine) -> dict[str, Any]:
    """All of it, JSON-ready."""
    ceilings = msgspec.to_builtins(list(machine.ceilings))
    convolutions = [asdict(best) for best in machine.convolutions]
    return machine.facts | {"gpu": machine.gpu, "ceilings": ceilings, "best_convolutions": convolutions}


def report(machine: Machine) -> RenderableType:
    """The facts, then the ceilings or how to measure them."""
    facts = [(name, _fact(name, value)) for name, value in machine.facts.items() if value not in (None, {}, "")]
    facts += [("gpu", gpu_in_words(machine.gpu))] if machine.gpu else []
    ceilings = _report(machine.ceilings, machine.convolutions) if machine.ceilings else Text(_UNKNOWN)
    parts: list[RenderableType] = [plain_table(("fact", "value"), facts, wraps=(1,)), Text(), ceilings]
    if reason := machine.unmetered:
        parts.append(Text(f"{reason[0].upper()}{reason[1:]}."))
    return Group(*parts)


@contextmanager
def measuring() -> Iterator[Callable[[int, str], None]]:
    """Shows on a terminal what is being measured; elsewhere it says once that something is. On standard error."""
    console = stderr()
    if not console.is_terminal:
        console.print("measuring what this machine can do ...", markup=False)
        yield lambda threads, what: None
        return
    with console.status(Text("measuring")) as status:
        yield lambda threads, what: status.update(Text(f"measuring {what or count(threads, 'thread')}"))


@contextmanager
def completing() -> Iterator[Callable[[int, str], None]]:
    """As `measuring`, for what an earlier convbench could not measure: silent where nothing is."""
    console = stderr()
    with console.status(Text("reading what is known")) as status:

        def doing(threads: int, what: str) -> None:
            sentence = f"measuring {what} on {count(threads, 'thread')}, which an earlier convbench did not"
            if console.is_terminal:
                status.update(Text(sentence))
            else:
                console.print(Text(f"{sentence} ..."))

        yield doing


def _report(ceilings: Sequence[Ceilings], convolutions: Sequence[BestConvolution]) -> RenderableType:
    lines = list(_lines(ceilings, convolutions))
    rates = aligned([significant(rate) for _, _, rate, _, _ in lines])
    names = [name for name, *_ in lines]
    cells = [
        (name if name != before else "", str(threads), rate, interval, how)
        for (name, threads, _, interval, how), before, rate in zip(lines, ["", *names], rates, strict=False)
    ]
    parts: list[RenderableType] = [
        Text(f"What it can do at most, measured {_ages(ceilings)}:\n"),
        plain_table(("ceiling", "threads", "rate", "95 %", "by"), cells, right=(1, 2, 3), wraps=(4,), drops=(3, 4)),
    ]
    notes = []
    for ceiling in ceilings:
        unmeasured = [
            f"{dtype} has no ceiling: the CPU multiplies it by {how}, which was not measured"
            for dtype, how in ceiling.unmeasured.items()
        ]
        notes += [(ceiling.threads, note) for note in (*ceiling.notes, *unmeasured)]
    for best in convolutions:
        if best.share > IMPLAUSIBLE:
            note = f"{best.backend} on {best.case_id} was {best.share:.1f} times as fast as the limit. {_EITHER}"
            notes.append((best.threads, note))
    if notes:
        parts += [Text(), *(Text(f"{count(threads, 'thread')}: {note}", style="yellow") for threads, note in notes)]
    return Group(*parts)


def _lines(ceilings: Sequence[Ceilings], convolutions: Sequence[BestConvolution]) -> Iterator[_Line]:
    """The lines in their order: the clock, then each dtype, then each cache and the memory. Each is the ceiling, the
    threads, the rate, half the width of its 95 % interval as text, and how."""
    for ceiling in ceilings:
        if ceiling.clock:
            yield _line("clock, GHz", ceiling, ceiling.clock)
    for dtype in dict.fromkeys(name for c in ceilings for name in (*c.multiply_adds, *c.matrix_products)):
        for ceiling in (c for c in ceilings if dtype not in c.unmeasured):
            for figure in ceiling.multiply_adds.get(dtype, ())[:1]:
                per_cycle = ceiling.per_cycle(figure)
                unit = "OP" if dtype.startswith("int") else "FLOP"
                note = f", {significant(per_cycle)} {unit} a cycle" if per_cycle else ""
                yield _line(f"{dtype}, G{unit}/s", ceiling, figure, note)
        for ceiling in ceilings:
            for figure in ceiling.matrix_products.get(dtype, ())[:1]:
                yield _line(f"{dtype} matrix product, GFLOP/s", ceiling, figure)
        for best in convolutions:
            if best.dtype == dtype:
                how = f"{best.backend} on {best.case_id}, {percent(best.share)} % of its limit"
                yield f"{dtype} convolution, GFLOP/s", best.threads, best.gflops, "", how
    for name in dict.fromkeys(level.name for ceiling in ceilings for level in ceiling.levels):
        for ceiling in ceilings:
            for level in ceiling.levels:
                if level.name == name and level.fastest:
                    yield _line(f"{name}, GB/s", ceiling, level.fastest)


def _line(name: str, ceiling: Ceilings, figure: Figure, note: str = "") -> _Line:
    interval = f"± {percent((figure.high - figure.low) / 2 / figure.value)} %"
    return name, ceiling.threads, figure.value / 1e9, interval, figure.how + note


def _ages(ceilings: Sequence[Ceilings]) -> str:
    """How long ago they were measured; by number of threads if that differs."""
    ages = [_age(ceiling.time) for ceiling in ceilings]
    if len(set(ages)) == 1:
        return ages[0]
    return ", ".join(f"{age} with {count(c.threads, 'thread')}" for age, c in zip(ages, ceilings, strict=True))


def _age(time: str) -> str:
    """How long ago an ISO time is, in the largest unit that fits."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()
    except (ValueError, TypeError):
        return "at an unknown time"
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{count(int(seconds // length), name)} ago"
    return "just now"


def _fact(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact('bytes', size)}" for key, size in value.items())
    if name == "ram" or name.endswith("bytes"):
        size = int(value)
        return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**10:,.0f} KiB"
    return str(value)
