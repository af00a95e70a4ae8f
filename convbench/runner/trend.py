"""Where series of runs step: the records of a place, chosen by suite, backend and case, and the steps in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from convbench.analysis.series import FIELDS
from convbench.analysis.trend import FEWEST_POINTS, Trend, trend
from convbench.errors import NothingMeasuredError, ResultsError
from convbench.runner.locate import place_named
from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.store.locations import results_folder
from convbench.store.records import records
from convbench.store.schema import Record


@dataclass(frozen=True)
class Selection:
    """Which records to look at; everything that is empty selects all."""

    where: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    case_globs: tuple[str, ...] = ()
    results: Path | None = None


def find_steps(selection: Selection, threshold: float, min_segment: int) -> Trend:
    """The steps of more than `threshold` between segments of at least `min_segment` runs.

    Raises `ResultsError` for a place that does not exist and `NothingMeasuredError` when no series is long enough.
    """
    steps = trend(_records(selection), threshold, min_segment)
    if not steps.long and not steps.short:
        raise NothingMeasuredError(_too_short(steps, min_segment))
    return steps


def _records(selection: Selection) -> Iterator[Record]:
    folder = results_folder(selection.results)
    places = [_existing_place(text, folder) for text in selection.where] or folder
    for record in records(places, (*FIELDS, "case_id")):
        name = record["backend"]
        if (
            _matches((name, name.partition("@")[0]), selection.backends)  # `torch@2.10` has either name
            and (not selection.suites or record.get("suite") in selection.suites)
            and _matches((record["case"], str(record.get("case_id"))), selection.case_globs)
        ):
            yield record


def _matches(names: Iterable[str], globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for name in names for glob in globs)


def _existing_place(text: str, folder: Path) -> Path:
    """The journal, folder of journals or machine that `text` names."""
    if (place := place_named(text, folder)) is not None:
        return place
    raise ResultsError(
        f"{text!r} is no journal and no machine in {folder}; give the path of a .jsonl file or of a folder of them, or "
        "the name of a machine."
    )


def _too_short(steps: Trend, min_segment: int) -> str:
    fewest = max(FEWEST_POINTS, 2 * min_segment)
    longest = max((len(series.points) for series in steps.untold), default=0)
    if steps.untold:
        have = f"no series is long enough: of {len(steps.untold):,} series the longest has {longest}"
    else:
        why = f" ({steps.left_out_sentence})" if steps.left_out else ""
        have = f"there is no series: no record that was asked for is ok and has a median and a time{why}"
    return (
        f"{have}. A series over commits needs {fewest} runs, one over releases needs two of them with "
        f"{FEWEST_FOR_INTERVAL} samples each. Two runs are compared by `convbench compare`."
    )
