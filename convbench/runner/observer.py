"""`Observer`: how a run tells whoever looks on what it does. A terminal, a notebook and a test each have their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from convbench.store.schema import Record
from convbench.suite import Case


class Observer(Protocol):
    """Told of each step of a run, in the order in which they happen."""

    def message(self, text: str) -> None:
        """A sentence for a person, such as which machine this is."""

    def expect(self, cases: Sequence[Case]) -> None:
        """These cases will be measured, besides those announced before."""

    def begin(self, suite: str, case: Case) -> None:
        """A case begins."""

    def doing(self, activity: str, done: float) -> None:
        """The current `activity` in words, and the share of the case that is done, from 0 to 1."""

    def record(self, record: Record) -> None:
        """A record is known and on disk."""

    def end(self, elapsed_s: float) -> None:
        """The case is done, after so many seconds."""


class SilentObserver:
    """Ignores everything."""

    def message(self, text: str) -> None:
        """Nothing."""

    def expect(self, cases: Sequence[Case]) -> None:
        """Nothing."""

    def begin(self, suite: str, case: Case) -> None:
        """Nothing."""

    def doing(self, activity: str, done: float) -> None:
        """Nothing."""

    def record(self, record: Record) -> None:
        """Nothing."""

    def end(self, elapsed_s: float) -> None:
        """Nothing."""
