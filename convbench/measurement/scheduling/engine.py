"""The engine: verify every backend on a case, then time the right ones in rounds that interleave them.

For each case, every backend in turn is prepared, called once, judged on real data and on exact integers, and warmed up;
only then do rounds begin, in which each of its processes takes one sample, in an order shuffled anew each round, so
that whatever drifts in the machine hits all alike. One worker computes at a time. One backend may be sampled in a
further process besides, which tells the run's own error. Afterwards the last timed output is judged once more.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from convbench.backend import Backend
from convbench.measurement.machine.affinity import Cores, cores_here, kept_off
from convbench.measurement.machine.facts import load_average
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.sampling.sample import Sample
from convbench.measurement.scheduling.candidates import Candidate, WorkerSamples, self_ratio
from convbench.measurement.scheduling.qualification import AATest, failure_reason, in_process, output, qualify
from convbench.measurement.scheduling.race import NoRace, Race
from convbench.measurement.settings import Settings
from convbench.measurement.workers.pool import Worker, WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.measurement.workers.protocol import Message
from convbench.measurement.workers.shared_arrays import SharedArrayCache
from convbench.registry import Entry, LoadFailure, Row
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.gate import Gate, gate_of
from convbench.verification.verdict import Verdict

# With several threads, those of the worker that just stopped spin for a moment; one thread leaves nothing behind.
_FADE_S = 0.003

_Given = TypeVar("_Given")


class Watch(Protocol):
    """Told what the engine is doing, for whoever shows it to a person."""

    def doing(self, activity: str, done: float) -> None:
        """`activity` in words, with the share of the case that is done."""


class Unwatched:
    """Nobody looks on."""

    def doing(self, activity: str, done: float) -> None:
        """Nothing."""


class Engine:
    """Measures cases with a fixed set of workers, one or more per backend, started when first needed.

    A context manager: leaving it ends the workers. `cores` are those that workers on the CPU are pinned to, and
    `starting_s` the seconds spent so far in waiting for workers to start. In a `race` only those are sampled on that
    may be the fastest.
    """

    def __init__(
        self,
        settings: Settings,
        watch: Watch | None = None,
        start_worker: Callable[[Entry, Settings, int], Worker] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        race: Race | None = None,
    ) -> None:
        self.settings = settings
        self._rule = race or NoRace()
        self._watch = watch or Unwatched()
        self._clock = clock
        self._sleep = sleep
        self.cores: Cores = cores_here(settings.pin, settings.threads) if start_worker is None else ()
        self.starting_s = 0.0
        self._pool = WorkerPool(settings, start_worker, self.cores)
        self._twinning = AATest(self._pool, settings)
        self._unavailable: dict[str, str | None] = {}

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def measure(self, suite: str, case: Case, rows: Sequence[Row]) -> Iterator[Outcome]:
        """The outcome of each row on `case`, as each is known; the timed ones together, after the last round. In a
        race some may be left out, which the race knows."""
        for outcome in self._outcomes(suite, case, self._rule.field(case, rows)):
            self._rule.note(outcome)
            yield outcome

    def _outcomes(self, suite: str, case: Case, rows: Sequence[Row]) -> Iterator[Outcome]:
        able: list[Entry] = []
        for row in rows:
            if isinstance(row, LoadFailure):
                yield Outcome(
                    suite=suite,
                    case=case,
                    backend=row.name,
                    status=Status.UNAVAILABLE,
                    settings=self.settings,
                    reason=row.reason,
                )
            elif (refused := self._refusal(suite, case, row)) is not None:
                yield refused
            else:
                able.append(row)
        able = self._rule.admit(case, able)
        if not able:
            return
        lost: set[str] = set()
        for outcome in self._start(suite, case, able):
            lost.add(outcome.backend)
            yield outcome
        able = [entry for entry in able if entry.name not in lost]
        if able:
            yield from self._compete(suite, case, able)

    # --- before any work ------------------------------------------------------------------------------------------

    def _refusal(self, suite: str, case: Case, entry: Entry) -> Outcome | None:
        """The outcome of a pair that needs no worker; None when it needs one."""
        if entry.name not in self._unavailable:
            self._unavailable[entry.name] = entry.unavailable()
        if reason := self._unavailable[entry.name]:
            return self._outcome(suite, case, entry, Status.UNAVAILABLE, reason)
        try:
            unsupported = entry.backend.unsupported(case.problem)
        except Exception as error:
            told = f"asking whether it supports the problem raised {type(error).__name__}: {error}"
            return self._outcome(suite, case, entry, Status.ERROR, told)
        return self._outcome(suite, case, entry, Status.UNSUPPORTED, unsupported) if unsupported else None

    def _start(self, suite: str, case: Case, entries: Sequence[Entry]) -> Iterator[Outcome]:
        """Start the workers that do not run; yields the outcomes of backends that lack one."""
        wanted = {again.name: (entry, again) for entry in entries for again in self._processes(entry)}
        lost: set[str] = set()
        for name, error in self._started([again for _, again in wanted.values()]).items():
            entry, _ = wanted[name]
            if entry.name in lost:
                continue
            lost.add(entry.name)
            if error.status is Status.UNAVAILABLE:
                self._unavailable[entry.name] = error.reason
            yield self._outcome(suite, case, entry, error.status, error.reason, stderr_tail=error.stderr_tail)

    def _started(self, entries: Sequence[Entry]) -> dict[str, WorkerError]:
        def told(done: int, of: int) -> None:
            self._watch.doing(f"started {done} of {of} workers", 0.0)

        start = self._clock()
        failed = self._pool.start(entries, told)
        self.starting_s += self._clock() - start
        return failed

    def _processes(self, entry: Entry) -> list[Entry]:
        return [entry.again(number) for number in range(1, self.settings.processes + 1)]

    # --- one case -------------------------------------------------------------------------------------------------

    def _compete(self, suite: str, case: Case, entries: Sequence[Entry]) -> Iterator[Outcome]:
        self._watch.doing("computing the reference", 0.0)
        examination = gate_of(case, self.settings.seed)
        candidates: list[Candidate] = []
        with SharedArrayCache() as shelves:
            for index, entry in enumerate(entries):
                self._watch.doing(f"verifying {entry.name}", index / len(entries) / 2)
                step = partial(self._qualify, suite, case, entry, examination, shelves, candidates)
                qualified = self._guarded(suite, case, entry, step)
                if isinstance(qualified, Outcome):
                    yield qualified
                else:
                    candidates.append(qualified)
            if self.settings.self_check and self.settings.processes == 1:
                self._watch.doing("starting a backend once more, for the run's own error", 0.5)
                self._twinning.start_aa_process(case, candidates, examination, shelves, self._started)
        with kept_off(self.cores):
            yield from self._rounds(suite, case, candidates)
        error = self_ratio(candidates) if self.settings.self_check else None
        for outcome in self._finished(suite, case, candidates, examination):
            yield replace(outcome, self_ratio=error)

    def _qualify(
        self,
        suite: str,
        case: Case,
        entry: Entry,
        examination: Gate,
        shelves: SharedArrayCache,
        before: Sequence[Candidate],
    ) -> Candidate | Outcome:
        so_far = self._outcome(suite, case, entry, Status.OK, None)
        rejection_reason = partial(self._rule.rejection_reason, entry.name, candidates=before)
        processes = self._processes(entry)
        return qualify(self._pool, self.settings, case, processes, examination, shelves, so_far, rejection_reason)

    def _rounds(self, suite: str, case: Case, candidates: list[Candidate]) -> Iterator[Outcome]:
        """Sample in rounds until every candidate is done; yields those that fail on the way."""
        order = random.Random(f"{self.settings.seed} {case.name}")
        number = 0
        while running := [(c, lane) for c in candidates for lane in c.running]:
            left = len({c.entry.name for c, _ in running})
            self._watch.doing(f"timing {left} backends, round {number + 1}", 0.5 + _share_done(candidates) / 2)
            order.shuffle(running)
            for candidate, lane in running:
                if candidate.stopped == "failed":
                    continue  # in another of its processes
                failed = self._guarded(suite, case, candidate.entry, partial(self._sample, candidate, lane, number))
                if isinstance(failed, Outcome):
                    if lane is candidate.twin:
                        candidate.twin = None
                    else:
                        candidate.stopped = "failed"
                        yield failed
            self._rule.judge(candidates, self.settings)
            number += 1

    def _sample(self, candidate: Candidate, lane: WorkerSamples, number: int) -> None:
        if self.settings.threads > 1:
            self._sleep(_FADE_S)
        load = load_average()
        answer = dict(self._pool.ask(lane.entry, "sample", **asdict(lane.plan)).fields)
        was_stopped = answer.pop("stopped", False)
        candidate.add(lane, RoundSample(number, load, Sample(**answer), lane.process), was_stopped)

    def _finished(
        self, suite: str, case: Case, candidates: Sequence[Candidate], examination: Gate
    ) -> Iterator[Outcome]:
        """The outcomes of those sampled to the end. While the answers of one are judged, the next is asked, unless that
        has transfers to time."""
        with ThreadPoolExecutor(1) as judge:
            before: Callable[[], Outcome] | None = None
            for candidate in candidates:
                if candidate.stopped == "failed":
                    continue
                if before is not None and candidate.entry.backend.device != "cpu":
                    yield before()
                    before = None
                finish = partial(self._finish, candidate, examination, judge)
                ended = self._guarded(suite, case, candidate.entry, finish)
                if before is not None:
                    yield before()
                before = ended if callable(ended) else partial(replace, ended)
            if before is not None:
                yield before()

    def _finish(self, candidate: Candidate, examination: Gate, judge: ThreadPoolExecutor) -> Callable[[], Outcome]:
        """Ask for the last timed outputs; gives what waits for `judge` to have judged them and gives the outcome, with
        its samples, or without them when one is wrong."""
        arithmetic, outcome = candidate.entry.backend.arithmetic, candidate.outcome()
        backend_s = 0.0
        if candidate.twin is not None:
            with contextlib.suppress(WorkerError):
                last = self._pool.ask(candidate.twin.entry, "finish", energy_s=0.0)
                backend_s += last.fields.get("backend_s", 0.0)
        judged: list[tuple[int, Message, Future[Verdict]]] = []
        for lane in candidate.lanes:
            last = self._pool.ask(lane.entry, "finish", energy_s=0.0 if lane.process else self.settings.energy_s)
            backend_s += last.fields.get("backend_s", 0.0)
            if lane.process == 0:  # as before_bytes: the first's
                memory = {name: last.fields[name] for name in ("peak_bytes", "steady_bytes")}
                device = outcome.on_device and outcome.on_device.at_the_end(last.fields)
                outcome = replace(outcome, on_device=device, **memory)
            judged.append((lane.process, last, judge.submit(examination.real.judge, arithmetic, output(last))))
        return partial(self._judged, replace(outcome, backend_s=backend_s), judged)

    def _judged(self, outcome: Outcome, judged: Sequence[tuple[int, Message, Future[Verdict]]]) -> Outcome:
        for process, last, waited_for in judged:
            verdict = waited_for.result()
            outcome = replace(outcome, verdicts=(*outcome.verdicts, verdict))
            if outcome.status is Status.OK and (reason := failure_reason(last, [verdict])):
                told = f"after the timed calls: {in_process(reason, process)}"
                outcome = replace(outcome, status=Status.WRONG, reason=told)
        if outcome.status is Status.WRONG and not self.settings.time_wrong:
            outcome = replace(outcome, samples=(), twin=(), prepare_s=None, first_call_s=None)
        return outcome

    # --- how a pair ends ---------------------------------------------------------------------------------------

    def _guarded(self, suite: str, case: Case, entry: Entry, step: Callable[[], _Given]) -> _Given | Outcome:
        """What `step` gives; when the worker fails instead, the outcome that says how."""
        try:
            return step()
        except WorkerError as error:
            return self._outcome(suite, case, entry, error.status, error.reason, stderr_tail=error.stderr_tail)

    def _outcome(
        self, suite: str, case: Case, entry: Entry, status: Status, reason: str | None, stderr_tail: str | None = None
    ) -> Outcome:
        return Outcome(
            suite=suite,
            case=case,
            backend=entry.name,
            status=status,
            settings=self.settings,
            reason=reason,
            versions=self._pool.versions.get(entry.name, {}),
            declared=declared(entry.backend),
            stderr_tail=stderr_tail or None,
        )


def declared(backend: Backend) -> dict[str, Any]:
    """What `backend` says of itself, JSON-ready."""
    return {"device": backend.device, "prepacks": list(backend.prepacks), **asdict(backend.arithmetic)}


def _share_done(candidates: Sequence[Candidate]) -> float:
    return sum(c.stopped is not None for c in candidates) / len(candidates)
