"""What `convbench choose` prints: the answer on standard output, notes on its measuring on standard error."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.reporting.choice.tables import answer_report
from convbench.reporting.console import print_json, stderr, stdout
from convbench.reporting.hazards import hazard_report
from convbench.reporting.rendering import unwrapped
from convbench.reporting.run.report import journal_sentence
from convbench.runner.choose.answer import Answer, answer_lines
from convbench.runner.session import Measurements


def show_choice(answer: Answer, measurements: Measurements | None, *, plan: Path | None, as_json: bool) -> None:
    """Print the answer, the notes, and where the plan is. Raises the error that ended the measuring early, if any."""
    if measurements is not None and measurements.error is not None:
        raise measurements.error
    if as_json:
        print_json(answer_lines(answer))
    else:
        stdout().print(answer_report(answer))
    if measurements is not None:
        stderr().print(measuring_notes(measurements), crop=False)
    if plan is not None:
        stderr().print(unwrapped(f"The plan is in {plan}."), crop=False)


def measuring_notes(measurements: Measurements) -> RenderableType:
    """The hazards, and how much was measured in what time."""
    hazards = hazard_report(measurements.records, measurements.machine_hazards)
    sentence = journal_sentence(measurements)
    if measurements.interrupted:
        sentence = f"Interrupted: {sentence} The answer is for what was measured."
    return Group(*(() if hazards is None else (Text(), hazards)), Text(), unwrapped(sentence))
