"""Sentences about the GPU of a run or a machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from convbench.store.readings import column
from convbench.store.schema import Record


def gpu_in_words(facts: Mapping[str, Any]) -> str:
    """Its name, memory, power limit, clock and driver, as far as known."""
    memory, limit_w, most_mhz = (facts.get(name) for name in ("memory_bytes", "power_limit_w", "most_sm_mhz"))
    parts = [str(facts.get("name", "a GPU"))]
    parts += [f"{memory / 2**30:.0f} GiB"] if isinstance(memory, int) else []
    parts += [f"{limit_w:.0f} W"] if isinstance(limit_w, (int, float)) else []
    parts += [f"up to {most_mhz} MHz"] if isinstance(most_mhz, int) else []
    parts += [f"driver {facts['driver']}"] if facts.get("driver") else []
    return ", ".join(parts)


def gpu_sentence(records: Iterable[Record]) -> str | None:
    """Which GPU computed, at which clock, and how it was timed; None when no GPU did."""
    on_gpu = [record for record in records if isinstance(record.get("gpu"), Mapping)]
    if not on_gpu:
        return None
    mhz = [value for record in on_gpu for value in column(record, "sm_mhz")]
    clock = f"; its clock was at {median(mhz):.0f} MHz" if mhz else ""
    timers = {record.get("timer") for record in on_gpu}
    clocks = {"device": "its own clock", "host": "the host's clock"}
    timed = " or ".join(words for timer, words in clocks.items() if timer in timers)
    return (
        f"GPU: {gpu_in_words(on_gpu[-1]['gpu'] or {})}{clock}. Calls were timed by {timed}; transfers are in no call."
    )
