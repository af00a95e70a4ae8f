"""What is known of one problem: what each backend says of it, known wrong answers, and times measured or expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convbench.analysis.prediction.layer_time import Predicted, Predictor
from convbench.measurement.machine.facts import cpu_flags, machine_name
from convbench.problem import ConvProblem
from convbench.registry import Entry, Registry, versions
from convbench.runner.show.case_history import CaseHistory, Past, Visit, case_history
from convbench.status import Status
from convbench.store.records import Conditions, earlier_records
from convbench.verification.known import KnownWrong, applicable, own_table


@dataclass(frozen=True)
class BackendAnswer:
    """What a backend says of a problem: that it computes it, or why not; and its known wrong answers there."""

    backend: str
    status: Status | None
    """None: it computes the problem here."""
    reason: str | None = None
    known: tuple[KnownWrong, ...] = ()


@dataclass(frozen=True)
class ProblemAnswers:
    """See the module. `expected` are times that similar layers let expect, only where none was measured here."""

    problem: ConvProblem
    backends: tuple[BackendAnswer, ...]
    history: CaseHistory
    expected: tuple[Predicted, ...] = ()

    @property
    def newest(self) -> CaseHistory:
        """The newest record of each backend under each set of conditions."""
        pasts = [Past(past.conditions, past.backend, (Visit(past.visits[-1].record),)) for past in self.history.pasts]
        return CaseHistory(self.history.name, tuple(pasts))


def problem_answers(
    problem: ConvProblem, registry: Registry, folder: Path, known: Sequence[KnownWrong] | None = None
) -> ProblemAnswers:
    """Ask the backends, and look in the results folder. `known` are wrong answers instead of convbench's own table."""
    entries = own_table() if known is None else known
    backends = tuple(_answer(entry, problem, entries) for entry in registry)
    history = case_history(problem.case_id, folder, lambda record: record.get("case_id") == problem.case_id)
    measured_here = any(past.conditions.machine == machine_name() and past.newest_s for past in history.pasts)
    able = {answer.backend for answer in backends if answer.status is None}
    expected = () if measured_here else _expected(problem, folder / machine_name())
    return ProblemAnswers(problem, backends, history, tuple(one for one in expected if one.backend in able))


def _answer(entry: Entry, problem: ConvProblem, entries: Sequence[KnownWrong]) -> BackendAnswer:
    if (reason := entry.unavailable()) is not None:
        return BackendAnswer(entry.name, Status.UNAVAILABLE, reason)
    try:
        refusal = entry.backend.unsupported(problem)
    except (Exception, SystemExit) as error:
        raised = f"asking whether it supports the problem raised {type(error).__name__}: {error}"
        return BackendAnswer(entry.name, Status.ERROR, raised)
    if refusal is not None:
        return BackendAnswer(entry.name, Status.UNSUPPORTED, refusal)
    about = applicable(entries, entry.name, versions(entry.backend), cpu_flags())
    return BackendAnswer(entry.name, None, None, tuple(entry for entry in about if entry.covers(problem)))


def _expected(problem: ConvProblem, folder: Path) -> tuple[Predicted, ...]:
    """What similar layers on this machine let expect on one thread, with warm caches."""
    return Predictor(earlier_records(folder, Conditions(threads=1), whole=False)).rank(problem)
