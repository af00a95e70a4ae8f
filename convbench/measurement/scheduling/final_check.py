"""After the rounds: the last timed output of every worker is judged once more, and its final figures are read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial

from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.candidates import Candidate
from convbench.measurement.scheduling.case_run import CaseRun
from convbench.measurement.scheduling.qualification import failure_reason, in_process
from convbench.measurement.workers.messages import Finish, Finished
from convbench.measurement.workers.process import WorkerError
from convbench.status import Status
from convbench.verification.verdict import Verdict

_Judged = tuple[int, Finished, Future[Verdict]]


def finish(run: CaseRun) -> Iterator[Outcome]:
    """The outcomes of the candidates that were sampled to the end. While the outputs of one are judged, the next worker
    is asked for its own, unless that has transfers to time."""
    with ThreadPoolExecutor(1) as judge:
        previous: Callable[[], Outcome] | None = None
        for candidate in run.candidates:
            if candidate.stopped == "failed":
                continue
            if previous is not None and candidate.entry.backend.device != "cpu":
                yield previous()
                previous = None
            result = run.guarded(candidate.entry, partial(_finish, run, candidate, judge))
            if previous is not None:
                yield previous()
            previous = result if callable(result) else partial(replace, result)
        if previous is not None:
            yield previous()


def _finish(run: CaseRun, candidate: Candidate, judge: ThreadPoolExecutor) -> Callable[[], Outcome]:
    """Collect the last timed outputs. Returns a function that waits for their verdicts and returns the outcome."""
    outcome, arithmetic = candidate.sampled_outcome(), candidate.entry.backend.arithmetic
    backend_s = 0.0
    if candidate.aa_process is not None:
        with contextlib.suppress(WorkerError):
            backend_s = run.request(candidate.aa_process.entry, Finish(energy_s=0.0)).backend_s
    judged: list[_Judged] = []
    for worker in candidate.workers:
        reply = run.request(worker.entry, Finish(energy_s=0.0 if worker.process else run.settings.energy_s))
        backend_s += reply.backend_s
        if worker.process == 0:  # like before_bytes
            device = outcome.on_device and replace(outcome.on_device, **asdict(reply.device))
            outcome = replace(outcome, on_device=device, peak_bytes=reply.peak_bytes, steady_bytes=reply.steady_bytes)
        judged.append((worker.process, reply, judge.submit(run.gate.real.judge, arithmetic, reply.output)))
    return partial(_with_verdicts, replace(outcome, backend_s=backend_s), judged)


def _with_verdicts(outcome: Outcome, judged: Sequence[_Judged]) -> Outcome:
    """The outcome with the verdicts, and without samples where one of them is that an output is wrong."""
    for process, reply, future in judged:
        verdict = future.result()
        outcome = replace(outcome, verdicts=(*outcome.verdicts, verdict))
        if outcome.status is Status.OK and (reason := failure_reason(reply, [verdict])):
            reason = f"after the timed calls: {in_process(reason, process)}"
            outcome = replace(outcome, status=Status.WRONG, reason=reason)
    if outcome.status is Status.WRONG and not outcome.settings.time_wrong:
        outcome = replace(outcome, samples=(), aa_samples=(), prepare_s=None, first_call_s=None)
    return outcome
