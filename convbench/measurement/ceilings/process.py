"""Measures ceilings in a process of their own, whose libraries use one thread each: convbench starts the threads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

import convbench
from convbench.errors import NothingMeasuredError
from convbench.measurement.ceilings.figures import Ceilings
from convbench.measurement.ceilings.machine_code import FORBIDDEN
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.workers.json_child import JsonChild
from convbench.measurement.workers.process_environment import worker_environment

_LIMIT_S = 180.0


def measure_ceilings(
    threads: int, on_step: Callable[[str], None] = lambda step: None, seconds: float = 0.3
) -> Ceilings:
    """What `threads` threads of this machine reach, sampled for `seconds` per figure, of which there are about twenty.
    `on_step` is called with what is measured next. Raises `NothingMeasuredError` when the process that measures
    fails."""
    request = {"threads": threads, "seconds": seconds}
    result, failure = _measure(request, on_step, {})
    notes = []
    if result is None:  # for example where a CPU claims instructions that it does not let programs use
        notes.append(f"no machine code: the process that ran it {failure}")
        result, failure = _measure(request, on_step, {FORBIDDEN: "1"})
    if result is None:
        raise NothingMeasuredError(f"the ceilings were not measured: the process for --threads {threads} {failure}.")
    context = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": machine_facts()["cpu"],
        "convbench": convbench.__version__,
        "notes": [*notes, *(note for note in result["notes"] if not (notes and FORBIDDEN in note))],
    }
    return msgspec.convert(result | context, Ceilings)


_READING_S = 0.05


def measure_reading(threads: int) -> dict[str, float]:
    """Bytes per second that `threads` threads read from each cache and from memory, by its name; brief, and so less
    exact than ceilings. Empty where that cannot be measured."""
    result, _ = _measure({"threads": threads, "seconds": _READING_S, "only": "reading"}, lambda step: None, {})
    return dict(result) if result is not None else {}


def _measure(
    request: dict[str, Any], on_step: Callable[[str], None], variables: dict[str, str]
) -> tuple[dict[str, Any] | None, str]:
    """The result of a fresh process; or None and how it ended."""
    environment = worker_environment(1, "steady") | variables
    module, result = "convbench.measurement.ceilings.worker", None
    with JsonChild(module, request, environment=environment, time_limit_s=_LIMIT_S) as child:
        for message in child.messages():
            if "step" in message:
                on_step(message["step"])
            result = message.get("result", result)
        failure = child.failure()
    return (None, failure or "sent no result") if failure or result is None else (result, "")
