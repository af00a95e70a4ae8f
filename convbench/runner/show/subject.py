"""What a text stands for: a run, a problem or a case, looked for in this order."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NoReturn

from convbench.errors import NothingMeasuredError, ProblemError, ResultsError, did_you_mean
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.runner.locate import is_run, run_named
from convbench.runner.session import Measurements
from convbench.runner.show.case_history import CaseHistory, case_history, is_case
from convbench.runner.show.problem_answers import ProblemAnswers, problem_answers
from convbench.store.line_file import JournalWarning
from convbench.store.locations import results_folder
from convbench.store.records import records
from convbench.suite import builtin_suites

Subject = Measurements | ProblemAnswers | CaseHistory


def subject(text: str, results: Path | None, plugins: tuple[Path, ...] = (), *, history: bool = False) -> Subject:
    """The run, problem or case that `text` stands for; with `history` the records of a problem instead of what is known
    of it.

    A run is `last`, `last~2`, a file, or a name that ends in `.jsonl`. What reads as a problem is one. Anything else is
    a case, `case` or `suite/case`. Raises `ResultsError`, with what was tried, when it is none of these, and
    `NothingMeasuredError` for a case or the history of a problem that no run has measured.
    """
    if not history and is_run(text):
        return run_named(text, results)
    folder = results_folder(results)
    with warnings.catch_warnings():
        # The user did not name the journals of the folder, and a broken line in them hides at most its own record.
        warnings.simplefilter("ignore", JournalWarning)
        try:
            problem = ConvProblem.parse(text)
        except ProblemError as error:
            return _case(text, folder, error)
        if not history:
            return problem_answers(problem, discover(plugins), folder)
        measured = case_history(text, folder, lambda record: record.get("case_id") == problem.case_id)
        if not measured.pasts:
            raise NothingMeasuredError(
                f"no run in {folder} has measured {problem.case_id}; `convbench run --problem {problem.case_id}` does."
            )
        return measured


def _case(text: str, folder: Path, not_a_problem: ProblemError) -> CaseHistory:
    history = case_history(text, folder, is_case(text))
    if not history.pasts:
        _refuse(text, folder, not_a_problem)
    return history


def _refuse(text: str, folder: Path, not_a_problem: ProblemError) -> NoReturn:
    """Say that the case was not measured, or that there is none of that name."""
    shipped = [(suite.name, case) for suite in builtin_suites() for case in suite.cases]
    for suite, case in shipped:
        if text in (case.name, f"{suite}/{case.name}"):
            raise NothingMeasuredError(
                f"no run in {folder} has measured {case.name} of the suite {suite}; "
                f"`convbench run --suite {suite} --case {case.name}` does, "
                f"and `convbench show {case.problem.case_id}` says what is known of the problem."
            )
    measured = {record["case"] for record in records(folder, ("case",))} if folder.is_dir() else set()
    names = dict.fromkeys([*measured, *(case.name for _, case in shipped if case.name != case.problem.case_id)])
    raise ResultsError(
        f"{text!r} is no run (last, last~1 or the path of a journal), no problem, and no case in {folder} or in a "
        f"suite of convbench.{did_you_mean(text, names)} As a problem: {not_a_problem}"
    )
