"""`convbench.choose`: which backend to use, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType

from convbench.api.arguments import OptionError, Paths, Subject, Words, is_model, read_options, subjects
from convbench.api.result import Result
from convbench.errors import NothingMeasuredError
from convbench.plans.plan import Plan
from convbench.reporting.choice import answer_report
from convbench.reporting.progress import requested_progress
from convbench.reporting.run.report import measuring_notes
from convbench.runner.choose.answer import Answer, Request, answer_lines, plan_of
from convbench.runner.choose.choose import answer_request
from convbench.runner.observer import Observer
from convbench.runner.session import Measurements
from convbench.store.schema import Record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class ChoiceResult(Result):
    """A backend for each layer and for all of them; it prints as `convbench choose` does. `ok`: there is a choice."""

    answer: Answer
    measurements: Measurements | None
    """What was measured for the answer; None when it is from earlier records."""

    @property
    def records(self) -> list[dict[str, Any]]:
        """As `convbench choose --json` prints them: a mapping for each layer, and the summary."""
        return list(answer_lines(self.answer))

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each layer: the chosen backend, its seconds per call with an interval, and its ties (`level`)."""
        import pandas as pd

        layers = [line for line in self.records if line["type"] == "layer"]
        columns = ("backend", "basis", "call_s", "low_s", "high_s", "reason")
        rows = [
            {key: layer[key] for key in ("case", "case_id", "layer", "count")}
            | {key: (layer["choice"] or {}).get(key) for key in columns}
            | {"level": tuple(layer["level"])}
            for layer in layers
        ]
        return pd.DataFrame.from_records(rows)

    @property
    def pair_records(self) -> Sequence[Record]:
        return self.answer.records

    @property
    def plan(self) -> Plan:
        """The choices as a plan, as `convbench.apply` and `convbench.conv2d` take it."""
        return plan_of(self.answer)

    def write(self, path: str | PathLike[str]) -> None:
        """Write the plan to a file, as `convbench choose --plan` does. Raises `PlanError`."""
        self.plan.write(Path(path))

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt ended the measuring early; the answer is for what was measured until then."""
        return self.measurements is not None and self.measurements.interrupted

    @property
    def exit_code(self) -> int:
        if self.measurements is not None and (self.measurements.error is not None or self.interrupted):
            return self.measurements.exit_code
        return 0 if self.answer.model.choices else NothingMeasuredError.exit_code

    def __rich__(self) -> RenderableType:
        return Group(answer_report(self.answer), *self._notes())

    def _notes(self) -> list[RenderableType]:
        details = self.answer.request.details
        return [] if self.measurements is None else [measuring_notes(self.measurements, details=details)]


def choose_request(request: Request, observer: Observer) -> ChoiceResult:
    """Answer `request` and write its plan, if it asks for one and there is a choice. Raises `ConvbenchError`."""
    result = ChoiceResult(*answer_request(request, observer))
    if request.plan is not None and result.ok:
        result.write(request.plan)
    return result


def choose(
    subject: Any,
    *,
    backend: Words = (),
    where: str | None = None,
    threads: int = 1,
    batch: int | None = None,
    bare: bool = False,
    training: bool = False,
    input: Any = None,  # noqa: A002 - the command's word
    dtype: str | None = None,
    plan: str | PathLike[str] | None = None,
    from_results: bool = False,
    machine: str | None = None,
    for_: str | None = None,
    quick: bool = False,
    details: bool = False,
    processes: int = 1,
    priority: str = "normal",
    cache: str | None = None,
    pass_bytes: int | str | None = None,
    budget: float = 0.5,
    precision: float | str | None = None,
    tie: float | str = 0.02,
    time_limit: float = 30.0,
    lower_precision: bool = False,
    plugin: Paths = (),
    results: bool | str | PathLike[str] | None = None,
    progress: bool | None = None,
) -> ChoiceResult:
    """Choose the backend for a suite, a problem or problems, as `convbench.run` takes them, or for a model: a torch
    module, "timm:NAME", "torchvision:NAME", "module:callable",
    "FILE.py:callable", or the path of an .onnx or .pt2 file.

    The options are those of `convbench choose`; `input` is the shape of a model's input, batch first, or shapes by the
    names of its inputs, and `for_` is `--for`. `results` and `progress` are as for `convbench.run`. An interrupt
    returns the answer for what was measured.

    Raises `ConvbenchError` for anything that cannot be understood or found.
    """
    request = request_of(locals())
    with requested_progress(progress, lower=lower_precision) as observer:
        return choose_request(request, observer)


def request_of(arguments: Mapping[str, Any]) -> Request:
    """The request of the arguments of `choose`. Raises `ConvbenchError` for what cannot be understood."""
    return Request(**_subject(arguments["subject"]), **read_options(arguments))


def _subject(subject: Subject | Iterable[Subject] | Any) -> dict[str, Any]:
    """The field of a request that `subject` is."""
    if is_model(subject):
        return {"model": fspath(subject) if isinstance(subject, (str, PathLike)) else subject}
    selected = subjects(subject)
    if len(selected.suites) > 1 or (selected.suites and selected.problems):
        raise OptionError("a choice is for one suite, one model, or problems; call choose once for each.")
    return {"suite": selected.suites[0]} if selected.suites else {"problems": selected.problems}
