"""`convbench choose`: the layers in question, and the answer by a race, or at once from records and predictions."""

from __future__ import annotations

import os
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from convbench.analysis.backend_times import lower_precision
from convbench.analysis.choice import decide
from convbench.analysis.prediction.layer_time import Predictor
from convbench.analysis.roofline import Limits
from convbench.errors import NothingMeasuredError, PlanError
from convbench.extraction.file_kinds import is_onnx
from convbench.measurement.cache_choice import Caches
from convbench.measurement.machine.facts import machine_name
from convbench.problem import Direction
from convbench.registry import discover
from convbench.runner.choose.answer import Answer, Request
from convbench.runner.choose.competitors import computes_in_less
from convbench.runner.choose.deployed import deployed_sentences
from convbench.runner.choose.layer_race import answer_by_racing
from convbench.runner.observer import Observer
from convbench.runner.selection import dtypes_named, selected_suites
from convbench.runner.session import Measurements
from convbench.store.ceilings import kept_ceilings
from convbench.store.locations import results_folder
from convbench.store.readings import number, this_hardware
from convbench.store.records import Conditions, by_case_id, earlier_records, machine_with_results
from convbench.store.schema import Record
from convbench.suite import Suite
from convbench.suite.filter import where_it_holds


def answer_request(request: Request, observer: Observer) -> tuple[Answer, Measurements | None]:
    """The answer, and what was measured for it, if anything. Raises `ConvbenchError` when there can be no answer."""
    if request.plan is not None:
        _check_place(request.plan)
    if request.purpose == "apply" and is_onnx(request.model):
        raise PlanError(
            f"--for apply is for torch models, and {request.model} is run by a runtime; convbench choose --model "
            f"{request.model} names the fastest one, with its settings."
        )
    if request.training and (request.purpose == "apply" or request.plan is not None):
        raise PlanError(
            "plans and --for apply are for models that only infer; leave out --training, or leave out --plan and --for "
            "to see which backend trains fastest."
        )
    suite = requested_layers(request, observer)
    if request.measures:
        return answer_by_racing(request, suite, observer)
    return answer_from_records(request, suite, observer), None


def requested_layers(request: Request, observer: Observer) -> Suite:
    """The layers of the model, suite or problems, each with its count."""
    dtypes = dtypes_named(request.dtype, several=False)
    directions: tuple[Direction, ...] = ("step",) if request.training else ()
    if request.model is None:
        suites = () if request.suite is None else (request.suite,)
        batches = () if request.batch is None else (request.batch,)
        return selected_suites(
            suites, request.problems, dtypes=dtypes, batches=batches, where=request.where, directions=directions
        )[0]
    from convbench.extraction.extract import layers_of

    dtype = dtypes[0] if dtypes else None
    extracted = layers_of(
        request.model, batch=request.batch, input_shape=request.input_shape, dtype=dtype, deployed=request.deploys
    )
    for sentence in extracted.left_out:
        observer.message(f"Left out: {sentence}")
    if not extracted.cases:
        raise NothingMeasuredError(f"{extracted.source} runs no conv2d.")
    suite = extracted.suite()
    if request.deploys:
        for sentence in deployed_sentences(request, extracted):
            observer.message(sentence)
    if request.training:
        observer.message("The first layer is timed with the gradient of its input, which training does not need.")
        suite = suite.over(directions=directions)
    elif request.purpose == "apply":
        suite = _forward_layers(suite, observer)
    return where_it_holds([suite], request.where)[0]


def _forward_layers(suite: Suite, observer: Observer) -> Suite:
    """The layers of `suite` that `convbench.apply` may compute. Raises `NothingMeasuredError` where there are none."""
    forward = tuple(case for case in suite.cases if case.problem.direction == "forward")
    if transposed := sum(case.count for case in suite.cases) - sum(case.count for case in forward):
        times = "one run" if transposed == 1 else f"{transposed} runs"
        observer.message(f"Left out: {times} of transposed convolutions; convbench.apply replaces nn.Conv2d alone.")
    if not forward:
        raise NothingMeasuredError(f"{suite.name} runs no conv2d that convbench.apply may compute.")
    return replace(suite, cases=forward)


def answer_from_records(request: Request, suite: Suite, observer: Observer) -> Answer:
    """Look the layers of `suite` up in the machine's records. Raises `NothingMeasuredError` when it has none that
    match."""
    results, name = results_folder(request.results), request.machine or machine_name()
    folder = machine_with_results(results, name)
    hardware = this_hardware() if name == machine_name() else None
    settings = request.caches.of_suite(suite, request.settings())
    records = _records(request, folder, Conditions.of(settings, hardware))
    if request.deploys and not any(map(_has_epilogue, records)):
        request = replace(request, bare=True)
        answer = answer_from_records(request, requested_layers(request, Observer()), observer)
        observer.message("There are no times of convolutions with an epilogue; the answer is for the bare ones.")
        return answer
    if not records and settings.cache == "pass" and request.caches == Caches():
        settings = replace(settings, cache="warm", pass_bytes=None)
        if records := _records(request, folder, Conditions.of(settings, hardware)):
            observer.message(
                "There are no times as in a pass of this model; the answer is from times with warm caches."
            )
    if not records:
        caches = "and warm caches" if request.caches == Caches() else f"and --cache {settings.cache}"
        raise NothingMeasuredError(
            f"there are no records of {name} with {request.threads} thread{'s' * (request.threads != 1)}, the steady "
            f"allocator {caches}; convbench choose without --from-results and --machine measures here."
        )
    in_less = [] if request.lower_precision else [record for record in records if lower_precision(record)]
    competing = [record for record in records if request.lower_precision or not lower_precision(record)]
    by_id, predictor, registry = by_case_id(competing), Predictor(competing), discover(request.plugins)
    less_by_id = by_case_id(in_less)
    choices = []
    for case in suite.cases:
        recorded = by_id.get(case.problem.case_id, [])
        predicted = () if any(number(r, "median_s") for r in recorded) else predictor.rank(case.problem)
        names = {time.backend for time in predicted}
        entries = (entry for entry in registry if entry.name in names)
        refused = {entry.name for entry in entries if entry.backend.unsupported(case.problem) is not None}
        predicted = tuple(time for time in predicted if time.backend not in refused)
        in_less_here = less_by_id.get(case.problem.case_id, [])
        left_out = {r["backend"]: computes_in_less(str(lower_precision(r))) for r in in_less_here}
        lower = request.lower_precision
        choices.append(decide(case, recorded, request.tie, "recorded", left_out, predicted, lower))
    return Answer(request, tuple(choices), Limits(kept_ceilings(folder)), name)


def _has_epilogue(record: Record) -> bool:
    problem = record.get("problem")
    return isinstance(problem, dict) and problem.get("epilogue") is not None


def _records(request: Request, folder: Path, conditions: Conditions) -> list[Record]:
    return [record for record in earlier_records(folder, conditions, whole=True) if _matches(request, record)]


def _matches(request: Request, record: Record) -> bool:
    return not request.backends or any(fnmatchcase(record["backend"], glob) for glob in request.backends)


def _check_place(plan: Path) -> None:
    """Raise `PlanError` for a plan that cannot be written there, before any time is spent."""
    if plan.is_dir() or not plan.parent.is_dir() or not os.access(plan.parent, os.W_OK):
        raise PlanError(f"--plan is {str(plan)!r}; it should be a file in a folder that exists and can be written.")
