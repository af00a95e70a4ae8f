"""`convbench.Cluster`: run, verify and choose on many machines, from Python; and which hardware, from records."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from convbench.analysis.hardware.prices import CURRENCY
from convbench.api import choose as choosing
from convbench.api import run as running
from convbench.api import verify as verifying
from convbench.api.arguments import OptionError, Subject, Words, separated_words
from convbench.api.result import Result
from convbench.api.verify import VerifyResult
from convbench.fleet.choose import choose_on_fleet
from convbench.fleet.cluster.cluster_file import cluster_description
from convbench.fleet.gathering import FleetOptions, gathered
from convbench.fleet.run import FleetRun, run_on_fleet
from convbench.fleet.verification.verify import verify_on_fleet
from convbench.reporting.console import Sentence
from convbench.reporting.fleet.hardware import hardware_report
from convbench.reporting.fleet.machines import machine_row, machines_report
from convbench.reporting.fleet.runs import ending_of
from convbench.reporting.progress import requested_progress
from convbench.reporting.run.report import asv_sentence, earlier_run_report
from convbench.runner.choose.answer import Request as ChoiceRequest
from convbench.runner.choose.hardware import HardwareAnswer, answer_for_machines
from convbench.runner.observer import Observer
from convbench.runner.session import Measurements
from convbench.store.schema import Record


@dataclass(frozen=True, repr=False)
class MachinesResult(Result):
    """The machines of a cluster, as `convbench cluster` shows them; `frame` has a row for each."""

    rows: Sequence[Mapping[str, Any]]
    table: RenderableType
    remarks: tuple[str, ...]
    """Sentences on machines that cannot take part, and on what differs between machines of one kind."""

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        return self.rows

    @property
    def exit_code(self) -> int:
        return 0

    def __rich__(self) -> RenderableType:
        return Group(self.table, *map(Sentence, self.remarks))


@dataclass(frozen=True, repr=False)
class FleetResult(Result):
    """What machines measured; it prints as `convbench run --cluster` does. `by_machine` has what each one measured, by
    its name: its `records`, `journal` and hazards."""

    fleet: FleetRun
    by_machine: Mapping[str, Measurements]
    details: bool = False

    @property
    def records(self) -> tuple[Record, ...]:
        return tuple(record for measured in self.by_machine.values() for record in measured.records)

    @property
    def pair_records(self) -> tuple[Record, ...]:
        return self.records

    @property
    def lost(self) -> dict[str, str]:
        """Why not everything came, by machine."""
        return {run.machine.name: str(run.lost) for run in self.fleet.lost}

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt ended it early."""
        return self.fleet.interrupted

    @property
    def exit_code(self) -> int:
        return self.fleet.exit_code

    def __rich__(self) -> RenderableType:
        tables = [earlier_run_report(each, details=self.details) for each in self.by_machine.values() if each.records]
        endings = [ending_of(run) for run in self.fleet.runs]
        endings += [asv_sentence(self.fleet.stored)] if self.fleet.stored is not None else []
        return Group(*tables, *map(Sentence, endings))


@dataclass(frozen=True, repr=False)
class HardwareResult(Result):
    """Which machine for a model; prints as `convbench choose --machines` does; `frame` has a row for each."""

    answer: HardwareAnswer
    fleet: FleetRun | None = None
    """What came of measuring on a cluster."""

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        return self.answer.as_json()

    @property
    def exit_code(self) -> int:
        if self.fleet is not None and (self.fleet.interrupted or self.fleet.lost):
            return self.fleet.exit_code
        return 0 if self.answer.fastest is not None else 3

    def __rich__(self) -> RenderableType:
        return hardware_report(self.answer)


