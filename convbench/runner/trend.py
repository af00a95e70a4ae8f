"""`convbench trend`: where series step, what is slower now first, with an exit code for CI."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rich.text import Text

from convbench.analysis.series import FIELDS
from convbench.analysis.trend import FEWEST_POINTS, Step, Trend, trend
from convbench.errors import NothingMeasuredError, ResultsError
from convbench.reporting.console import print_json, show_journal_warnings, stdout
from convbench.reporting.numbers import count
from convbench.reporting.trend import Shown, in_order, left_out, markdown, report
from convbench.runner.locate import place_named
from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.store.journal import Record
from convbench.store.locations import results_folder
from convbench.store.records import records


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given."""

    where: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    case_glob: str | None = None
    threshold: float = 0.03
    min_segment: int = 3
    last: int = 10
    since: datetime | None = None
    results: Path | None = None
    as_json: bool = False
    markdown: bool = False


def show_trend(request: Request) -> int:
    """Find the steps, show them, and give the exit code: 1 where a series is slower now. Raises `NothingMeasuredError`
    when no series is long enough."""
    show_journal_warnings()
    found = trend(_records(request), request.threshold, request.min_segment)
    if not found.long and not found.short:
        raise NothingMeasuredError(_too_short(found, request))
    shown = in_order(found, request.threshold, request.last, f"{request.since:%Y-%m-%d}" if request.since else "")
    if request.as_json:
        print_json(_row(step, shown) for step in shown.steps)
    elif request.markdown:
        stdout().print(Text(markdown(shown)), soft_wrap=True)
    else:
        stdout().print(report(shown))
    return 1 if shown.alarms else 0


def _records(request: Request) -> Iterator[Record]:
    folder = results_folder(request.results)
    for record in records([_place(text, folder) for text in request.where] or folder, (*FIELDS, "case_id")):
        # Of `torch@2.10` either name may be asked for.
        names = {record["backend"], record["backend"].partition("@")[0]}
        backend = not request.backends or any(fnmatchcase(n, glob) for n in names for glob in request.backends)
        suite = not request.suites or record.get("suite") in request.suites
        cases = (record["case"], str(record.get("case_id")))
        if backend and suite and (request.case_glob is None or any(fnmatchcase(c, request.case_glob) for c in cases)):
            yield record


def _place(text: str, folder: Path) -> Path:
    """The journal, folder of journals or machine that `text` names."""
    if (place := place_named(text, folder)) is not None:
        return place
    raise ResultsError(
        f"{text!r} is no journal and no machine in {folder}; give the path of a .jsonl file or of a folder of them, or "
        "the name of a machine."
    )


def _too_short(found: Trend, request: Request) -> str:
    fewest = max(FEWEST_POINTS, 2 * request.min_segment)
    longest = max((len(series.points) for series in found.untold), default=0)
    if found.untold:
        have = f"no series is long enough: of {count(len(found.untold), 'series', 'series')} the longest has {longest}"
    else:
        why = f" ({left_out(found)})" if found.left_out else ""
        have = f"there is no series: no record that was asked for is ok and has a median and a time{why}"
    return (
        f"{have}. A series over commits needs {fewest} runs, one over releases needs two of them with "
        f"{FEWEST_FOR_INTERVAL} samples each. Two runs are compared by `convbench compare`."
    )


def _row(step: Step, shown: Shown) -> dict[str, Any]:
    key = {name: _encodable(value) for name, value in step.series.key._asdict().items()}
    return key | {
        "direction": "slower" if step.slower else "faster",
        "alarm": step in shown.alarms,
        "gradual": step.gradual,
        "evidence": str(step.evidence),
        "date": step.first_after.date,
        "from": _encodable(step.last_before.label),
        "to": _encodable(step.first_after.label),
        "index": step.index,
        "points": len(step.series.points),
        "runs_before": step.runs[0],
        "runs_after": step.runs[1],
        "before_s": step.before_s,
        "after_s": step.after_s,
        "ratio": step.ratio.value,
        "low": step.ratio.low,
        "high": step.ratio.high,
        "p_value": step.p_value,
        "q_value": step.q_value,
    }


def _encodable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
