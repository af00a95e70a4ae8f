"""Past releases of a library: make an environment for each, date it, and measure all side by side."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from packaging.utils import InvalidName, canonicalize_name

from convbench.errors import BackendError, LockedError, did_you_mean
from convbench.measurement.environments.interpreters import OtherEnvironment, environment, with_availability
from convbench.measurement.environments.probe import WORKER_NEEDS
from convbench.measurement.environments.release_dates import upload_dates, wheel_date
from convbench.measurement.environments.releases import Recipe, Release, make, same_version, version_of
from convbench.measurement.environments.requirements import requirements
from convbench.registry import Entry, Registry
from convbench.runner import run
from convbench.runner.observer import Observer
from convbench.runner.run import measure, registry, requested_suites
from convbench.runner.session import Measurements
from convbench.store.asv.release_history import History, write_release_history
from convbench.store.locations import results_folder


@dataclass(frozen=True, kw_only=True)
class Request(run.Request):
    """The options of the command, as given: those of `convbench run`, and its own."""

    library: str
    versions: tuple[str, ...]
    dates: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    python: str | None = None
    environments: Path | None = None


def measure_releases(request: Request, observer: Observer) -> Measurements:
    """Make the environments, measure in all of them by turns, and record the outcomes.

    Raises `BackendError` for a library, version or environment that cannot be had, and what `convbench run` raises.
    """
    suites = requested_suites(request)
    library = library_named(request.library)
    versions, days = versions_named(request.versions), _days(request.dates)
    backends = backends_of(library, registry(request), request.backends)
    environments = _environments(request, library, versions, backends, observer)
    releases = _dated(library, environments, days)
    offers = [(other.offer(entry), release) for other, release in releases for entry in backends]
    entries = with_availability([entry for entry, _ in offers], [other for other, _ in releases])
    if not request.backends:
        # Without backends that are unavailable in every environment; with all if none is available, for the reasons.
        available = {entry.backend.name for entry in entries if entry.unavailable() is None}
        entries = [entry for entry in entries if entry.backend.name in available] or entries
    return measure(request, suites, entries, observer, {entry.name: release for entry, release in offers})


def store_releases(request: Request, measurements: Measurements, say: Callable[[str], object]) -> History | None:
    """Make asv's files of all releases anew; None when that is not asked or nothing was measured. `say` is called
    with what is waited for."""
    if request.no_asv or not measurements.written:
        return None
    return write_release_history(results_folder(request.results), say)


def library_named(text: str) -> str:
    """The name of a library as package indexes have it. Raises `BackendError` for what is no name."""
    try:
        return canonicalize_name(text, validate=True)
    except InvalidName:
        raise BackendError(
            f"{text!r} is no name of a library; it should be what pip installs, such as onnxruntime."
        ) from None


def _words(texts: Sequence[str]) -> list[str]:
    return [word.strip() for text in texts for word in text.split(",")]


def versions_named(texts: Sequence[str]) -> list[str]:
    """The versions, one of each: 1.20 and 1.20.0 are the same. Raises `BackendError` for what is no version."""
    distinct: list[str] = []
    for version in _words(texts):
        if version_of(version) is None:
            raise BackendError(
                f"{version!r} is no version; --versions takes versions with commas, as in --versions 1.20.1,1.21.1"
            )
        if not any(same_version(version, known) for known in distinct):
            distinct.append(version)
    return distinct


def _days(texts: Sequence[str]) -> dict[str, str]:
    """The days of release in `--dates`, by version."""
    days = {}
    for word in _words(texts):
        version, _, day = word.partition("=")
        try:
            days[version] = date.fromisoformat(day).isoformat()
        except ValueError:
            raise BackendError(f"--dates has {word!r}; it should be like 1.20.1=2024-11-21, with commas.") from None
    return days


def _extra_requirements(texts: Sequence[str], versions: Sequence[str]) -> list[tuple[tuple[str, ...], str]]:
    """The requirements of `--with`, each with the versions that it is for; no version means all."""
    extra = []
    for text in texts:
        before, colon, after = text.partition(":")
        limits = tuple(_words([before]))
        is_limited = bool(colon) and all(version_of(word) is not None for word in limits)
        if is_limited and (strange := [word for word in limits if word not in versions]):
            raise BackendError(f"--with {text!r} is for {strange[0]}, which is not among --versions as it is written.")
        extra.append((limits, after.strip()) if is_limited else ((), text))
    return extra


def backends_of(library: str, everything: Registry, patterns: Sequence[str]) -> list[Entry]:
    """The backends that the patterns select; without patterns, those that require `library`. Raises `BackendError`
    without any."""
    if patterns:
        return [row for row in everything.select(patterns) if isinstance(row, Entry)]
    needed = {entry.name: [r.name for r in requirements(entry.backend)] for entry in everything}
    matching = [entry for entry in everything if library in needed.get(entry.name, ())]
    if not matching:
        libraries = sorted({name for names in needed.values() for name in names})
        raise BackendError(
            f"no backend requires {library!r}.{did_you_mean(library, libraries)} Name its backends with --backend, or "
            f"give one of: {', '.join(libraries)}."
        )
    return matching


def other_requirements(
    library: str, versions: Sequence[str], entries: Sequence[Entry], extra: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """What to install besides `library`, by version: what a worker and the backends need, and `extra` (`--with`)."""
    needed = dict.fromkeys(str(r) for entry in entries for r in requirements(entry.backend) if r.name != library)
    limited = _extra_requirements(extra, versions)
    others = {v: [t.replace("{version}", v) for limits, t in limited if not limits or v in limits] for v in versions}
    return {version: tuple(dict.fromkeys((*WORKER_NEEDS, *needed, *others[version]))) for version in versions}


def _environments(
    request: Request, library: str, versions: Sequence[str], entries: Sequence[Entry], observer: Observer
) -> list[OtherEnvironment]:
    """An environment for each version, labelled by it. Raises `BackendError` with all that could not be made."""
    from platformdirs import user_cache_path

    python = environment(request.python or sys.executable, "base")
    folder = request.environments or user_cache_path("convbench", appauthor=False) / "environments"
    others = other_requirements(library, versions, entries, request.others)
    environments: list[OtherEnvironment] = []
    failures: list[str] = []
    for version in versions:
        recipe = Recipe(library, version, others[version])
        observer.message(f"{library} {version}: preparing its environment ...")
        start = time.monotonic()
        try:
            made, is_new = make(recipe, folder, python, observer.message)
        except (BackendError, LockedError) as error:
            failures.append(str(error))
            continue
        how = f"made in {time.monotonic() - start:.0f} s" if is_new else "kept from before"
        observer.message(f"{library} {made.label}: its environment, {made.python}, was {how}.")
        environments.append(made)
    if failures:
        summary = "Nothing was measured; the environments that could be made are kept."
        raise BackendError("\n".join([*dict.fromkeys(failures), summary]))
    return environments


def _dated(
    library: str, environments: Sequence[OtherEnvironment], days: Mapping[str, str]
) -> list[tuple[OtherEnvironment, Release]]:
    """Each environment with its release, dated by `days`, else by the package index, else by the files of the wheel."""
    dates: dict[str, str] = {}
    for version, day in days.items():
        labels = [other.label for other in environments if same_version(version, other.label)]
        if not labels:
            raise BackendError(f"--dates has {version}, which is not among --versions.")
        dates |= dict.fromkeys(labels, day)
    if unknown := [other.label for other in environments if other.label not in dates]:
        dates |= upload_dates(library, unknown)
    reasons = []
    for other in environments:
        try:
            if other.label not in dates and (built := wheel_date(library, other.label, other.python)):
                dates[other.label] = built
        except BackendError as error:
            reasons.append(f"\n{error}")
    if undated := [other.label for other in environments if other.label not in dates]:
        example = ",".join(f"{version}=YYYY-MM-DD" for version in undated)
        raise BackendError(
            f"the package index does not tell when {library} {', '.join(undated)} came out, nor do the files. "
            f"Give --dates {example}{''.join(reasons)}"
        )
    releases = [(other, Release(library, other.label, dates[other.label])) for other in environments]
    return sorted(releases, key=lambda pair: pair[1].date)
