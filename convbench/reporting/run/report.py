"""Everything that a run shows: the tables of its suites, then what has to be known to read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.ranking import rank
from convbench.reporting.gpu import gpu_sentence
from convbench.reporting.hazards import hazard_report
from convbench.reporting.numbers import duration
from convbench.reporting.rendering import unwrapped
from convbench.reporting.run.limits import doubts
from convbench.reporting.run.scaling import scaling_report, variants
from convbench.reporting.run.self_check import own_error_sentence
from convbench.reporting.run.suite_tables import suite_report
from convbench.runner.session import Measurements
from convbench.store.asv.results import Written


def run_report(measurements: Measurements, axes: Sequence[str] = (), *, details: bool = False) -> RenderableType:
    """The tables, apart for each combination of values on `axes`, and the notes."""
    parts: list[RenderableType] = []
    for heading, records in variants(measurements.records, axes):
        if heading:
            parts += [Text(), Text(heading[0].upper() + heading[1:], style="bold underline")]
        for ranking in rank(records):
            parts += [Text(), suite_report(ranking, measurements.limits, details=details)]
    if (table := scaling_report(measurements.records)) is not None:
        parts += [Text(), table]
    return Group(*parts, *_notes(measurements))


def run_notes(measurements: Measurements) -> RenderableType:
    """The notes alone, for a run whose records are printed as JSON."""
    warnings = [warning for ranking in rank(measurements.records) for warning in doubts(ranking, measurements.limits)]
    return Group(*warnings, *_notes(measurements))


def asv_sentence(written: Written) -> str:
    """How many values were stored in asv's files, or why none were."""
    if written.refusal is not None:
        return f"Not stored in asv's files: {written.refusal}."
    return f"{written.values} values stored in asv's files under commit {(written.commit or '')[:8]}."


def interrupted_sentence(measurements: Measurements) -> str:
    """What an interrupt left, and how to go on."""
    if measurements.journal is None:
        return f"Interrupted: this is what {len(measurements.records)} records say."
    kept = f"Interrupted: {len(measurements.records)} records are kept."
    if measurements.unfinished:
        kept += f" {measurements.unfinished} was not finished, and its backends without a record are measured again"
        return f"{kept} when the same command is given with --resume."
    return f"{kept} The same command with --resume goes on from here."


def journal_sentence(measurements: Measurements, what: str = "records") -> str:
    """`12 records in PATH, after 3.20 s, 1.10 s of them to start the workers.`"""
    place = f" in {measurements.journal}" if measurements.journal else ""
    starting = f", {duration(measurements.starting_s)} of them to start the workers" if measurements.starting_s else ""
    return f"{measurements.written} {what}{place}, after {duration(measurements.elapsed_s)}{starting}."


def _notes(measurements: Measurements) -> Iterator[RenderableType]:
    records = measurements.records
    for sentence in (gpu_sentence(records), own_error_sentence(records)):
        if sentence is not None:
            yield from (Text(), unwrapped(sentence))
    if (hazards := hazard_report(records, measurements.machine_hazards)) is not None:
        yield from (Text(), hazards)
    if records:
        yield from (Text(), unwrapped(journal_sentence(measurements, "new records")))
