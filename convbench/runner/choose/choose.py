"""`convbench choose`: the question, the answer, and the plan."""

from __future__ import annotations

import os
from pathlib import Path

from convbench.errors import PlanError
from convbench.runner.choose.answer import Answer
from convbench.runner.choose.layer_race import answer_by_racing
from convbench.runner.choose.record_lookup import answer_from_records
from convbench.runner.choose.request import Request
from convbench.runner.observer import Observer
from convbench.runner.selection import dtypes_named, selected_suites
from convbench.runner.session import Measurements
from convbench.suite import Suite
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
    dtypes = dtypes_named(request.dtype, several=False)
    if request.model is None:
        suites = () if request.suite is None else (request.suite,)
        batches = () if request.batch is None else (request.batch,)
        return selected_suites(suites, request.problems, dtypes=dtypes, batches=batches, where=request.where)[0]
    from convbench.extraction.extract import layers_of

    dtype = dtypes[0] if dtypes else None
    extracted = layers_of(request.model, batch=request.batch, input_shape=request.input_shape, dtype=dtype)
    for sentence in extracted.left_out:
        observer.message(f"Left out: {sentence}")
    return where_it_holds([extracted.suite()], request.where)[0]


def _check_place(plan: Path) -> None:
    """Raise `PlanError` for a plan that cannot be written there, before any time is spent."""
    if plan.is_dir() or not plan.parent.is_dir() or not os.access(plan.parent, os.W_OK):
        raise PlanError(f"--plan is {str(plan)!r}; it should be a file in a folder that exists and can be written.")
