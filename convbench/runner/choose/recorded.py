"""An answer at once: by earlier records of a machine, and by what they tell of layers that were never measured."""

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
from convbench.reporting.numbers import count
from convbench.runner.choose.answer import Answer
from convbench.runner.choose.request import Request
from convbench.store.ceilings import kept_ceilings
from convbench.store.journal import Record
from convbench.store.locations import results_folder
from convbench.store.matching_records import Conditions, by_case_id, earlier_records, machine_with_results
from convbench.store.readings import number
from convbench.suite import Suite


def looked_up(request: Request, suite: Suite) -> Answer:
    """The answer by earlier records, and by what they tell of layers that were never measured."""
    results = results_folder(request.results)
    elsewhere = request.machine is not None and request.machine != machine_name()
    name = request.machine or machine_name()
    folder = machine_with_results(results, name)
    conditions = Conditions(request.threads, cpu=None if elsewhere else machine_facts()["cpu"])
    found = [
        record
        for record in earlier_records(folder, conditions, whole=True)
        if _matches(request, record) and (request.lower_precision or not lower_precision(record))
    ]
    threads = count(request.threads, "thread", "threads")
    if not found:
        raise NothingMeasuredError(
            f"there are no records of {name} with {threads}, the steady allocator and warm caches; "
            "convbench choose without --from-results and --machine measures here."
        )
    by_id, predictor, registry = by_case_id(found), Predictor(found), discover(request.plugins)
    choices = []
    for case in suite.cases:
        mine = by_id.get(case.problem.case_id, [])
        predicted = () if any(number(r, "median_s") for r in mine) else predictor.rank(case.problem)
        predicted = tuple(p for p in predicted if not _refuses(registry, p.backend, case.problem))
        lower = request.lower_precision
        choices.append(decide(case, mine, request.tie, "recorded", predicted=predicted, lower=lower))
    return request.answered(choices, Limits(kept_ceilings(folder)), name)


def _refuses(registry: Registry, backend: str, problem: ConvProblem) -> bool:
    """Whether a backend that is known here declares that it does not compute `problem`."""
    known = (entry.backend for entry in registry if entry.name == backend)
    return any(one.unsupported(problem) is not None for one in known)


def _matches(request: Request, record: Record) -> bool:
    return not request.backends or any(fnmatchcase(record["backend"], glob) for glob in request.backends)
