"""`Observer`: how a run reports what it does. This one ignores everything; a terminal and a notebook have their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from convbench.store.schema import Record
from convbench.suite import Case


class Observer:
    """Learns of each step of a run, in the order in which they happen; a subclass takes what it needs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The run is over, or an exception ends it."""

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
