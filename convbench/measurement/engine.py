"""The engine: verify every backend on a case, then time the right ones in rounds that interleave them.

For each case, every backend in turn is prepared, called once, judged on real data and on exact integers, and warmed up;
only then do rounds begin, in which each takes one sample, in an order shuffled anew each round, so that whatever drifts
in the machine hits all alike. One worker computes at a time. Afterwards the last timed output is judged once more.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Backend
from convbench.errors import SuiteError
from convbench.measurement.crew import Crew, Worker, batches
from convbench.measurement.machine import load_average
from convbench.measurement.outcome import Outcome, RoundSample, Settings
from convbench.measurement.process import WorkerError
from convbench.measurement.protocol import Message
from convbench.measurement.sampling import Plan, Sample, plan_sampling
from convbench.measurement.statistics import estimate_median
from convbench.registry import Entry
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.examination import Examination
from convbench.verification.operands import Operands, normal_operands, rounded
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


@dataclass
class _Contestant:
    """A backend that has qualified on the case being measured."""

    entry: Entry
    plan: Plan
    so_far: Outcome
    spent_s: float = 0.0
    samples: list[RoundSample] = field(default_factory=list)
    stopped: str | None = None


class Engine:
    """Measures cases with a fixed set of workers, one per backend, started when first needed.

    A context manager: leaving it ends the workers.
    """

    def __init__(
        self,
        settings: Settings,
        watch: Watch | None = None,
        start_worker: Callable[[Entry, Settings], Worker] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self._watch = watch or Unwatched()
        self._clock = clock
        self._sleep = sleep
        self._crew = Crew(settings, start_worker)
        self._unavailable: dict[str, str | None] = {}

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.dismiss()

    def measure(self, suite: str, case: Case, entries: Sequence[Entry]) -> Iterator[Outcome]:
        """The outcome of each entry on `case`, as each is known; the timed ones together, after the last round."""
        able: list[Entry] = []
        for entry in entries:
            refused = self._refusal(suite, case, entry)
            if refused is None:
                able.append(entry)
            else:
                yield refused
        if not able:
            return
        yield from self._start(suite, case, able)
        able = [entry for entry in able if self._crew.runs(entry)]
        if able:
            yield from self._compete(suite, case, able)

    # --- before any work ------------------------------------------------------------------------------------------

    def _refusal(self, suite: str, case: Case, entry: Entry) -> Outcome | None:
        """The outcome of a pair that needs no worker; None when it needs one."""
        if entry.name not in self._unavailable:
            self._unavailable[entry.name] = entry.unavailable()
        if reason := self._unavailable[entry.name]:
            return self._outcome(suite, case, entry, Status.UNAVAILABLE, reason)
        assert entry.backend is not None
        try:
            unsupported = entry.backend.unsupported(case.problem)
        except Exception as error:
            told = f"asking whether it supports the problem raised {type(error).__name__}: {error}"
            return self._outcome(suite, case, entry, Status.ERROR, told)
        return self._outcome(suite, case, entry, Status.UNSUPPORTED, unsupported) if unsupported else None

    def _start(self, suite: str, case: Case, entries: Sequence[Entry]) -> Iterator[Outcome]:
        """Start the workers that do not run; yields the outcomes of those that did not start."""
        for batch in batches([entry for entry in entries if not self._crew.runs(entry)]):
            self._watch.doing("starting " + ", ".join(entry.name for entry in batch), 0.0)
            failed = self._crew.start(batch)
            for entry in batch:
                if (error := failed.get(entry.name)) is not None:
                    if error.status is Status.UNAVAILABLE:
                        self._unavailable[entry.name] = error.reason
                    yield self._outcome(suite, case, entry, error.status, error.reason, stderr_tail=error.stderr_tail)

    # --- one case -------------------------------------------------------------------------------------------------

    def _compete(self, suite: str, case: Case, entries: Sequence[Entry]) -> Iterator[Outcome]:
        self._watch.doing("computing the reference", 0.0)
        examination = self._examination(case)
        contestants: list[_Contestant] = []
        for index, entry in enumerate(entries):
            self._watch.doing(f"verifying {entry.name}", index / len(entries) / 2)
            qualified = self._guarded(suite, case, entry, partial(self._qualify, suite, case, entry, examination))
            if isinstance(qualified, Outcome):
                yield qualified
            else:
                contestants.append(qualified)
        yield from self._rounds(suite, case, contestants)
        for contestant in contestants:
            if contestant.stopped != "failed":
                finish = partial(self._finish, contestant, examination)
                yield self._guarded(suite, case, contestant.entry, finish)

    def _examination(self, case: Case) -> Examination:
        """The examination on the case's own data where it brings some, completed by random data.

        Raises `SuiteError` when the answer that the case expects is not the reference's.
        """
        if case.data is None:
            return Examination(case.problem, self.settings.seed)
        own = case.data.load(case.problem)
        drawn = normal_operands(case.problem, self.settings.seed)
        x, w = (drawn.x if own.input is None else own.input), (drawn.w if own.weight is None else own.weight)
        bias = drawn.b if own.bias is None else own.bias
        examination = Examination(case.problem, self.settings.seed, rounded(case.problem, x, w, bias))
        if own.expected is not None:
            _check_expected(case, own.expected, examination.real_answer.exact)
        return examination

    def _qualify(self, suite: str, case: Case, entry: Entry, examination: Examination) -> _Contestant | Outcome:
        """Prepare, call, judge and warm up one backend: a contestant, or the outcome that bars it from the rounds."""
        assert entry.backend is not None
        backend, arithmetic = entry.backend, entry.backend.arithmetic
        problem = case.problem.as_dict()
        first = self._crew.ask(entry, "prepare", _arrays(examination.real), problem=problem)
        verdicts = [examination.judge_real(arithmetic, _output(first))]
        call_s = first.fields["first_call_s"]
        integers = examination.integers(arithmetic)
        if integers is not None:
            checked = self._crew.ask(entry, "check", _arrays(integers), problem=problem)
            verdicts.append(examination.judge_integers(arithmetic, _output(checked)))
            call_s = min(call_s, checked.fields["call_s"])
        so_far = replace(
            self._outcome(suite, case, entry, Status.OK, None),
            verdicts=tuple(verdicts),
            prepare_s=first.fields["prepare_s"],
            first_call_s=first.fields["first_call_s"],
            before_bytes=first.fields["before_bytes"],
            declared=declared(backend),
        )
        if reason := _complaint(first, verdicts):
            so_far = replace(so_far, status=Status.WRONG, reason=reason)
            if not self.settings.time_wrong:
                return replace(so_far, prepare_s=None, first_call_s=None)
        if call_s < self.settings.settle_s:
            call_s = self._crew.ask(entry, "settle", limit_s=self.settings.settle_s).fields["call_s"]
        plan = plan_sampling(call_s, self.settings.sample_s)
        return _Contestant(entry, plan, so_far)

    def _rounds(self, suite: str, case: Case, contestants: list[_Contestant]) -> Iterator[Outcome]:
        """Sample in rounds until every contestant is done; yields those that fail on the way."""
        order = random.Random(f"{self.settings.seed} {case.name}")
        for number in range(self.settings.most_rounds):
            running = [c for c in contestants if c.stopped is None]
            if not running:
                return
            self._watch.doing(f"timing {len(running)} backends, round {number + 1}", 0.5 + _share_done(contestants) / 2)
            order.shuffle(running)
            for contestant in running:
                failed = self._guarded(suite, case, contestant.entry, partial(self._sample, contestant, number))
                if isinstance(failed, Outcome):
                    contestant.stopped = "failed"
                    yield failed

    def _sample(self, contestant: _Contestant, number: int) -> None:
        if self.settings.threads > 1:
            self._sleep(_FADE_S)
        load = load_average()
        start = self._clock()
        answer = self._crew.ask(contestant.entry, "sample", **asdict(contestant.plan))
        contestant.spent_s += self._clock() - start
        contestant.samples.append(RoundSample(number, load, Sample(**answer.fields)))
        contestant.stopped = self._enough(contestant)

    def _enough(self, contestant: _Contestant) -> str | None:
        """Why this contestant needs no more samples; None when it does."""
        s, taken = self.settings, len(contestant.samples)
        if taken >= s.most_rounds:
            return "rounds"
        if taken >= s.fewest_rounds:
            estimate = estimate_median([r.sample.wall_s for r in contestant.samples])
            if estimate.relative_half_width <= s.precision:
                return "precision"
        if taken >= s.fewest_slow_samples and contestant.spent_s >= s.budget_s:
            return "time"
        return None

    def _finish(self, contestant: _Contestant, examination: Examination) -> Outcome:
        """Judge the last timed output, and give the outcome with its samples, or without them when it is wrong."""
        assert contestant.entry.backend is not None
        last = self._crew.ask(contestant.entry, "finish")
        verdict = examination.judge_real(contestant.entry.backend.arithmetic, _output(last))
        outcome = replace(
            contestant.so_far,
            verdicts=(*contestant.so_far.verdicts, verdict),
            samples=tuple(contestant.samples),
            stopped=contestant.stopped,
            peak_bytes=last.fields["peak_bytes"],
        )
        if reason := _complaint(last, [verdict]):
            outcome = replace(outcome, status=Status.WRONG, reason=f"after the timed calls: {reason}")
            if not self.settings.time_wrong:
                outcome = replace(outcome, samples=(), prepare_s=None, first_call_s=None)
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
            versions=self._crew.versions.get(entry.name, {}),
            declared=declared(entry.backend) if entry.backend else {},
            stderr_tail=stderr_tail or None,
        )


def declared(backend: Backend) -> dict[str, Any]:
    """What `backend` says of itself, JSON-ready."""
    return {"device": backend.device, "prepacks": list(backend.prepacks), **asdict(backend.arithmetic)}


def _arrays(operands: Operands) -> dict[str, NDArray[Any]]:
    arrays = {"x": operands.x, "w": operands.w}
    return arrays if operands.b is None else arrays | {"b": operands.b}


def _output(answer: Message) -> Any:
    """The array a worker sent, or the words for what it had instead, which no verdict will pass."""
    return answer.arrays.get("output", answer.fields.get("not_an_output"))


def _complaint(answer: Message, verdicts: Sequence[Verdict]) -> str | None:
    """The first thing wrong with an answer, in words."""
    if answer.fields.get("inputs_changed"):
        return "it changed its input"
    if "not_an_output" in answer.fields:
        return f"to_numpy gave {answer.fields['not_an_output']}, not a float array"
    return next((verdict.reason for verdict in verdicts if not verdict.passed), None)


def _check_expected(case: Case, expected: NDArray[np.float64], exact: NDArray[np.float64]) -> None:
    off = np.abs(expected - exact) > 1e-6 * (1 + np.abs(exact))  # written by hand: a few decimals
    if off.any():
        element = tuple(int(i) for i in np.argwhere(off)[0])
        raise SuiteError(
            f"case {case.name}: the expected output has {expected[element]:.9g} at {list(element)}, "
            f"and the reference computes {exact[element]:.9g} from its input and weight."
        )


def _share_done(contestants: Sequence[_Contestant]) -> float:
    return sum(c.stopped is not None for c in contestants) / len(contestants)
