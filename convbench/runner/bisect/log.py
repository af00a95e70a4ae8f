"""What a bisection has seen so far, in a log in the results folder, so that `--resume` need not look again.

A resumed search is the same search: it asks for the same things in the same order, and what the log has is answered
from it. Members stand in it by their labels, because later there may be more of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from convbench.errors import ResultsError
from convbench.store.verification_log import BISECTION_SUFFIX, Event, VerificationLog, newest_log


class Look(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What is known of one member, from the log or from now."""


class Answered(Look, tag="answered", frozen=True, kw_only=True):
    """A member's answer to the question: `kind` is `ok` or the word of a failure."""

    label: str
    kind: str
    sentence: str = ""
    kernel: str | None = None


class Lost(Look, tag="skipped", frozen=True, kw_only=True):
    """A member that tells nothing, of those looked at together."""

    labels: tuple[str, ...]
    label: str
    reason: str


class Timed(Look, tag="timed", frozen=True, kw_only=True):
    """One run of some members: `ratios` holds, for two of them, how many times slower the first was than the second,
    with its interval, and whether that is one."""

    labels: tuple[str, ...]
    ratios: tuple[tuple[str, str, float, float, float, bool], ...]
    facts: Mapping[str, dict[str, Any]] = {}
    """By label, what else is known: `median_s` and `implementation`."""


_ANY = Answered | Lost | Timed


class History:
    """The events of a log by what was looked at, each of which is given once, and then what is appended."""

    def __init__(self, log: VerificationLog, events: Sequence[Event] = ()) -> None:
        self._log = log
        self._seen: dict[tuple[str, ...], deque[_ANY]] = {}
        for event in events:
            look = self._read(event)
            self._seen.setdefault(_key(look), deque()).append(look)
        self.read = len(events)

    @classmethod
    def begin(cls, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> History:
        """A new log, or with `resume` the newest of the same request. Raises `ResultsError` for a log
        that no bisection wrote."""
        if resume and (newest := newest_log(folder, identity, BISECTION_SUFFIX)) is not None:
            return cls(VerificationLog(newest[0]), newest[1])
        return cls(VerificationLog.new(folder, identity, BISECTION_SUFFIX))

    @property
    def path(self) -> Path:
        return self._log.path

    def __enter__(self) -> History:
        return self

    def __exit__(self, *error: object) -> None:
        self._log.__exit__(*error)

    def known(self, *labels: str) -> _ANY | None:
        """The next look at just these members together; None when it was not taken yet."""
        seen = self._seen.get(labels)
        return seen.popleft() if seen else None

    def add(self, look: _ANY) -> _ANY:
        self._log.append(msgspec.to_builtins(look), durable=True)
        return look

    def _read(self, event: Event) -> _ANY:
        try:
            look: _ANY = msgspec.convert(event, _ANY)
            return look
        except (msgspec.ValidationError, RecursionError) as error:
            raise ResultsError(
                f"{self.path} has a line that no bisection wrote ({error}); move the file away, or leave out --resume."
            ) from None


def _key(look: _ANY) -> tuple[str, ...]:
    return (look.label,) if isinstance(look, Answered) else look.labels
