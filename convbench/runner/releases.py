"""`convbench releases`: past releases of a library, each in an environment of its own, measured side by side."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from packaging.utils import InvalidName, canonicalize_name
from rich.console import Group
from rich.text import Text

from convbench.analysis.ranking import rank
from convbench.errors import BackendError, did_you_mean
from convbench.measurement.environments.interpreters import OtherEnvironment, asked, environment
from convbench.measurement.environments.probe import WORKER_NEEDS
from convbench.measurement.environments.release_dates import upload_dates, wheel_date
from convbench.measurement.environments.releases import Recipe, Release, make, same_version, version_of
from convbench.measurement.environments.requirements import requirements
from convbench.registry import Entry, Registry
from convbench.reporting.console import show_journal_warnings, stderr, stdout
from convbench.reporting.history.releases import steps_report
from convbench.reporting.numbers import duration
from convbench.reporting.progress import progress
from convbench.reporting.run.output import end_run, show_run
from convbench.runner.run import Request as RunRequest
from convbench.runner.run import measure, registry, requested_suites
from convbench.runner.session import Measurements
from convbench.status import Status
from convbench.store.asv.release_commits import tag
from convbench.store.asv.release_history import history_folder, write_release_history
from convbench.store.locations import results_folder

_EXAMPLE = "--versions 1.20.1,1.21.1"


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given; `run` holds those of `convbench run`."""

    library: str
    versions: tuple[str, ...]
    dates: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    python: str | None = None
    environments: Path | None = None
    run: RunRequest = field(default_factory=lambda: RunRequest(suites=()))


def measure_releases(request: Request) -> int:
    """Make the environments, measure in all of them by turns, and record; gives the exit code.

    Raises `ConvbenchError` when what is asked for cannot be.
    """
    show_journal_warnings()
    suites = requested_suites(request.run)
    library = _library(request.library)
    versions, given = _versions(request.versions), _dates(request)
    selected = _selected(registry(request.run), library, request.run.backends)
    made = _environments(request, library, versions, selected)
    releases = _dated(library, made, given)
    offered = [(other.offer(entry), release) for other, release in releases for entry in selected]
    entries = asked([entry for entry, _ in offered], [other for other, _ in releases])
    if not request.run.backends:
        entries = _that_run_somewhere(entries)
    of = {entry.name: release for entry, release in offered}
    with progress(stderr(), as_json=request.run.as_json) as observer:
        measurements = measure(request.run, suites, entries, observer, of)
    show_run(measurements, request.run)
    if measurements.error is None:
        _conclude(request.run, measurements)
    end_run(measurements)
    return measurements.exit_code


# --- what was asked ---------------------------------------------------------------------------------------------------


def _library(text: str) -> str:
    try:
        return canonicalize_name(text, validate=True)
    except InvalidName:
        raise BackendError(
            f"{text!r} is no name of a library; it should be what pip installs, such as onnxruntime."
        ) from None


def _versions(texts: Sequence[str]) -> list[str]:
    """The versions, one of each: 1.20 and 1.20.0 are the same."""
    found: list[str] = []
    for version in (word.strip() for text in texts for word in text.split(",")):
        if version_of(version) is None:
            raise BackendError(f"{version!r} is no version; --versions takes versions with commas, as in {_EXAMPLE}")
        if not any(same_version(version, known) for known in found):
            found.append(version)
    return found


def _dates(request: Request) -> dict[str, str]:
    """The days of release that were given, by version."""
    found = {}
    for word in (word.strip() for text in request.dates for word in text.split(",")):
        version, _, day = word.partition("=")
        try:
            found[version] = date.fromisoformat(day).isoformat()
        except ValueError:
            raise BackendError(f"--dates has {word!r}; it should be like 1.20.1=2024-11-21, with commas.") from None
    return found


def _extra(texts: Sequence[str], versions: Sequence[str]) -> list[tuple[tuple[str, ...], str]]:
    """What `--with` asks for: of which versions, none meaning all, and the requirement."""
    found = []
    for text in texts:
        before, colon, after = text.partition(":")
        of = tuple(word.strip() for word in before.split(","))
        is_limited = bool(colon) and all(version_of(word) is not None for word in of)
        if is_limited and (strange := [word for word in of if word not in versions]):
            raise BackendError(f"--with {text!r} is for {strange[0]}, which is not among --versions as it is written.")
        found.append((of, after.strip()) if is_limited else ((), text))
    return found


