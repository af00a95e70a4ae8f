"""How much a verification has to ask, how far it has come, and about how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from convbench.store.verification_log import Event

SWEPT = {0: 0, 2: 130, 3: 580, 4: 2500}
"""About how many questions a sweep of each strength has; how many just, a backend's own campaign says."""
_QUESTION_S = 0.03  # of a question, until some have been answered
_START_S = 4.0  # of a process with its library
_TELLING = 20


@dataclass(frozen=True)
class Workload:
    """What is asked of each backend: about so many questions, then random search for `search_s` seconds."""

    backends: tuple[str, ...]
    at_once: int
    questions: int
    search_s: float

    @property
    def about_s(self) -> float:
        """About how many seconds it takes, if the backends answer quickly."""
        return Advance(self).left_s


class Advance:
    """How far a verification has come, by its events."""

    def __init__(self, workload: Workload, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = workload.at_once
        self._campaigns = {name: _Campaign(workload.questions, workload.search_s) for name in workload.backends}
        self._clock, self._start_s = clock, clock()

    def note(self, backend: str, event: Event) -> None:
        """Take an event of a backend's campaign into account."""
        self._campaigns[backend].note(event)

    def share_of(self, backend: str) -> float:
        """How much of a backend's questions is done, from 0 to 1."""
        return self._campaigns[backend].share

    @property
    def left_s(self) -> float:
        """About how many seconds remain."""
        each = [campaign.left_s(self._question_s) for campaign in self._campaigns.values()]
        return max(sum(each) / self._at_once, max(each, default=0.0))

    @property
    def share(self) -> float:
        """How much of everything is done, by time, from 0 to 1."""
        done_s, left_s = self._clock() - self._start_s, self.left_s
        return done_s / (done_s + left_s) if left_s else 1.0

    @property
    def _question_s(self) -> float:
        """Of the campaigns that have asked enough."""
        known = [campaign for campaign in self._campaigns.values() if campaign.answered >= _TELLING]
        answered = sum(campaign.answered for campaign in known)
        return sum(campaign.seconds for campaign in known) / answered if answered else _QUESTION_S


@dataclass
class _Campaign:
    questions: int
    search_s: float
    answered: int = 0
    searched_s: float = 0.0
    seconds: float = 0.0
    begin_s: float | None = None  # a campaign that is resumed has lasted for some time
    is_done: bool = False

    def note(self, event: Event) -> None:
        if event["event"] in ("report", "died"):
            self.is_done = True
        elif event["event"] == "planned":
            self.questions, self.search_s = event["questions"], event["search_s"]
        elif event["event"] == "answered":
            self.searched_s = event["searched_s"]
            if event["phase"] != "search":
                self.begin_s = event["seconds"] if self.begin_s is None else self.begin_s
                self.answered += 1
                self.seconds = event["seconds"] - self.begin_s

    @property
    def share(self) -> float:
        whole_s, left_s = self._needs_s(self.questions, self.search_s, _QUESTION_S), self.left_s(_QUESTION_S)
        return 1 - left_s / whole_s if whole_s else 1.0

    def left_s(self, question_s: float) -> float:
        if self.is_done:
            return 0.0
        own_s = self.seconds / self.answered if self.answered >= _TELLING else question_s
        left = max(0, self.questions - self.answered)
        return self._needs_s(left, max(0.0, self.search_s - self.searched_s), own_s)

    def _needs_s(self, questions: int, search_s: float, question_s: float) -> float:
        return questions * question_s + search_s + (0.0 if self.answered else _START_S)
