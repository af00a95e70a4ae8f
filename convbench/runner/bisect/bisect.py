"""`convbench bisect`: from the options to the release, or the commit, that made an answer wrong or a case slower."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from convbench.errors import BackendError, NothingMeasuredError
from convbench.measurement.environments.release_dates import upload_dates
from convbench.measurement.environments.releases import Release
from convbench.measurement.machine.facts import machine_name
from convbench.problem import ConvProblem
from convbench.registry import Entry, discover
from convbench.runner import run
from convbench.runner.bisect.asking import answer_to
from convbench.runner.bisect.changed_answer import MOST_ENDS, Answer, Skipped, find_change, first_that_answers
from convbench.runner.bisect.finding import Bisected, Finding, Reporter
from convbench.runner.bisect.log import Answered, History, Lost
from convbench.runner.bisect.series import Environments, Series, base_environment, commits_of, releases_between
from convbench.runner.bisect.slow_down import LostEndError, SlowDown, SlowDownSearch
from convbench.runner.bisect.timing import SideBySide
from convbench.runner.observer import Observer
from convbench.runner.releases import backends_of, library_named
from convbench.stats.bisection.levels import Decision
from convbench.status import Status
from convbench.store.locations import machine_folder, results_folder
from convbench.verification.question import Question

_NOT_PART_OF_THE_SEARCH = ("environments", "discard", "resume", "results")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given. Either `question` or `case` is set."""

    library: str
    question: str | None = None
    case: str | None = None
    slower: float = 0.05
    good: str | None = None
    bad: str | None = None
    versions: tuple[str, ...] = ()
    pre: bool = False
    commits: str | None = None
    others: tuple[str, ...] = ()
    backend: str | None = None
    threads: int = 1
    time_limit: float = 40.0
    quick: bool = False
    python: str | None = None
    environments: Path | None = None
    discard: bool = False
    resume: bool = False
    plugins: tuple[Path, ...] = ()
    results: Path | None = None

    def identity(self) -> dict[str, Any]:
        """What has to be equal for one request to continue another."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return {name: value for name, value in fields.items() if name not in _NOT_PART_OF_THE_SEARCH}

    def timing(self) -> run.Request:
        """The run that compares some members."""
        options = {name: getattr(self, name) for name in ("threads", "time_limit", "quick", "plugins", "results")}
        return run.Request(problems=(self.case or "",), no_asv=True, **options)


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
            search = _wrong if request.question is not None else _slow
            result = search(request, environments, history, observer)
        finally:
            environments.remove()
    return replace(result, environments=len(environments.made), elapsed_s=time.monotonic() - start, log=history.path)


# --- the request -----------------------------------------------------------------------------------------------------


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
    problem = _question(request).problem if request.question is not None else ConvProblem.parse(request.case or "")
    if reason := backend.backend.unsupported(problem):
        raise NothingMeasuredError(f"{backend.name} does not compute {problem.case_id}: {reason}")


def _question(request: Request) -> Question:
    return Question.parse(request.question or "")


def _series(request: Request, library: str, python: str) -> Series:
    if request.commits is not None:
        return commits_of(library, Path.cwd(), request.commits)
    return releases_between(library, request.versions, request.good, request.bad, python, pre=request.pre)


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("convbench", appauthor=False) / "environments"


def _heading(series: Series, request: Request, backend: Entry) -> str:
    what = f"makes {request.question!r} wrong" if request.question is not None else f"makes {request.case} slower"
    ends = f"{series.labels[0]} to {series.labels[-1]}"
    return f"Which of {len(series.labels)} {series.word}s of {series.library} ({ends}) {what}, with {backend.name}?"


# --- a wrong answer ---------------------------------------------------------------------------------------------------


@dataclass
class _Asking:
    """Asks members, each once; remembers the answers."""

    question: Question
    request: Request
    environments: Environments
    history: History
    say: Callable[[str], object]
    takes_errors: bool = False
    """Whether an exception is an answer. Where the newest member does not raise, it says that an adapter does not fit
    an old release, and nothing of the answer."""

    def __post_init__(self) -> None:
        self.answers: dict[int, Answered | Lost] = {}

    def __call__(self, member: int) -> Answer | Skipped:
        if member not in self.answers:
            self.answers[member] = self._look(member)
        look = self.answers[member]
        if isinstance(look, Lost):
            return Skipped(look.reason)
        if look.kind == Status.ERROR and not self.takes_errors:
            return Skipped(look.sentence)
        return Answer(look.kind, look.sentence, look.kernel)

    def _look(self, member: int) -> Answered | Lost:
        label = self.environments.series.labels[member]
        if isinstance(known := self.history.known(label), (Answered, Lost)):
            return known
        entry = self.environments.entry(member)
        answer = entry if isinstance(entry, Skipped) else self._answer(entry)
        if isinstance(answer, Skipped):
            look: Answered | Lost = Lost(labels=(label,), label=label, reason=answer.reason)
            if answer is not entry:  # what has no environment was announced
                self.say(f"{self.environments.series.library} {label} is skipped: {answer.reason}")
        else:
            look = Answered(label=label, kind=answer.kind, sentence=answer.sentence, kernel=answer.kernel)
            self.say(f"{self.environments.series.library} {label}: {look.kind} {look.sentence}".rstrip())
        self.history.add(look)
        self.environments.remove()
        return look

    def _answer(self, entry: Entry) -> Answer | Skipped:
        return answer_to(self.question, entry, self.request.time_limit, self.request.threads)


def _wrong(request: Request, environments: Environments, history: History, observer: Observer) -> Bisected:
    series = environments.series
    ask = _Asking(_question(request), request, environments, history, observer.message, takes_errors=True)
    newest = len(series.labels) - 1
    last = ask(newest)
    ask.takes_errors = isinstance(last, Answer) and last.kind == Status.ERROR
    high = _end(request, ask, range(newest, 0, -1), series, is_given=request.bad is not None)
    low = _end(request, ask, range(high), series, is_given=request.good is not None)
    reporter = Reporter(request.library, environments, ask.answers)
    first, final = ask(low), ask(high)
    if isinstance(first, Answer) and isinstance(final, Answer) and first.kind == final.kind:
        return reporter.alike(low, high, first.kind)
    change = find_change(low, high, ask)
    findings = [reporter.changed(change.before, change.after)]
    findings += [reporter.changed(one, other, kind="further") for one, other in change.later]
    return reporter.result(findings)


def _end(
    request: Request, ask: Callable[[int], Answer | Skipped], members: range, series: Series, *, is_given: bool
) -> int:
    """The first of `members` that can be asked. One that was named has to be it."""
    if is_given or request.commits is not None:
        if isinstance(answer := ask(members[0]), Skipped):
            raise NothingMeasuredError(
                f"{series.library} {series.labels[members[0]]} cannot be asked: {answer.reason}. Give another end of "
                "the search with --good or --bad, or what it needs with --with."
            )
        return members[0]
    if (end := first_that_answers(ask, members)) is None:
        raise NothingMeasuredError(
            f"none of {min(MOST_ENDS, len(members))} {series.word}s of {series.library} can be asked; the last reason: "
            f"{_reason(ask(members[0]))}"
        )
    return end


def _reason(answer: Answer | Skipped) -> str:
    return answer.reason if isinstance(answer, Skipped) else answer.sentence


# --- a slow-down ------------------------------------------------------------------------------------------------------


def _slow(request: Request, environments: Environments, history: History, observer: Observer) -> Bisected:
    series = environments.series
    newest = len(series.labels) - 1

    def usable(member: int) -> Answer | Skipped:
        entry = environments.entry(member)
        return entry if isinstance(entry, Skipped) else Answer("ok")

    high = _end(request, usable, range(newest, 0, -1), series, is_given=request.bad is not None)
    low = _end(request, usable, range(high), series, is_given=request.good is not None)
    timed = SideBySide(request.timing(), environments, history, observer, _releases(series))
    reporter = Reporter(request.library, environments, {}, timed.facts)

    def side_by_side(members: tuple[int, ...]) -> Any:
        seen = timed(members)
        if isinstance(seen, tuple):
            reporter.skip(*seen)
        environments.remove(low, high)
        return seen

    try:
        slow_down = SlowDownSearch(side_by_side, request.slower).between(low, high)
    except LostEndError as lost:
        label = series.labels[lost.member]
        raise NothingMeasuredError(
            f"{series.library} {label} cannot be measured: {lost}. Give another end of the search with --good or --bad."
        ) from None
    return _slow_result(slow_down, reporter, request)


def _slow_result(slow_down: SlowDown, reporter: Reporter, request: Request) -> Bisected:
    if slow_down.ends is not Decision.SLOWER:
        return reporter.not_slower(slow_down, request.slower)
    findings: list[Finding] = [reporter.changed(s.before, s.after, ratio=s.ratio) for s in slow_down.steps]
    findings += [reporter.changed(s.before, s.after, ratio=s.ratio, kind="further") for s in slow_down.rest]
    findings += [reporter.changed(*ends, kind="undecided") for ends in slow_down.undecided]
    return reporter.result(findings, slow_down.ratio)


def _releases(series: Series) -> Mapping[int, Release]:
    if series.commits:
        return {}
    dates = upload_dates(series.library, series.labels)
    places = enumerate(series.labels)
    return {place: Release(series.library, label, dates[label]) for place, label in places if label in dates}
