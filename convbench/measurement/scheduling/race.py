"""A race: the time goes to the backends that may be the fastest, to the others only until they are known to be beaten.

Three things are saved. A backend that earlier layers rule out is left out, with the reason (`scheduling/screening.py`).
One whose calls take tenths of a second, tens of times what another's take, is not timed.
And in the rounds a backend is dropped as soon as it is beaten: by a margin in each of the first few rounds,
or by evidence that may be looked at after every round (`convbench.stats.sequential`). What was sampled is kept in
every case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.candidates import Candidate
from convbench.measurement.scheduling.screening import LayerHistory, Times
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import Entry, Row
from convbench.stats.estimates import estimate_median
from convbench.stats.sequential import sequential_t_test, sign_test_e_value
from convbench.status import Status
from convbench.suite import Case

ERROR_RATE = 0.01
"""The chance, at most, that a backend that is not slower than another is ever dropped because of that one: by the signs
whatever the noise is like, and once more by the mean, if it is normal or has longer tails."""
MARGINS = (3.0, 1.7, 1.4, 1.3, 1.22, 1.16, 1.12, 1.1)
"""How many times slower in every round so far, by the number of rounds, is beaten without further evidence."""
FEWEST_ROUNDS = 8
"""For the two fastest, so that there is an interval for what is between them."""
_ENOUGH_ROUNDS = 14  # unless more than the max_regret depends on it

_WARM_UP_AGREES = 2.0  # a single sample that is far behind may be a hiccup; the warm-up before it has to agree
_FAR_BEHIND = 3.0
# A call of at least so many seconds, and so many times another's, is hopeless.
_HOPELESS = (0.1, 30.0)
_HOPELESS_IF_FIRST = (2.0, 200.0)  # a first call may compile something
_FEWEST_PLAIN = 2  # cases after which a backend is known whose first calls are as its later ones

_FEWEST_ASKED = 3


class Race:
    """Who is asked on a case, who is dropped from its rounds, and what earlier cases have told.

    `known` are times from before, of this machine and these settings. `tie` is the difference that is none: two whose
    ratio is known to lie within it are level. After some rounds nobody is sampled on who would be faster than the
    fastest so far by less than the `max_regret`. `excluded` says why a backend does not compete on a problem, if so. On a case
    that `forced` has, exactly those backends are asked.
    """

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
        """Why a backend was not asked, by case and backend."""
        self.spoilt: set[str] = set()
        """Cases in which somebody was beaten by one that turned out to be wrong, or failed."""
        self._winners: dict[str, set[str]] = {}
        self._earlier = LayerHistory(known)
        self._first_over_later: dict[str, list[float]] = {}
        self._silent: dict[str, str] = {}
        self._crashes: dict[str, int] = {}

    # --- before a case --------------------------------------------------------------------------------------------

    def field(self, case: Case, rows: Sequence[Row]) -> list[Row]:
        """Those of `rows` that are asked on `case`, the ones that should be fast first: all that may be the fastest,
        and a few in any case, since what is left out of the rounds cannot be told from what is in them."""
        if (forced := self.forced.get(case.name)) is not None:
            return [row for row in rows if row.name in forced]
        asked: list[Row] = []
        for entry in sorted(rows, key=lambda one: self._earlier.expected(one.name, case.problem)):
            reason = None
            if len(asked) >= _FEWEST_ASKED:
                reason = self._earlier.skip_reason(entry.name, case.problem)
            reason = self._silent.get(entry.name) or reason
            if reason is None:
                asked.append(entry)
            else:
                self.left_out[case.name, entry.name] = reason
        return asked

    def admit(self, case: Case, entries: Sequence[Entry]) -> list[Entry]:
        """Those of `entries`, all of which could compute `case` here, that compete."""
        asked = []
        for entry in entries:
            if (reason := self._excluded(entry, case.problem)) is None:
                asked.append(entry)
            else:
                self.left_out[case.name, entry.name] = reason
        return asked

    # --- within a case --------------------------------------------------------------------------------------------

    def rejection_reason(
        self, backend: str, first_call_s: float, call: Callable[[], float], candidates: Sequence[Candidate]
    ) -> str | None:
        """Why `backend` is not to be timed after such a first call; None when it may be. `call` calls it once more and
        gives the seconds, which tell a slow one from one that compiled."""
        fastest_s = min((lane.call_s for c in candidates for lane in c.lanes), default=math.inf)

        def hopeless(which: str, call_s: float, least: tuple[float, float]) -> str | None:
            if call_s < least[0] or call_s < least[1] * fastest_s:
                return None
            times = f"{call_s / fastest_s:,.0f} times as long as another backend's"
            return f"its {which} call took {call_s:.2g} s, {times}: beaten without being timed"

        earlier = self._first_over_later.setdefault(backend, [])
        is_plain = len(earlier) >= _FEWEST_PLAIN and median(earlier) < 2
        if reason := hopeless("first", first_call_s, _HOPELESS if is_plain else _HOPELESS_IF_FIRST):
            return reason
        if hopeless("first", first_call_s, _HOPELESS) is None:
            return None
        second_s = call()
        reason = hopeless("second", second_s, _HOPELESS)
        if reason is not None:  # of others it is known when they have been timed
            earlier.append(first_call_s / max(second_s, 1e-9))
        return reason

    def judge(self, candidates: Sequence[Candidate], settings: Settings) -> None:
        """After a round: stop those that are beaten, level with the fastest, or sampled enough, each with the word."""
        fit = [c for c in candidates if c.stopped not in ("failed", "beaten") and c.so_far.status is Status.OK]
        for c in candidates:
            c.stopped = c.stopped or at_its_cap(c, settings)
        if not fit:
            return
        fit.sort(key=lambda c: median(_walls(c).values()))
        leader, *others = fit
        for place, c in enumerate(others):
            if c.stopped is None:
                c.stopped = self._told(c, leader, settings, is_next=place == 0)
                if c.stopped is not None:
                    self._winners.setdefault(c.so_far.case.name, set()).add(leader.entry.name)
        open_question = any(c.stopped is None for c in others)
        if leader.stopped is not None:  # by a cap: without it there are no rounds to compare
            for c in others:
                c.stopped = c.stopped or leader.stopped
        elif not open_question and len(_walls(leader)) >= settings.fewest_rounds:
            leader.stopped = "decided"

    def _told(self, c: Candidate, leader: Candidate, settings: Settings, is_next: bool) -> str | None:
        ratios = _ratios(c, leader)
        if not ratios:
            return None
        wants_interval = is_next and len(ratios) < FEWEST_ROUNDS and median(ratios) < _FAR_BEHIND
        if not wants_interval and is_beaten(ratios, c.lanes[0].call_s / leader.lanes[0].call_s):
            return "beaten"
        if len(ratios) < FEWEST_ROUNDS:
            return None
        between = estimate_median(ratios)
        if 1 / (1 + self.tie) <= between.low and between.high <= 1 + self.tie:
            return "level"
        if between.relative_half_width <= settings.precision:
            return "precision"
        is_enough = len(ratios) >= _ENOUGH_ROUNDS and self.max_regret > 0 and between.low >= 1 / (1 + self.max_regret)
        return "rounds" if is_enough else None

    # --- after a case ---------------------------------------------------------------------------------------------

    def note(self, outcome: Outcome) -> None:
        """Remember what came of a backend on a case, for the cases after it."""
        name, case = outcome.backend, outcome.case
        if outcome.prepare_s is not None and outcome.first_call_s is not None:
            self._earlier.note_ready(name, outcome.prepare_s + outcome.first_call_s)
        if outcome.status is not Status.OK and name in self._winners.get(case.name, ()):
            self.spoilt.add(case.name)
        if outcome.status is Status.OK and outcome.estimate is not None:
            if outcome.first_call_s is not None:
                over_later = outcome.first_call_s / max(outcome.estimate.median, 1e-9)
                self._first_over_later.setdefault(name, []).append(over_later)
            self._earlier.note_call(name, case.problem, outcome.estimate.low, outcome.estimate.high)
        elif outcome.status is Status.TIMEOUT and outcome.first_call_s is not None:
            self._earlier.note_call(name, case.problem, outcome.first_call_s, math.inf)
        elif outcome.status is Status.TIMEOUT:
            self._silent[name] = f"gave no answer in time on {case.name}"
        elif outcome.status is Status.CRASHED:
            self._crashes[name] = self._crashes.get(name, 0) + 1
            if self._crashes[name] > 1:
                self._silent[name] = f"crashed on {self._crashes[name]} layers before this one"


class NoRace:
    """No race: each candidate is sampled until its own time is known well enough."""

    def field(self, case: Case, rows: Sequence[Row]) -> list[Row]:
        """All of them."""
        return list(rows)

    def admit(self, case: Case, entries: Sequence[Entry]) -> list[Entry]:
        """All of them."""
        return list(entries)

    def rejection_reason(
        self, backend: str, first_call_s: float, call: Callable[[], float], candidates: Sequence[Candidate]
    ) -> str | None:
        """Nobody."""
        return None

    def judge(self, candidates: Sequence[Candidate], settings: Settings) -> None:
        """After a round: stop those that were sampled enough."""
        for candidate in candidates:
            candidate.stopped = candidate.stopped or candidate.enough(settings)

    def note(self, outcome: Outcome) -> None:
        """Nothing."""


def at_its_cap(c: Candidate, settings: Settings) -> str | None:
    """Why `c` is sampled no more, whoever is ahead; None when it may be."""
    rounds = min(len(lane.samples) for lane in c.lanes)
    if rounds - c.again >= settings.most_rounds:
        return "rounds"
    return "time" if rounds >= settings.fewest_slow_samples and c.spent_s() >= settings.budget_s else None


def is_beaten(ratios: Sequence[float], by_warm_up: float) -> bool:
    """Whether somebody with these `ratios` to another, round by round, is slower than that one beyond doubt;
    `by_warm_up` is the ratio of what a call of both took before the first round."""
    rounds = len(ratios)
    margin = MARGINS[min(rounds, len(MARGINS)) - 1]
    if min(ratios) >= margin and (rounds > 1 or by_warm_up >= _WARM_UP_AGREES):
        return True
    slower = sum(ratio > 1 for ratio in ratios)
    if slower == rounds and sequential_t_test([math.log(ratio) for ratio in ratios], ERROR_RATE):
        return True
    return sign_test_e_value(slower, rounds - slower) >= 1 / ERROR_RATE


def _ratios(c: Candidate, leader: Candidate) -> list[float]:
    """The rounds' ratios, from the rounds that both have a sample of."""
    mine, theirs = _walls(c), _walls(leader)
    return [mine[key] / theirs[key] for key in mine.keys() & theirs.keys() if theirs[key] > 0]


def _walls(c: Candidate) -> dict[tuple[int, int], float]:
    """Wall seconds per call by process and round."""
    return {(lane.process, taken.round): taken.sample.wall_s for lane in c.lanes for taken in lane.samples}
