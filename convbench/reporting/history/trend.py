"""What a person sees of a trend: steps under their series with a sparkline, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from convbench.analysis.series import Series, SeriesKey
from convbench.analysis.trend import Evidence, Step, Trend
from convbench.reporting.markdown import escaped, markdown_table, printable
from convbench.reporting.numbers import aligned, count, in_columns, interval_column, milliseconds, percent


@dataclass(frozen=True)
class Shown:
    """A trend, and the options of the command."""

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
        groups = sorted(by_series.values(), key=lambda group: -group[0].ratio.value)
        groups.sort(key=lambda group: group[0].first_after.date, reverse=True)
        groups.sort(key=lambda group: -group[0].ratio.value if group[0] in self.alarms else 0)
        return [step for group in groups for step in group]

    @cached_property
    def differing(self) -> frozenset[str]:
        """The parts of the keys in which the series shown differ."""
        keys = {step.series.key for step in self.steps}
        return frozenset(name for name in SeriesKey._fields if len({getattr(key, name) for key in keys}) > 1)


def rows(shown: Shown) -> list[dict[str, Any]]:
    """A row for each step, JSON-ready, times in seconds."""
    return [
        {name: _encodable(value) for name, value in (step.series.key._asdict() | _figures(step, shown)).items()}
        for step in shown.steps
    ]


def _figures(step: Step, shown: Shown) -> dict[str, Any]:
    return {
        "direction": "slower" if step.slower else "faster",
        "alarm": step in shown.alarms,
        "gradual": step.gradual,
        "evidence": str(step.evidence),
        "date": step.first_after.date,
        "from": step.last_before.label,
        "to": step.first_after.label,
        "index": step.index,
        "points": len(step.series.points),
        "runs_before": step.runs[0],
        "runs_after": step.runs[1],
        "before_s": step.before_s,
        "after_s": step.after_s,
        "ratio": step.ratio.value,
        "low": step.ratio.low,
        "high": step.ratio.high,
        "p_value": step.p_value,
        "q_value": step.q_value,
    }


def _encodable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


_HEADERS = ("step", "date", "from → to", "after/before", "95 % interval", "before ms", "after ms", "evidence", "q")
_RIGHT = (3, 4, 5, 6, 8)
_FEWEST_COLUMNS = 3
_BLOCKS = "▁▂▃▄▅▆▇█"


def _cells(shown: Shown) -> list[tuple[str, ...]]:
    befores, afters = (
        aligned([milliseconds(second) for second in seconds])
        for seconds in zip(*((step.before_s, step.after_s) for step in shown.steps), strict=True)
    )
    ratios = [step.ratio for step in shown.steps]
    intervals = interval_column(((ratio.low, ratio.high, ratio.covers) for ratio in ratios), digits=4)
    return [
        (
            _verdict(step, shown),
            printable(step.first_after.date),
            printable(_from_to(step)),
            f"{step.ratio.value:.3f}",
            interval,
            before,
            after,
            f"{step.runs[0]}+{step.runs[1]} {step.evidence}",
            f"{step.q_value:.0e}",
        )
        for step, before, after, interval in zip(shown.steps, befores, afters, intervals, strict=True)
    ]


def _verdict(step: Step, shown: Shown) -> str:
    word = "slower" if step.slower else "faster"
    return word + (" now" if step in shown.alarms else "") + (", drift" if step.gradual else "")


def _from_to(step: Step) -> str:
    library = step.series.key.library
    old, new = step.last_before.label, step.first_after.label
    return f"{old} → {new.removeprefix(library + ' ') if library else new}"


def report(shown: Shown) -> RenderableType:
    """The steps under their series, and the closing sentences."""
    closing = [Text(line) for line in _closing(shown)]
    return Group(StepsTable(shown), Text(), *closing) if shown.steps else Group(*closing)


@dataclass(frozen=True)
class StepsTable:
    """A line for each series, then its steps, in columns that all share. On a narrow terminal the last are left out."""

    shown: Shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = [_HEADERS, *_cells(self.shown)]
        lines = in_columns(rows, _RIGHT, gap="  ")
        while max(map(len, lines)) > options.max_width and len(rows[0]) > _FEWEST_COLUMNS:
            rows = [row[:-1] for row in rows]
            lines = in_columns(rows, _RIGHT, gap="  ")
        yield Text(f"{_alike(self.shown)}\n", style="bold")
        yield Text(lines[0], style="bold", no_wrap=True)
        last: Series | None = None
        for step, row, line in zip(self.shown.steps, rows[1:], lines[1:], strict=True):
            if step.series is not last:
                yield Text()
                yield _heading(step.series, self.shown)
            last = step.series
            style = "bold red" if step in self.shown.alarms else "red" if step.slower else "green"
            text = Text(line, no_wrap=True)
            text.stylize(style, 2, 2 + len(row[0]))
            yield text


def _heading(series: Series, shown: Shown) -> Text:
    key = series.key
    line = Text(no_wrap=True).append(printable(key.backend), style="bold").append("  ")
    line.append(printable(key.case), style="cyan").append("  ")
    line.append(sparkline([point.median_s for point in series.points]))
    parts = [f"{len(series.points)} points", *(text for name, text in _parts(key) if name in shown.differing)]
    return line.append("  " + printable(", ".join(parts)), style="dim")


def _parts(key: SeriesKey) -> list[tuple[str, str]]:
    """What tells a series from others, besides backend and case, in words."""
    texts = [
        ("machine", key.machine),
        ("suite", f"suite {key.suite}" if key.suite else ""),
        ("threads", count(key.threads, "thread")),
        ("dtype", key.dtype),
        ("allocator", f"{key.allocator} allocator" if key.allocator else ""),
        ("cache", "cold caches" if key.cache == "cold" else ""),
        ("library", f"releases of {key.library}" if key.library else ""),
    ]
    return [(name, text) for name, text in texts if text]


def _alike(shown: Shown) -> str:
    parts = _parts(shown.steps[0].series.key)
    return printable(", ".join(text for name, text in parts if name not in shown.differing))


def markdown(shown: Shown) -> str:
    """The same as a table, a row for each step."""
    closing = "\n\n".join(_closing(shown))
    if not shown.steps:
        return closing
    named = ("machine", "suite", "threads", "dtype", "allocator", "cache")
    differing = [name for name in named if name in shown.differing]
    rows = []
    for step, cells in zip(shown.steps, _cells(shown), strict=True):
        key = step.series.key
        of = [key.backend, key.case, *(str(getattr(key, name)) for name in differing)]
        rows.append([cells[0], *of, *cells[1:], sparkline([point.median_s for point in step.series.points])])
    headers = [_HEADERS[0], "backend", "case", *differing, *_HEADERS[1:], "series"]
    right = [index + 2 + len(differing) for index in _RIGHT]
    return "\n\n".join([escaped(_alike(shown)), markdown_table(headers, rows, right), closing])


def _closing(shown: Shown) -> list[str]:
    """Which series were searched, the steps found, what follows from them; then which series were not searched."""
    trend = shown.trend
    searched = [*trend.long, *trend.short]
    points = sum(len(series.points) for series in searched)
    slower = sum(step.slower for step in shown.steps)
    sentence = f"{count(len(searched), 'series', 'series')} of {count(points, 'point')}: "
    sentence += f"{count(slower, 'step')} to slower, {len(shown.steps) - slower} to faster, "
    sentence += f"of more than {percent(shown.threshold)} %"
    sentence += f", since {shown.since}." if shown.since else "."
    if trend.noise is not None:
        sentence += f" Single runs spread by {percent(trend.noise)} %."
    many = len(shown.alarms)
    sentence += f" {many or 'No'} series {'is' if many <= 1 else 'are'} slower now"
    sentence += f": the newest step, among the last {shown.last} points, is to slower." if many else "."
    lines = [sentence]
    if any(step.evidence is not Evidence.RUNS for step in shown.steps):
        note = "Steps by samples rest on the runs of two releases, so between-process variation is in them, too"
        apart = any(step.evidence is Evidence.APART for step in shown.steps)
        lines.append(note + ("; those apart were not measured in one session and count as no alarm." if apart else "."))
    if trend.untold:
        lines.append(f"Too short to say anything of: {count(len(trend.untold), 'series', 'series')}.")
    if trend.left_out:
        lines.append(f"Left out: {trend.left_out_sentence}.")
    return lines


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
