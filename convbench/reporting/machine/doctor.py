"""What `convbench doctor` found, for a terminal: short sections, what to do, and a verdict in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.diagnosis import DURATIONS_S, PROCESSES, ClockError, Limit
from convbench.analysis.drift import FEWEST_OTHERS, smallest_between_runs
from convbench.measurement.hazards.catalogue import Hazard, Kind
from convbench.measurement.machine.clocks import Timer
from convbench.measurement.machine.state import MachineActivity, MachineState
from convbench.reporting.hazards import Paragraph, hazard_paragraphs
from convbench.reporting.numbers import count, duration, percent, significant

_GAP = "   "
_INDENT = "  "
_VERDICT_S = 10
_COARSE, _HOPELESS = 0.05, 1.0


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A machine that was examined: with which work, and everything that was found."""

    facts: dict[str, Any]
    threads: int
    backend: str
    case: str
    call_s: float
    rounds: tuple[int, ...]
    """Of each pair of fresh processes."""
    timers: tuple[Timer, Timer]
    machine_state: MachineState
    at_rest: MachineActivity
    meanwhile: MachineActivity
    wall: ClockError
    cpu: ClockError | None
    hazards: tuple[Hazard, ...]
    limit: Limit
    spread: float
    """How far the samples of a process lie apart, as a standard deviation of logarithms."""
    seconds: float

    @property
    def clocks(self) -> list[tuple[str, ClockError]]:
        found = [("wall clock", self.wall)]
        return found if self.cpu is None else [*found, ("CPU clock", self.cpu)]


def report(examined: Examined) -> RenderableType:
    """All sections, the verdict last."""
    parts: list[RenderableType] = [_heading(examined)]
    sections = (
        ("Clocks", _timers(examined.timers)),
        ("State", _state(examined)),
        ("The same work against itself", _self_comparison(examined)),
        ("Smallest difference it can tell apart", _detectable(examined)),
        ("What to do", _hazards(examined.hazards)),
    )
    for title, lines in sections:
        parts += [Text(), Text(title, style="bold"), *lines]
    return Group(*parts, Text(), Paragraph(verdict(examined), style="bold"))


def verdict(examined: Examined) -> str:
    """One sentence: what can be told apart, and what limits that."""
    threads = "one thread" if examined.threads == 1 else f"{examined.threads} threads"
    wall, cpu = (
        clock.smallest_difference(_VERDICT_S) if clock is not None else None for clock in (examined.wall, examined.cpu)
    )
    if wall is None:
        return (
            f"Calls of {duration(examined.call_s)} are too long to tell differences apart in {_VERDICT_S} s on "
            f"{threads}: look at 60 s above, or at a smaller --problem."
        )
    if wall < _COARSE:
        able = f"can tell apart differences of about {percent(wall)} %"
    elif wall < _HOPELESS:
        able = f"can, as it is, tell apart only differences above {percent(wall)} %"
    else:
        able = "cannot, as it is, tell what is twice as slow from its equal"
    sentence = f"This machine {able} in {_VERDICT_S} s on {threads}"
    if examined.limit.waiting and cpu is not None and cpu < _HOPELESS:
        sentence += f" (by the CPU clock it can tell {percent(cpu)} %)"
    return f"{sentence}; {_limit(examined)}."


def _limit(examined: Examined) -> str:
    hazard = examined.limit.hazard
    if hazard is None and examined.limit.waiting:
        return "something that the system does not tell of takes the CPU away for moments"
    if hazard is None:
        return "nothing stands out that limits it"
    if hazard.kind is Kind.PROCESS_LUCK:
        several = examined.wall.smallest_difference(_VERDICT_S, PROCESSES[-1])
        if several is not None:
            return (
                f"what limits it is the luck of a process, and with --processes {PROCESSES[-1]} it would be "
                f"{percent(several)} %"
            )
    return f"what limits it most: {hazard.sentence}"


# --- sections ---------------------------------------------------------------------------------------------------------


def _heading(examined: Examined) -> Text:
    s, facts = examined.machine_state, examined.facts
    cpus = f"{s.usable_cpus} CPU{'s' if s.usable_cpus != 1 else ''}"
    cores = f" on {s.cores} cores" if s.cores is not None and s.cores != s.usable_cpus else ""
    threads = count(examined.threads, "thread", "threads")
    virtual = ", virtual" if s.virtual else ""
    return Text(f"{facts['cpu']} ({cpus}{cores}{virtual}), {threads}, steady allocator")


def _timers(timers: Iterable[Timer]) -> list[Text]:
    rows = []
    for what, timer in zip(("wall clock", "CPU clock"), timers, strict=True):
        steps = "no step seen" if timer.step_s is None else f"steps of {duration(timer.step_s)} or less"
        rows.append((what, timer.name, steps, f"{duration(timer.cost_s)} to read"))
    return _lines(rows)


