"""What a person is told of the GPU that a run computed on, or that a machine has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from convbench.store.journal import Record


def gpu_in_words(facts: Mapping[str, Any]) -> str:
    """Its name and what else it told of itself."""
    told = [str(facts.get("name", "a GPU"))]
    if isinstance(memory := facts.get("memory_bytes"), int):
        told.append(f"{memory / 2**30:.0f} GiB")
    if isinstance(limit := facts.get("power_limit_w"), (int, float)):
        told.append(f"{limit:.0f} W")
    if isinstance(most := facts.get("most_sm_mhz"), int):
        told.append(f"up to {most} MHz")
    if facts.get("driver"):
        told.append(f"driver {facts['driver']}")
    return ", ".join(told)


def gpu_sentence(records: Iterable[Record]) -> str | None:
    """Which GPU computed, at which clock, and how it was timed; None where none did."""
    mine = [record for record in records if isinstance(record.get("gpu"), Mapping)]
    if not mine:
        return None
    mhz = [each for record in mine for each in (record.get("samples") or {}).get("sm_mhz", ())]
    clock = f"; its clock was at {median(mhz):.0f} MHz" if mhz else ""
    timers = {record.get("timer") for record in mine}
    by = {"device": "its own clock", "host": "the host's clock"}
    timed = " or ".join(told for timer, told in by.items() if timer in timers)
    return f"GPU: {gpu_in_words(mine[-1]['gpu'] or {})}{clock}. Calls were timed by {timed}; transfers are in no call."
