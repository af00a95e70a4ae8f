"""What calls took in the sessions of a machine: from them it is learned how far a time moves from session to session.

One file of JSON lines beside the journals, like the pairs of processes (`store.process_pairs`): a line for each case of
a session, and one for each time that the session came back to it later. Journals hold the same times and far more; this
is what can be read before every run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.settings import Settings
from convbench.stats.session_drift import Timed
from convbench.store.process_pairs import keep_lines, kept_lines

NAME = "session-times"
_NEWEST = 800
_SHORTEST_S, _LONGEST_S = 1e-9, 1e6


class CaseTimes(msgspec.Struct, frozen=True):
    """Seconds per call by backend, each named with a mark of its versions, of one case in one session. `visit` 0 is
    when the session measured the case."""

    cpu: str
    threads: int
    allocator: str
    cache: str
    pin: str
    session: str
    case_id: str
    operand_bytes: int
    visit: int
    seconds: dict[str, float]

    @property
    def conditions(self) -> tuple[object, ...]:
        return self.cpu, self.threads, self.allocator, self.cache, self.pin

    def timed(self) -> Iterator[Timed]:
        for backend, seconds in self.seconds.items():
            if _SHORTEST_S < seconds < _LONGEST_S:
                yield Timed((backend,), self.case_id, float(self.operand_bytes), self.session, self.visit, seconds)


def case_times(
    settings: Settings, session: str, case_id: str, operand_bytes: int, seconds: Mapping[str, float], visit: int = 0
) -> CaseTimes:
    """The times of a case here and now."""
    conditions = machine_facts()["cpu"], settings.threads, settings.allocator, settings.cache, settings.pin
    return CaseTimes(*conditions, session, case_id, operand_bytes, visit, dict(seconds))


def marked(backend: str, versions: Mapping[str, Any]) -> str:
    """The name of a backend with a mark of its libraries' versions: other versions are other code."""
    text = json.dumps(versions, sort_keys=True, default=str)
    return f"{backend} {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def keep_times(folder: Path, times: Sequence[CaseTimes]) -> None:
    """Append the times. Does nothing where that is not possible."""
    keep_lines(folder / NAME, times)


def kept_times(folder: Path, settings: Settings) -> list[CaseTimes]:
    """The newest times of this CPU under these settings, oldest first."""
    like = case_times(settings, "", "", 0, {}).conditions
    return [
        times for times in kept_lines(folder / NAME, CaseTimes) if times.conditions == like and times.operand_bytes > 0
    ][-_NEWEST:]
