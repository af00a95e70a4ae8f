"""The details of a run besides times: throughput, first calls, memory, and how it was sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.ranking import CaseRanking, SuiteRanking
from convbench.reporting.numbers import aligned, mebibytes, milliseconds, percent, significant
from convbench.reporting.run.case_table import CaseTable
from convbench.store.readings import column, number
from convbench.store.schema import Record


@dataclass(frozen=True)
class Column:
    """A heading, and the cell of a record under it: None when the record lacks it, as records of earlier versions do.

    `note` is a sentence below a table that has the column.
    """

    heading: str
    cell: Callable[[Record], str | None]
    note: str | None = None


def details_report(ranking: SuiteRanking) -> RenderableType | None:
    """The table and the notes that explain it; None when no record has any of it. A column that no record has is left
    out."""
    records = [place.record for case in ranking.cases for place in case.places]
    columns_of_groups = [[(column, [column.cell(r) for r in records]) for column in group] for group in GROUPS]
    groups = [[(column, cells) for column, cells in group if any(cells)] for group in columns_of_groups]
    known = [pair for group in groups for pair in group]
    if not known:
        return None
    columns = {column.heading: aligned([cell or "–" for cell in cells]) for column, cells in known}
    table = CaseTable(ranking, columns, _case_heading, groups=[len(group) for group in groups if group])
    notes = dict.fromkeys(column.note for column, _ in known if column.note)
    return Group(table, *([Text()] if notes else []), *map(Text, notes))


def _case_heading(case: CaseRanking) -> Text:
    return Text(case.case, style="cyan", no_wrap=True)


# --- figures of a record ----------------------------------------------------------------------------------------------

Figure = Callable[[Record], float | None]


def _figures(heading: str, figure: Figure, shown: Callable[[float], str], note: str | None = None) -> Column:
    """A column of numbers, each as `shown` writes it."""

    def cell(record: Record) -> str | None:
        value = figure(record)
        return None if value is None else shown(value)

    return Column(heading, cell, note)


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


def _calls(record: Record) -> float | None:
    """The timed calls; records do not have the number of discarded ones."""
    return sum(column(record, "calls")) or None


def _faults_per_call(record: Record) -> float | None:
    faults, calls = column(record, "minor_faults"), _calls(record)
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


def _median_of(name: str) -> Figure:
    """The median of a column of the samples."""

    def figure(record: Record) -> float | None:
        values = column(record, name)
        return median(values) if values else None

    return figure


def _launch_us(record: Record) -> float | None:
    launch_s = _median_of("launch_s")(record)
    return None if launch_s is None else launch_s * 1e6


def _ended_by(record: Record) -> str | None:
    stopped = record.get("stopped")
    return stopped if isinstance(stopped, str) else None


def _whole(value: float) -> str:
    return f"{value:,.0f}"


# --- the columns ------------------------------------------------------------------------------------------------------

_EACH_ONCE = "GB/s counts each operand once: input, weight, bias and output."
_BEYOND_INPUTS = (
    "Peak and steady MiB are the worker's memory beyond the inputs: the most that was resident, verification included, "
    "and what is in use after the last timed call. In a peak, what earlier cases freed is used again unseen."
)
_ON_DEVICE = "Device MiB: the most on the GPU at once, workspace included; what is held there if no more is known."
_TRANSFERS = "Send and fetch ms: the input's way to the GPU and the output's back, which are in no call."

GROUPS: Sequence[Sequence[Column]] = (
    (
        _figures("images/s", _field("images_per_s"), significant),
        _figures("GB/s", _field("gbytes_per_s"), significant, _EACH_ONCE),
    ),
    (
        _figures("prepare ms", _field("prepare_s"), milliseconds),
        _figures("first call ms", _field("first_call_s"), milliseconds),
    ),
    (
        _figures("peak MiB", _beyond_inputs("peak_bytes"), mebibytes, _BEYOND_INPUTS),
        _figures("steady MiB", _beyond_inputs("steady_bytes"), mebibytes, _BEYOND_INPUTS),
    ),
    (
        _figures("faults/call", _faults_per_call, partial(significant, digits=2)),
        _figures("system %", _system_share, percent),
    ),
    (
        _figures("send ms", _field("send_s"), milliseconds, _TRANSFERS),
        _figures("fetch ms", _field("fetch_s"), milliseconds),
    ),
    (
        _figures("device MiB", _on_device, mebibytes, _ON_DEVICE),
        _figures("launch µs", _launch_us, partial(significant, digits=2)),
        _figures("GPU MHz", _median_of("sm_mhz"), _whole),
    ),
    (
        _figures("samples", _samples, _whole),
        _figures("calls", _calls, _whole),
        Column("ended by", _ended_by),
    ),
)
"""In the order of the table; the columns of a group stay together. A new column is a new entry here."""
