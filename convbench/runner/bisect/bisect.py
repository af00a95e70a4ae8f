"""`convbench bisect`: from the options to the release, or the commit, that changed an answer or a time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from convbench.errors import BackendError, NothingMeasuredError
from convbench.measurement.machine.facts import machine_name
from convbench.problem import ConvProblem
from convbench.registry import Entry, discover
from convbench.runner.bisect.answer_search import changed_answers
from convbench.runner.bisect.finding import Bisected
from convbench.runner.bisect.log import History
from convbench.runner.bisect.request import Request
from convbench.runner.bisect.series import Environments, Series, base_environment, commits_of, releases_between
from convbench.runner.bisect.time_search import changed_times
from convbench.runner.observer import Observer
from convbench.runner.releases import backends_of, library_named
from convbench.store.locations import machine_folder, results_folder


def bisect(request: Request, observer: Observer) -> Bisected:
    """Search for what `request` says. Raises `ConvbenchError` when that cannot be done."""
    start = time.monotonic()
    library = library_named(request.library)
    base = base_environment(request.python)
    backend = _backend(request, library)
    _check(request, backend)
    series = _series(request, library, base.python)
    folder = machine_folder(results_folder(request.results), machine_name())
    with History.begin(folder, request.identity(), resume=request.resume) as history:
        if request.resume:
            said = (
                f"resuming {history.path.name}, which has {history.read} looks" if history.read else "nothing to resume"
            )
            observer.message(f"{said}.")
        observer.message(_heading(series, request, backend))
        kept_in = request.environments or _cache_folder()
        environments = Environments(
            series, backend, kept_in, base, request.others, observer.message, discard=request.discard
        )
        try:
            search = changed_answers if request.question is not None else changed_times
            result = search(request, environments, history, observer)
        finally:
            environments.remove()
    return replace(result, environments=len(environments.made), elapsed_s=time.monotonic() - start, log=history.path)


def _backend(request: Request, library: str) -> Entry:
    discovered = discover(request.plugins)
    discovered.defined_by(request.plugins)
    backends = backends_of(library, discovered, (request.backend,) if request.backend else ())
    if len(backends) > 1:
        names = ", ".join(entry.name for entry in backends)
        raise BackendError(
            f"{len(backends)} backends compute with {library}: {names}. Choose one, as in --backend {backends[0].name}"
        )
    return backends[0]


def _check(request: Request, backend: Entry) -> None:
    """Raise for what the backend cannot be asked, before any environment is made."""
    problem = (
        request.parsed_question().problem if request.question is not None else ConvProblem.parse(request.case or "")
    )
    if reason := backend.backend.unsupported(problem):
        raise NothingMeasuredError(f"{backend.name} does not compute {problem.case_id}: {reason}")


def _series(request: Request, library: str, python: str) -> Series:
    if request.commits is not None:
        return commits_of(library, Path.cwd(), request.commits)
    return releases_between(library, request.versions, request.good, request.bad, python, pre=request.pre)


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("convbench", appauthor=False) / "environments"


def _heading(series: Series, request: Request, backend: Entry) -> str:
    how = "slower" if request.faster is None else "faster"
    what = f"makes {request.question!r} wrong" if request.question is not None else f"makes {request.case} {how}"
    ends = f"{series.labels[0]} to {series.labels[-1]}"
    return f"Which of {len(series.labels)} {series.word}s of {series.library} ({ends}) {what}, with {backend.name}?"
