"""The rounds of a case: in each, every worker of every candidate takes one sample, in an order shuffled anew.

Whatever drifts in the machine then affects all candidates alike, and samples of one round can be compared.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial

from convbench.measurement.machine.facts import load_average
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.scheduling.candidates import Candidate, WorkerSamples
from convbench.measurement.scheduling.case_run import CaseRun
from convbench.measurement.scheduling.race import NoRace, Race
from convbench.measurement.workers.messages import TakeSample

# With several threads, those of the worker that just stopped spin for a moment; a single thread leaves nothing behind.
_FADE_S = 0.003


def sample_in_rounds(
    run: CaseRun,
    rule: Race | NoRace,
    on_round: Callable[[int], None] = lambda number: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Outcome]:
    """Sample until `rule` has stopped every candidate; yields the outcomes of those that fail on the way."""
    order = random.Random(f"{run.settings.seed} {run.case.name}")
    number = 0
    while turns := [(c, worker) for c in run.candidates for worker in c.to_sample]:
        on_round(number)
        order.shuffle(turns)
        for candidate, worker in turns:
            if candidate.stopped == "failed":
                continue  # in another of its processes
            if run.settings.threads > 1:
                sleep(_FADE_S)
            failure = run.guarded(candidate.entry, partial(visit, run, candidate, worker, number))
            if failure is not None and candidate.lost(worker):
                yield failure
        rule.judge(run.candidates, run.settings)
        number += 1


def visit(run: CaseRun, candidate: Candidate, worker: WorkerSamples, number: int) -> None:
    """One worker's turn in a round: take a sample by its plan and keep it. Raises `WorkerError`."""
    load = load_average()
    reply = run.request(worker.entry, TakeSample(plan=worker.plan))
    sample = RoundSample(number, load, reply.sample, worker.process)
    candidate.add(worker, sample, reply.was_stopped, reply.readings)
