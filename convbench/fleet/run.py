"""`convbench run --cluster`: the same cases on many machines, and their records in this results folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convbench.errors import FleetError
from convbench.fleet.assignment import Assignment, assignments
from convbench.fleet.campaign import campaign, note_gathered
from convbench.fleet.campaign import gathered as gathered_before
from convbench.fleet.cluster.connection import Client
from convbench.fleet.cluster.neighbours import neighbours_by_host, neighbours_of
from convbench.fleet.collection import Collection, with_neighbours
from convbench.fleet.gathering import FleetOptions, gathered
from convbench.fleet.history import store_runs_in_asv
from convbench.fleet.machine_run import MachineRun
from convbench.fleet.machines.machine import Machine
from convbench.fleet.machines.one_host import unseen_on_the_same_host
from convbench.fleet.messages import checkout_as_data, request_as_data
from convbench.fleet.tasks import Message, Tasks
from convbench.measurement.hazards.catalogue import Hazard
from convbench.runner.interrupts import interrupts_wait, terminated_like_interrupted
from convbench.runner.observer import Observer
from convbench.runner.run import Request, requested_suites
from convbench.runner.session import INTERRUPTED
from convbench.store.asv.results import Written
from convbench.store.locations import checkout_state, find_checkout, results_folder
from convbench.store.schema import Record
from convbench.suite import Case


@dataclass(frozen=True)
class FleetRun:
    """What came of all machines, by name."""

    runs: tuple[MachineRun, ...]
    campaign: str
    interrupted: bool = False
    stored: Written | None = None
    """What became of storing the records in asv's files, if it was requested."""

    @property
    def lost(self) -> list[MachineRun]:
        return [run for run in self.runs if run.lost is not None]

    @property
    def exit_code(self) -> int:
        """130 after an interrupt, 1 where a machine was lost or something is wrong or crashed, else the largest."""
        if self.interrupted:
            return INTERRUPTED
        codes = [run.exit_code for run in self.runs] + [1 for _ in self.lost]
        return 1 if 1 in codes else max(codes, default=0)


def run_on_fleet(request: Request, options: FleetOptions, observer: Observer) -> FleetRun:
    """Measure what `request` selects on the machines of a cluster. Raises `ConvbenchError` where that is impossible."""
    suites = requested_suites(request)
    data = request_as_data(request, suites)  # refuses what cannot be sent, before anything is started
    results = results_folder(request.results)
    name, is_begun = campaign(results, data, resume=request.resume)
    if request.resume and not is_begun:
        observer.message("There is no campaign to resume with these options; this is a new one.")
    checkout = checkout_state(find_checkout(Path.cwd()))
    with gathered(options, observer.message) as (client, there):
        machines = _left_alone(client, there.machines, observer)
        parts = assignments(machines, suites, options.machines, shard=options.shard)
        observer.message(_heading(parts, machines))
        beside = _on_one_host(parts, observer)
        observer.expect([case for part in parts for case in part.cases])
        tasks = Tasks(client, name, options.cluster.silent_s)
        here = gathered_before(results)
        for part in parts:
            of_part = request_as_data(request, part.suites)
            sent: dict[str, object] = {"campaign": name, "request": of_part, "checkout": checkout_as_data(checkout)}
            sent["gathered"] = here.get(part.machine.name, {})
            tasks.start("run", part.machine, sent)
        with Collection(results) as collection:
            done = _Coordinator(tasks, collection, parts, observer, beside).follow(name)
    for run in done.runs:
        if run.is_done and run.lost is None and run.journals:
            note_gathered(results, name, run.machine.name, run.journals)
    return replace(done, stored=store_runs_in_asv(request, done.runs, checkout.commit, observer.message))


def _left_alone(client: Client, machines: Sequence[Machine], observer: Observer) -> list[Machine]:
    """The machines on which the cluster has no other work. Raises `FleetError` where there is none."""
    busy = neighbours_by_host(client)
    beside = {machine.name: neighbours_of(machine.addresses, busy) for machine in machines}
    sentences = [
        f"{name} is left out: other tasks of the cluster run beside it ({', '.join(workers)}) and would disturb it."
        for name, workers in beside.items()
        if workers
    ]
    if len(sentences) == len(machines):
        raise FleetError(" ".join(["there is no machine to measure on.", *sentences]))
    for sentence in sentences:
        observer.message(sentence)
    return [machine for machine in machines if not beside[machine.name]]


def _on_one_host(parts: Sequence[Assignment], observer: Observer) -> dict[str, set[str]]:
    """By machine, the workers of others on its host that measure without waiting for it; a sentence on each."""
    beside = unseen_on_the_same_host([part.machine for part in parts])
    for name, others in beside.items():
        names = ", ".join(other.name for other in others)
        observer.message(f"{name} shares its host with {names}, and does not wait for it: a hazard of its records.")
    return {name: {address for other in others for address in other.addresses} for name, others in beside.items()}


