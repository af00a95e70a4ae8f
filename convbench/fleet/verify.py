"""`convbench verify --cluster`: each kind of machine is asked everything, and like machines share the questions.

A campaign has as many parts as the machines of a kind have cores together. Each part asks its share of the sweep and
searches with seeds of its own. Where they come together, a last campaign on one of the machines knows all answers, asks
what a lost machine did not, and looks for the causes: the same as where one machine was asked everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from convbench.analysis.hardware.differences import kinds
from convbench.errors import FleetError
from convbench.fleet.campaign import new_name
from convbench.fleet.cluster.connection import Client
from convbench.fleet.gathering import FleetOptions, gathered
from convbench.fleet.machines.machine import Machine
from convbench.fleet.tasks import Message, Tasks
from convbench.registry import Entry, LoadFailure
from convbench.runner.verify.observer import VerifyObserver
from convbench.runner.verify.rows import Row, row_of_none
from convbench.runner.verify.verify import Request, ThisMachine, Verification, verify_backends
from convbench.status import Status
from convbench.store.verification_log import Event
from convbench.suite import builtin_suites


def verify_on_fleet(request: Request, options: FleetOptions, observer: VerifyObserver) -> Verification:
    """Verify what `request` says on the machines of a cluster. Raises `ConvbenchError` where that is impossible."""
    _refuse_what_stays_here(request)
    with gathered(options, observer.message) as (client, there):
        machines = options.chosen(there.machines)
        observer.message(f"Verifying on {', '.join(f'{m.name} ({m.kind})' for m in machines)}.")
        hosts = FleetHosts(client, machines, request, observer, options.cluster.silent_s)
        return verify_backends(request, observer, hosts)


def _refuse_what_stays_here(request: Request) -> None:
    known = {suite.name for suite in builtin_suites()}
    of_this_machine = {
        "--plugin": request.plugins,
        "--python": request.pythons,
        "--known": request.known,
        "--isa": request.isa,
        "--suite with a file": [name for name in request.suites if name not in known],
    }
    for option, value in of_this_machine.items():
        if value:
            raise FleetError(f"{option} is of this machine; on a cluster it cannot be used. Leave it out.")


class FleetHosts(ThisMachine):
    """The machines that campaigns run on."""

    def __init__(
        self, client: Client, machines: Sequence[Machine], request: Request, observer: VerifyObserver, silent_s: float
    ) -> None:
        self._client, self._machines, self._request = client, machines, request
        self._observer, self._silent_s = observer, silent_s

    def unavailable(self, entry: Entry | LoadFailure) -> str | None:
        if any(entry.name in machine.backends for machine in self._machines):
            return None
        return entry.unavailable() or f"it is on none of {', '.join(machine.name for machine in self._machines)}"

    def at_once(self, request: Request) -> int:
        return sum(slots(machine, request) for machine in self._machines)

    def start(self, requests: Mapping[str, Mapping[str, Any]], at_once: int) -> FleetJobs:
        tasks = Tasks(self._client, new_name("verify"), self._silent_s)
        return FleetJobs(tasks, list(kinds(self._machines).values()), requests, self._request, self._observer)


def slots(machine: Machine, request: Request) -> int:
    """How many campaigns a machine has at once."""
    return request.jobs or max(1, int(machine.facts.get("usable_cpus") or 1) // request.threads)


class FleetJobs:
    """The campaigns of all kinds of machines. `interrupted` says whether they had to end early."""

    def __init__(
        self,
        tasks: Tasks,
        by_kind: Sequence[Sequence[Machine]],
        requests: Mapping[str, Mapping[str, Any]],
        request: Request,
        observer: VerifyObserver,
    ) -> None:
        self.interrupted = False
        self._tasks, self._requests, self._request, self._observer = tasks, requests, request, observer
        self._kinds = [_Kind(machines, requests, alone=len(by_kind) == 1) for machines in by_kind]
        self._of_machine = {machine.name: kind for kind in self._kinds for machine in kind.machines}
        self._planned: set[str] = set()

    def events(self) -> Iterator[tuple[str, Event]]:
        """(backend, event) as they come; for every backend that was begun the last one is its report."""
        if not self._requests:
            return
        try:
            for kind in self._kinds:
                for machine in kind.machines:
                    self._start(machine, kind.parts(machine, self._request))
            for sender, message in self._tasks.messages():
                yield from self._heard(self._of_machine[sender], sender, message)
        except KeyboardInterrupt:
            self.interrupted = True
            self._tasks.cancel()
            return
        for name in self._requests:
            rows = [(kind.name, kind.rows[name]) for kind in self._kinds if name in kind.rows]
            died = {"event": "died", "reason": "every machine that had it was lost"}
            yield name, {"event": "report", "row": merged(rows)} if rows else died

    def _start(self, machine: Machine, requests: Mapping[str, Any]) -> None:
        if requests:
            at_once = slots(machine, self._request)
            self._tasks.start("verify", machine, {"requests": requests, "at_once": at_once})

    def _heard(self, kind: _Kind, sender: str, message: Message) -> Iterator[tuple[str, Event]]:
        if message["type"] == "message":
            self._observer.message(f"{sender}: {message['text']}")
        for name, event in message.get("events", ()) if message["type"] == "events" else ():
            backend = name.partition(_PART)[0]
            if event["event"] in ("report", "died"):
                kind.end(name, event)
            elif event["event"] == "answered":
                kind.note_answer(backend, event)
                yield backend, event
            elif event["event"] == "planned" and backend not in self._planned:
                self._planned.add(backend)
                yield backend, event | {"questions": event["questions"] * kind.slots(self._request)}
            elif event["event"] in ("waiting", "shrinking"):
                yield backend, event
        if message["type"] == "ended":
            reason = message["reason"] or message["answer"].get("failure") or message["answer"].get("reason")
            if reason is not None:
                self._observer.message(f"{sender}: {reason}; its questions are asked on another machine of its kind.")
                kind.lost.add(sender)
            kind.running.discard(sender)
            if not kind.running:
                self._start_last(kind)

    def _start_last(self, kind: _Kind) -> None:
        """The campaigns that know all answers of a kind, dealt out over its machines."""
        left = [machine for machine in kind.machines if machine.name not in kind.lost]
        missing = [name for name in kind.begun if name not in kind.rows]
        if kind.is_last or not left:
            return
        kind.is_last = True
        for number, machine in enumerate(left):
            names = missing[number :: len(left)]
            if names:
                kind.running.add(machine.name)
                self._start(machine, {name: kind.last_request(name) for name in names})


_PART = "\u0000"


class _Kind:
    """The campaigns on the machines of one kind, and what they have answered."""

    def __init__(self, machines: Sequence[Machine], requests: Mapping[str, Mapping[str, Any]], *, alone: bool) -> None:
        self.machines, self.name, self._requests = machines, machines[0].kind, requests
        self.begun = [name for name in requests if any(name in machine.backends for machine in machines)]
        before = {name: list(requests[name]["answered"]) if alone else [] for name in self.begun}
        self.answered: dict[str, list[list[Any]]] = before
        self.seconds = dict.fromkeys(self.begun, 0.0)
        self.worst = dict.fromkeys(self.begun, 0.0)
        """The largest error as a share of its bound that a part saw."""
        self.rows: dict[str, Row] = {}
        self.lost: set[str] = set()
        self.running = {machine.name for machine in machines}
        self.is_last = False

    def slots(self, request: Request) -> int:
        return sum(slots(machine, request) for machine in self.machines)

    def parts(self, machine: Machine, request: Request) -> dict[str, Any]:
        """The parts that this machine asks, by backend and number."""
        of = self.slots(request)
        first = sum(slots(before, request) for before in self.machines[: self.machines.index(machine)])
        numbers = range(first, first + slots(machine, request))
        return {
            f"{name}{_PART}{number}": dict(self._requests[name])
            | {"part": [number, of], "search_time": self._requests[name]["search_time"] / of}
            | {"answered": self.answered[name]}
            for number, name in ((number, name) for name in self.begun for number in numbers)
        }

    def last_request(self, name: str) -> dict[str, Any]:
        """That of the campaign that looks for causes. There is no search: the parts have searched."""
        known = {"answered": self.answered[name], "search_time": 0.0, "seconds_before": self.seconds[name]}
        return dict(self._requests[name]) | known

    def note_answer(self, name: str, event: Event) -> None:
        """Remember an answer for the last campaign."""
        self.answered[name].append([event["phase"], event["question"], event["finding"]])
        self.seconds[name] = max(self.seconds[name], event["seconds"])

    def end(self, name: str, event: Event) -> None:
        """A campaign came to its end; those of parts have nothing to say of causes."""
        name, is_part, _ = name.partition(_PART)
        worst = (event.get("row") or {}).get("max_error_over_bound") or 0.0
        self.worst[name] = max(self.worst[name], worst)
        if is_part:
            return
        if event["event"] == "died":
            self.rows[name] = row_of_none(name, Status.ERROR, event["reason"]) | {"complete": False}
        else:
            self.rows[name] = event["row"] | {"max_error_over_bound": self.worst[name]}


def merged(rows: Sequence[tuple[str, Row]]) -> Row:
    """One row of those of several kinds of machines. Each failure says on which kinds it showed, if not on all."""
    if len(rows) == 1:
        return rows[0][1]
    gravest = next((row for _, row in rows if row["failures"]), rows[0][1])
    failures: dict[tuple[str, str], dict[str, Any]] = {}
    shown: dict[tuple[str, str], list[str]] = {}
    for kind, row in rows:
        for failure in row["failures"]:
            key = (failure["case"], failure["check"])
            failures.setdefault(key, failure)
            shown.setdefault(key, []).append(kind)
    for key, on in shown.items():
        if len(on) < len(rows):
            failures[key] = failures[key] | {"machines": on}
            failures[key]["reason"] = f"{failures[key]['reason']} (only on {'; '.join(on)})"
    counts = {name: sum(row[name] for _, row in rows) for name in ("cases", "searched")}
    complete = all(row.get("complete", True) for _, row in rows)
    return gravest | counts | {"failures": list(failures.values()), "complete": complete}
