"""What `convbench doctor` found, for a terminal: short sections, what to do, and a verdict in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from convbench.analysis.diagnosis import DURATIONS_S, PROCESSES, ClockError
from convbench.analysis.drift import FEWEST_OTHERS, smallest_between_runs
from convbench.measurement.hazards.catalogue import Kind
from convbench.measurement.machine.clocks import Timer
from convbench.measurement.machine.state import MachineState
from convbench.registry import Entry
from convbench.reporting.console import stderr
from convbench.reporting.hazards import Paragraph, hazard_paragraphs
from convbench.reporting.machine import working_sets
from convbench.reporting.numbers import count, duration, in_columns, percent, significant
from convbench.runner.doctor import Diagnosis
from convbench.stats.estimates import CONFIDENCE
from convbench.stats.minimum_detectable_effect import POWER

_INDENT = 2
_VERDICT_S = 10
_COARSE, _HOPELESS = 0.05, 1.0
_LEVELS = 4  # three caches and memory, on most machines
_WORSE = 1.25


def report(diagnosis: Diagnosis) -> RenderableType:
    """All sections, the verdict last."""
    sections: dict[str, Iterable[RenderableType]] = {
        "Clocks": _timers(diagnosis.timers),
        "State": _state(diagnosis),
        "The same work against itself": _self_comparison(diagnosis),
        "Smallest difference it can tell apart": _smallest_differences(diagnosis),
        "Working sets, by turns with other processes": _working_sets(diagnosis),
        "What to do": hazard_paragraphs(diagnosis.hazards) or [Text("  Nothing: no hazard was seen.", style="green")],
    }
    parts = [part for title, lines in sections.items() for part in (Text(f"\n{title}", style="bold"), *lines)]
    return Group(_heading(diagnosis), *parts, Text(), Paragraph(verdict(diagnosis), style="bold"))


def row(diagnosis: Diagnosis) -> dict[str, Any]:
    """All of it, JSON-ready; shares are fractions, not percent."""
    limiting, fields = diagnosis.limit.hazard, asdict(diagnosis)
    clocks, spread, kept = (("wall", diagnosis.wall), ("cpu", diagnosis.cpu)), diagnosis.spread, diagnosis.kept
    as_they_are = ("threads", "backend", "case", "call_s", "rounds", "timers", "at_rest", "meanwhile")
    return {
        "machine": diagnosis.facts,
        **{name: fields[name] for name in as_they_are},
        "standing": fields["machine_state"],
        "confidence": CONFIDENCE,
        "power": POWER,
        "clocks": {name: _clock_dict(clock) for name, clock in clocks if clock},
        "between_runs": {
            "spread": spread,
            "alone": smallest_between_runs(spread, beside_others=False),
            "beside_others": smallest_between_runs(spread, beside_others=True),
        },
        "working_sets": working_sets.as_dicts(diagnosis.levels, diagnosis.variation),
        "pairs": {"kept": kept.count, "file": str(kept.file)} if kept else None,
        "hazards": [h.as_dict() | {"sentence": h.sentence, "remedy": h.remedy} for h in diagnosis.hazards],
        "limit": str(limiting.kind) if limiting else None,
        "verdict": verdict(diagnosis),
        "elapsed_s": diagnosis.seconds,
    }


def _clock_dict(clock: ClockError) -> dict[str, Any]:
    return {
        "typical_error": clock.typical,
        "worst_error": clock.worst,
        "ratios": list(clock.answers),
        "intervals_with_one": clock.covered,
        "noise": clock.spread.noise,
        "luck": clock.spread.between_processes,
        "round_s": clock.round_s,
        "smallest_difference": [
            {"seconds": seconds, "processes": processes, "share": clock.minimum_detectable_effect(seconds, processes)}
            for processes in PROCESSES
            for seconds in DURATIONS_S
        ],
    }


@contextmanager
def progress(entry: Entry, pairs: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, elsewhere a line; on standard error. Gives the function that advances it by a pair."""
    console = stderr()
    title = "working sets, then against itself"
    if not console.is_terminal:
        pairs_in_words = f"{pairs} pairs of fresh processes"
        console.print(Text(f"Measuring {entry.name} on working sets, and against itself in {pairs_in_words} ..."))
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=pairs + _LEVELS)
        yield lambda: bar.advance(task)


