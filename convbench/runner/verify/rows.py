"""The row of one backend in `convbench verify --json`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from convbench.registry import Entry
from convbench.runner.verify.campaign import Campaign
from convbench.runner.verify.examiner import Examiner
from convbench.status import Status
from convbench.verification.causes.grouping import Cause
from convbench.verification.causes.known_entry import known_entry
from convbench.verification.causes.parameters import size
from convbench.verification.causes.report import report
from convbench.verification.known import KnownWrong
from convbench.verification.question import Question

GRAVEST_FIRST = (Status.WRONG, Status.CRASHED, Status.ERROR, Status.TIMEOUT, Status.OUT_OF_MEMORY)
_FOUND_BY = 3
Row = dict[str, Any]


def row_of_none(backend: str, status: Status, reason: str | None) -> Row:
    """The row of a backend that answered nothing."""
    nothing: Row = {"cases": 0, "searched": 0, "coverage": None, "combinations": 0, "seconds": 0.0}
    rest: Row = {"failures": [], "known": False, "warned": 0, "max_error_over_bound": None}
    rest |= {"versions": {}, "complete": True}
    return {"backend": backend, "status": str(status), "reason": reason, **nothing, **rest}


def row_of(
    campaign: Campaign,
    causes: list[Cause],
    known_causes: list[tuple[KnownWrong, Cause]],
    seconds: float,
    *,
    complete: bool,
) -> Row:
    """The row of a backend that was asked. `known` says whether it failed, and in known ways only."""
    examiner = campaign.examiner
    statuses = {failure.status for failure in campaign.failures.values()}
    status = next((status for status in GRAVEST_FIRST if status in statuses), Status.OK)
    too_large = [{"case": problem.case_id, "reason": reason} for problem, reason in campaign.too_large.items()]
    if not campaign.questions and too_large:
        reason = f"{too_large[0]['case']} is {too_large[0]['reason']}"
        return row_of_none(examiner.entry.name, Status.OUT_OF_MEMORY, reason) | {"too_large": too_large}
    if not campaign.questions:
        return row_of_none(examiner.entry.name, Status.UNSUPPORTED, campaign.no_question_reason)
    coverage = campaign.coverage
    return {
        "backend": examiner.entry.name,
        "status": str(status),
        "reason": campaign.gave_up,
        "cases": campaign.questions - campaign.searched,
        "searched": campaign.searched,
        "coverage": coverage.share if coverage else None,
        "combinations": coverage.combinations if coverage else 0,
        "seconds": seconds,
        "failures": [
            *(_failure(campaign, cause) for cause in causes),
            *(_failure(campaign, cause, entry) for entry, cause in known_causes),
        ],
        "known": bool(known_causes) and not causes and not campaign.gave_up,
        "warned": examiner.warned,
        "max_error_over_bound": examiner.max_error_over_bound,
        "versions": examiner.versions,
        "complete": complete,
    } | ({"too_large": too_large} if too_large else {})


def command_for(examiner: Examiner, questions: Sequence[Question], *, with_limit: bool = False) -> str:
    """The command that asks just this, as it was asked; with the time limit where that matters."""
    entry = examiner.entry
    words = ["convbench", "verify"]
    words += ["--plugin", plugin] if (plugin := _plugin(entry)) is not None else []
    label = entry.name.removeprefix(f"{entry.backend.name}@")
    words += ["--python", f"{entry.python}={label}"] if entry.python is not None else []
    words += ["--backend", entry.name]
    words += ["--isa", examiner.isa] if examiner.isa is not None else []
    words += ["--threads", str(examiner.threads)] if examiner.threads > 1 else []
    words += ["--time-limit", f"{examiner.limit_s:g}"] if with_limit else []
    return shlex.join([*words, *(word for question in questions for word in ("--question", str(question)))])


def _plugin(entry: Entry) -> str | None:
    """The file to give to --plugin; None for a backend that is found without."""
    origin = entry.origin
    if origin.kind == "file":
        return origin.target
    if not origin.folder or origin.target.startswith("convbench."):
        return None
    module = Path(origin.folder, *origin.target.split("."))
    return next((str(path) for path in (module.with_suffix(".py"), module / "__init__.py") if path.exists()), None)


def _figure(value: float | None) -> float | str | None:
    """JSON has no NaN and no infinity, which are just what matters here: they stand as words."""
    return value if value is None or math.isfinite(value) else str(value)


def _smallest(cause: Cause) -> list[Question]:
    questions = (failure.question for failure in cause.members)
    return sorted(questions, key=lambda question: (size(question), str(question)))


def _failure(campaign: Campaign, cause: Cause, known: KnownWrong | None = None) -> Row:
    smallest = cause.representative
    question = smallest.question
    shown = campaign.reproduced_by(smallest)
    failed, times = (0, 0) if shown else campaign.repeats(smallest)
    limited = smallest.status is Status.TIMEOUT
    command = command_for(campaign.examiner, shown or (question,), with_limit=limited)
    return {
        "case": str(question),
        "status": str(smallest.status),
        "check": smallest.check,
        "reason": smallest.reason,
        "element": smallest.element,
        "got": _figure(smallest.got),
        "expected": _figure(smallest.expected),
        "error_over_bound": _figure(smallest.error_over_bound),
        "kernel": smallest.kernel,
        "traceback": smallest.traceback or None,
        "failing": len(cause.members),
        "also": [str(failure.question) for failure in cause.also],
        "found_by": list(map(str, _smallest(cause)[:_FOUND_BY])),
        "shared_by_failures": str(cause.shared_by_failures[0]) if cause.shared_by_failures else None,
        "reproduce": command,
        "reproduced": bool(shown),
        "flaky": None if shown else {"failed": failed, "asked": times},
        "known": known and known.label,
        "entry": None if known else msgspec.to_builtins(known_entry(cause, campaign.examiner.backend.name)),
        "report": report(cause, campaign.examiner.backend, campaign.examiner.versions, command),
    }
