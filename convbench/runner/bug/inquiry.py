"""Asks one question anew, and then under other circumstances: threads, memory layouts, instruction sets, and the other
backends of the library. The circumstances narrow the cause down before a maintainer has read the report."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from convbench.backend.issue_form import PLAIN, IssueForm
from convbench.errors import BackendError, IsaError, NothingMeasuredError, did_you_mean
from convbench.isa import ISAS, Isa, isas_named
from convbench.measurement.machine.facts import cpu_flags, machine_facts, machine_name, usable_cpus
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import Explain, Prepare
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.registry import Entry, Registry, discover
from convbench.runner.bug.first_release import first_wrong_release
from convbench.runner.bug.subject import Subject
from convbench.runner.verify.examiner import Examiner
from convbench.runner.verify.rows import command_for
from convbench.status import Status
from convbench.store.locations import machine_folder, results_folder
from convbench.verification.oracle import oracle_for
from convbench.verification.question import LAYOUTS, Failure, Question

_ENVIRONMENT_S = 120.0
_MOST_ENVIRONMENT = 20_000


@dataclass(frozen=True, kw_only=True)
class Request:
    """`text` is a question or a report's file; the rest are the options of the command."""

    text: str
    backend: str | None = None
    library: str | None = None
    threads: int = 1
    time_limit_s: float = 40.0
    results: Path | None = None
    narrow: bool = True
    """Whether to ask under other circumstances."""
    plugins: tuple[Path, ...] = ()
    isa: Isa | None = None
    """The widest instruction set that the library may use. Where the backend's arithmetic depends on it, its switch has
    to be set in this process, too."""


@dataclass(frozen=True)
class Circumstance:
    """One way to ask: `kind` is "threads", "layout", "instructions" or "backend", and `value` a word for it. `shows`
    says whether the answer was wrong or did not come; None where it could not be asked, for `reason`."""

    kind: str
    value: str
    shows: bool | None
    reason: str = ""
    words: str = ""
    """What `value` means, where it is a word of convbench alone."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that a report says."""

    entry: Entry
    failure: Failure
    form: IssueForm
    versions: dict[str, str]
    circumstances: tuple[Circumstance, ...]
    environment: str
    """What the project's own command prints; empty where it has none."""
    platform: str
    command: str
    """The command of convbench that asks again."""
    shared: str = ""
    """What failing convolutions have in common, in a sentence."""
    since: str = ""
    """Which release was the first to be wrong, in a sentence, where a bisection has found it."""


def inquire(request: Request, subject: Subject, on_ask: Callable[[str], None] = lambda what: None) -> Findings:
    """The findings. `on_ask` is called with what is asked next, in words.

    Raises `BackendError` for a backend or a library that is not there, and `NothingMeasuredError` when the answer is
    right here, or the backend cannot be asked.
    """
    registry = discover(request.plugins)
    [entry] = registry.select([subject.backend])
    if not isinstance(entry, Entry) or (reason := entry.unavailable()) is not None:
        raise NothingMeasuredError(f"{entry.name} cannot be asked here: {entry.unavailable()}.")
    form = _form(registry, entry, request.library)
    if reason := entry.backend.unsupported(subject.question.problem):
        raise NothingMeasuredError(f"{entry.name} does not compute {subject.question.problem.case_id}: it {reason}.")
    question = subject.question
    on_ask(f"{entry.name}: {question}")
    with Examiner(entry, request.time_limit_s, request.threads, isa=request.isa) as examiner:
        failure, versions = examiner(question), examiner.versions
        if failure is None:
            raise NothingMeasuredError(
                f"{entry.name} answers {question} rightly here, so there is nothing to report. "
                f"Its versions are {', '.join(f'{name} {version}' for name, version in versions.items())}."
            )
        circumstances = tuple(_narrowed(registry, examiner, failure, request, on_ask)) if request.narrow else ()
    on_ask(f"the environment, for {form.project}")
    return Findings(
        entry=entry,
        failure=replace(failure, kernel=failure.kernel or _kernel(entry, question, request)),
        form=form,
        versions=versions,
        circumstances=circumstances,
        environment=_environment(form.environment),
        platform=_platform(),
        command=command_for(examiner, [question]),
        shared=subject.shared,
        since=first_wrong_release(machine_folder(results_folder(request.results), machine_name()), question),
    )