def verdict(diagnosis: Diagnosis) -> str:
    """One sentence: which difference can be detected, and what limits that."""
    threads = "one thread" if diagnosis.threads == 1 else f"{diagnosis.threads} threads"
    wall = diagnosis.wall.minimum_detectable_effect(_VERDICT_S)
    cpu = diagnosis.cpu.minimum_detectable_effect(_VERDICT_S) if diagnosis.cpu else None
    if wall is None:
        return (
            f"Calls of {duration(diagnosis.call_s)} are too long to tell differences apart in {_VERDICT_S} s on "
            f"{threads}: look at 60 s above, or at a smaller --problem."
        )
    if wall < _COARSE:
        able = f"can tell apart differences of about {percent(wall)} %"
    elif wall < _HOPELESS:
        able = f"can, as it is, tell apart only differences above {percent(wall)} %"
    else:
        able = "cannot, as it is, tell what is twice as slow from its equal"
    sentence = f"This machine {able} in {_VERDICT_S} s on {threads}"
    if diagnosis.limit.waiting and cpu is not None and cpu < _HOPELESS:
        sentence += f" (by the CPU clock it can tell {percent(cpu)} %)"
    sentence += _where_it_is_worse(diagnosis, wall)
    return f"{sentence}; {_limit(diagnosis)}."


def _where_it_is_worse(diagnosis: Diagnosis, wall: float) -> str:
    """A clause about the working set on which differences are hardest to tell, if they are harder than `wall`."""
    smallest = [
        (share, level.name)
        for level in diagnosis.levels
        for p in level.backends
        if (share := working_sets.smallest_in_10_s(p, diagnosis.variation)) is not None
    ]
    share, name = max(smallest, default=(0.0, ""))
    if share <= _WORSE * wall:
        return ""
    if share >= _HOPELESS:
        return f", but not even what is twice as slow where the working set is in {name}"
    return f", but none below {percent(share)} % where the working set is in {name}"


def _limit(diagnosis: Diagnosis) -> str:
    hazard = diagnosis.limit.hazard
    if hazard is None and diagnosis.limit.waiting:
        return "something that the system does not report takes the CPU away for moments"
    if hazard is None:
        return "nothing stands out that limits it"
    several = diagnosis.wall.minimum_detectable_effect(_VERDICT_S, PROCESSES[-1])
    if hazard.kind is Kind.PROCESS_LUCK and several is not None:
        with_several = f"with --processes {PROCESSES[-1]} it would be {percent(several)} %"
        return f"what limits it is the variation between processes, and {with_several}"
    return f"what limits it most: {hazard.sentence}"


def _heading(diagnosis: Diagnosis) -> Text:
    s, facts = diagnosis.machine_state, diagnosis.facts
    cpus = count(s.usable_cpus, "CPU")
    cores = f" on {s.cores} cores" if s.cores is not None and s.cores != s.usable_cpus else ""
    threads = count(diagnosis.threads, "thread")
    virtual = ", virtual" if s.virtual else ""
    return Text(f"{facts['cpu']} ({cpus}{cores}{virtual}), {threads}, steady allocator")


def _timers(timers: Sequence[Timer]) -> list[Text]:
    steps = ["no step seen" if t.step_s is None else f"steps of {duration(t.step_s)} or less" for t in timers]
    rows = zip(("wall clock", "CPU clock"), timers, steps, strict=True)
    return _lines([(what, t.name, step, f"{duration(t.cost_s)} to read") for what, t, step in rows])


def _state(diagnosis: Diagnosis) -> list[Text]:
    s, now, before = diagnosis.machine_state, diagnosis.meanwhile, diagnosis.at_rest.others_cpus
    at_rest = "" if before is None else f"; {before:.1f} before the test"
    quota = "none" if s.quota_cpus is None else f"{s.quota_cpus:.3g} CPUs"
    if now.quota_stops is not None and (s.quota_cpus is not None or now.quota_stops):
        quota += f", used up {now.quota_stops} times"
    facts = {
        "other work": None if now.others_cpus is None else f"{now.others_cpus:.1f} of {now.cpus} CPUs{at_rest}",
        "taken by the host": f"{percent(now.steal_share)} %" if now.steal_share is not None and s.virtual else None,
        "frequency": _frequency(s),
        "CPU quota": quota,
        "slowed by heat": None if now.heat_stops is None else f"{now.heat_stops} times",
        "power": None if s.on_battery is None else "battery" if s.on_battery else "mains",
        "huge pages": "for those that ask" if s.huge_pages == "madvise" else s.huge_pages,
        "swap": None if now.swapped_pages is None else f"{now.swapped_pages} pages moved",
    }
    return _lines([(name, text) for name, text in facts.items() if text is not None])


