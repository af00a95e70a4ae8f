"""Where series of runs step: the records of a place, chosen by suite, backend and case, and the steps in them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from convbench.analysis.series import FIELDS
from convbench.analysis.trend import FEWEST_POINTS, Trend, trend
from convbench.errors import NothingMeasuredError, ResultsError
from convbench.runner.locate import place_named
from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.store.locations import results_folder
from convbench.store.readings import hardware_of, table
from convbench.store.records import records
from convbench.store.schema import Record


def find_steps(
    threshold: float,
    min_segment: int,
    *,
    where: Sequence[str],
    suites: Sequence[str],
    backends: Sequence[str],
    case_glob: str | None,
    results: Path | None,
    by: str = "machine",
) -> Trend:
    """The steps of more than `threshold` between segments of at least `min_segment` runs, in the records of the places
    `where` that the other options select; an empty option selects all. With `by` "kind" all machines of one kind make
    one series, as where each run gets another machine of a pool.

    Raises `ResultsError` for a place that does not exist and `NothingMeasuredError` when no series is long enough.
    """
    folder = results_folder(results)
    places = [_existing_place(text, folder) for text in where] or folder
    case_globs = () if case_glob is None else (case_glob,)

    def is_chosen(record: Record) -> bool:
        name = record["backend"]
        return (
            _matches((name, name.partition("@")[0]), backends)  # `torch@2.10` has either name
            and (not suites or record.get("suite") in suites)
            and _matches((record["case"], str(record.get("case_id"))), case_globs)
        )

    chosen = filter(is_chosen, records(places, (*FIELDS, "case_id")))
    steps = trend(map(_named_by_kind, chosen) if by == "kind" else chosen, threshold, min_segment)
    if not steps.long and not steps.short:
        raise NothingMeasuredError(_too_short(steps, min_segment))
    return steps


def _named_by_kind(record: Record) -> Record:
    """The record with the hardware of its machine as the machine's name, where that is known."""
    machine = table(record, "machine")
    kind = str(hardware_of(machine))
    return record | {"machine": {**machine, "machine": kind}} if kind else record


def _matches(names: Sequence[str], globs: Sequence[str]) -> bool:
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
        points = f"{longest} point{'' if longest == 1 else 's'}"
        have = f"no series is long enough: of {len(steps.untold):,} series the longest has {points}"
    else:
        why = f" ({steps.left_out_sentence})" if steps.left_out else ""
        have = f"there is no series: no record that was asked for is ok and has a median and a time{why}"
    return (
        f"{have}. A series over commits needs {fewest} runs, one over releases needs two of them with "
        f"{FEWEST_FOR_INTERVAL} samples each. Two runs are compared by `convbench compare`."
    )
