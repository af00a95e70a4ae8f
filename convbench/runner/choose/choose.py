"""`convbench choose`: the question, the answer, and the plan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from convbench.errors import PlanError, SuiteError, did_you_mean
from convbench.problem import DTYPES, Dtype
from convbench.runner.choose.answer import Answer
from convbench.runner.choose.layer_race import answer_by_racing
from convbench.runner.choose.record_lookup import answer_from_records
from convbench.runner.choose.request import Request
from convbench.runner.observer import Observer
from convbench.runner.selection import suite_of_problems
from convbench.runner.session import Measurements
from convbench.suite import Suite, load_suite
from convbench.suite.filter import where_it_holds


def answer_request(request: Request, observer: Observer) -> tuple[Answer, Measurements | None]:
    """The answer, and what was measured for it, if anything. Raises `ConvbenchError` when there can be no answer."""
    if request.plan is not None:
        _check_place(request.plan)
    suite = requested_layers(request, observer)
    if request.measures:
        return answer_by_racing(request, suite, observer)
    return answer_from_records(request, suite), None


def requested_layers(request: Request, observer: Observer) -> Suite:
    """The layers of the model, suite or problems, each with its count."""
    dtype = _dtype(request)
    if request.model is not None:
        return where_it_holds([_layers_of_model(request, request.model, dtype, observer)], request.where)[0]
    if request.problems:
        suite = suite_of_problems(request.problems)
    else:
        suite = request.suite if isinstance(request.suite, Suite) else load_suite(request.suite or "")
    suite = suite.over((dtype,) if dtype else (), (request.batch,) if request.batch else ())
    return where_it_holds([suite], request.where)[0]


def _layers_of_model(request: Request, model: Any, dtype: Dtype | None, observer: Observer) -> Suite:
    from convbench.extraction.extract import layers_of

    extracted = layers_of(model, batch=request.batch, input_shape=request.input_shape, dtype=dtype)
    for sentence in extracted.left_out:
        observer.message(f"Left out: {sentence}")
    return extracted.suite()


def _check_place(plan: Path) -> None:
    """Raise `PlanError` for a plan that cannot be written there, before any time is spent."""
    if plan.is_dir() or not plan.parent.is_dir() or not os.access(plan.parent, os.W_OK):
        raise PlanError(f"--plan is {str(plan)!r}; it should be a file in a folder that exists and can be written.")


def _dtype(request: Request) -> Dtype | None:
    if request.dtype is not None and request.dtype not in DTYPES:
        raise SuiteError(
            f"--dtype is {request.dtype!r}; it should be one of {', '.join(DTYPES)}."
            f"{did_you_mean(request.dtype, DTYPES)}"
        )
    return request.dtype