def _frequency(s: MachineState) -> str:
    ends = [significant(end(s.frequencies_mhz) / 1e3) for end in (min, max)] if s.frequencies_mhz else []
    parts = (
        f"governor {', '.join(s.governors)}" if s.governors else "",
        f"{' to '.join(dict.fromkeys(ends))} GHz" if ends else "",
        "" if s.boost is None else f"boost {'on' if s.boost else 'off'}",
    )
    return ", ".join(filter(None, parts)) or "the system does not tell"


def _self_comparison(diagnosis: Diagnosis) -> list[RenderableType]:
    pairs = len(diagnosis.rounds)
    rounds = " to ".join(dict.fromkeys(str(end(diagnosis.rounds)) for end in (min, max)))
    work = (
        f"{diagnosis.backend} on {diagnosis.case}, {duration(diagnosis.call_s)} a call: {pairs} pairs of fresh "
        f"processes, {rounds} rounds each"
    )
    columns = [["", "typical error", "worst error", "noise of a round", "variation between pairs", "interval holds 1"]]
    for name, clock in diagnosis.clocks:
        figures = (clock.typical, clock.worst, clock.spread.noise, clock.spread.between_processes)
        columns.append([name, *map(_percent, figures), f"{clock.covered} of {pairs}"])
    return [Paragraph(work, _INDENT, style="dim"), *_table([*zip(*columns, strict=True)])]


def _smallest_differences(diagnosis: Diagnosis) -> list[RenderableType]:
    rows = [("", *(f"in {seconds} s" for seconds in DURATIONS_S))]
    for processes in PROCESSES:
        each = "one process each" if processes == 1 else f"{processes} processes each"
        for name, clock in diagnosis.clocks:
            cells = [_percent(clock.minimum_detectable_effect(seconds, processes)) for seconds in DURATIONS_S]
            rows.append((f"{name}, {each}", *cells))
    shares = [smallest_between_runs(diagnosis.spread, beside_others=others) for others in (False, True)]
    alone, beside = (f"what is below {percent(s)} %" if s < _HOPELESS else "even what is twice as slow" for s in shares)
    between = (
        f"This is side by side. From one run to another, however long they are, the machine itself hides {alone}; with "
        f"{FEWEST_OTHERS} other libraries in both at least {beside}."
    )
    return [*_table(rows), Paragraph(between, _INDENT, style="dim")]


def _working_sets(diagnosis: Diagnosis) -> list[RenderableType]:
    rows = working_sets.rows(diagnosis.levels, diagnosis.variation)
    lines: list[RenderableType] = [*_table(rows)] if rows else [Text("  There was no time for them.", style="dim")]
    kept = diagnosis.kept
    sentence = (
        f"{count(kept.count, 'pair')} of processes kept in {kept.file}: run, choose and compare widen their intervals "
        "by them."
        if kept is not None
        else "Its pairs of processes were not kept, because the results folder cannot be written."
    )
    return [*lines, Paragraph(sentence, _INDENT, style="dim")]


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{percent(share)} %" if share < _HOPELESS else f"> {percent(_HOPELESS)} %"


def _lines(rows: Sequence[Sequence[str]]) -> list[Text]:
    """A line for each row; the first text of each is dim."""
    lines = [Text(line) for line in in_columns(rows)]
    for line, row in zip(lines, rows, strict=True):
        line.stylize("dim", 0, _INDENT + len(row[0]))
    return lines


def _table(rows: Sequence[Sequence[str]]) -> list[Text]:
    """Rows of numbers, the first the headings."""
    first, *others = in_columns(rows, right=range(1, len(rows[0])))
    return [Text(first, style="dim", no_wrap=True, overflow="ignore"), *(Text(line, no_wrap=True) for line in others)]
