"""The steps from release to release: a table, a sentence, and how asv shows them. Text from records is never markup."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.ranking import SuiteRanking, rank
from convbench.measurement.environments.releases import Release
from convbench.reporting.console import say, stdout
from convbench.reporting.history.implementations import Kernels, in_words_of_all
from convbench.reporting.numbers import aligned, count, interval_text
from convbench.reporting.tables import plain_table
from convbench.runner.run import Request
from convbench.runner.session import Measurements
from convbench.stats.ratio import Ratio
from convbench.status import Status
from convbench.store.asv.release_commits import tag
from convbench.store.asv.release_history import History, history_folder
from convbench.store.locations import results_folder
from convbench.store.readings import implementation


def show_steps(measurements: Measurements, history: History | None, request: Request) -> None:
    """Print the steps from release to release, unless as JSON, and on standard error how asv shows its `history`."""
    if not request.as_json:
        for ranking in rank(measurements.records, lower=True):  # each backend is compared with itself
            if (report := steps_report(ranking, measurements.releases)) is not None:
                stdout().print(Group(Text(), report))
    if history is not None:
        say(asv_sentence(history, measurements, results_folder(request.results)), error=True)


def steps_report(ranking: SuiteRanking, releases: Mapping[str, Release]) -> RenderableType | None:
    """How fast each release was against the one before it, by backend, and the last against the first; None where no
    two were timed on one case. `releases` are those of the backends, by name, in the order in which they came out."""
    timed = {standing.backend: standing.cases for standing in ranking.standings}
    series: dict[str, list[str]] = {}
    for name, release in releases.items():
        if name in timed:
            series.setdefault(name.removesuffix(f"@{release.version}"), []).append(name)
    neighbours = [pair for names in series.values() for pair in zip([None, *names], names, strict=False)]
    backends = [backend for backend, names in series.items() for _ in names]
    steps = [
        (backend, name, ranking.lead(name, before) if before else None)
        for backend, (before, name) in zip(backends, neighbours, strict=True)
    ]
    if all(speed is None for *_, speed in steps):
        return None
    values = aligned([f"{speed.value:.2f}" if speed else "" for *_, speed in steps])
    kernels = [in_words_of_all(_kernels(ranking, before, name)) for before, name in neighbours]
    cells: list[list[str | Text]] = []
    for (backend, name, speed), value, kernel in zip(steps, values, kernels, strict=True):
        version, date = releases[name].version, releases[name].date
        row: list[str | Text] = [backend, version, date, str(timed[name]), value, _interval(speed), _word(speed)]
        cells.append([*row, kernel or "–"] if any(kernels) else row)
    heading = Text(f"Suite {ranking.suite}, each release against the one before\n", style="bold")
    overall = [
        _overall(backend, releases[names[0]], releases[names[-1]], lead)
        for backend, names in series.items()
        if (lead := ranking.lead(names[-1], names[0])) is not None and len(names) > 1
    ]
    headers = ["backend", "release", "came out", "cases", "times as fast", "95 % interval", ""]
    headers += ["implementation"] if any(kernels) else []
    table = plain_table(headers, cells, right=(3, 4, 5), drops=(2, 3, *range(7, len(headers)), 5))
    return Group(heading, table, Text(), *overall)


def _kernels(ranking: SuiteRanking, before: str | None, name: str) -> list[Kernels]:
    """Which kernel a release used and the one before it, on each case that the release was timed on."""
    pairs: list[Kernels] = []
    for case in ranking.cases:
        known = {place.record["backend"]: implementation(place.record) for place in case.places}
        if name in known:
            pairs.append((known.get(before) if before else None, known[name]))
    return pairs


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
    note = ": level" if speed.includes_one else ""
    note = note if speed.covers else ", a range: too few samples for an interval"
    return Text(
        f"{backend} with {last.library} {last.version} is {speed.value:.2f} times as fast as with {first.version} "
        f"{_interval(speed)}{note}."
    )


def asv_sentence(history: History, measurements: Measurements, results: Path) -> str:
    """How many values asv's files have, and the commands that show them; or why the files were not written."""
    if history.refusal is not None:
        return f"asv's files were not written: {history.refusal}."
    timed = {record["backend"] for record in measurements.records if record["status"] == Status.OK}
    tags = list(dict.fromkeys(tag(release) for name, release in measurements.releases.items() if name in timed))
    folder = shlex.quote(os.path.relpath(history_folder(results)))
    views = [f"compare {tags[0]} {tags[-1]}"] if len(tags) > 1 else [f"show {name}" for name in tags]
    summary = f"{history.values:,} values of {count(len(history.tags), 'release')} are in asv's files. To see them:"
    commands = [f"    cd {folder} && asv {words}" for words in (*views, "publish && asv preview")]
    return "\n".join([summary, *commands])
