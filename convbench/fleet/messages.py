"""What is sent to machines, as plain data: suites by case ids, requests by the words of their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convbench.errors import FleetError
from convbench.problem import ConvProblem
from convbench.runner.run import Request
from convbench.store.locations import CheckoutState
from convbench.suite import Case, Suite
from convbench.verification.timed_data import WORDS

FIELDS = (
    "backends", "threads", "processes", "self_check", "isa", "data", "pin", "priority", "cache", "pass_bytes",
    "precision", "budget", "quick", "time_limit", "allocator", "time_wrong", "lower_precision", "seed",
)  # fmt: skip


def request_as_data(request: Request, suites: Sequence[Suite]) -> dict[str, Any]:
    """The request of a machine for these suites, whose cases were selected before. Raises `FleetError` for what cannot
    be sent."""
    if request.plugins or request.pythons:
        raise FleetError("--plugin and --python name what this machine has; machines of a cluster do not have it.")
    if files := [word for word in request.data if word not in WORDS]:
        raise FleetError(f"--data {files[0]} is a file of this machine; on a cluster it is one of {', '.join(WORDS)}.")
    fields = {name: getattr(request, name) for name in FIELDS}
    return {"fields": fields, "suites": [_suite_as_data(suite) for suite in suites]}


def checkout_as_data(checkout: CheckoutState) -> dict[str, Any] | None:
    """The checkout that a command is typed in, for the records of machines that have the same source text without its
    history; None where there is no commit."""
    return None if checkout.commit is None else asdict(checkout)


def request_of(
    data: Mapping[str, Any], results: Path, campaign: str, checkout: Mapping[str, Any] | None = None
) -> Request:
    """In the machine: the request, with its journals in the folder of the campaign."""
    belongs_to = None if checkout is None else CheckoutState(**checkout)
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in data["fields"].items()
    }
    suites = tuple(map(_suite_of, data["suites"]))
    return Request(**fields, suites=suites, results=results, campaign=campaign, checkout=belongs_to, no_asv=True)


def _suite_as_data(suite: Suite) -> dict[str, Any]:
    return {
        "name": suite.name,
        "summary": suite.summary,
        "tags": suite.tags,
        "cases": [_case_as_data(case) for case in suite.cases],
        "whole": [_case_as_data(case) for case in suite.whole],
    }


def _case_as_data(case: Case) -> dict[str, Any]:
    if case.data is not None:
        raise FleetError(f"the case {case.name} brings data of its own, which are not sent to machines; leave it out.")
    return {
        "name": case.name,
        "case_id": case.problem.case_id,
        "count": case.count,
        "layer": case.layer,
        "models": case.models,
    }


def _suite_of(data: Mapping[str, Any]) -> Suite:
    cases, whole = (tuple(map(_case_of, data[name])) for name in ("cases", "whole"))
    return Suite(data["name"], data["summary"], tuple(data["tags"]), cases, Path(data["name"]), whole)


def _case_of(data: Mapping[str, Any]) -> Case:
    problem = ConvProblem.parse(data["case_id"])
    return Case(problem, data["name"], data["count"], data["layer"], None, data["models"])
