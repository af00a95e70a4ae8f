"""`convbench verify --cluster`: each kind of machine is asked everything, and like machines share the questions.

Backends are dealt out over the machines of a kind. One that is left over has as many parts as they have cores together:
each part asks its share of the sweep and searches with seeds of its own. Then a last campaign on one of the machines
knows all answers. It asks what a lost machine did not, and looks for the causes: the same as where one machine was
asked everything. What one kind failed and another was not asked is asked there as well: a cause shows on one kind alone
where others answer right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from convbench.analysis.hardware.differences import kinds
from convbench.errors import ConvbenchError, FleetError
from convbench.fleet.campaign import new_name
from convbench.fleet.cluster.connection import Client
from convbench.fleet.gathering import FleetOptions, gathered
from convbench.fleet.machines.machine import Machine
from convbench.fleet.tasks import Message, Tasks
from convbench.fleet.verification.findings import merged, questions_of
from convbench.fleet.verification.kind_campaigns import KindCampaigns, Requests, backend_of, slots
from convbench.registry import Entry, LoadFailure
from convbench.runner.interrupts import interrupts_wait, terminated_like_interrupted
from convbench.runner.verify.observer import VerifyObserver
from convbench.runner.verify.request import Request
from convbench.runner.verify.verify import ThisMachine, Verification, verify_backends
from convbench.store.verification_log import Event
from convbench.suite import builtin_suites


def verify_on_fleet(request: Request, options: FleetOptions, observer: VerifyObserver) -> Verification:
    """Verify what `request` says on the machines of a cluster. Raises `ConvbenchError` where that is impossible."""
    _refuse_what_stays_here(request)
    with terminated_like_interrupted(), gathered(options, observer.message) as (client, there):
        machines = options.chosen(there.machines)
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

    @property
    def heading(self) -> str:
        return f"Verifying on {', '.join(f'{m.name} ({m.kind})' for m in self._machines)}"

    def at_once(self, request: Request) -> int:
        return sum(slots(machine, request) for machine in self._machines)

    def start(self, requests: Mapping[str, Mapping[str, Any]], at_once: int) -> FleetJobs:
        tasks = Tasks(self._client, new_name("verify"), self._silent_s)
        return FleetJobs(tasks, list(kinds(self._machines).values()), requests, self._request, self._observer)


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
        self._alone = len(by_kind) == 1
        self._kinds = [KindCampaigns(machines, requests, request, alone=self._alone) for machines in by_kind]
        self._of_machine = {machine.name: (kind, machine) for kind in self._kinds for machine in kind.machines}
        self._planned: set[str] = set()

    def events(self) -> Iterator[tuple[str, Event]]:
        """(backend, event) as they come; for every backend that was begun the last one is its report."""
        if not self._requests:
            return
        try:
            for heard in self._first_and_further():
                with interrupts_wait():  # one that comes while the event is written down is raised here
                    yield heard
        except KeyboardInterrupt:
            self.interrupted = True
            self._tasks.cancel()
            return
        for name in self._requests:
            rows = [(kind.name, kind.rows[name]) for kind in self._kinds if name in kind.rows]
            died = {"event": "died", "reason": "every machine that had it was lost"}
            fails = {kind.name: kind.fails(name) for kind in self._kinds}
            yield name, {"event": "report", "row": merged(rows, fails)} if rows else died

    def _first_and_further(self) -> Iterator[tuple[str, Event]]:
        for kind in self._kinds:
            self._start(kind, kind.first())
        yield from self._follow()
        self._ask_other_kinds()
        yield from self._follow()

    def _start(self, kind: KindCampaigns, shares: Mapping[str, Requests]) -> None:
        for name, requests in shares.items():
            machine = self._of_machine[name][1]
            kind.running.add(name)
            self._tasks.start("verify", machine, {"requests": requests, "at_once": slots(machine, self._request)})

    def _ask_other_kinds(self) -> None:
        """Ask each kind what others failed and it was not asked."""
        for kind in self._kinds:
            others = [other for other in self._kinds if other is not kind]
            shares: dict[str, Requests] = {}
            for name in kind.begun:
                failures = [failure for other in others for failure in other.failures_of(name)]
                questions = [question for failure in failures for question in questions_of(failure)]
                for machine, requests in kind.asking(name, questions).items():
                    shares.setdefault(machine, {}).update(requests)
            self._start(kind, shares)

    def _follow(self) -> Iterator[tuple[str, Event]]:
        """The events of the machines until all have ended. One that says what cannot be understood is lost."""
        for sender, message in self._tasks.messages():
            kind, _ = self._of_machine[sender]
            try:
                yield from self._heard(kind, sender, message)
            except (ConvbenchError, AttributeError, LookupError, TypeError, ValueError) as error:
                self._lose(kind, sender, f"it sent what cannot be understood ({type(error).__name__}: {error})")

    def _heard(self, kind: KindCampaigns, sender: str, message: Message) -> Iterator[tuple[str, Event]]:
        match message["type"]:
            case "message":
                self._observer.message(f"{sender}: {message['text']}")
            case "events" if sender not in kind.lost:
                for name, event in message["events"]:
                    yield from self._heard_event(kind, name, event)
            case "ended":
                answer = message["answer"]
                if (reason := message["reason"] or answer.get("failure") or answer.get("reason")) is not None:
                    self._lose(kind, sender, reason)
                kind.running.discard(sender)
                if not kind.running:
                    self._start(kind, kind.rest())

    def _heard_event(self, kind: KindCampaigns, name: str, event: Event) -> Iterator[tuple[str, Event]]:
        backend = backend_of(name)
        if event["event"] in ("report", "died"):
            kind.end(name, event)
        elif event["event"] == "answered":
            kind.note_answer(backend, event)
            yield backend, event if self._alone else event | {"kind": kind.name}
        elif event["event"] == "planned" and backend not in self._planned:
            self._planned.add(backend)
            yield backend, event | {"questions": event["questions"] * kind.parts_of(name)}
        elif event["event"] in ("waiting", "shrinking"):
            yield backend, event

    def _lose(self, kind: KindCampaigns, sender: str, reason: str) -> None:
        kind.lost.add(sender)
        left = [machine.name for machine in kind.machines if machine.name not in kind.lost]
        then = f"its questions are asked on {', '.join(left)}" if left else "no machine of its kind is left"
        self._observer.message(f"{sender}: {reason}; {then}.")
