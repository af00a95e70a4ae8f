"""Qualifying for the rounds of a case: made ready, called, judged and warmed up, in each of a backend's processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

from convbench.measurement.outcome import OnDevice, Outcome
from convbench.measurement.sampling.cache_state import flush_bytes
from convbench.measurement.sampling.device_metrics import Timer
from convbench.measurement.sampling.device_sample import COLD_CALLS
from convbench.measurement.sampling.sample import SamplingPlan, calibrate
from convbench.measurement.scheduling.candidates import Candidate, WorkerSamples, cheapest
from convbench.measurement.settings import Settings
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.measurement.workers.protocol import Message
from convbench.measurement.workers.shared_arrays import SharedArrayCache
from convbench.registry import Entry
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.gate import Gate
from convbench.verification.verdict import Verdict


def qualify(
    pool: WorkerPool,
    settings: Settings,
    case: Case,
    processes: Sequence[Entry],
    examination: Gate,
    shelves: SharedArrayCache,
    so_far: Outcome,
    rejection_reason: Callable[[float, Callable[[], float]], str | None] = lambda first_call_s, call: None,
) -> Candidate | Outcome:
    """A candidate with a lane for each of `processes`, or the outcome that bars the backend from the rounds. The first
    is the backend's own entry; operands come from `shelves`. `rejection_reason` says why one is not to be timed after a
    first call of so many seconds, and may have it called once more. While answers are judged the worker goes on; the
    verdicts are waited for before anything is timed. Raises `WorkerError` when a worker fails."""
    entry = processes[0]
    on_cpu = entry.backend.device == "cpu"
    arithmetic, problem = entry.backend.arithmetic, case.problem.as_dict()
    lanes: list[WorkerSamples] = []
    firsts: list[Message] = []
    for process, again in enumerate(processes):
        with ThreadPoolExecutor(1) as judge:
            first = pool.ask(again, "prepare", shelves.of(examination.real.operands), problem=problem)
            judged = [judge.submit(examination.real.judge, arithmetic, output(first))]
            call_s = first.fields["first_call_s"]
            if reason := rejection_reason(call_s, partial(_call_s, pool, again)):
                verdict = judged[0].result()
                if failure_reason(first, [verdict]) is None:
                    known = {"verdicts": (*so_far.verdicts, verdict), **_beginnings([first])}
                    return replace(so_far, status=Status.TIMEOUT, reason=reason, stopped="beaten", **known)
            # The harder questions are to the code, not to a process: asking one will do.
            for key in examination.further(arithmetic) if process == 0 else ():
                checked = pool.ask(again, "check", shelves.of(key.operands), problem=problem)
                judged.append(judge.submit(key.judge, arithmetic, output(checked)))
                call_s = min(call_s, checked.fields["call_s"])
            if settings.cache == "cold" and not (on_cpu or first.fields["flushes"]):
                reason = (
                    f"its device's caches cannot be made cold: its Ready has no Instruments(flush=...) for those of "
                    f"{entry.backend.device}; --cache warm times it"
                )
                return replace(so_far, status=Status.UNSUPPORTED, reason=reason)
            lanes.append(_warmed_up(pool, settings, again, process, call_s, first.fields.get("timer", "host")))
            verdicts = [verdict.result() for verdict in judged]
        so_far = replace(so_far, verdicts=(*so_far.verdicts, *verdicts))
        if reason := failure_reason(first, verdicts):
            so_far = replace(so_far, status=Status.WRONG, reason=so_far.reason or in_process(reason, process))
            if not settings.time_wrong:
                return so_far
        firsts.append(first)
    so_far = replace(so_far, **_beginnings(firsts), cores=pool.cores[entry.name])
    if not on_cpu:
        so_far = replace(so_far, on_device=OnDevice(timer=firsts[0].fields["timer"], gpu=pool.gpus[entry.name]))
    return Candidate(entry, so_far, lanes)


class AATest:
    """Finds the candidate that is timed against itself, the same in all cases where it can, and gives it a twin."""

    def __init__(self, pool: WorkerPool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._chosen: str | None = None

    def start_aa_process(
        self,
        case: Case,
        candidates: Sequence[Candidate],
        examination: Gate,
        shelves: SharedArrayCache,
        start: Callable[[Sequence[Entry]], Mapping[str, WorkerError]],
    ) -> None:
        """Give one candidate a further process. Where that does not work out, the case has no error of its own."""
        right = [c for c in candidates if c.so_far.status is Status.OK]
        same = [c for c in right if c.entry.name == self._chosen]
        start_s = {c.entry.name: self._pool.import_s[c.entry.name] for c in right}
        chosen = cheapest(same or right, start_s)
        if chosen is None:
            return
        self._chosen = chosen.entry.name
        again = chosen.entry.again(2)
        if start([again]):
            return
        with contextlib.suppress(WorkerError):
            operands, problem = shelves.of(examination.real.operands), case.problem.as_dict()
            first = self._pool.ask(again, "prepare", operands, problem=problem)
            if failure_reason(first, [examination.real.judge(chosen.entry.backend.arithmetic, output(first))]) is None:
                call_s, timer = first.fields["first_call_s"], first.fields.get("timer", "host")
                twin = _warmed_up(self._pool, self._settings, again, 1, call_s, timer)
                chosen.twin = replace(twin, plan=chosen.lanes[0].plan)


def output(answer: Message) -> Any:
    """The array a worker sent, or the words for what it had instead, which no verdict will pass."""
    return answer.arrays.get("output", answer.fields.get("not_an_output"))


def failure_reason(answer: Message, verdicts: Sequence[Verdict]) -> str | None:
    """The first thing wrong with an answer, in words."""
    if answer.fields.get("inputs_changed"):
        return "it changed its input"
    if "not_an_output" in answer.fields:
        return f"to_numpy gave {answer.fields['not_an_output']}, not a float array"
    return next((verdict.reason for verdict in verdicts if not verdict.passed), None)


def in_process(reason: str, process: int) -> str:
    """`reason`, with which process it is about where that is not the first."""
    return f"in process {process + 1}: {reason}" if process else reason


def _warmed_up(
    pool: WorkerPool, settings: Settings, entry: Entry, process: int, call_s: float, timer: Timer
) -> WorkerSamples:
    if call_s < settings.settle_s:
        call_s = pool.ask(entry, "warm_up", limit_s=settings.settle_s).fields["call_s"]
    plan = calibrate(call_s, settings.sample_s)
    if settings.cache == "cold":
        plan = SamplingPlan.cold(flush_bytes(), min(plan.calls, COLD_CALLS) if timer == "device" else 1)
    return WorkerSamples(entry, process, plan, call_s)


def _call_s(pool: WorkerPool, entry: Entry) -> float:
    """The seconds of one more call of what is ready."""
    return float(pool.ask(entry, "warm_up", limit_s=0.0).fields["call_s"])


def _beginnings(firsts: Sequence[Message]) -> dict[str, Any]:
    """Seconds to make ready and for the first call, the medians over the processes. Not known where one was stopped."""
    known = not any(first.fields.get("stopped") for first in firsts)
    seconds = ("prepare_s", "first_call_s")
    found = {name: median(first.fields[name] for first in firsts) if known else None for name in seconds}
    return found | {"before_bytes": firsts[0].fields["before_bytes"]}
