"""What the machines of several kinds found together: each cause once, with the kinds on which it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convbench.runner.verify.rows import GRAVEST_FIRST, Row
from convbench.status import Status

Fails = Mapping[str, bool]
"""Whether each question that a kind of machine was asked was failed there."""


@dataclass
class _Cause:
    """A failure of one kind of machine, with the questions that show it, and the other kinds that reported it."""

    failure: dict[str, Any]
    questions: set[str]
    kinds: list[str]


def questions_of(failure: Mapping[str, Any]) -> list[str]:
    """Questions that show a failure: the smallest, and those that it was found by."""
    return list(dict.fromkeys([failure["case"], *failure.get("found_by", ())]))


def merged(rows: Sequence[tuple[str, Row]], fails: Mapping[str, Fails]) -> Row:
    """One row of those of several kinds of machines, with their answers by kind. A failure that does not show on all
    kinds says on which in `machines` and in its reason."""
    if len(rows) == 1:
        return rows[0][1]
    kinds = [kind for kind, _ in rows]
    statuses = {Status(row["status"]) for _, row in rows}
    status = next((each for each in GRAVEST_FIRST if each in statuses), Status(rows[0][1]["status"]))
    gravest = next(row for _, row in rows if row["status"] == status)
    failures = [_with_kinds(cause, kinds, fails) for cause in _causes(rows)]
    sums = {name: sum(row[name] for _, row in rows) for name in ("cases", "searched", "warned")}
    errors = [row["max_error_over_bound"] for _, row in rows if row["max_error_over_bound"] is not None]
    failing = [row for _, row in rows if row["failures"]]
    return (
        gravest
        | sums
        | {
            "seconds": max(row["seconds"] for _, row in rows),
            "max_error_over_bound": max(errors, default=None),
            "failures": failures,
            "known": bool(failing) and all(row["known"] for row in failing),
            "complete": all(row.get("complete", True) for _, row in rows),
        }
    )


def _causes(rows: Sequence[tuple[str, Row]]) -> list[_Cause]:
    """Failures of two kinds are one cause where a question shows both: each kind shrinks by itself."""
    causes: list[_Cause] = []
    for kind, row in rows:
        for failure in row["failures"]:
            questions = set(questions_of(failure))
            same = next((cause for cause in causes if kind not in cause.kinds and cause.questions & questions), None)
            if same is None:
                causes.append(_Cause(failure, questions, [kind]))
            else:
                same.kinds.append(kind)
                same.questions |= questions
    return causes


def _with_kinds(cause: _Cause, kinds: Sequence[str], fails: Mapping[str, Fails]) -> dict[str, Any]:
    answers = {kind: [known for q in cause.questions if (known := fails[kind].get(q)) is not None] for kind in kinds}
    shown = [kind for kind in kinds if kind in cause.kinds or any(answers[kind])]
    if len(shown) == len(kinds):
        return cause.failure
    silent = [kind for kind in kinds if kind not in shown and not answers[kind]]
    where = f"on {'; '.join(shown)}"
    said = f"{where}; not asked on {'; '.join(silent)}" if silent else f"only {where}"
    return cause.failure | {"machines": shown, "reason": f"{cause.failure['reason']} ({said})"}
