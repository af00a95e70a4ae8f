"""Working sets in each level of the memory, sampled by turns: how calls settle, how processes differ, and their noise.

The size of each working set follows from the caches of this machine. Workers, verification, settling and rounds are
those of every run: `Engine.measure`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from convbench.analysis.survey import Level, Processes
from convbench.measurement.ceilings.process import measure_reading
from convbench.measurement.machine.facts import memory_limit_bytes
from convbench.measurement.machine.topology import caches
from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import Entry, discover
from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.suite import Case

_ASSUMED_BYTES = tuple(1 << exponent for exponent in (14, 18, 22, 26))  # where the system does not tell the caches
_LARGEST_BYTES = 1 << 27  # a larger one takes seconds to verify in each process
_FLOPS = 1e8  # of a call at most, so that some tens of calls fit into the time
_IN_MEMORY = 2  # times all caches
_SHARE_OF_MEMORY = 8
_TILE_BYTES = 12  # float32 input, weight and output of equal sizes


@dataclass(frozen=True)
class WorkingSet:
    """A convolution whose operands lie in a `level` of the memory: "L1", "memory", or a size where the caches are
    unknown."""

    level: str
    case: Case


def working_sets(caches: Mapping[str, int], memory_limit: int) -> list[WorkingSet]:
    """One for each cache and one for main memory, the innermost first. The size for a cache is the geometric mean of
    the cache and of what the caches inside it hold. The innermost cache is filled by half; one that is no larger than
    those inside it, by a quarter. What is too large for the memory, or to be verified in a moment, is left out."""
    sizes: dict[str, int] = {}
    inside = 0
    for name, size in caches.items():
        between = math.isqrt(inside * size) if inside else size // 2
        sizes[name] = between if 4 * between > 5 * inside else inside + size // 4
        inside += size
    if caches:
        sizes["memory"] = _IN_MEMORY * inside
    else:
        sizes = {_size_in_words(size): size for size in _ASSUMED_BYTES}
    most = min(_LARGEST_BYTES, memory_limit // _SHARE_OF_MEMORY)
    return [WorkingSet(name, Case(_problem(size))) for name, size in sizes.items() if size <= most]


def _problem(size: int) -> ConvProblem:
    """A 1x1 convolution in float32 whose operands are about `size` bytes: with as many pixels as channels, unless it
    computes for too long then."""
    channels = max(1, min(math.isqrt(size // _TILE_BYTES), int(4 * _FLOPS / size)))
    pixels = max(1, (size // 4 - channels**2) // (2 * channels))
    height = max(1, math.isqrt(pixels))
    return ConvProblem(
        in_channels=channels, out_channels=channels, height=height, width=-(-pixels // height), kernel_size=1
    )


def _size_in_words(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


class OutOfTimeError(Exception):
    """The time for the survey is over."""


@dataclass
class Deadline:
    """Raises `OutOfTimeError` when it is asked too late; given to an engine as its `on_activity`."""

    at_s: float
    clock: Callable[[], float] = time.monotonic

    @property
    def is_over(self) -> bool:
        return self.clock() > self.at_s

    def __call__(self, activity: str = "", done: float = 0.0) -> None:
        if self.is_over:
            raise OutOfTimeError


def settings_for_survey(threads: int) -> Settings:
    """A few short rounds for each process."""
    return Settings(
        threads=threads,
        precision=0.0,
        fewest_rounds=FEWEST_FOR_INTERVAL,
        fewest_slow_samples=FEWEST_FOR_INTERVAL,
        most_rounds=8,
        budget_s=0.2,
        settle_s=0.03,
        time_limit_s=20.0,
    )


_BESIDE = ("torch", "numpy-gemm")  # the first that can run takes turns with the backend that is examined


def examine_levels(
    entry: Entry, threads: int, processes: int, beside: int, until_s: float, advance: Callable[[], None] = lambda: None
) -> list[Level]:
    """What `processes` of `entry` and `beside` of another backend show on working sets in each level of the memory, the
    innermost first. Ends at `until_s` by the monotonic clock, with the levels that are known by then."""
    deadline = Deadline(until_s)
    if deadline.is_over:
        return []
    with Engine(settings_for_survey(threads), deadline) as engine:
        known = caches(engine.cores or range(threads))
        sets = working_sets(known, memory_limit_bytes())
        reading = measure_reading(threads)
        others = _others(entry)
        examined, *further = [entry, *others] if entry.backend.device == "cpu" else others
        turns = [(examined, processes), *((other, beside) for other in further[:1] if beside)]
        return [
            Level(
                name=working_set.level,
                case=working_set.case.name,
                bytes=working_set.case.problem.bytes,
                read_per_s=reading.get(working_set.level),
                backends=backends,
            )
            for working_set, backends in survey(engine, sets, turns, deadline, advance)
        ]


def _others(entry: Entry) -> list[Entry]:
    """The backends that can take turns with `entry`, the best for it first."""
    known = [other for other in discover() if other.name in _BESIDE and other.name != entry.name]
    return sorted((e for e in known if e.unavailable() is None), key=lambda e: _BESIDE.index(e.name))


def _is_timed(outcome: Outcome) -> bool:
    return len(outcome.samples) >= FEWEST_FOR_INTERVAL


def survey(
    engine: Engine,
    sets: Sequence[WorkingSet],
    backends: Sequence[tuple[Entry, int]],
    deadline: Deadline,
    advance: Callable[[], None] = lambda: None,
) -> Iterator[tuple[WorkingSet, tuple[Processes, ...]]]:
    """Sample each backend in so many worker processes, all by turns, on each working set in order. Ends early at the
    deadline. A backend that cannot be timed on a working set is left out there."""
    rows = {entry.name: [entry.again(number) for number in range(1, count + 1)] for entry, count in backends}
    every = [row for again in rows.values() for row in again]
    for working_set in sets:
        try:
            deadline()
            outcomes = {outcome.backend: outcome for outcome in engine.measure("doctor", working_set.case, every)}
        except OutOfTimeError:
            return
        timed = {
            name: [outcomes[row.name] for row in again if row.name in outcomes and _is_timed(outcomes[row.name])]
            for name, again in rows.items()
        }
        yield working_set, tuple(Processes.of(name, some) for name, some in timed.items() if len(some) > 1)
        advance()
