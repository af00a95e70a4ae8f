"""A race: time goes to the backends that may be the fastest, and to others only until they are known to be beaten.

It saves time in three ways. It skips a backend that earlier layers rule out, and records the reason
(`scheduling/layer_history.py`). It does not time a backend whose calls take tenths of a second and many times as long
as another's. In the rounds it drops a backend as soon as it is beaten: by a margin in each of the first few rounds, or
by evidence that may be checked after every round (`convbench.stats.sequential`). Samples are always kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median

from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.candidates import Candidate
from convbench.measurement.scheduling.layer_history import LayerHistory, Times
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import Entry, Row
from convbench.stats.estimates import estimate_median
from convbench.stats.ratio import Ratio, paired_ratios
from convbench.stats.sequential import sequential_t_test, sign_test_e_value
from convbench.status import Status
from convbench.suite import Case

ERROR_RATE = 0.01
"""The highest chance that a backend is ever dropped because of another that is not faster. It applies twice: to the
signs, whatever the noise, and to the mean, if the noise is normal or has longer tails."""
MARGINS = (3.0, 1.7, 1.4, 1.3, 1.22, 1.16, 1.12, 1.1)
"""How many times slower in every round so far counts as beaten without further evidence, by the number of rounds."""
FEWEST_ROUNDS = 8  # for the two fastest, so that their ratio has an interval
_ENOUGH_ROUNDS = 14  # unless more than `max_regret` depends on further ones

_WARM_UP_AGREES = 2.0  # a single sample far behind may be a hiccup; the warm-up before it has to agree
_FAR_BEHIND = 3.0
# A call of at least so many seconds, and so many times another's, is hopeless.
_HOPELESS = (0.1, 30.0)
_HOPELESS_IF_FIRST = (2.0, 200.0)  # a first call may compile something
_FEWEST_CASES = 2  # that show whether a backend's first calls take as long as its later ones

_FEWEST_SCREENED = 3
_WORTH_SETTLING = 2.0
"""How many times slower than the fastest a backend may be in the warm-up and still need the rounds to be judged."""


class Race:
    """Decides which backends are measured on a case and when each is dropped, and learns from one case for the next.
    `known` are earlier times on this machine with these settings. `tie` is a difference that does not matter: two
    backends whose ratio is known to lie within it are level. After some rounds, a backend that can be faster than the
    fastest so far by less than `max_regret` is sampled no more. `excluded` returns why a backend does not compete on a
    problem. On a case named in `forced`, exactly those backends are measured."""

    def __init__(
        self,
        known: Times | None = None,
        tie: float = 0.02,
        max_regret: float = 0.0,
        excluded: Callable[[Entry, ConvProblem], str | None] = lambda entry, problem: None,
    ) -> None:
        self.tie = tie
        self.max_regret = max_regret
        self._excluded = excluded
        self.forced: dict[str, frozenset[str]] = {}
        self.left_out: dict[tuple[str, str], str] = {}
        """Why a backend was not measured, by case and backend."""
        self.spoilt: set[str] = set()
        """Cases in which a backend was beaten by one that turned out to be wrong, or failed."""
        self._winners: dict[str, set[str]] = {}
        self._history = LayerHistory(known)
        self._first_over_later: dict[str, list[float]] = {}
        self._silent: dict[str, str] = {}
        self._crashes: Counter[str] = Counter()

    # --- before a case --------------------------------------------------------------------------------------------

    def screen(self, case: Case, rows: Sequence[Row]) -> list[Row]:
        """The `rows` to measure on `case`, those expected to be the fastest first: all that may be the fastest, and at
        least a few, because the rounds say nothing about a backend that is left out of them."""
        if (forced := self.forced.get(case.name)) is not None:
            return [row for row in rows if row.name in forced]
        screened: list[Row] = []
        for row in sorted(rows, key=lambda row: self._history.expected_log_ratio(row.name, case.problem)):
            reason = self._silent.get(row.name)
            if reason is None and len(screened) >= _FEWEST_SCREENED:
                reason = self._history.skip_reason(row.name, case.problem)
            if reason is None:
                screened.append(row)
            else:
                self.left_out[case.name, row.name] = reason
        return screened

    def admit(self, case: Case, entries: Sequence[Entry]) -> list[Entry]:
        """Those of `entries`, all of which can compute `case` here, that are not excluded."""
        reasons = {entry.name: self._excluded(entry, case.problem) for entry in entries}
        self.left_out |= {(case.name, name): reason for name, reason in reasons.items() if reason is not None}
        return [entry for entry in entries if reasons[entry.name] is None]

    # --- within a case --------------------------------------------------------------------------------------------

    def rejection_reason(
        self, backend: str, first_call_s: float, call: Callable[[], float], candidates: Sequence[Candidate]
    ) -> str | None:
        """Why `backend` is not timed after such a first call; None when it is. `call` calls it once more and returns
        the seconds, which tell a slow backend from one that compiled something."""
        fastest_s = min((worker.call_s for c in candidates for worker in c.workers), default=math.inf)

        def hopeless(which: str, call_s: float, least: tuple[float, float]) -> str | None:
            if call_s < least[0] or call_s < least[1] * fastest_s:
                return None
            times = f"{call_s / fastest_s:,.0f} times as long as another backend's"
            return f"its {which} call took {call_s:.2g} s, {times}: beaten without being timed"

        earlier = self._first_over_later.setdefault(backend, [])
        compiles = len(earlier) < _FEWEST_CASES or median(earlier) >= 2
        if reason := hopeless("first", first_call_s, _HOPELESS_IF_FIRST if compiles else _HOPELESS):
            return reason
        if hopeless("first", first_call_s, _HOPELESS) is None:
            return None
        second_s = call()
        if reason := hopeless("second", second_s, _HOPELESS):  # of the others it is known when they have been timed
            earlier.append(first_call_s / max(second_s, 1e-9))
        return reason

    def is_worth_settling(self, candidate: Candidate, candidates: Sequence[Candidate]) -> bool:
        """Whether it may be the fastest by the calls that the warm-up made, so that it matters how it settles."""
        call_s = min(worker.call_s for worker in candidate.workers)
        return call_s <= _WORTH_SETTLING * min(worker.call_s for c in candidates for worker in c.workers)

    def judge(self, candidates: Sequence[Candidate], settings: Settings) -> None:
        """After a round: stop the candidates that are beaten, level with the fastest, or sampled enough."""
        fit = [c for c in candidates if c.stopped not in ("failed", "beaten") and c.qualified.status is Status.OK]
        for c in candidates:
            c.stopped = c.stopped or c.cap(settings)
        if not fit:
            return
        fit.sort(key=lambda c: median(_walls(c).values()))
        leader, *others = fit
        for place, c in enumerate(others):
            if c.stopped is None:
                c.stopped = self._verdict(c, leader, settings, is_next=place == 0)
                if c.stopped is not None:
                    self._winners.setdefault(c.qualified.case.name, set()).add(leader.entry.name)
        if leader.stopped is not None:  # by a cap: without it there are no rounds to compare
            for c in others:
                c.stopped = c.stopped or leader.stopped
        elif all(c.stopped is not None for c in others) and len(_walls(leader)) >= settings.fewest_rounds:
            leader.stopped = "decided"

    def _verdict(self, c: Candidate, leader: Candidate, settings: Settings, is_next: bool) -> str | None:
        ratios = paired_ratios(_walls(c), _walls(leader))  # in the rounds that both have a sample of
        if not ratios:
            return None
        wants_interval = is_next and len(ratios) < FEWEST_ROUNDS and median(ratios) < _FAR_BEHIND
        if not wants_interval and is_beaten(ratios, c.workers[0].call_s / leader.workers[0].call_s):
            return "beaten"
        if len(ratios) < FEWEST_ROUNDS:
            return None
        ratio = estimate_median(ratios)
        if Ratio.of(ratio).within(self.tie):
            return "level"
        if ratio.relative_half_width <= settings.precision:
            return "precision"
        is_enough = len(ratios) >= _ENOUGH_ROUNDS and self.max_regret > 0 and ratio.low >= 1 / (1 + self.max_regret)
        return "rounds" if is_enough else None

    # --- after a case ---------------------------------------------------------------------------------------------

    def note(self, outcome: Outcome) -> None:
        name, case = outcome.backend, outcome.case
        if outcome.prepare_s is not None and outcome.first_call_s is not None:
            self._history.note_prepare(name, outcome.prepare_s + outcome.first_call_s)
        if outcome.status is not Status.OK and name in self._winners.get(case.name, ()):
            self.spoilt.add(case.name)
        if outcome.status is Status.OK and outcome.estimate is not None:
            if outcome.first_call_s is not None:
                over_later = outcome.first_call_s / max(outcome.estimate.median, 1e-9)
                self._first_over_later.setdefault(name, []).append(over_later)
            self._history.note_call(name, case.problem, outcome.estimate.low, outcome.estimate.high)
        elif outcome.status is Status.TIMEOUT and outcome.first_call_s is not None:
            self._history.note_call(name, case.problem, outcome.first_call_s, math.inf)
        elif outcome.status is Status.TIMEOUT:
            self._silent[name] = f"gave no answer in time on {case.name}"
        elif outcome.status is Status.CRASHED:
            self._crashes[name] += 1
            if self._crashes[name] > 1:
                self._silent[name] = f"crashed on {self._crashes[name]} layers before this one"


class NoRace:
    """No race: each candidate is sampled until its own time is known well enough. See `Race` for the methods."""

    def screen(self, case: Case, rows: Sequence[Row]) -> list[Row]:
        return list(rows)

    def admit(self, case: Case, entries: Sequence[Entry]) -> list[Entry]:
        return list(entries)

    def rejection_reason(
        self, backend: str, first_call_s: float, call: Callable[[], float], candidates: Sequence[Candidate]
    ) -> str | None:
        return None

    def is_worth_settling(self, candidate: Candidate, candidates: Sequence[Candidate]) -> bool:
        return True

    def judge(self, candidates: Sequence[Candidate], settings: Settings) -> None:
        """After a round: stop the candidates that were sampled enough."""
        for candidate in candidates:
            candidate.stopped = candidate.stopped or candidate.enough(settings)

    def note(self, outcome: Outcome) -> None:
        """Learn nothing."""


def is_beaten(ratios: Sequence[float], warm_up_ratio: float) -> bool:
    """Whether a backend with these `ratios` to another, round by round, is slower beyond doubt. `warm_up_ratio` is the
    ratio of their calls before the first round."""
    rounds = len(ratios)
    margin = MARGINS[min(rounds, len(MARGINS)) - 1]
    if min(ratios) >= margin and (rounds > 1 or warm_up_ratio >= _WARM_UP_AGREES):
        return True
    slower = sum(ratio > 1 for ratio in ratios)
    if slower == rounds and sequential_t_test([math.log(ratio) for ratio in ratios], ERROR_RATE):
        return True
    return sign_test_e_value(slower, rounds - slower) >= 1 / ERROR_RATE


def _walls(c: Candidate) -> dict[tuple[int, int], float]:
    """Wall seconds per call by process and round."""
    return {(worker.process, s.round): s.sample.wall_s for worker in c.workers for s in worker.samples}
