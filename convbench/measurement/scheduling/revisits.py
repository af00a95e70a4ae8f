"""Coming back to cases that were measured some time before, so that a run sees how far its machine moves meanwhile.

After each case one earlier case is sampled once more, with two of its workers, the cheapest of those that were visited
least. All of it may take a small share of the run. The case is the one in the middle of those measured so far, so that
the time in between grows with the run and most cases are visited. A record is not changed by that: what is learned says
how far a time of this machine reaches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.candidates import Candidate, WorkerSamples
from convbench.measurement.scheduling.case_run import CaseRun
from convbench.measurement.scheduling.race import NoRace
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import WarmUp
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.suite import Case
from convbench.verification.timed_data import TimedData

SHARE = 0.04
"""Of the time that a run has taken so far."""
_WORKERS, _ROUNDS = 2, 5
_FEWEST_SAMPLES = 4


@dataclass(frozen=True)
class Revisit:
    """What a call of a backend took before, in the rounds of its case, and at its `number`-th later visit."""

    case: Case
    backend: str
    settings: Settings
    number: int
    before_s: float
    seconds: float


@dataclass(frozen=True)
class _Known:
    """A worker of an earlier case as a candidate of its own: how it was sampled, its seconds per call, and what
    preparing, warming up and sampling it once more will take. An A/A process is visited to switch from only."""

    candidate: Candidate
    before_s: float
    cost_s: float

    @classmethod
    def of(cls, candidate: Candidate, w: WorkerSamples) -> _Known:
        """What is worth keeping of a candidate and its worker, without the samples."""
        first = candidate.qualified
        worker = WorkerSamples(w.entry, 0, w.plan, w.call_s, w.is_visited, w.between_s, settling=w.settling)
        preparing_s = (first.prepare_s or 0.0) + (first.first_call_s or 0.0) + first.settings.settle_s
        cost_s = preparing_s + _ROUNDS * w.plan.all_calls * (w.call_s + w.between_s)
        bare = replace(first, verdicts=(), stderr_tail=None)
        return cls(Candidate(w.entry, bare, [worker]), median(w.walls()), cost_s)

    @property
    def is_aa_process(self) -> bool:
        return self.candidate.entry.name != self.candidate.qualified.backend

    def revisit(self, case: Case, number: int, seconds: float) -> Revisit:
        """What the `number`-th later visit showed."""
        name, settings = self.candidate.entry.name, self.candidate.qualified.settings
        return Revisit(case, name, settings, number, self.before_s, seconds)

    def again(self) -> Candidate:
        """The candidate, to be sampled from the start."""
        return replace(
            self.candidate, workers=[replace(worker, samples=[], _visits=[]) for worker in self.candidate.workers]
        )


@dataclass
class _Visitable:
    """A case that was measured, its candidates, and how often it was visited since."""

    suite: str
    case: Case
    known: list[_Known]
    data: TimedData | None
    visits: int = 0


class _FewRounds(NoRace):
    """A few rounds of every candidate, whatever they say."""

    def judge(self, candidates: Sequence[Candidate], settings: Settings) -> None:
        for candidate in candidates:
            if candidate.rounds >= _ROUNDS:
                candidate.stopped = "rounds"


Sampling = Callable[[CaseRun, NoRace], Iterator[Outcome]]


@dataclass
class Revisits:
    """The cases of a run that can be visited again, and the seconds that this may take."""

    clock: Callable[[], float]
    _earlier: list[_Visitable] = field(default_factory=list)
    _visited: Counter[str] = field(default_factory=Counter)
    _started_s: float | None = None
    _spent_s: float = 0.0

    def begin(self) -> None:
        """The share is counted from the moment when the first case begins."""
        self._started_s = self.clock() if self._started_s is None else self._started_s

    def note(self, run: CaseRun) -> None:
        """Remember a case that was measured, with the candidates that have enough samples to be compared with."""
        lasting = [c for c in run.candidates if c.stopped != "failed" and c.rounds >= _FEWEST_SAMPLES]
        workers = [(c, w) for c in lasting for w in (c.workers[0], c.aa_process) if w is not None and w.samples]
        self._earlier.append(_Visitable(run.suite, run.case, [_Known.of(c, w) for c, w in workers], run.data))

    def visit(self, pool: WorkerPool, sample: Sampling) -> list[Revisit]:
        """Sample an earlier case once more; empty where there is none, or no time for it."""
        if len(self._earlier) < 2:
            return []
        visitable, start = self._earlier[(len(self._earlier) - 1) // 2], self.clock()
        if not (known := self._affordable(visitable.known, pool)):
            return []
        run = CaseRun(visitable.suite, visitable.case, known[0].candidate.qualified.settings, pool, data=visitable.data)
        with run.shared:
            run.candidates += [candidate for k in known if _is_ready(run, candidate := k.again())]
            failed = {outcome.backend for outcome in sample(run, _FewRounds())}
        self._spent_s += self.clock() - start
        self._visited.update(k.candidate.entry.name for k in known)
        visitable.visits += 1
        counted = {k.candidate.entry.name: k for k in known if not k.is_aa_process}
        return [
            counted[c.entry.name].revisit(run.case, visitable.visits, median(c.workers[0].walls()))
            for c in run.candidates
            if c.entry.name in counted and c.entry.name not in failed and c.rounds
        ]

    def _affordable(self, known: Sequence[_Known], pool: WorkerPool) -> list[_Known]:
        """Those that were visited least, and then cost least, for which there is time."""
        assert self._started_s is not None
        allowed_s = SHARE * (self.clock() - self._started_s) - self._spent_s
        affordable: list[_Known] = []
        for each in sorted(known, key=lambda k: (k.is_aa_process, self._visited[k.candidate.entry.name], k.cost_s)):
            is_running = pool.runs(each.candidate.entry)
            if is_running and len(affordable) < _WORKERS and each.cost_s <= allowed_s:
                affordable.append(each)
                allowed_s -= each.cost_s
        # Alone, a worker would have no other to switch from, as it had in its case.
        return affordable if len(affordable) == min(_WORKERS, len(known)) else []


def _is_ready(run: CaseRun, candidate: Candidate) -> bool:
    """Prepare a candidate's worker for the case and warm it up; whether that worked."""
    entry = candidate.entry
    try:
        run.pool.request(entry, run.prepare(run.gate.real.operands))
        run.pool.request(entry, WarmUp(limit_s=run.settings.settle_s))
    except WorkerError:
        return False
    return True
