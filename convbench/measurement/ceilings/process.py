"""Measures ceilings in a process of their own, whose libraries use one thread each: convbench starts the threads.

Multiply-adds for narrow formats have a process each. An instruction that the CPU claims and the system forbids ends the
process, and so costs one ceiling.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

import convbench
from convbench.errors import NothingMeasuredError
from convbench.measurement.ceilings.figures import Ceilings, Figure
from convbench.measurement.ceilings.instruction_sets import MultiplyAdd, further_multiply_adds, without_a_loop
from convbench.measurement.ceilings.machine_code import FORBIDDEN
from convbench.measurement.machine.facts import cpu_flags, machine_facts
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
        "unmeasured": without_a_loop(cpu_flags()),
        "further": (),
    }
    return with_further(msgspec.convert(result | context, Ceilings), on_step, seconds)


def missing_further(ceilings: Ceilings) -> list[MultiplyAdd]:
    """The multiply-adds for narrow formats of this CPU that were not tried when `ceilings` were measured."""
    return [loop for loop in _further_here() if loop.key not in (ceilings.further or ())]


def with_further(
    ceilings: Ceilings, on_step: Callable[[str], None] = lambda step: None, seconds: float = 0.3
) -> Ceilings:
    """The ceilings with what is missing in them of the multiply-adds for narrow formats, each measured in a process of
    its own. A dtype has no ceiling where one of its loops fails, because something faster may exist then."""
    figures = {dtype: list(known) for dtype, known in ceilings.multiply_adds.items()}
    # Older files say that AMX tiles were not measured, which they are now.
    unmeasured = dict(without_a_loop(cpu_flags())) if ceilings.further is None else dict(ceilings.unmeasured)
    notes = list(ceilings.notes)
    for loop in missing_further(ceilings):
        figure, why = _one_further(loop, ceilings, on_step, seconds)
        if figure is None:
            unmeasured[loop.dtype] = loop.name
            notes += [f"{loop.key}: not measured, because {why}"] if why else []
        else:
            figures.setdefault(loop.dtype, []).append(figure)
    return replace(
        ceilings,
        multiply_adds={
            dtype: tuple(sorted(known, key=lambda figure: -figure.value)) for dtype, known in figures.items()
        },
        unmeasured=unmeasured,
        notes=tuple(notes),
        further=tuple(loop.key for loop in _further_here()),
    )


def _further_here() -> list[MultiplyAdd]:
    return further_multiply_adds(platform.machine(), cpu_flags())


def _one_further(
    loop: MultiplyAdd, ceilings: Ceilings, on_step: Callable[[str], None], seconds: float
) -> tuple[Figure | None, str]:
    """Its figure, or None and why there is none."""
    if not ceilings.multiply_adds:
        return None, ""  # a note says that no machine code runs here
    on_step(loop.key)
    request = {"threads": ceilings.threads, "seconds": seconds, "further": loop.key}
    result, failure = _measure(request, lambda step: None, {})
    if result is None:
        return None, f"the process that ran it {failure}"
    if result["figure"] is None:
        return None, result["why"]
    return msgspec.convert(result["figure"], Figure), ""


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
