"""The run's own error in a sentence: what timing one and the same backend against itself gave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from convbench.reporting.numbers import percent
from convbench.store.journal import Record


def own_error_sentence(records: Sequence[Record]) -> str | None:
    """`This run's own error, by timing torch against itself: 0.4 % (...)`; None where nothing was."""
    seen = {}
    for record in records:
        found = record.get("self_ratio")
        if found and found["value"] > 0:
            key = (record.get("session"), record.get("suite"), record["case"], record.get("threads"))
            seen[key] = found["backend"], abs(math.log(found["value"]))
    if not seen:
        return None
    names = list(dict.fromkeys(name for name, _ in seen.values()))
    errors = [error for _, error in seen.values()]
    themselves = "itself" if len(names) == 1 else "themselves"
    told = f"This run's own error, by timing {' and '.join(names)} against {themselves} in another process: "
    if len(errors) == 1:
        return f"{told}{percent(errors[0])} %."
    return f"{told}{percent(median(errors))} % (median of {len(errors)} cases), {percent(max(errors))} % at worst."
