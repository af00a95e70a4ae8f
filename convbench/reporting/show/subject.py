"""What `convbench show` prints of a run, a problem or a case: for a person, and as JSON-ready rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import RenderableType

from convbench.reporting.run.report import earlier_run_report
from convbench.reporting.show import case_history, problem
from convbench.runner.session import Measurements
from convbench.runner.show.problem_answers import ProblemAnswers
from convbench.runner.show.subject import Subject


def shown_subject(subject: Subject, *, details: bool = False) -> tuple[RenderableType, Iterable[Any]]:
    """The tables, and the rows."""
    if isinstance(subject, Measurements):
        return earlier_run_report(subject, details=details), subject.records
    if isinstance(subject, ProblemAnswers):
        return problem.report(subject), [problem.row(subject)]
    return case_history.report(subject), case_history.rows(subject)
