"""`convbench.compare`: what changed from one set of records to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from rich.console import RenderableType

from convbench.analysis.comparison import Change, Comparison
from convbench.api.result import Result
from convbench.reporting.history import comparison as shown
from convbench.runner.compare import compare_sources
from convbench.store.schema import Record

if TYPE_CHECKING:
    import pandas as pd

Source: TypeAlias = "str | Path | Result | pd.DataFrame | Iterable[Record]"
"""A journal, folder of journals, machine, commit, tag or branch; a result of `convbench.run`; a frame of
`convbench.load`; or records."""

_IN_SETTINGS = ("allocator", "cache")
_IN_SAMPLES = ("round", "wall_s", "process")


@dataclass(frozen=True, repr=False)
class Compared(Result):
    """What changed: prints as `convbench compare` does; `frame` has a row for each pair, slowest first."""

    comparison: Comparison = field(repr=False)
    threshold: float

    @property
    def changes(self) -> tuple[Change, ...]:
        """The pairs that both sides timed, slowest first: ratio new/base with its interval, and a verdict."""
        return self.comparison.changes

    @property
    def broken(self) -> tuple[Record, ...]:
        """The records of `new` that are wrong, crashed or raised, though right in `base`."""
        return self.comparison.broken

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        return shown.rows(self.comparison)

    @property
    def exit_code(self) -> int:
        """1 when something got slower by more than the threshold or is broken now, else 0."""
        return 1 if self.comparison.regressions(self.threshold) or self.broken else 0

    def markdown(self) -> str:
        """The table as a comment on GitHub takes it."""
        return shown.markdown(self.comparison, self.threshold)

    def __rich__(self) -> RenderableType:
        return shown.report(self.comparison, self.threshold)


def compare(
    base: Source,
    new: Source,
    *,
    backend: str | None = None,
    against: str | None = None,
    threshold: float = 0.05,
    results: str | Path | None = None,
) -> Compared:
    """Compare two sets of records, pair by pair; a pair is a suite, case, backend and number of threads.

    `base` and `new` are paths of journals or of folders of them, machines, commits, tags or branches, results of
    `convbench.run`, frames of `convbench.load`, or records. With `backend` only that one is compared, and with
    `against` under another name in `new`. A regression is slower beyond doubt and by more than `threshold` (0.05 is
    5 %). Machines and commits are looked for in the folder `results`, by default the usual one.

    Raises `ResultsError` for a name that names no records, `BackendError` for patterns that do not match up, and
    `NothingMeasuredError` when no pair is timed in both.
    """
    comparison = compare_sources(
        _source(base),
        _source(new),
        backend=backend,
        against=against,
        threshold=threshold,
        results=None if results is None else Path(results),
    )
    return Compared(comparison, threshold)


def _source(source: Source) -> str | Path | list[Record]:
    if isinstance(source, (str, Path)):
        return source
    if isinstance(source, Result):
        return [cast("Record", record) for record in source.records]
    if not hasattr(source, "to_dict"):
        return list(source)
    return _records_of_frame(cast("pd.DataFrame", source))


def _records_of_frame(frame: pd.DataFrame) -> list[Record]:
    """The rows of a frame of `convbench.load` as records, as far as a comparison looks at them."""
    return [
        _nested({name: value for name, value in row.items() if value == value})  # without pandas' NaN for None
        for row in frame.to_dict("records")
    ]


def _nested(row: dict[Any, Any]) -> Record:
    machine = row.get("machine")
    nested = {
        "machine": machine if isinstance(machine, dict) else {"machine": machine},
        "settings": row.get("settings") or {name: row[name] for name in _IN_SETTINGS if row.get(name) is not None},
        "samples": row.get("samples") or {name: row[name] for name in _IN_SAMPLES if row.get(name) is not None},
    }
    return cast("Record", row | nested)