def _selected(found: Registry, library: str, patterns: Sequence[str]) -> list[Entry]:
    """The backends that patterns select, or without any those that require `library`."""
    if patterns:
        return [row for row in found.select(patterns) if isinstance(row, Entry)]
    needed = {entry.name: [r.name for r in requirements(entry.backend)] for entry in found}
    mine = [entry for entry in found if library in needed.get(entry.name, ())]
    if not mine:
        libraries = sorted({name for names in needed.values() for name in names})
        raise BackendError(
            f"no backend requires {library!r}.{did_you_mean(library, libraries)} Name its backends with --backend, or "
            f"give one of: {', '.join(libraries)}."
        )
    return mine


def _that_run_somewhere(entries: Sequence[Entry]) -> list[Entry]:
    """Without the backends that are unavailable in every environment, unless all are: then the reasons are told."""
    able = {entry.backend.name for entry in entries if entry.unavailable() is None}
    return [entry for entry in entries if entry.backend.name in able] or list(entries)


# --- environments and dates -------------------------------------------------------------------------------------------


def _environments(
    request: Request, library: str, versions: Sequence[str], entries: Sequence[Entry]
) -> list[OtherEnvironment]:
    """An environment for each version, labelled by it. Raises `BackendError` with all that could not be made."""
    base = environment(request.python or sys.executable, "base")
    folder = request.environments or _cache()
    needed = dict.fromkeys(str(r) for entry in entries for r in requirements(entry.backend) if r.name != library)
    extra = _extra(request.others, versions)
    console = stderr()
    made: list[OtherEnvironment] = []
    failures: list[str] = []
    for version in versions:
        others = [text.replace("{version}", version) for of, text in extra if not of or version in of]
        recipe = Recipe(library, version, tuple(dict.fromkeys((*WORKER_NEEDS, *needed, *others))))
        start = time.monotonic()
        try:
            with console.status(Text(f"{library} {version}: making its environment")):
                found, is_new = make(recipe, folder, base)
        except BackendError as error:
            failures.append(str(error))
            continue
        how = f"made in {duration(time.monotonic() - start)}" if is_new else "kept from before"
        console.print(Text(f"{library} {found.label}: its environment, {found.python}, was {how}."), soft_wrap=True)
        made.append(found)
    if failures:
        told = "Nothing was measured; the environments that could be made are kept."
        raise BackendError("\n".join([*dict.fromkeys(failures), told]))
    return made


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("convbench", appauthor=False) / "environments"


def _dated(
    library: str, made: Sequence[OtherEnvironment], given: Mapping[str, str]
) -> list[tuple[OtherEnvironment, Release]]:
    """Each environment with its release, whose day was given, or is the index's, or the newest in the wheel."""
    for version in given:
        if not any(same_version(version, other.label) for other in made):
            raise BackendError(f"--dates has {version}, which is not among --versions.")
    dates = {o.label: day for o in made for version, day in given.items() if same_version(version, o.label)}
    if unknown := [other.label for other in made if other.label not in dates]:
        dates |= upload_dates(library, unknown)
    for other in made:
        if other.label not in dates and (day := wheel_date(library, other.label, other.python)):
            dates[other.label] = day
    if undated := [other.label for other in made if other.label not in dates]:
        example = ",".join(f"{version}=YYYY-MM-DD" for version in undated)
        raise BackendError(
            f"the package index does not tell when {library} {', '.join(undated)} came out, nor do the files. "
            f"Give --dates {example}"
        )
    releases = [(other, Release(library, other.label, dates[other.label])) for other in made]
    return sorted(releases, key=lambda pair: pair[1].date)


# --- what a person sees -----------------------------------------------------------------------------------------------


def _conclude(request: RunRequest, measurements: Measurements) -> None:
    """Say what changed from release to release, and make asv's files of all releases anew."""
    if not request.as_json:
        for ranking in rank(measurements.records):
            if (report := steps_report(ranking, measurements.releases)) is not None:
                stdout().print(Group(Text(), report))
    if request.no_asv or not measurements.written:
        return
    results = results_folder(request.results)
    written = write_release_history(results)
    if written.refusal is not None:
        stderr().print(Text(f"asv's files were not written: {written.refusal}."), soft_wrap=True)
        return
    timed = {record["backend"] for record in measurements.records if record["status"] == Status.OK}
    tags = list(dict.fromkeys(tag(release) for name, release in measurements.releases.items() if name in timed))
    folder = shlex.quote(os.path.relpath(history_folder(results)))
    looks = [f"compare {tags[0]} {tags[-1]}"] if len(tags) > 1 else [f"show {name}" for name in tags]
    many = f"{len(written.tags)} releases" if len(written.tags) > 1 else "1 release"
    told = f"{written.values:,} values of {many} are in asv's files. To see them:"
    asv = [f"    cd {folder} && asv {words}" for words in (*looks, "publish && asv preview")]
    stderr().print(Text("\n".join([told, *asv])), soft_wrap=True)
