"""This machine: its facts, what it can do at most, and the best convolutions that were measured on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from convbench.analysis.roofline import BestConvolution, best_convolutions
from convbench.errors import ConvbenchError, ResultsError
from convbench.measurement.ceilings.figures import Ceilings
from convbench.measurement.ceilings.process import measure_ceilings, missing_further, with_further
from convbench.measurement.machine.energy import why_not_metered
from convbench.measurement.machine.facts import machine_facts, machine_name, usable_cpus
from convbench.measurement.machine.gpu import first_gpu
from convbench.store.ceilings import keep_ceilings, kept_ceilings
from convbench.store.locations import machine_folder, results_folder


@dataclass(frozen=True)
class Machine:
    """What is known of this machine."""

    facts: dict[str, Any]
    gpu: dict[str, Any] | None
    ceilings: tuple[Ceilings, ...]
    """Those measured with this CPU, one for each number of threads."""
    convolutions: tuple[BestConvolution, ...]
    unmetered: str | None
    """Why its energy cannot be read; None if it can."""


def this_machine(results: Path | None, doing: Callable[[int, str], None] = lambda threads, step: None) -> Machine:
    """What is known of this machine, from the system and the results folder. Multiply-adds that an earlier convbench
    did not know are measured now and kept, once; `doing` as for `measure_machine`."""
    folder = results_folder(results) / machine_name()
    facts = machine_facts()
    ceilings = _completed([kept for kept in kept_ceilings(folder) if kept.cpu == facts["cpu"]], folder, doing)
    gpu = first_gpu()
    convolutions = tuple(best_convolutions(folder, ceilings))
    return Machine(facts, gpu.facts() if gpu else None, tuple(ceilings), convolutions, why_not_metered())


def _completed(known: list[Ceilings], folder: Path, doing: Callable[[int, str], None]) -> list[Ceilings]:
    """The ceilings with multiply-adds that were not tried when they were measured."""
    incomplete = [one for one in known if one.threads <= usable_cpus() and missing_further(one)]
    completed = {one.threads: with_further(one, partial(doing, one.threads)) for one in incomplete}
    if completed:
        with contextlib.suppress(ResultsError):  # a folder that cannot be written does not hide what was measured
            keep_ceilings(folder, list(completed.values()))
    return [completed.get(one.threads, one) for one in known]


def measure_machine(threads: list[int], results: Path | None, doing: Callable[[int, str], None]) -> None:
    """Measure the ceilings with each number of threads and keep them in the results folder. `doing` hears the number of
    threads and what is being measured."""
    folder = machine_folder(results_folder(results), machine_name())
    measured = []
    for count in threads:
        doing(count, "")
        measured.append(measure_ceilings(count, partial(doing, count)))
    keep_ceilings(folder, measured)


def ceiling_threads(threads: Sequence[int] | None, *, measure: bool) -> list[int]:
    """The numbers of threads of `--threads`; without it, one and as many as there are CPUs. Raises `ConvbenchError`
    without --measure, and for more threads than CPUs."""
    if threads is None:
        return sorted({1, usable_cpus()})
    if not measure:
        raise ConvbenchError("--threads says with how many threads to measure; it goes with --measure.")
    if max(threads) > usable_cpus():
        raise ConvbenchError(
            f"--threads is {max(threads)}, but convbench may use {usable_cpus()} CPUs: more threads than that do not "
            "run side by side, so there is no ceiling to measure."
        )
    return sorted(threads)
