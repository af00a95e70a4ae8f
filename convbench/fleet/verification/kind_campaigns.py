"""The campaigns on the machines of one kind: backends are dealt out, and those that are left over go over all machines.

A backend that one machine has for itself costs one process there, and no second campaign. As many backends as the
machines have slots, or a multiple of it, are dealt out like that. Each of the rest is asked in parts, one a slot, and a
last campaign that knows all answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

from convbench.fleet.machines.machine import Machine
from convbench.runner.verify.request import Request
from convbench.runner.verify.rows import Row, row_of_none
from convbench.status import Status
from convbench.store.verification_log import Event
from convbench.verification.question import Question

_PART = "\u0000"
Requests = dict[str, dict[str, Any]]
"""The requests of one machine, by the name of the campaign."""


def slots(machine: Machine, request: Request) -> int:
    """How many campaigns a machine has at once."""
    return request.jobs or max(1, int(machine.facts.get("usable_cpus") or 1) // request.threads)


def backend_of(campaign: str) -> str:
    """The backend that a campaign asks."""
    return campaign.partition(_PART)[0]


class KindCampaigns:
    """What the machines of one kind are asked and have answered. With `alone` there is no other kind, and what an
    earlier command was answered counts."""

    def __init__(
        self, machines: Sequence[Machine], requests: Mapping[str, Mapping[str, Any]], request: Request, *, alone: bool
    ) -> None:
        self.machines, self.name = machines, machines[0].kind
        self._requests, self._request = requests, request
        self.lost: set[str] = set()
        self.running: set[str] = set()
        self.begun = [name for name in requests if self._having(name)]
        self.rows: dict[str, Row] = {}
        self._tried: set[tuple[str, str]] = set()
        """The machines and backends of whole and of last campaigns."""
        self._unsearched: set[str] = set()
        """Backends that no part has searched: each was given to one machine."""
        self._answered: dict[str, list[list[Any]]] = {
            name: [each[:3] for each in requests[name]["answered"] if alone or each[3] == self.name]
            for name in self.begun
        }
        self._seconds = dict.fromkeys(self.begun, 0.0)
        self._worst = dict.fromkeys(self.begun, 0.0)
        """The largest error as a share of its bound that a part saw."""

    def parts_of(self, campaign: str) -> int:
        """How many campaigns have the questions of this one's backend together."""
        return len(self._places(backend_of(campaign))) if _PART in campaign else 1

    def fails(self, backend: str) -> dict[str, bool]:
        """Whether each question that was answered was failed."""
        return {question: finding is not None for _, question, finding in self._answered.get(backend, ())}

    def failures_of(self, backend: str) -> list[dict[str, Any]]:
        """The failures in its row, if it has one."""
        return list(self.rows.get(backend, {}).get("failures", ()))

    def first(self) -> dict[str, Requests]:
        """What each machine is asked: whole backends, and its parts of those that are left over."""
        shares: dict[str, Requests] = {machine.name: {} for machine in self.machines}
        of_places: dict[tuple[str, ...], list[str]] = {}
        for name in self.begun:
            of_places.setdefault(tuple(self._places(name)), []).append(name)
        for places, names in of_places.items():
            whole = len(names) // len(places) * len(places)
            for name, machine in zip(names[:whole], cycle(places), strict=False):
                self._tried.add((machine, name))
                self._unsearched.add(name)
                shares[machine][name] = dict(self._requests[name]) | {"answered": self._answered[name]}
            for name in names[whole:]:
                for number, machine in enumerate(places):
                    shares[machine][f"{name}{_PART}{number}"] = self._part(name, number, len(places))
        return {machine: share for machine, share in shares.items() if share}

    def _places(self, backend: str) -> list[str]:
        """The machines that have it, each as often as it has slots."""
        return [machine.name for machine in self._having(backend) for _ in range(slots(machine, self._request))]

    def _part(self, name: str, number: int, of: int) -> dict[str, Any]:
        whole = self._requests[name]
        part = {"part": [number, of], "search_time": whole["search_time"] / of}
        return dict(whole) | part | {"answered": self._answered[name]}

    def rest(self) -> dict[str, Requests]:
        """The campaigns that look for causes and ask what lost machines did not, dealt out over the machines that are
        left. There is no search where the parts have searched. A backend that no machine has any more gets a row."""
        shares: dict[str, Requests] = {}
        for number, name in enumerate(name for name in self.begun if name not in self.rows):
            if not (left := [m for m in self._having(name) if (m.name, name) not in self._tried]):
                self._end_without(name)
                continue
            machine = left[number % len(left)].name
            self._tried.add((machine, name))
            search_s = self._requests[name]["search_time"] if name in self._unsearched else 0.0
            known = {"answered": self._answered[name], "search_time": search_s, "seconds_before": self._seconds[name]}
            shares.setdefault(machine, {})[name] = dict(self._requests[name]) | known
        return shares

    def asking(self, backend: str, questions: Iterable[str]) -> dict[str, Requests]:
        """A campaign of just these questions, as far as they were not answered; other kinds failed them."""
        new = [question for question in questions if question not in self.fails(backend)]
        if not new or backend not in self.rows or not (left := self._having(backend)):
            return {}
        alone = {"questions": new, "replay": [], "suites": [], "strength": 0, "search_time": 0.0, "answered": []}
        return {left[0].name: {f"{backend}{_PART}": dict(self._requests[backend]) | alone | {"part": [0, 1]}}}

    def note_answer(self, backend: str, event: Event) -> None:
        """Remember an answer. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
        Question.parse(event["question"])
        self._answered[backend].append([event["phase"], event["question"], event["finding"]])
        self._seconds[backend] = max(self._seconds[backend], float(event["seconds"]))

    def end(self, campaign: str, event: Event) -> None:
        """A campaign came to its end; those of parts have nothing to say of causes."""
        backend, is_part, _ = campaign.partition(_PART)
        row = event.get("row") or row_of_none(backend, Status.ERROR, event.get("reason")) | {"complete": False}
        self._worst[backend] = max(self._worst[backend], row["max_error_over_bound"] or 0.0)
        if not is_part:
            self.rows[backend] = row | {"max_error_over_bound": self._worst[backend]}

    def _having(self, backend: str) -> list[Machine]:
        return [m for m in self.machines if backend in m.backends and m.name not in self.lost]

    def _end_without(self, name: str) -> None:
        reason = f"every machine that had it was lost ({self.name})"
        self.rows[name] = row_of_none(name, Status.ERROR, reason) | {"complete": False}
