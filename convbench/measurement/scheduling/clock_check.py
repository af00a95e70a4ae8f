"""Doubts a worker's clock: the run knows how long it waited for each sample.

Both read one clock, so a worker that says that more time passed than the run waited is refused at once
(`convbench.measurement.workers.process`). That less passed proves nothing by itself: on a busy machine the run waits
for the worker to get a CPU and to reply. The kernel counts such waits, those of the worker and those of the run, and
the worker says which of its own fell into the calls. So a worker is suspected where the run waited more than twice as
long as it says in every sample. It is accused where neither its calls nor waits for a CPU explain the rest, and where
that rest grows with the number of calls, in several pairs of samples taken for that purpose. A worker that sleeps does
not wait for a CPU, so its sleep has to be in its calls.

Where the system does not count such waits (macOS), no worker is accused while more processes want to run than there are
CPUs: its record has a hazard instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import median

from convbench.measurement.machine.facts import load_average, usable_cpus
from convbench.measurement.outcome import Outcome
from convbench.measurement.sampling.sample import MOST_READINGS, SamplingPlan
from convbench.measurement.scheduling.candidates import Candidate, WorkerSamples
from convbench.measurement.scheduling.case_run import CaseRun
from convbench.measurement.workers.messages import TakeSample
from convbench.measurement.workers.process import Wait, WorkerError
from convbench.status import Status

_LEAST_S, _PLAIN_S = 0.001, 0.02
_LEAST_LONG_S = 0.1
# The longer sample of a pair lasts so long by the worker's clock, or else by the run's.
_ACCOUNTED_S, _WAITED_S = 0.1, 2.0
_TIMES_SHORTER, _LEAST_GROWTH = 8, 3.0
_PAIRS, _MOST_CALLS = 5, 2**22
_TRIES, _ENOUGH = 3, 0.5


def check_clocks(run: CaseRun) -> Iterator[Outcome]:
    """The outcomes of candidates that a worker's clock disqualifies."""
    for candidate in run.candidates:
        for worker in candidate.workers if candidate.stopped != "failed" else ():
            failure = run.guarded(candidate.entry, partial(_check, run, candidate, worker))
            if failure is not None:
                candidate.lost(worker)
                yield failure
                break


def is_suspect(waits: Sequence[Wait]) -> bool:
    """Whether in every sample the time that is not accounted for is more than what is."""
    if not waits:
        return False
    return min(wait.unaccounted_s for wait in waits) > max(_LEAST_S, median(wait.accounted_s for wait in waits))


def _check(run: CaseRun, candidate: Candidate, worker: WorkerSamples) -> None:
    """Raises `WorkerError` for a clock that is wrong beyond doubt, and notes one that may be."""
    waits = run.pool.waits(worker.entry)
    if worker.plan.flush_bytes and waits:
        # The run waited for the caches to be brought into their state as well, so that a plain sample has to tell.
        waits = [_sample(run, worker, max(1, math.ceil(_PLAIN_S / max(worker.call_s, 1e-9))))]
    if not is_suspect(waits):
        return
    calls, shorts, longs = sample_pairs(run, worker)
    if not is_wrong(shorts, longs):
        return
    accounted_s, waited_s = median(w.accounted_s for w in longs), median(w.waited_s for w in longs)
    if is_telling([*shorts, *longs], load_average(), usable_cpus()):
        took = f"it says that {calls:,} calls took {accounted_s:.3g} s, and the run waited {waited_s:.3g} s for them"
        raise WorkerError(Status.ERROR, f"its clock is wrong: {took} (medians of {_PAIRS})")
    candidate.qualified = replace(candidate.qualified, clock_doubt=(accounted_s, waited_s))


def sample_pairs(run: CaseRun, worker: WorkerSamples) -> tuple[int, tuple[Wait, ...], tuple[Wait, ...]]:
    """The calls of a longer sample, and the waits for shorter and longer samples that took turns. Raises
    `WorkerError`."""
    calls = _enough_calls(run, worker, max(_TIMES_SHORTER, worker.plan.all_calls))
    for tries_left in reversed(range(_TRIES)):
        pairs = [tuple(_sample(run, worker, n) for n in (calls // _TIMES_SHORTER, calls)) for _ in range(_PAIRS)]
        shorts, longs = zip(*pairs, strict=True)
        if not tries_left or calls >= _MOST_CALLS or all(_lasts(longer, _ENOUGH) for longer in longs):
            break
        calls = _enough_calls(run, worker, 2 * calls)  # a crowd that made the calls last long has left since
    return calls, shorts, longs


def _enough_calls(run: CaseRun, worker: WorkerSamples, calls: int) -> int:
    """How many calls a sample has that lasts long enough, `calls` at least."""
    longer = _sample(run, worker, calls)
    while not _lasts(longer) and calls < _MOST_CALLS:
        calls *= min(8, math.ceil(_ACCOUNTED_S / longer.accounted_s), math.ceil(_WAITED_S / longer.waited_s))
        longer = _sample(run, worker, calls)
    return calls


def _lasts(longer: Wait, share: float = 1.0) -> bool:
    return longer.accounted_s >= share * _ACCOUNTED_S or longer.waited_s >= share * _WAITED_S


def is_wrong(shorter: Sequence[Wait], longer: Sequence[Wait]) -> bool:
    """Whether the time that is not accounted for is more than what is, and grew with the calls, by medians."""
    unaccounted_s = median(wait.unaccounted_s for wait in longer)
    before_s = median(wait.unaccounted_s for wait in shorter)
    return unaccounted_s > max(_LEAST_LONG_S, median(w.accounted_s for w in longer), _LEAST_GROWTH * before_s)


def is_telling(waits: Sequence[Wait], load: float, cpus: int) -> bool:
    """Whether these waits say anything of a clock: the kernel counted those for a CPU, or there were hardly any."""
    return load <= cpus or all(wait.queued_s is not None for wait in waits)


def _sample(run: CaseRun, worker: WorkerSamples, calls: int) -> Wait:
    per_reading = -(-calls // MOST_READINGS)
    plan = SamplingPlan(-(-calls // per_reading) * per_reading, 0, calls_per_reading=per_reading)
    run.pool.request(worker.entry, TakeSample(plan=plan, asks_queue=True))
    return run.pool.waits(worker.entry)[-1]
