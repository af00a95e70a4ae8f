"""What a name stands for: a run, a journal, a folder of journals, a machine, or a commit, tag or branch; and which runs
there are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convbench.analysis.roofline import Limits
from convbench.errors import NothingMeasuredError, ResultsError
from convbench.runner.session import Measurements
from convbench.status import Status
from convbench.store.ceilings import kept_ceilings
from convbench.store.journal import SUFFIX, journals, read_records
from convbench.store.line_file import JournalWarning
from convbench.store.locations import git, results_folder
from convbench.store.readings import table
from convbench.store.records import records
from convbench.store.schema import Record

LAST = re.compile(r"last(?:~(\d{1,9}))?")
"""The newest run, or one that many runs before it."""


def place_named(text: str, folder: Path) -> Path | None:
    """The journal, folder of journals or machine that `text` names, else None; machines are folders in `folder`. `last`
    is the newest journal in `folder`, and `last~2` the one two before it: raises `ResultsError` when it has fewer."""
    if Path(text).exists():
        return Path(text)
    if (last := LAST.fullmatch(text)) is not None:
        return _run_before(int(last[1] or 0), text, folder)
    inside = folder / text
    return inside if text not in ("", ".", "..") and inside.is_dir() else None


def _run_before(back: int, text: str, folder: Path) -> Path:
    runs = journals(folder)
    if back >= len(runs):
        there = f"{len(runs)} run{'s' * (len(runs) != 1)}"
        raise ResultsError(f"{text!r} is no run: {folder} has {there}; `convbench runs` lists them.")
    return runs[-1 - back]


def records_named(text: str, folder: Path, only: Iterable[str] | None = None) -> list[Record]:
    """The records that `text` names, with at least the fields `only`.

    They are those at a place, or those in `folder` that were measured at a commit, tag or branch. Raises `ResultsError`
    when `text` names neither.
    """
    if (place := place_named(text, folder)) is not None:
        return list(records(place, only))
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    if text.startswith("-") or not (commit := git(Path(), *words)):
        raise ResultsError(
            f"{text!r} is no journal, no machine in {folder} and no commit here; give the path of a .jsonl file or of "
            "a folder of them, last or last~1, the name of a machine, or a commit, tag or branch."
        )
    with warnings.catch_warnings():
        # The user did not name these journals, and a broken line in them hides at most its own record.
        warnings.simplefilter("ignore", JournalWarning)
        everything = records(folder, only) if folder.is_dir() else ()
        at_commit = [record for record in everything if record.get("commit") == commit]
    if not at_commit:
        raise ResultsError(f"{text!r} is commit {commit[:8]}, and no record in {folder} was measured at it.")
    return at_commit


# --- earlier runs -----------------------------------------------------------------------------------------------------

_FIELDS = ("suite", "case", "backend", "status", "time", "commit", "threads", "machine.machine")


@dataclass(frozen=True)
class EarlierRun:
    """A journal: how commands name it, and what is in it."""

    name: str
    """`last`, `last~1`, ..."""
    path: Path
    records: tuple[Record, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        first = self.records[0] if self.records else None
        return {
            "run": self.name,
            "time": first.get("time") if first else None,
            "machine": table(first, "machine").get("machine") if first else None,
            "commit": first.get("commit") if first else None,
            "suites": self._distinct("suite"),
            "backends": self._distinct("backend"),  # those that were timed come first
            "threads": self._distinct("threads"),
            "cases": len({(record.get("suite"), record["case"]) for record in self.records}),
            "records": len(self.records),
            "timed": sum(record["status"] == Status.OK for record in self.records),
            "path": str(self.path),
        }

    def _distinct(self, name: str) -> list[Any]:
        timed_first = sorted(self.records, key=lambda record: record["status"] != Status.OK)
        return list(dict.fromkeys(value for record in timed_first if (value := record.get(name)) is not None))


def earlier_runs(results: Path | None, most: int) -> list[EarlierRun]:
    """The newest runs, at most so many, the newest first; all if `most` is 0. Raises `NothingMeasuredError` without."""
    folder = results_folder(results)
    newest = journals(folder)[::-1]
    if not newest:
        raise NothingMeasuredError(f"there are no runs in {folder}; `convbench run` makes one.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JournalWarning)
        return [
            EarlierRun(f"last~{number}" if number else "last", path, tuple(read_records(path, _FIELDS)))
            for number, path in enumerate(newest[: most or None])
        ]


def is_run(text: str) -> bool:
    """Whether `text` names a run, and no problem: `last`, `last~2`, or the path of a journal."""
    return LAST.fullmatch(text) is not None or text.endswith(SUFFIX) or Path(text).is_file()


def run_named(text: str, results: Path | None) -> Measurements:
    """The records of the run that `text` names, with the limits of the machine that it ran on. Raises `ResultsError`
    for a name that names none, and `NothingMeasuredError` for a run without a record."""
    place = place_named(text, results_folder(results))
    if place is None:
        raise ResultsError(f"there is no run {text}; `convbench runs` lists them.")
    there = tuple(records(place))
    if not there:
        raise NothingMeasuredError(f"there is no record in {place}.")
    return Measurements(records=there, limits=Limits(kept_ceilings(place.parent)), journal=place)
