"""Qualification for the rounds of a case: each worker is prepared, called, judged, warmed up and calibrated.

After the rounds, the last timed output of every worker is judged once more, and its final figures are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from convbench.isa import exceeds
from convbench.measurement.outcome import OnDevice, Outcome
from convbench.measurement.sampling.device import COLD_CALLS, Timer
from convbench.measurement.sampling.sample import SamplingPlan, calibrate
from convbench.measurement.scheduling.candidates import Candidate, WorkerSamples
from convbench.measurement.scheduling.case_run import CaseRun
from convbench.measurement.scheduling.explainer import Explainer
from convbench.measurement.workers.messages import Finish, Finished, Prepared, Visit, WarmUp
from convbench.measurement.workers.process import WorkerError
from convbench.registry import Entry
from convbench.status import Status
from convbench.verification.verdict import Verdict

_TRIED_CALLS, _MOST_APART = 3, 16  # calls to plan by, and the most in a sample, where each is timed by itself
_TYPICAL_ROUNDS = 20

RejectionReason = Callable[[float, Callable[[], float]], str | None]
"""Why a backend is not worth timing after a first call of so many seconds. It may call once more for its seconds."""


def qualify(run: CaseRun, entry: Entry, rejection_reason: RejectionReason) -> Candidate | Outcome:
    """A candidate whose workers are ready to be sampled, or the outcome of a backend that does not qualify. A worker
    goes on while its outputs are judged, but nothing is timed before all verdicts are known. Raises `WorkerError` when
    a worker fails."""
    outcome = run.outcome(entry, Status.OK)
    arithmetic, on_cpu = entry.backend.arithmetic, entry.backend.device == "cpu"
    firsts: list[Prepared] = []
    workers: list[WorkerSamples] = []
    for process, worker in enumerate(run.processes(entry)):
        with ThreadPoolExecutor(1) as judge:
            first = run.pool.request(worker, run.prepare(run.gate.real.operands))
            judged = [judge.submit(run.verdicts.judge, arithmetic, first.output)]
            call_s = first.first_call_s
            if reason := rejection_reason(call_s, partial(_one_more_call_s, run, worker)):
                verdict = judged[0].result()
                if failure_reason(first, [verdict]) is None:
                    outcome = replace(outcome, verdicts=(*outcome.verdicts, verdict), **_first_figures([first]))
                    return replace(outcome, status=Status.TIMEOUT, reason=reason, stopped="beaten")
            # The harder questions are about the code and not about a process, so that one process answers them.
            for oracle in run.gate.further(arithmetic) if process == 0 else ():
                checked = run.pool.request(worker, run.check(oracle.operands))
                judged.append(judge.submit(oracle.judge, arithmetic, checked.output))
                call_s = min(call_s, checked.call_s)
            if run.flush_bytes and not (on_cpu or first.flushes):
                reason = f"its Ready has no Instruments(flush=...) for those of {entry.backend.device}"
                reason = f"its device's caches cannot be made cold: {reason}; --cache warm times it"
                return replace(outcome, status=Status.UNSUPPORTED, reason=reason)
            workers.append(warm_up_and_calibrate(run, worker, process, call_s, first.timer))
            verdicts = [verdict.result() for verdict in judged]
        outcome = replace(outcome, verdicts=(*outcome.verdicts, *verdicts))
        if reason := failure_reason(first, verdicts):
            outcome = replace(outcome, status=Status.WRONG, reason=outcome.reason or in_process(reason, process))
            if not run.settings.time_wrong:
                return outcome
        firsts.append(first)
    facts: dict[str, Any] = {"takes": list(firsts[0].takes)}
    if run.settings.handed_over:
        facts["gives"] = firsts[0].gives
    outcome = replace(outcome, declared=outcome.declared | facts)
    outcome = replace(outcome, **_first_figures(firsts), cores=run.pool.started[entry.name].cores)
    outcome = replace(outcome, touches_input=firsts[0].touches)
    if not on_cpu:
        outcome = replace(outcome, on_device=OnDevice(timer=firsts[0].timer, gpu=run.pool.started[entry.name].gpu))
    return Candidate(entry, outcome, workers)


class AATest:
    """Starts an A/A process, a further process of one candidate; of the same backend in all cases, where it can."""

    def __init__(self) -> None:
        self._chosen: str | None = None

    def start_aa_process(self, run: CaseRun, start: Callable[[Sequence[Entry]], Mapping[str, WorkerError]]) -> None:
        """Give the candidate that costs the least time an A/A process. If that fails, the case has no self-check."""
        correct = [c for c in run.candidates if c.qualified.status is Status.OK]
        same = [c for c in correct if c.entry.name == self._chosen]
        if not correct:
            return

        def cost_s(candidate: Candidate) -> float:
            worker, import_s = candidate.workers[0], run.pool.started[candidate.entry.name].import_s
            return import_s + _TYPICAL_ROUNDS * worker.call_s * worker.plan.all_calls

        chosen = min(same or correct, key=cost_s)
        self._chosen = chosen.entry.name
        worker = chosen.entry.again(2)
        if start([worker]):
            return
        with contextlib.suppress(WorkerError):
            first = run.pool.request(worker, run.prepare(run.gate.real.operands))
            verdict = run.verdicts.judge(chosen.entry.backend.arithmetic, first.output)
            if failure_reason(first, [verdict]) is None:
                aa_process = warm_up_and_calibrate(run, worker, 1, first.first_call_s, first.timer)
                chosen.aa_process = replace(aa_process, plan=chosen.workers[0].plan)


def warm_up_and_calibrate(run: CaseRun, worker: Entry, process: int, call_s: float, timer: Timer) -> WorkerSamples:
    """Warm up a worker, unless its calls of about `call_s` seconds are longer than a warm-up, and plan its samples."""
    settings = run.settings
    if call_s < settings.settle_s:
        call_s = run.pool.request(worker, WarmUp(limit_s=settings.settle_s)).call_s
    plan = calibrate(call_s, settings.sample_s)
    if settings.cache == "warm":
        is_visited = timer == "host" and worker.backend.device == "cpu"
        return WorkerSamples(worker, process, plan, call_s, is_visited)
    # No call may warm the caches for another, so that each is timed by itself.
    plan = SamplingPlan(min(plan.calls, COLD_CALLS) if timer == "device" else 1, 0, run.flush_bytes)
    if settings.cache == "pass" and worker.backend.device == "cpu":
        return _in_pass(run, worker, process, replace(plan, as_in_pass=True), call_s)
    return WorkerSamples(worker, process, plan, call_s, is_visited=False)


def _in_pass(run: CaseRun, worker: Entry, process: int, plan: SamplingPlan, call_s: float) -> WorkerSamples:
    """As many calls a sample as it is long, with what lies between them. Long calls are not tried first."""
    if call_s >= run.settings.settle_s:
        return WorkerSamples(worker, process, plan, call_s, is_visited=False)
    visited = run.pool.request(worker, Visit(plan=replace(plan, calls=_TRIED_CALLS)))
    call_s = median(visited.readings)
    turn_s = max(call_s, visited.spent_s / len(visited.readings))
    calls = max(1, min(_MOST_APART, round(run.settings.sample_s / max(turn_s, 1e-9))))
    return WorkerSamples(
        worker, process, replace(plan, calls=calls), call_s, is_visited=False, between_s=turn_s - call_s
    )


def failure_reason(reply: Prepared | Finished, verdicts: Sequence[Verdict]) -> str | None:
    """The first thing wrong with a reply, in words; None if nothing is."""
    if reply.inputs_changed:
        return "it changed its input"
    if not isinstance(reply.output, np.ndarray):
        return f"to_numpy gave {reply.output}, not a float array"
    return next((verdict.reason for verdict in verdicts if not verdict.passed), None)


def in_process(reason: str, process: int) -> str:
    """`reason`, with the process it is about unless that is the first."""
    return f"in process {process + 1}: {reason}" if process else reason


def _one_more_call_s(run: CaseRun, worker: Entry) -> float:
    return run.pool.request(worker, WarmUp(limit_s=0.0)).call_s


def _first_figures(firsts: Sequence[Prepared]) -> dict[str, Any]:
    """Seconds to prepare and of the first call, medians over the processes; None where one was stopped meanwhile."""
    are_known = not any(first.was_stopped for first in firsts)
    return {
        "prepare_s": median(first.prepare_s for first in firsts) if are_known else None,
        "first_call_s": median(first.first_call_s for first in firsts) if are_known else None,
        "before_bytes": firsts[0].before_bytes,
    }


_Judged = tuple[int, Finished, Future[Verdict]]


def finish(run: CaseRun, explainer: Explainer) -> Iterator[Outcome]:
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
            result = run.guarded(candidate.entry, partial(_finish, run, candidate, judge, explainer))
            if previous is not None:
                yield previous()
            previous = result if callable(result) else partial(replace, result)
        if previous is not None:
            yield previous()


def _finish(
    run: CaseRun, candidate: Candidate, judge: ThreadPoolExecutor, explainer: Explainer
) -> Callable[[], Outcome]:
    """Collect the last timed outputs, and ask which kernel ran. Returns a function that waits for the verdicts and
    returns the outcome."""
    outcome, arithmetic = candidate.sampled_outcome(), candidate.entry.backend.arithmetic
    backend_s = 0.0
    if candidate.aa_process is not None:
        with contextlib.suppress(WorkerError):
            backend_s = run.pool.request(candidate.aa_process.entry, Finish(energy_s=0.0)).backend_s
    judged: list[_Judged] = []
    for worker in candidate.workers:
        is_first = worker.process == 0
        is_asked = is_first and explainer.asks(run, worker.entry)
        energy_s = run.settings.energy_s if is_first else 0.0
        reply = run.pool.request(worker.entry, Finish(energy_s=energy_s, keeps_prepared=is_asked))
        backend_s += reply.backend_s
        if is_first:  # like before_bytes
            device = outcome.on_device and replace(outcome.on_device, **asdict(reply.device))
            outcome = replace(outcome, on_device=device, peak_bytes=reply.peak_bytes, steady_bytes=reply.steady_bytes)
        judged.append((worker.process, reply, judge.submit(run.verdicts.judge, arithmetic, reply.output)))
        if is_asked:
            outcome = replace(outcome, implementation=explainer.implementation(run, worker.entry))
    return partial(_with_verdicts, replace(outcome, backend_s=backend_s), judged)


def _with_verdicts(outcome: Outcome, judged: Sequence[_Judged]) -> Outcome:
    """The outcome with the verdicts, and without samples where one of them is that an output is wrong."""
    for process, reply, future in judged:
        try:
            verdict = future.result()
        except MemoryError:
            no_memory = "judging its last answer took more memory than there is"
            return replace(outcome, status=Status.OUT_OF_MEMORY, reason=no_memory, samples=(), aa_samples=())
        outcome = replace(outcome, verdicts=(*outcome.verdicts, verdict))
        if outcome.status is Status.OK and (reason := failure_reason(reply, [verdict])):
            reason = f"after the timed calls: {in_process(reason, process)}"
            outcome = replace(outcome, status=Status.WRONG, reason=reason)
    if exceeds(outcome.implementation or "", isa := outcome.settings.isa):
        reason = f"its switch for --isa {isa} did not take: {outcome.implementation} ran"
        return replace(outcome, status=Status.ERROR, reason=reason, samples=(), aa_samples=())
    if outcome.status is Status.WRONG and not outcome.settings.time_wrong:
        outcome = replace(outcome, samples=(), aa_samples=(), prepare_s=None, first_call_s=None)
    return outcome