def _form(registry: Registry, entry: Entry, library: str | None) -> IssueForm:
    """The form of `library`, or else of the backend's own."""
    if library is None:
        return entry.backend.issue_form or PLAIN
    declared = (each.backend.issue_form for each in registry if isinstance(each, Entry))
    forms = {each.library: each for each in declared if each is not None}
    if (form := forms.get(library)) is None:
        raise BackendError(
            f"There is no form for {library!r}; known are {', '.join(sorted(forms))}.{did_you_mean(library, forms)}"
        )
    return form


def _kernel(entry: Entry, question: Question, request: Request) -> str | None:
    """The kernel that computes it, in the library's words; None where it does not tell, or no answer comes."""
    pool = WorkerPool(Settings(threads=request.threads, time_limit_s=request.time_limit_s, isa=request.isa))
    try:
        if pool.start([entry]):
            return None
        operands = oracle_for(question, entry.backend.arithmetic).operands.named()
        pool.request(entry, Prepare(problem=question.problem, operands=operands))
        return pool.request(entry, Explain()).implementation
    except WorkerError:
        return None
    finally:
        pool.shutdown()


def _narrowed(
    registry: Registry, examiner: Examiner, failure: Failure, request: Request, on_ask: Callable[[str], None]
) -> Iterator[Circumstance]:
    """What the worker of `examiner` can be asked is asked there: starting another takes longer than most answers."""
    entry, question = examiner.entry, failure.question

    def ask(kind: str, value: str, examiner: Examiner, question: Question) -> Circumstance:
        on_ask(f"{kind} {value}")
        try:
            other = examiner(question)
        except WorkerError as error:
            return Circumstance(kind, value, None, error.reason)
        if other is not None and other.status is Status.ERROR and failure.status is not Status.ERROR:
            return Circumstance(kind, value, None, other.reason)
        return Circumstance(kind, value, other is not None)

    def ask_anew(kind: str, value: str, entry: Entry, threads: int, isa: Isa | None = request.isa) -> Circumstance:
        with Examiner(entry, request.time_limit_s, threads, isa=isa) as other:
            return ask(kind, value, other, question)

    for layout in LAYOUTS:
        yield ask("layout", layout, examiner, question.replace(layout=layout))
    for threads in sorted({1, 2, request.threads}):
        if threads == request.threads:
            yield ask("threads", str(threads), examiner, question)
        elif threads <= usable_cpus():
            yield ask_anew("threads", str(threads), entry, threads)
    for isa in _isas(entry):
        yield ask_anew("instructions", f"up to {isa}", entry, request.threads, isa)
    for other in _siblings(registry, entry):
        if reason := other.unavailable() or other.backend.unsupported(question.problem):
            yield Circumstance("backend", other.name, None, reason)
        else:
            circumstance = ask_anew("backend", other.name, other, request.threads)
            yield replace(circumstance, words=other.backend.summary)


def _isas(entry: Entry) -> list[Isa]:
    """The instruction sets of this CPU that the backend can be held to."""
    facts, flags = machine_facts(), cpu_flags()

    def is_here(isa: Isa) -> bool:
        try:
            return bool(isas_named([isa], facts["cpu"], flags))
        except IsaError:
            return False

    return [isa for isa in ISAS if isa in entry.backend.isa_switches and is_here(isa)]


def _siblings(registry: Registry, entry: Entry) -> Sequence[Entry]:
    """Other backends of the same library, on the same kind of device."""
    own = entry.backend
    if not own.requires:
        return []
    others = [each for each in registry if isinstance(each, Entry) and each.name != entry.name]
    return [each for each in others if each.backend.requires == own.requires and each.backend.device == own.device]


@cache
def _environment(command: tuple[str, ...]) -> str:
    """What the project's own command prints; it takes seconds and says the same in each report."""
    if not command:
        return ""
    try:
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, timeout=_ENVIRONMENT_S, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()[:_MOST_ENVIRONMENT]


def _platform() -> str:
    facts = machine_facts()
    wide = f", {facts['vector_isa']}" if facts["vector_isa"] else ""
    return f"{facts['os']} on {facts['arch']}, {facts['cpu']}{wide}, Python {platform.python_version()}"
