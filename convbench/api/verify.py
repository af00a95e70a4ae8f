"""`convbench.verify`: look for wrong answers, from Python."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from convbench.api.arguments import Paths, Words, choice, paths, read_options, seconds
from convbench.api.result import Result
from convbench.problem import ConvProblem
from convbench.reporting.console import stderr
from convbench.reporting.progress import is_drawn
from convbench.reporting.verification.progress import LiveProgress, PlainProgress
from convbench.reporting.verification.tables import verification_report
from convbench.runner.verify.observer import VerifyObserver
from convbench.runner.verify.request import Request, with_older_words
from convbench.runner.verify.rows import Row
from convbench.runner.verify.verify import Verification, verify_backends

Subject = str | PathLike[str]
"""A backend's name or shell pattern, or the path of a plugin."""


@dataclass(frozen=True, repr=False)
class VerifyResult(Result):
    """What a verification found; it prints as `convbench verify` does. `frame` has a row for each backend."""

    verification: Verification

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        return self.verification.rows

    @property
    def failures(self) -> list[Row]:
        """The causes of failures of all backends: case, status, reason, `known`, and `report`, a text in Markdown."""
        return [{"backend": row["backend"], **failure} for row in self.records for failure in row["failures"]]

    @property
    def exit_code(self) -> int:
        return self.verification.exit_code

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt ended it early."""
        return self.verification.interrupted

    def __rich__(self) -> RenderableType:
        return verification_report(self.verification)


def verify(
    subject: Subject | Iterable[Subject] = (),
    *,
    suite: Words = (),
    case: str | None = None,
    where: str | None = None,
    direction: Words = (),
    epilogue: Words = (),
    exact: bool = False,
    question: str | ConvProblem | Iterable[str | ConvProblem] = (),
    strength: int = 3,
    search_time: float = 60.0,
    time_limit: float | None = None,
    threads: int = 1,
    isa: str | None = None,
    jobs: int | None = None,
    seed: int = 0,
    known: Paths = (),
    accept_known: bool = False,
    write_known: str | PathLike[str] | None = None,
    resume: bool = False,
    plugin: Paths = (),
    python: Words = (),
    question_limit: float | None = None,
    results: bool | str | PathLike[str] | None = None,
    progress: bool | None = None,
) -> VerifyResult:
    """Verify backends, selected by name or pattern, or those of a plugin, such as "my_conv.py"; all without a subject.

    The options are those of `convbench verify`; times are in seconds, and `question_limit` is an older name of
    `time_limit`. `question` takes problems as well. Nothing is
    written unless `results` is a folder, or True for the usual one, or `write_known` a file. `progress` None draws a
    line per backend in a terminal or notebook, True prints what happens, False shows nothing. An interrupt returns what
    was found.

    Raises `ConvbenchError` for anything that cannot be understood or found.
    """
    keep, request = request_of(locals())
    return kept_or_not(request, keep, partial(verify_backends, observer=observer_of(progress)))


def kept_or_not(request: Request, keep: bool, verified: Callable[[Request], Verification]) -> VerifyResult:
    """What `verified` makes of the request, in a temporary folder unless it is to `keep` its results."""
    if keep:
        return VerifyResult(_with_reports(verified(request), keep=True))
    with tempfile.TemporaryDirectory(prefix="convbench-") as folder:
        return VerifyResult(_with_reports(verified(replace(request, results=Path(folder))), keep=False))


def request_of(arguments: Mapping[str, Any]) -> tuple[bool, Request]:
    """Whether to keep the results, and the request, of the arguments of `verify`. Raises `ConvbenchError` for what
    cannot be understood."""
    subject = arguments["subject"]
    names = [subject] if isinstance(subject, (str, PathLike)) else list(subject)
    files = [name for name in names if isinstance(name, PathLike) or str(name).endswith(".py")]
    own = {"backend": [name for name in names if name not in files], "plugin": [*files, *paths(arguments["plugin"])]}
    fields = read_options(
        {**arguments, **own},
        known=paths,
        question=_questions,
        question_limit=seconds,
        strength=partial(choice, choices=(2, 3, 4)),
        search_time=_seconds_or_none,
        time_limit=_seconds_or_none,
    )
    return fields.pop("keep"), Request(**with_older_words(fields))


def _seconds_or_none(value: float, option: str) -> float:
    return value and seconds(value, option)


def _questions(value: str | ConvProblem | Iterable[str | ConvProblem], option: str) -> tuple[str, ...]:
    questions = [value] if isinstance(value, (str, ConvProblem)) else value
    return tuple(question.case_id if isinstance(question, ConvProblem) else question for question in questions)


def observer_of(progress: bool | None) -> VerifyObserver:
    console = stderr()
    if progress is False or not (progress or is_drawn(console)):
        return VerifyObserver()
    return LiveProgress(console, messages=bool(progress)) if is_drawn(console) else PlainProgress(console)


def _with_reports(verification: Verification, *, keep: bool) -> Verification:
    """Its failures with the texts of their reports; without their files unless these are kept."""

    def read(failure: Row) -> Row:
        text = Path(failure["report_file"]).read_text(encoding="utf-8")
        return {name: value for name, value in failure.items() if keep or name != "report_file"} | {"report": text}

    rows = (row | {"failures": list(map(read, row["failures"]))} for row in verification.rows)
    return replace(verification, rows=tuple(rows))