def _state(examined: Examined) -> list[Text]:
    s, now, rest = examined.machine_state, examined.meanwhile, examined.at_rest
    rows: list[tuple[str, ...]] = []
    if now.others_cpus is not None:
        at_rest = f"; {rest.others_cpus:.1f} before the test" if rest.others_cpus is not None else ""
        rows.append(("other work", f"{now.others_cpus:.1f} of {now.cpus} CPUs{at_rest}"))
    if now.steal_share is not None and s.virtual:
        rows.append(("taken by the host", f"{percent(now.steal_share)} %"))
    rows.append(("frequency", _frequency(s)))
    quota = f"{s.quota_cpus:.3g} CPUs" if s.quota_cpus is not None else "none"
    if now.quota_stops is not None:
        quota += f", used up {now.quota_stops} times" if s.quota_cpus is not None or now.quota_stops else ""
    rows.append(("CPU quota", quota))
    if now.heat_stops is not None:
        rows.append(("slowed by heat", f"{now.heat_stops} times"))
    if s.on_battery is not None:
        rows.append(("power", "battery" if s.on_battery else "mains"))
    if s.huge_pages is not None:
        rows.append(("huge pages", {"madvise": "for those that ask"}.get(s.huge_pages, s.huge_pages)))
    if now.swapped_pages is not None:
        rows.append(("swap", f"{now.swapped_pages} pages moved"))
    return _lines(rows)


def _frequency(s: MachineState) -> str:
    told = []
    if s.governors:
        told.append(f"governor {', '.join(s.governors)}")
    if s.frequencies_mhz:
        low, high = (f"{significant(end(s.frequencies_mhz) / 1e3)}" for end in (min, max))
        told.append(f"{low} GHz" if low == high else f"{low} to {high} GHz")
    if s.boost is not None:
        told.append(f"boost {'on' if s.boost else 'off'}")
    return ", ".join(told) if told else "the system does not tell"


def _self_comparison(examined: Examined) -> list[RenderableType]:
    pairs = len(examined.rounds)
    fewest, most = min(examined.rounds), max(examined.rounds)
    rounds = str(fewest) if fewest == most else f"{fewest} to {most}"
    work = (
        f"{examined.backend} on {examined.case}, {duration(examined.call_s)} a call: {pairs} pairs of fresh processes, "
        f"{rounds} rounds each"
    )
    names = ["typical error", "worst error", "noise of a round", "luck of a pair", "its interval holds 1"]
    columns: list[tuple[str, Sequence[str]]] = [("", names)]
    for name, clock in examined.clocks:
        figures = (clock.typical, clock.worst, clock.spread.noise, clock.spread.luck)
        columns.append((name, [*map(_percent, figures), f"{clock.covered} of {pairs}"]))
    return [Paragraph(work, len(_INDENT), style="dim"), *_columns(columns)]


def _detectable(examined: Examined) -> list[RenderableType]:
    rows = [(name, clock, processes) for processes in PROCESSES for name, clock in examined.clocks]
    columns: list[tuple[str, Sequence[str]]] = []
    columns.append(("", [f"{name}, {_processes(processes)}" for name, _, processes in rows]))
    for seconds in DURATIONS_S:
        cells = [_percent(clock.smallest_difference(seconds, processes)) for _, clock, processes in rows]
        columns.append((f"in {seconds} s", cells))
    alone, beside = (_hidden(smallest_between_runs(examined.spread, beside_others=others)) for others in (False, True))
    between = (
        f"This is side by side. From one run to another, however long they are, the machine itself hides {alone}; with "
        f"{FEWEST_OTHERS} other libraries in both at least {beside}."
    )
    return [*_columns(columns), Paragraph(between, len(_INDENT), style="dim")]


def _hidden(share: float) -> str:
    return f"what is below {percent(share)} %" if share < _HOPELESS else "even what is twice as slow"


def _processes(count: int) -> str:
    return "one process each" if count == 1 else f"{count} processes each"


def _hazards(hazards: Sequence[Hazard]) -> Sequence[RenderableType]:
    return hazard_paragraphs(hazards) or [Text(_INDENT + "Nothing: no hazard was seen.", style="green")]


# --- layout -----------------------------------------------------------------------------------------------------------


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{percent(share)} %" if share < _HOPELESS else f"> {percent(_HOPELESS)} %"


def _lines(rows: Sequence[tuple[str, ...]]) -> list[Text]:
    """Ragged of texts flush left, the first of each dim."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        line = Text(_INDENT).append(first.ljust(widths[0]), style="dim")
        for width, cell in zip(widths[1:], others, strict=True):
            line.append(_GAP + cell.ljust(width))
        line.rstrip()
        lines.append(line)
    return lines


def _columns(columns: Sequence[tuple[str, Sequence[str]]]) -> list[Text]:
    """Columns under headings, the first flush left, the others flush right."""
    widths = [max(map(len, (heading, *cells))) for heading, cells in columns]
    (first, names), others = columns[0], columns[1:]
    header = [heading.rjust(width) for (heading, _), width in zip(others, widths[1:], strict=True)]
    lines = [Text(_INDENT + _GAP.join([first.ljust(widths[0]), *header]), style="dim", no_wrap=True)]
    for row, name in enumerate(names):
        cells = [cells[row].rjust(width) for (_, cells), width in zip(others, widths[1:], strict=True)]
        lines.append(Text(_INDENT + _GAP.join([name.ljust(widths[0]), *cells]), no_wrap=True))
    return lines
