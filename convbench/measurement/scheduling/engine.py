"""The engine: verify every backend on a case, then time the correct ones in rounds that interleave them.

Each backend in turn is prepared, called once, judged on real data and on exact integers, and warmed up. Only then do
rounds begin, in which every worker takes one sample. One worker computes at a time. One backend may be sampled in a
further process, which measures the run's own error. Afterwards the last timed outputs are judged once more.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from convbench.isa import reason_without_switch
from convbench.measurement.machine.affinity import Cores, cores_here, kept_off
from convbench.measurement.machine.facts import load_average
from convbench.measurement.machine.priority import before_others, refuse_impossible
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.scheduling.candidates import Candidate, WorkerSamples, self_ratio
from convbench.measurement.scheduling.case_run import CaseRun
from convbench.measurement.scheduling.clock_check import check_clocks
from convbench.measurement.scheduling.explainer import Explainer
from convbench.measurement.scheduling.qualification import AATest, finish, qualify
from convbench.measurement.scheduling.race import NoRace, Race
from convbench.measurement.scheduling.revisits import Revisit, Revisits
from convbench.measurement.scheduling.settling import settle
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import TakeSample
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError, WorkerProcess
from convbench.registry import Entry, LoadFailure, Row
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.timed_data import TimedData


class Engine:
    """Measures cases with one or more workers per backend, which start when first needed. A context manager: leaving it
    ends the workers. `cores` are the CPUs that CPU workers are pinned to, `starting_s` the seconds spent waiting for
    workers to start. In a `race` only backends that may be the fastest are sampled further. `data` is what is timed,
    unless that is normal values. `on_activity` is called with what the engine does, in words, and the share of the case
    that is done. `start_worker`, `clock` and `sleep` let tests simulate workers without time passing."""

    def __init__(
        self,
        settings: Settings,
        on_activity: Callable[[str, float], None] = lambda activity, done: None,
        start_worker: Callable[[Entry, Settings, int], WorkerProcess] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        race: Race | None = None,
        data: TimedData | None = None,
    ) -> None:
        self.settings = settings
        self.cores: Cores = cores_here(settings.pin, settings.threads) if start_worker is None else ()
        refuse_impossible(settings.priority)
        self.starting_s = 0.0
        self._rule = race or NoRace()
        self._data = data
        self._on_activity = on_activity
        self._clock = clock
        self._sleep = sleep
        self._pool = WorkerPool(settings, start_worker, self.cores)
        self._aa_test = AATest()
        self._explainer = Explainer()
        self._revisits = Revisits(clock)
        self._unavailable: dict[str, str | None] = {}

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def measure(
        self, suite: str, case: Case, rows: Sequence[Row], settings: Settings | None = None
    ) -> Iterator[Outcome]:
        """The outcome of each row on `case` as soon as it is known; the timed ones come together, after the last round.
        In a race some rows have none, and the race says why. `settings` may differ from the engine's in the state of
        caches."""
        run = CaseRun(suite, case, settings or self.settings, self._pool, data=self._data)
        self._revisits.begin()
        for outcome in self._outcomes(run, self._rule.screen(case, rows)):
            self._rule.note(outcome)
            yield outcome
        self._revisits.note(run)

    def revisit(self) -> list[Revisit]:
        """Sample a case that was measured before once more, where the run has time for it. Not in a race, where samples
        of a case say which backend is fastest and no more."""
        if isinstance(self._rule, Race):
            return []
        with kept_off(self.cores), before_others(self.settings.priority):
            return self._revisits.visit(self._pool, self._sample_again)

    def _sample_again(self, run: CaseRun, rule: NoRace) -> Iterator[Outcome]:
        self._on_activity(f"coming back to {run.case.name}, to see what the machine did meanwhile", 1.0)
        return sample_in_rounds(run, rule, sleep=self._sleep)

    def _outcomes(self, run: CaseRun, rows: Sequence[Row]) -> Iterator[Outcome]:
        able: list[Entry] = []
        for row in rows:
            if (refusal := self._refusal(run, row)) is not None:
                yield refusal
            elif isinstance(row, Entry):
                able.append(row)
        able = self._rule.admit(run.case, able)
        if reason := run.too_large:
            yield from (run.outcome(entry, Status.OUT_OF_MEMORY, reason) for entry in able)
            return
        lost: set[str] = set()
        for outcome in self._start_workers(run, able):
            lost.add(outcome.backend)
            yield outcome
        if able := [entry for entry in able if entry.name not in lost]:
            yield from self._time(run, able)

    def _refusal(self, run: CaseRun, row: Row) -> Outcome | None:
        """The outcome of a pair that needs no worker; None if it needs one."""
        if row.name not in self._unavailable:
            self._unavailable[row.name] = row.unavailable()
        if reason := self._unavailable[row.name]:
            return run.outcome(row, Status.UNAVAILABLE, reason)
        assert not isinstance(row, LoadFailure)
        if reason := reason_without_switch(row.backend, run.settings.isa):
            return run.outcome(row, Status.UNSUPPORTED, reason)
        try:
            unsupported = row.backend.unsupported(run.case.problem)
        except Exception as error:
            reason = f"asking whether it supports the problem raised {type(error).__name__}: {error}"
            return run.outcome(row, Status.ERROR, reason)
        return run.outcome(row, Status.UNSUPPORTED, unsupported) if unsupported else None

    def _start_workers(self, run: CaseRun, entries: Sequence[Entry]) -> Iterator[Outcome]:
        """Start the workers that do not run; yields the outcome of each backend that lacks one."""
        workers = {worker.name: (entry, worker) for entry in entries for worker in run.processes(entry)}
        failed: dict[str, tuple[Entry, WorkerError]] = {}
        for name, error in self._start([worker for _, worker in workers.values()]).items():
            entry, _ = workers[name]
            failed.setdefault(entry.name, (entry, error))
        for entry, error in failed.values():
            if error.status is Status.UNAVAILABLE:
                self._unavailable[entry.name] = error.reason
            yield run.failed(entry, error)

    def _start(self, entries: Sequence[Entry]) -> dict[str, WorkerError]:
        def on_progress(done: int, total: int) -> None:
            self._on_activity(f"started {done} of {total} workers", 0.0)

        start = self._clock()
        errors = self._pool.start(entries, on_progress)
        self.starting_s += self._clock() - start
        return errors

    def _time(self, run: CaseRun, entries: Sequence[Entry]) -> Iterator[Outcome]:
        self._on_activity("computing the reference", 0.0)
        try:
            _ = run.gate
        except MemoryError:
            reason = "computing the right answer took more memory than there is"
            yield from (run.outcome(entry, Status.OUT_OF_MEMORY, reason) for entry in entries)
            return
        with run.shared:
            yield from self._qualify(run, entries)
            if self.settings.self_check and self.settings.processes == 1:
                self._on_activity("starting a backend once more, to measure the run's own error", 0.5)
                self._aa_test.start_aa_process(run, self._start)

        def on_round(number: int) -> None:
            left = sum(c.stopped is None for c in run.candidates)
            done = 1 - left / len(run.candidates)
            self._on_activity(f"timing {left} backends, round {number + 1}", 0.5 + done / 2)

        def on_visits(pending: int) -> None:
            self._on_activity(f"finding out how {pending} workers settle after a switch", 0.5)

        with kept_off(self.cores), before_others(self.settings.priority):
            yield from settle(run, self._rule, on_visits)
            yield from sample_in_rounds(run, self._rule, on_round, self._sleep)
            yield from check_clocks(run)
        ratio = self_ratio(run.candidates) if self.settings.self_check else None
        for outcome in finish(run, self._explainer):
            yield replace(outcome, self_ratio=ratio)

    def _qualify(self, run: CaseRun, entries: Sequence[Entry]) -> Iterator[Outcome]:
        """Add the candidates to `run`; yields the outcomes of the backends that do not qualify."""
        for index, entry in enumerate(entries):
            self._on_activity(f"verifying {entry.name}", index / len(entries) / 2)
            rejection_reason = partial(self._rule.rejection_reason, entry.name, candidates=run.candidates)
            qualified = run.guarded(entry, partial(qualify, run, entry, rejection_reason))
            if isinstance(qualified, Outcome):
                if qualified.status is Status.WRONG and self._explainer.asks(run, entry):
                    implementation = self._explainer.implementation(run, entry)
                    qualified = replace(qualified, implementation=implementation)
                yield qualified
            else:
                run.candidates.append(qualified)


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
    reply = run.pool.request(worker.entry, TakeSample(plan=worker.plan))
    sample = RoundSample(number, load, reply.sample, worker.process)
    candidate.add(worker, sample, reply.was_stopped, reply.readings)
