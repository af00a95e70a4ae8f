"""What many machines measured: the tables of each, and which of them were lost."""

from __future__ import annotations

from convbench.fleet.machine_run import MachineRun
from convbench.fleet.run import FleetRun
from convbench.reporting.console import say, stdout
from convbench.reporting.numbers import count
from convbench.reporting.run.report import asv_sentence, earlier_run_report
from convbench.runner.run import Request


def show_fleet_run(done: FleetRun, request: Request) -> None:
    """Print the tables of each machine, unless JSON lines were asked, and what is missing."""
    for run in done.runs:
        if run.journals and not request.as_json:
            stdout().print(earlier_run_report(run.measurements(), details=request.details), crop=False)
    show_endings(done)


def show_endings(done: FleetRun) -> None:
    """Print, on standard error, what came of each machine, and what to type for what is missing."""
    for run in done.runs:
        say(ending_of(run), error=True)
    if done.stored is not None:
        say(asv_sentence(done.stored), error=True)
    if done.interrupted or done.lost:
        say("The same command with --resume fetches what the machines have kept, and measures the rest.", error=True)


def ending_of(run: MachineRun) -> str:
    """How many records of a machine are where, and why not all."""
    journals = ", ".join(str(path) for path in sorted(run.journals)) or "no journal"
    missing = f" Not all came: {run.lost}." if run.lost is not None else ""
    return f"{run.machine.name}: {count(run.written, 'new record')} in {journals}.{missing}"
