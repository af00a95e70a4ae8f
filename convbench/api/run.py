"""`convbench.run`: verify and time backends, from Python."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType

from convbench.api.arguments import (
    Numbers,
    Paths,
    Subject,
    Words,
    read_options,
    separated_words,
    subjects,
    whole_numbers,
    words,
)
from convbench.api.result import Result
from convbench.reporting.console import Sentence, spaced
from convbench.reporting.progress import requested_progress
from convbench.reporting.run.report import asv_sentence, interrupted_sentence, run_report
from convbench.runner.observer import Observer
from convbench.runner.run import Request, run_suites, store_in_asv
from convbench.runner.session import Measurements
from convbench.store.asv.results import Written
from convbench.store.frame import load
from convbench.store.journal import line_of
from convbench.store.schema import Record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class RunResult(Result):
    """What a run measured; it prints as `convbench run` does. `ok`: something was timed, nothing wrong or broken."""

    request: Request
    measurements: Measurements
    stored: Written | None = None
    """What became of storing the records in asv's files, if it was requested."""

    @property
    def records(self) -> tuple[Record, ...]:
        return self.measurements.records

    @property
    def pair_records(self) -> tuple[Record, ...]:
        return self.records

    @property
    def frame(self) -> pd.DataFrame:
        """The records as `convbench.load` gives them."""
        with tempfile.TemporaryDirectory(prefix="convbench-") as folder:
            journal = Path(folder) / "records.jsonl"
            journal.write_text("".join(map(line_of, self.records)), encoding="utf-8", errors="backslashreplace")
            return load(journal)

    @property
    def exit_code(self) -> int:
        return self.measurements.exit_code

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt ended the run early; the records are those measured until then."""
        return self.measurements.interrupted

    @property
    def journal(self) -> Path | None:
        """The file that keeps the records; None unless `results` was given."""
        return self.measurements.journal

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on what became of the records."""
        return () if self.stored is None else (asv_sentence(self.stored),)

    def __rich__(self) -> RenderableType:
        report = run_report(self.measurements, self.request)
        error = () if self.measurements.error is None else (str(self.measurements.error),)
        endings = [*self.remarks, *error, *([interrupted_sentence(self.measurements)] if self.interrupted else ())]
        return spaced(report, Group(*map(Sentence, endings)) if endings else None)


def run_request(request: Request, observer: Observer) -> RunResult:
    """Measure what `request` selects, and store it as it says. Raises `ConvbenchError` when that is not possible."""
    measurements = run_suites(request, observer)
    stored = None if measurements.error is not None else store_in_asv(request, measurements, observer.message)
    return RunResult(request, measurements, stored)


def run(
    subject: Subject | Iterable[Subject],
    *,
    backend: Words = (),
    python: Words = (),
    case: str | None = None,
    where: str | None = None,
    threads: Numbers = 1,
    dtype: Words = (),
    batch: Numbers = (),
    direction: Words = (),
    epilogue: Words = (),
    cache: str | None = None,
    pass_bytes: int | str | None = None,
    isa: Words = (),
    data: Words = (),
    processes: int | None = None,
    self_check: bool | None = None,
    pin: str = "auto",
    priority: str = "normal",
    precision: float | str | None = None,
    budget: float | None = None,
    quick: bool = False,
    resume: bool = False,
    time_limit: float | None = None,
    allocator: str = "steady",
    time_wrong: bool = False,
    lower_precision: bool = False,
    seed: int = 0,
    details: bool = False,
    no_asv: bool = False,
    allow_dirty: bool = False,
    plugin: Paths = (),
    results: bool | str | PathLike[str] | None = None,
    progress: bool | None = None,
) -> RunResult:
    """Verify and time backends on a suite (name, path or value), a problem (a `ConvProblem` or a text such as
    "n1c64h56w56_o64k3_p1"), or a list of these.

    The options are those of `convbench run`; times are in seconds, and a share is a number or a text such as "2%".
    Nothing is written unless `results` is a folder, or True for the usual one. `progress` None draws a bar in a
    terminal or notebook, True prints what happens, False shows nothing. An interrupt returns what was measured.

    Raises `ConvbenchError` for anything that cannot be understood or found.
    """
    request = request_of(locals())
    with requested_progress(progress, lower=lower_precision) as observer:
        return run_request(request, observer)


def request_of(arguments: Mapping[str, Any]) -> Request:
    """The request of the arguments of `run`. Raises `ConvbenchError` for what cannot be understood."""
    fields = read_options(arguments, threads=whole_numbers, batch=whole_numbers, isa=separated_words, data=words)
    return Request(**subjects(arguments["subject"])._asdict(), **fields)