def _heading(parts: Sequence[Assignment], machines: Sequence[Machine]) -> str:
    of_each = ", ".join(f"{part.machine.name} ({_cases(part)}; {part.machine.kind})" for part in parts)
    alike = len(machines) - len(parts)
    return f"Measuring on {of_each}." + (
        f" {alike} further machines of the same kinds are not used; --shard deals the cases out over them."
        if alike
        else ""
    )


def _cases(part: Assignment) -> str:
    number = len(part.cases)
    return f"{number} case{'s' * (number != 1)}"


class _Coordinator:
    """Hears the machines, keeps their records, and tells the observer of each case when it is done."""

    def __init__(
        self,
        tasks: Tasks,
        collection: Collection,
        parts: Sequence[Assignment],
        observer: Observer,
        beside: Mapping[str, set[str]],
    ) -> None:
        self._tasks, self._collection, self._observer, self._beside = tasks, collection, observer, beside
        self._runs = {part.machine.name: MachineRun(part.machine) for part in parts}
        self._cases = {part.machine.name: {case.name: case for case in part.cases} for part in parts}
        self._under_way: dict[str, tuple[str, Case, list[Record]]] = {}
        self._neighbours = {name: set(workers) for name, workers in beside.items()}
        """By machine, the workers that have other work there now, or may have it at any time."""
        self._disturbed: dict[str, set[str]] = {}
        """Those that had it at any time since the case under way began."""

    def follow(self, name: str) -> FleetRun:
        interrupted = False
        with terminated_like_interrupted():
            try:
                for sender, message in self._tasks.messages():
                    self._hear_if_sound(sender, message)
            except KeyboardInterrupt:
                interrupted = True
                self._tasks.cancel()
        return FleetRun(tuple(self._runs.values()), name, interrupted)

    def _hear_if_sound(self, sender: str, message: Message) -> None:
        try:
            self._hear(sender, message)
        except (FleetError, KeyError, TypeError, ValueError) as error:
            self._runs[sender].lost = f"it sent what cannot be understood ({type(error).__name__}: {error})"

    def _hear(self, sender: str, message: Message) -> None:
        run = self._runs[sender]
        match message["type"]:
            case "message":
                self._observer.message(f"{sender}: {message['text']}")
            case "neighbours":
                self._note_neighbours(sender, set(message["workers"]))
            case "begin":
                self._disturbed[sender] = set(self._neighbours.get(sender, ()))
                self._under_way[sender] = (message["suite"], self._case(sender, message), [])
            case "record":
                self._keep(run, message["record"])
            case "end":
                self._end_case(sender, float(message["elapsed_s"]))
            case "done" | "failed":
                _note_end(run, message)
            case "ended":
                self._end(run, message)

    def _case(self, sender: str, message: Mapping[str, str]) -> Case:
        return self._cases[sender][message["case"]]

    def _note_neighbours(self, sender: str, workers: set[str]) -> None:
        new = sorted(workers - self._disturbed.get(sender, set()))
        self._neighbours[sender] = workers | self._beside.get(sender, set())
        self._disturbed[sender] = self._disturbed.get(sender, set()) | workers
        if new:
            self._observer.message(
                f"{sender}: another task of the cluster runs beside it ({', '.join(new)}), and is in what it times now."
            )

    def _keep(self, run: MachineRun, record: Record) -> None:
        name = run.machine.name
        if name in self._under_way and (workers := self._disturbed.get(name)):
            record = with_neighbours(record, sorted(workers))
        if self._collection.machine_of(record) != name:
            raise FleetError(f"{name} sent a record of {self._collection.machine_of(record)!r}; records are not mixed.")
        with interrupts_wait():
            run.written += self._collection.add(record)
        run.journals.add(self._collection.path_of(record))
        if name in self._under_way:
            self._under_way[name][2].append(record)
        else:  # from an earlier part of the campaign
            self._observer.record(record)

    def _end_case(self, sender: str, elapsed_s: float) -> None:
        """The observer hears of one case after the other, though machines measure at once."""
        suite, case, records = self._under_way.pop(sender)
        self._observer.begin(f"{sender}: {suite}", case)
        for record in records:
            self._observer.record(record)
        self._observer.end(elapsed_s)

    def _end(self, run: MachineRun, message: Message) -> None:
        answer = message["answer"]
        reason = message["reason"] or answer.get("failure") or run.lost
        if not run.is_done and answer.get("type") in ("done", "failed"):
            _note_end(run, answer)
        missing = len(set(run.ids) - self._collection.ids)
        if missing:
            reason = f"{missing} of its records did not arrive; it has kept them, and --resume fetches them"
        run.lost = reason
        if run.lost is not None:
            self._observer.message(f"{run.machine.name}: {run.lost}. The others go on; --resume continues with it.")


def _note_end(run: MachineRun, message: Message) -> None:
    run.is_done, run.ids = True, list(message["ids"])
    run.lost = message["reason"]
    run.exit_code = int(message.get("exit_code") or 0)
    run.hazards = tuple(hazard for each in message.get("hazards", ()) if (hazard := Hazard.from_dict(each)))
