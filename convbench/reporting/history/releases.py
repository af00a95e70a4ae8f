"""The steps from release to release, as a table and a sentence. What comes from elsewhere is text, never markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.ranking import SuiteRanking
from convbench.measurement.environments.releases import Release
from convbench.reporting.console import plain_table
from convbench.reporting.numbers import aligned, interval_text
from convbench.stats.ratio import Ratio


@dataclass(frozen=True)
class _Row:
    """A backend with a release: how many cases it ran, how many times as fast it was as with the one before."""

    backend: str
    release: Release
    cases: int
    speed: Ratio | None


_HEADERS = ("backend", "release", "came out", "cases", "times as fast", "95 % interval", "")


def steps_report(ranking: SuiteRanking, releases: Mapping[str, Release]) -> RenderableType | None:
    """How fast each release was against the one before it, by backend, and the last against the first; None where no
    two were timed on one case. `releases` are those of the backends, by name, in the order in which they came out."""
    timed = {standing.backend: standing.cases for standing in ranking.standings}
    series: dict[str, list[str]] = {}
    for name, release in releases.items():
        if name in timed:
            series.setdefault(name.removesuffix(f"@{release.version}"), []).append(name)
    rows = [
        _Row(backend, releases[name], timed[name], ranking.lead(name, before) if before else None)
        for backend, names in series.items()
        for before, name in zip([None, *names], names, strict=False)
    ]
    if all(row.speed is None for row in rows):
        return None
    heading = Text(f"Suite {ranking.suite}, each release against the one before", style="bold")
    overall = [
        _overall(backend, releases[names[0]], releases[names[-1]], lead)
        for backend, names in series.items()
        if (lead := ranking.lead(names[-1], names[0])) is not None and len(names) > 1
    ]
    return Group(heading, Text(), plain_table(_HEADERS, _cells(rows), right=(3, 4, 5)), Text(), *overall)


def _cells(rows: Sequence[_Row]) -> list[tuple[str | Text, ...]]:
    speeds = aligned([_times(row.speed.value) if row.speed else "" for row in rows])
    return [
        (
            row.backend,
            row.release.version,
            row.release.date,
            str(row.cases),
            speed,
            _interval(row.speed),
            _word(row.speed),
        )
        for row, speed in zip(rows, speeds, strict=True)
    ]


def _times(value: float) -> str:
    return f"{value:.2f}"


def _interval(speed: Ratio | None) -> str:
    return interval_text(speed.low, speed.high, speed.covers) if speed else ""


def _word(speed: Ratio | None) -> Text:
    if speed is None:
        return Text()
    if speed.includes_one:
        return Text("level", style="dim")
    return Text("faster", style="green") if speed.value > 1 else Text("slower", style="bold red")


def _overall(backend: str, first: Release, last: Release, speed: Ratio) -> Text:
    """The closing sentence of a backend: the last release against the first."""
    note = ", which includes 1: level" if speed.includes_one else ""
    note = note if speed.covers else ", a range: too few samples for an interval"
    return Text(
        f"{backend} with {last.library} {last.version} is {_times(speed.value)} times as fast as with {first.version} "
        f"{_interval(speed)}{note}."
    )
