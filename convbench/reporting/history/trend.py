"""What a person sees of a trend: steps under their series with a sparkline, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from convbench.analysis.series import Series, SeriesKey
from convbench.analysis.trend import Evidence, Step, Trend
from convbench.reporting.history.implementations import in_words, sentence
from convbench.reporting.markdown import escaped, markdown_table
from convbench.reporting.numbers import aligned, count, in_columns, interval_column, milliseconds, percent
from convbench.reporting.tables import no_room_for
from convbench.reporting.terminal_text import printable


@dataclass(frozen=True)
class TrendReport:
    """A trend, and the options of the command. On a terminal: the steps under their series, in columns that all share,
    and the closing sentences. On a narrow one the last columns are left out."""

    trend: Trend
    threshold: float
    last: int
    since: str

    @cached_property
    def alarms(self) -> frozenset[Step]:
        return frozenset(self.trend.alarms(self.last, self.since))

    @cached_property
    def steps(self) -> list[Step]:
        """Series that are slower now first, worst first; then the others by their newest step. Newest steps first."""
        by_series: dict[SeriesKey, list[Step]] = {}
        for step in sorted(self.trend.steps, key=lambda step: -step.index):
            if step.first_after.date >= self.since:
                by_series.setdefault(step.series.key, []).append(step)
        groups = sorted(by_series.values(), key=lambda g: (g[0].first_after.date, g[0].ratio.value), reverse=True)
        groups.sort(key=lambda group: -group[0].ratio.value if group[0] in self.alarms else 0)
        return [step for group in groups for step in group]

    @cached_property
    def differing(self) -> frozenset[str]:
        """The parts of the keys in which the series shown differ."""
        keys = {step.series.key for step in self.steps}
        return frozenset(name for name in SeriesKey._fields if len({getattr(key, name) for key in keys}) > 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.steps:
            yield from _table(self, options.max_width)
            yield Text()
        yield from map(Text, _closing(self))


def rows(shown: TrendReport) -> list[dict[str, Any]]:
    """A row for each step, JSON-ready, times in seconds."""
    return [
        {name: _encodable(value) for name, value in (step.series.key._asdict() | _figures(step, shown)).items()}
        for step in shown.steps
    ]


def _figures(step: Step, shown: TrendReport) -> dict[str, Any]:
    return {name: getattr(step, name) for name in ("gradual", "index", "before_s", "after_s", "p_value", "q_value")} | {
        "direction": "slower" if step.slower else "faster",
        "alarm": step in shown.alarms,
        "evidence": str(step.evidence),
        "date": step.first_after.date,
        "from": step.last_before.label,
        "to": step.first_after.label,
        "points": len(step.series.points),
        "runs_before": step.runs[0],
        "runs_after": step.runs[1],
        "ratio": step.ratio.value,
        "low": step.ratio.low,
        "high": step.ratio.high,
        "implementation_before": step.last_before.implementation,
        "implementation_after": step.first_after.implementation,
    }


def _encodable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


_HEADERS = ("step", "date", "from → to", "after/before", "95 % interval", "before ms", "after ms", "evidence", "q")
_KERNEL = "implementation"
_RIGHT = (3, 4, 5, 6, 8)
_FEWEST_COLUMNS = 3
_BLOCKS = "▁▂▃▄▅▆▇█"


def _headers(shown: TrendReport) -> tuple[str, ...]:
    return (*_HEADERS, _KERNEL) if any(in_words(_kernels(step)) for step in shown.steps) else _HEADERS


def _cells(shown: TrendReport) -> list[tuple[str, ...]]:
    headers = _headers(shown)
    befores = aligned([milliseconds(step.before_s) for step in shown.steps])
    afters = aligned([milliseconds(step.after_s) for step in shown.steps])
    intervals = interval_column(((s.ratio.low, s.ratio.high, s.ratio.covers) for s in shown.steps), digits=4)
    return [
        (
            ("slower" if step.slower else "faster")
            + (" now" if step in shown.alarms else "")
            + (", drift" if step.gradual else ""),
            printable(step.first_after.date),
            printable(_from_to(step)),
            f"{step.ratio.value:.3f}",
            interval,
            before,
            after,
            f"{step.runs[0]}+{step.runs[1]} {step.evidence}",
            f"{step.q_value:.0e}",
            *([in_words(_kernels(step)) or "–"] if _KERNEL in headers else []),
        )
        for step, before, after, interval in zip(shown.steps, befores, afters, intervals, strict=True)
    ]


def _kernels(step: Step) -> tuple[str | None, str | None]:
    return step.last_before.implementation, step.first_after.implementation


def _from_to(step: Step) -> str:
    library = step.series.key.library
    old, new = step.last_before.label, step.first_after.label
    return f"{old} → {new.removeprefix(library + ' ') if library else new}"


def _table(shown: TrendReport, width: int) -> Iterator[Text]:
    headers = _headers(shown)
    rows = [headers, *_cells(shown)]
    lines = in_columns(rows, _RIGHT, gap="  ")
    while max(map(len, lines)) > width and len(rows[0]) > _FEWEST_COLUMNS:
        rows = [row[:-1] for row in rows]
        lines = in_columns(rows, _RIGHT, gap="  ")
    if max(map(len, lines)) > width:
        lines = in_columns(rows, _RIGHT, gap=" ")
    if note := no_room_for(headers[len(rows[0]) :]):
        yield note
    yield Text(f"{_alike(shown)}\n", style="bold")
    yield Text(lines[0], style="bold", no_wrap=True, overflow="ignore")
    last: Series | None = None
    for step, row, line in zip(shown.steps, rows[1:], lines[1:], strict=True):
        if step.series is not last:
            yield Text()
            yield _heading(step.series, shown)
        last = step.series
        text = Text(line, no_wrap=True, overflow="ignore")
        text.stylize("bold red" if step in shown.alarms else "red" if step.slower else "green", 2, 2 + len(row[0]))
        yield text


def _heading(series: Series, shown: TrendReport) -> Text:
    key = series.key
    line = sparkline([point.median_s for point in series.points])
    parts = printable(", ".join([f"{len(series.points)} points", *_parts(key, shown.differing)]))
    names = (printable(key.backend), "bold"), "  ", (printable(key.case), "cyan")
    return Text.assemble(*names, f"  {line}  ", (parts, "dim"), no_wrap=True, overflow="ignore")


def _alike(shown: TrendReport) -> str:
    return printable(", ".join(_parts(shown.steps[0].series.key, {*SeriesKey._fields} - shown.differing)))


def _parts(key: SeriesKey, names: Collection[str]) -> list[str]:
    """Those of `names` that tell a series from others, besides backend and case, in words."""
    texts = {
        "machine": key.machine,
        "hardware": key.hardware,
        "suite": key.suite and f"suite {key.suite}",
        "threads": count(key.threads, "thread"),
        "dtype": key.dtype,
        "allocator": key.allocator and f"{key.allocator} allocator",
        "cache": _caches(key.cache),
        "library": key.library and f"releases of {key.library}",
    }
    return [text for name, text in texts.items() if text and name in names]


def _caches(cache: str) -> str:
    return {"warm": "", "cold": "cold caches"}.get(cache, f"caches as in a {cache}")


def markdown_of(shown: TrendReport) -> str:
    """The same as a table, a row for each step."""
    closing = "\n\n".join(_closing(shown, escaped))
    if not shown.steps:
        return closing
    named = ("machine", "hardware", "suite", "threads", "dtype", "allocator", "cache")
    differing = [name for name in named if name in shown.differing]
    rows = []
    for step, cells in zip(shown.steps, _cells(shown), strict=True):
        key = step.series.key
        of = [key.backend, key.case, *(str(getattr(key, name)) for name in differing)]
        rows.append([cells[0], *of, *cells[1:], sparkline([point.median_s for point in step.series.points])])
    headers = [_HEADERS[0], "backend", "case", *differing, *_headers(shown)[1:], "series"]
    right = [index + 2 + len(differing) for index in _RIGHT]
    return "\n\n".join([escaped(_alike(shown)), markdown_table(headers, rows, right), closing])


def _closing(shown: TrendReport, quoted: Callable[[str], str] = str) -> list[str]:
    """Which series were searched, the steps found, what follows from them; then which series were not searched.
    `quoted` shows kernels, which are from a journal."""
    trend = shown.trend
    searched = [*trend.long, *trend.short]
    points = sum(len(series.points) for series in searched)
    slower = sum(step.slower for step in shown.steps)
    summary = f"{count(len(searched), 'series', 'series')} of {count(points, 'point')}: {count(slower, 'step')} to "
    summary += f"slower, {len(shown.steps) - slower} to faster, of more than {percent(shown.threshold)} %"
    summary += f", since {shown.since}." if shown.since else "."
    if trend.noise is not None:
        summary += f" Single runs spread by {percent(trend.noise)} %."
    many = len(shown.alarms)
    summary += f" {many or 'No'} series {'is' if many <= 1 else 'are'} slower now"
    summary += f": the newest step, among the last {shown.last} points, is to slower." if many else "."
    lines = [summary]
    if any(step.evidence is not Evidence.RUNS for step in shown.steps):
        note = "Steps by samples rest on the runs of two releases, so between-process variation is in them, too"
        apart = any(step.evidence is Evidence.APART for step in shown.steps)
        lines.append(note + ("; those apart were not measured in one session and count as no alarm." if apart else "."))
    if kernels := sentence((f"{s.series.key.backend} on {s.series.key.case}", _kernels(s)) for s in shown.steps):
        lines.append(quoted(kernels))
    lines += _cuts([*searched, *trend.untold])
    if trend.untold:
        lines.append(f"Too short to say anything of: {count(len(trend.untold), 'series', 'series')}.")
    if trend.left_out:
        lines.append(f"Left out: {trend.left_out_sentence}.")
    return lines


def _cuts(series: Sequence[Series]) -> list[str]:
    """A sentence for each name that several machines had."""
    hardware: dict[str, dict[str, None]] = {}
    for one in series:
        if one.key.hardware:
            hardware.setdefault(one.key.machine, {}).setdefault(one.key.hardware)
    return [
        f"{printable(name) or 'A machine'} was {printable('; then '.join(several))}: its series are cut there."
        for name, several in hardware.items()
        if len(several) > 1
    ]


def sparkline(values: Sequence[float], most: int = 30) -> str:
    """Positive values as blocks, on a logarithmic scale, at most `most` of them: each the median of as many neighbours.

    Single slow runs do not set the scale; they end at its top.
    """
    width = min(most, len(values))
    edges = [round(place * len(values) / width) for place in range(width + 1)] if width else []
    logs = [math.log(median(values[a:b])) for a, b in pairwise(edges)]
    smooth = [median(logs[max(0, place - 1) : place + 2]) for place in range(len(logs))]
    low, high = min(smooth, default=0.0), max(smooth, default=0.0)
    if high - low < 1e-9:
        return _BLOCKS[3] * len(logs)
    shares = [(x - low) / (high - low) for x in logs]
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, max(0, int(share * len(_BLOCKS))))] for share in shares)
