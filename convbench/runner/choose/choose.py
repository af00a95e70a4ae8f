"""`convbench choose`: the question, the answer, and the plan.

Choosing among the backends that are right is a success, whatever became of the others: it leaves with 0 when there is a
choice, and with 3 when there is none.
"""

from __future__ import annotations

import os
from pathlib import Path

from rich.text import Text

from convbench.errors import NothingMeasuredError, PlanError, SuiteError, did_you_mean
from convbench.problem import DTYPES, ConvProblem, Dtype
from convbench.reporting.choice_tables import answer_report
from convbench.reporting.console import print_json, show_journal_warnings, stderr, stdout
from convbench.runner.choose.answer import answer_lines
from convbench.runner.choose.plan import plan_of
from convbench.runner.choose.raced import raced
from convbench.runner.choose.recorded import looked_up
from convbench.runner.choose.request import Request
from convbench.suite import Case, Suite, load_suite
from convbench.suite.filter import where_it_holds


def answer(request: Request) -> int:
    """Answer `request`; gives the exit code. Raises `ConvbenchError` when it asks what cannot be."""
    show_journal_warnings()
    if request.plan is not None:
        _check_place(request.plan)
    suite = asked(request)
    found, code, told = raced(request, suite) if request.measures else (looked_up(request, suite), 0, ())
    if request.as_json:
        print_json(answer_lines(found))
    else:
        stdout().print(answer_report(found))
    for part in told:
        stderr().print()
        stderr().print(part, soft_wrap=isinstance(part, Text))
    if request.plan is not None and code == 0 and found.model.choices:
        plan_of(found).write(request.plan)
        stderr().print(Text(f"The plan is in {request.plan}."), soft_wrap=True)
    if code == 0 and not found.model.choices:
        return NothingMeasuredError.exit_code
    return code


def _check_place(plan: Path) -> None:
    """Raise `PlanError` for a plan that could not be written: before the race, and not after it."""
    if plan.is_dir() or not plan.parent.is_dir() or not os.access(plan.parent, os.W_OK):
        raise PlanError(f"--plan is {str(plan)!r}; it should be a file in a folder that is there and can be written.")


# --- the question -----------------------------------------------------------------------------------------------------


def asked(request: Request) -> Suite:
    """The layers that were asked about, each with its count."""
    if request.model is not None:
        from convbench.extraction.extract import layers_of

        extracted = layers_of(
            request.model, batch=request.batch, input_shape=request.input_shape, dtype=_dtype(request)
        )
        for sentence in extracted.left_out:
            stderr().print(Text(f"Left out: {sentence}"), soft_wrap=True)
        return where_it_holds([extracted.suite()], request.where)[0]  # of the batch and dtype asked for already
    if request.problem is not None:
        problem = ConvProblem.parse(request.problem)
        suite = Suite("problem", "", (), (Case(problem),), Path())
    else:
        suite = load_suite(request.suite or "")
    dtype = _dtype(request)
    suite = suite.over((dtype,) if dtype else (), (request.batch,) if request.batch else ())
    return where_it_holds([suite], request.where)[0]


def _dtype(request: Request) -> Dtype | None:
    if request.dtype is not None and request.dtype not in DTYPES:
        raise SuiteError(
            f"--dtype is {request.dtype!r}; it should be one of {', '.join(DTYPES)}."
            f"{did_you_mean(request.dtype, DTYPES)}"
        )
    return request.dtype
