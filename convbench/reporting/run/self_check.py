"""The run's own error in a sentence: the difference measured between two processes of the same backend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from convbench.reporting.numbers import percent
from convbench.store.schema import Record


def own_error_sentence(records: Sequence[Record]) -> str | None:
    """`This run's own error, by timing torch against itself: 0.4 % (...)`; None when there was no self-check."""
    errors_by_case = {}
    for record in records:
        ratio = record.get("self_ratio")
        if ratio and ratio["value"] > 0:
            key = (record.get("session"), record.get("suite"), record["case"], record.get("threads"))
            errors_by_case[key] = ratio["backend"], abs(math.log(ratio["value"]))
    if not errors_by_case:
        return None
    names = list(dict.fromkeys(name for name, _ in errors_by_case.values()))
    errors = [error for _, error in errors_by_case.values()]
    themselves = "itself" if len(names) == 1 else "themselves"
    sentence = f"This run's own error, by timing {' and '.join(names)} against {themselves} in another process: "
    if len(errors) == 1:
        return f"{sentence}{percent(errors[0])} %."
    return f"{sentence}{percent(median(errors))} % (median of {len(errors)} cases), {percent(max(errors))} % at worst."
