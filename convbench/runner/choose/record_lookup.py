"""An answer at once, from earlier records of a machine, and from predictions for layers that were never measured."""

from __future__ import annotations

from fnmatch import fnmatchcase

from convbench.analysis.backend_times import lower_precision
from convbench.analysis.choice import decide
from convbench.analysis.prediction.layer_time import Predictor
from convbench.analysis.roofline import Limits
from convbench.errors import NothingMeasuredError
from convbench.measurement.machine.facts import machine_facts, machine_name
from convbench.problem import ConvProblem
from convbench.registry import Registry, discover
from convbench.runner.choose.answer import Answer
from convbench.runner.choose.request import Request
from convbench.store.ceilings import kept_ceilings
from convbench.store.locations import results_folder
from convbench.store.matching_records import Conditions, by_case_id, earlier_records, machine_with_results
from convbench.store.readings import number
from convbench.store.schema import Record
from convbench.suite import Suite


def answer_from_records(request: Request, suite: Suite) -> Answer:
    """Look the layers of `suite` up in the machine's records. Raises `NothingMeasuredError` when it has none that
    match."""
    results, name = results_folder(request.results), request.machine or machine_name()
    folder = machine_with_results(results, name)
    conditions = Conditions(request.threads, cpu=machine_facts()["cpu"] if name == machine_name() else None)
    records = [r for r in earlier_records(folder, conditions, whole=True) if _matches(request, r)]
    if not records:
        raise NothingMeasuredError(
            f"there are no records of {name} with {request.threads} thread{'s' * (request.threads != 1)}, the steady "
            "allocator and warm caches; convbench choose without --from-results and --machine measures here."
        )
    by_id, predictor, registry = by_case_id(records), Predictor(records), discover(request.plugins)
    choices = []
    for case in suite.cases:
        recorded = by_id.get(case.problem.case_id, [])
        predicted = () if any(number(r, "median_s") for r in recorded) else predictor.rank(case.problem)
        predicted = tuple(p for p in predicted if not _refuses(registry, p.backend, case.problem))
        lower = request.lower_precision
        choices.append(decide(case, recorded, request.tie, "recorded", predicted=predicted, lower=lower))
    return Answer(request, tuple(choices), Limits(kept_ceilings(folder)), name)


def _refuses(registry: Registry, backend: str, problem: ConvProblem) -> bool:
    """Whether a backend that is known here declares that it does not compute `problem`."""
    return any(entry.backend.unsupported(problem) is not None for entry in registry if entry.name == backend)


def _matches(request: Request, record: Record) -> bool:
    selected = not request.backends or any(fnmatchcase(record["backend"], glob) for glob in request.backends)
    return selected and (request.lower_precision or not lower_precision(record))
