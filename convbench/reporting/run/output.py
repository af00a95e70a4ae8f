"""What a command prints at the end of a run."""

from __future__ import annotations

from convbench.reporting.console import stderr, stdout
from convbench.reporting.rendering import unwrapped
from convbench.reporting.run.report import interrupted_sentence, run_notes, run_report
from convbench.runner.run import Request
from convbench.runner.session import Measurements


def show_run(measurements: Measurements, request: Request) -> None:
    """Print the tables and notes; beside JSON lines, which were printed before, the notes alone on standard error."""
    if request.as_json:
        stderr().print(run_notes(measurements), crop=False)
    else:
        stdout().print(run_report(measurements, request.axes, details=request.details), crop=False)


def end_run(measurements: Measurements, *remarks: str) -> None:
    """Print the remarks, and what an interrupt left. Raises the error that ended the run early, if one did."""
    if measurements.error is not None:
        raise measurements.error
    for remark in (*remarks, *((interrupted_sentence(measurements),) if measurements.interrupted else ())):
        stderr().print(unwrapped(remark), crop=False)
