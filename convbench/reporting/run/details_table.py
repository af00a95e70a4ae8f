"""The details of a run besides times: throughput, first calls, memory, and how it was sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.ranking import SuiteRanking
from convbench.reporting.console import spaced
from convbench.reporting.numbers import aligned, mebibytes, milliseconds, percent, significant
from convbench.reporting.run.case_table import CaseTable
from convbench.reporting.terminal_text import printable
from convbench.store.readings import (
    column,
    half_width_of_a_process,
    half_width_of_session_drift,
    implementation,
    number,
)
from convbench.store.schema import Record

_LARGEST_WHOLE = 1e15  # a greater number is from no measurement, and too wide for any column
Figure = Callable[[Record], float | str | None]


@dataclass(frozen=True)
class Column:
    """A heading, and the figure of a record under it, as `shown` writes it; None when the record lacks it, as records
    of earlier versions do. `note` is a sentence below a table that has the column."""

    heading: str
    figure: Figure
    shown: Callable[[Any], str]
    note: str | None = None

    def cell(self, record: Record) -> str | None:
        value = self.figure(record)
        return None if value is None else self.shown(value)


def details_report(ranking: SuiteRanking) -> RenderableType | None:
    """The table and the notes that explain it, without columns that no record has; None when there are no others."""
    records = [place.record for case in ranking.cases for place in case.timed]
    groups = [{c: cells for c in group if any(cells := [c.cell(r) for r in records])} for group in GROUPS]
    known = {column: cells for group in groups for column, cells in group.items()}
    if not known:
        return None
    columns = {column.heading: aligned([cell or "–" for cell in cells]) for column, cells in known.items()}
    heading = partial(Text, style="cyan", no_wrap=True, overflow="ignore")
    table = CaseTable(ranking, columns, lambda c: heading(c.case), groups=[len(group) for group in groups if group])
    notes = dict.fromkeys(column.note for column in known if column.note)
    return spaced(table, Group(*map(Text, notes)) if notes else None)


def _field(name: str) -> Figure:
    return lambda record: number(record, name)


def _beyond_inputs(name: str) -> Figure:
    """Bytes by which `name` exceeds the memory that was resident when only the inputs of the case existed."""

    def figure(record: Record) -> float | None:
        before, later = number(record, "before_bytes"), number(record, name)
        return None if before is None or later is None else later - before

    return figure


def _samples(record: Record) -> float | None:
    return len(column(record, "wall_s")) or None


def _timed_calls(record: Record) -> float | None:
    """Records do not have the number of discarded calls."""
    return sum(column(record, "calls")) or None


def _faults_per_call(record: Record) -> float | None:
    faults, calls = column(record, "minor_faults"), _timed_calls(record)
    return sum(faults) / calls if faults and calls else None


def _system_share(record: Record) -> float | None:
    """The share of CPU time that the operating system spent for the process."""
    system, cpu, calls = (column(record, name) for name in ("system_s", "cpu_s", "calls"))
    if not len(system) == len(cpu) == len(calls):
        return None
    whole = sum(s * n for s, n in zip(cpu, calls, strict=True))
    return sum(s * n for s, n in zip(system, calls, strict=True)) / whole if whole > 0 else None


def _on_device(record: Record) -> float | None:
    """The most bytes on the device at once, or the bytes held there when no more is known."""
    peak = number(record, "device_peak_bytes")
    return number(record, "device_held_bytes") if peak is None else peak


def _median_of(name: str, scale: float = 1) -> Figure:
    """The median of a column of the samples, times `scale`."""
    return lambda record: median(values) * scale if (values := column(record, name)) else None


def _drift(record: Record) -> float | None:
    """Half of the part of the interval that holds session drift."""
    return half_width_of_session_drift(record) or None


def _ended_by(record: Record) -> str | None:
    return stopped if isinstance(stopped := record.get("stopped"), str) else None


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value < _LARGEST_WHOLE else f"{value:.2g}"


# --- the columns ------------------------------------------------------------------------------------------------------

_EACH_ONCE = "GB/s counts each operand once: input, weight, bias, residual and output."
_BEYOND_INPUTS = (
    "Peak and steady MiB are the worker's memory beyond the inputs: the most that was resident, verification included, "
    "and what is in use after the last timed call. A peak does not show memory that earlier cases freed and this one "
    "used."
)
_ON_DEVICE = "Device MiB: the most on the GPU at once, workspace included; what is held there if no more is known."
_CPU_TIME = "CPU ms is the CPU time of a call, over all threads. It does not include waiting for others."
_INTERVAL = (
    "An interval adds up three things as their squares: processes ±%, what a process differs from a typical one by; "
    "sessions ±%, what times move by from session to session; and the rounds."
)
_IMPLEMENTATION = "Implementation: the kernel or algorithm that ran, as the library names it after the timing."
_TRANSFERS = "Send and fetch ms: the input's way to the GPU and the output's back, which are in no call."

GROUPS: Sequence[Sequence[Column]] = (
    (
        Column("images/s", _field("images_per_s"), significant),
        Column("GB/s", _field("gbytes_per_s"), significant, _EACH_ONCE),
    ),
    (
        Column("prepare ms", _field("prepare_s"), milliseconds),
        Column("first call ms", _field("first_call_s"), milliseconds),
    ),
    (
        Column("peak MiB", _beyond_inputs("peak_bytes"), mebibytes, _BEYOND_INPUTS),
        Column("steady MiB", _beyond_inputs("steady_bytes"), mebibytes, _BEYOND_INPUTS),
    ),
    (
        Column("CPU ms", _median_of("cpu_s"), milliseconds, _CPU_TIME),
        Column("faults/call", _faults_per_call, partial(significant, digits=2)),
        Column("system %", _system_share, percent),
    ),
    (
        Column("send ms", _field("send_s"), milliseconds, _TRANSFERS),
        Column("fetch ms", _field("fetch_s"), milliseconds),
    ),
    (
        Column("device MiB", _on_device, mebibytes, _ON_DEVICE),
        Column("launch µs", _median_of("launch_s", 1e6), partial(significant, digits=2)),
        Column("GPU MHz", _median_of("sm_mhz"), _whole),
    ),
    (
        Column("processes ±%", half_width_of_a_process, percent, _INTERVAL),
        Column("sessions ±%", _drift, percent, _INTERVAL),
    ),
    (
        Column("samples", _samples, _whole),
        Column("calls", _timed_calls, _whole),
        Column("ended by", _ended_by, str),
    ),
    (Column("implementation", implementation, printable, _IMPLEMENTATION),),
)
"""In the order of the table; the columns of a group stay together. A new column is a new entry here."""