class Cluster:
    """The machines of a Dask cluster: `where` is the address of a scheduler or a TOML file, as for `--cluster`. With
    `machines`, names or globs, only these are used, each for everything; `insecure` accepts a connection to other
    machines that is not encrypted. A cluster that a file describes is started for each call, and ended after it.

    Raises `FleetError` for a file that is not as it should be.
    """

    def __init__(
        self,
        where: str | PathLike[str],
        *,
        machines: Words = (),
        ship: bool = False,
        insecure: bool = False,
        wait: float | None = None,
    ) -> None:
        self._options = FleetOptions(
            cluster=cluster_description(fspath(where)),
            machines=separated_words(machines, "machines"),
            ship=ship,
            insecure=insecure,
            wait=wait,
        )

    def machines(self, *, doctor: bool = False) -> MachinesResult:
        """Who is there, and what differs between machines that should be alike; with `doctor` also how well each can
        measure. Raises `FleetError` where there is no machine."""
        with gathered(self._options, lambda sentence: None, doctor=doctor) as (_, there):
            rows = [machine_row(machine, self._options.cluster) for machine in there.machines]
            return MachinesResult(rows, machines_report(there.machines), there.remarks)

    def run(self, subject: Subject | Iterable[Subject], *, shard: bool = False, **options: Any) -> FleetResult:
        """`convbench.run` on one machine of each kind, or on those that were named; `shard` deals the cases out over
        machines of one kind. The options are those of `convbench.run`. Raises `ConvbenchError`."""
        arguments = _arguments_of(running.run, subject, options)
        request = running.request_of(arguments)
        fleet = replace(self._options, shard=shard)
        with _folder(request.results, request.keep) as folder, _observer(arguments) as observer:
            done = run_on_fleet(replace(request, results=folder), fleet, observer)
            measured = {run.machine.name: run.measurements() for run in done.runs}
        return FleetResult(done, measured, request.details)

    def verify(self, subject: Any = (), **options: Any) -> VerifyResult:
        """`convbench.verify` on all kinds of machines; like machines share the questions. The options are those of
        `convbench.verify`. Raises `ConvbenchError`."""
        arguments = _arguments_of(verifying.verify, subject, options)
        keep, request = verifying.request_of(arguments)
        observer = verifying.observer_of(arguments["progress"])
        return verifying.kept_or_not(request, keep, lambda kept: verify_on_fleet(kept, self._options, observer))

    def choose(
        self, subject: Any, *, price: Mapping[str, float] | None = None, currency: str | None = None, **options: Any
    ) -> HardwareResult:
        """Measure a model, suite or problem on the machines, and say which of them to use, with which backend.

        `price` is what an hour of a machine costs in `currency`, by a glob of its name, before what the cluster file
        says. The options are those of `convbench.choose`. Raises `ConvbenchError`.
        """
        arguments = _arguments_of(choosing.choose, subject, options)
        request = _of_several_machines(choosing.request_of(arguments))
        with _folder(request.results, request.keep) as folder, _observer(arguments) as observer:
            placed = replace(request, results=folder)
            return HardwareResult(*choose_on_fleet(placed, self._options, price or {}, currency, observer))


def choose_hardware(
    subject: Any,
    machines: Words,
    *,
    price: Mapping[str, float] | None = None,
    currency: str = CURRENCY,
    results: str | PathLike[str] | None = None,
    **options: Any,
) -> HardwareResult:
    """Which of `machines`, and which backend, for a model, suite or problem, from their records in the folder
    `results`, by default the usual one: as `convbench choose --machines`. `price` is what an hour of a machine costs in
    `currency`, by a glob of its name. Other options are those of `convbench.choose`. Raises `ConvbenchError`."""
    arguments = _arguments_of(choosing.choose, subject, {**options, "results": True if results is None else results})
    request = _of_several_machines(choosing.request_of(arguments))
    with _observer(arguments) as observer:
        names = separated_words(machines, "machines")
        return HardwareResult(answer_for_machines(request, names, price or {}, currency, observer))


def _arguments_of(function: Callable[..., Any], subject: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call of `function`, defaults included. Raises `TypeError` for what it does not take."""
    bound = inspect.signature(function).bind(subject, **options)
    bound.apply_defaults()
    return dict(bound.arguments)


def _of_several_machines(request: ChoiceRequest) -> ChoiceRequest:
    alone = {"plan": request.plan, "for_": request.purpose, "machine": request.machine}
    for name, value in (alone | {"from_results": request.from_results}).items():
        if value:
            raise OptionError(f"{name} is for one machine; leave it out.")
    return request


def _observer(arguments: Mapping[str, Any]) -> contextlib.AbstractContextManager[Observer]:
    """Within it an observer shows what happens, as `progress` says."""
    return requested_progress(arguments["progress"], lower=arguments["lower_precision"])


@contextlib.contextmanager
def _folder(results: Path | None, keep: bool) -> Iterator[Path | None]:
    """Where results go: a temporary folder unless they are kept."""
    if keep:
        yield results
        return
    with tempfile.TemporaryDirectory(prefix="convbench-") as folder:
        yield Path(folder)
