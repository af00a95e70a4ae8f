"""`convbench.compare`: what changed from one set of records to another."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from rich.console import RenderableType

from convbench.analysis import comparison as analysis
from convbench.analysis.comparison import Change, Comparison
from convbench.api import arguments
from convbench.api.compared_sides import Axis, Sides, along, as_one_backend
from convbench.api.result import Result
from convbench.errors import NothingMeasuredError, ResultsError
from convbench.reporting.history import comparison as shown
from convbench.reporting.page.figure import Figures
from convbench.reporting.page.standalone import figures_of
from convbench.runner.confirm.confirm import Means, confirmed
from convbench.runner.locate import records_named
from convbench.runner.observer import Observer
from convbench.store.locations import results_folder
from convbench.store.schema import Record

if TYPE_CHECKING:
    import pandas as pd

Source: TypeAlias = "str | Path | Result | pd.DataFrame | Iterable[Record]"
"""A journal, folder of journals, machine, commit, tag or branch; a result of `convbench.run`; a frame of
`convbench.load`; or records."""


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
    def figures(self) -> Figures:
        return figures_of((), changes=self.changes)

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
    by: Axis | None = None,
    threshold: float | str = 0.05,
    across_machines: bool = False,
    results: str | Path | None = None,
    confirm: bool = False,
    plugins: Iterable[str | Path] = (),
    pythons: Iterable[str] = (),
    observer: Observer | None = None,
) -> Compared:
    """Compare two sets of records, pair by pair; a pair is a suite, case, backend and number of threads.

    `base` and `new` are paths of journals or of folders of them, machines, commits, tags or branches, results of
    `convbench.run`, frames of `convbench.load`, or records. With `backend` only that one is compared, and with
    `against` under another name in `new`. A regression is slower beyond doubt and by more than `threshold`, such as
    "5%" or 0.05. With `by` "isa" the wider instruction sets of `new` are compared with the narrowest of `base`, with
    "data" the other data with normal ones, and with "machine" the other machines with the first one of `base`; both
    may be the same records.

    Pairs that were measured on different hardware are compared only with `across_machines`. Machines and commits are
    looked for in the folder `results`, by default the usual one. With `confirm` each regression is measured again in
    fresh processes, with the backends of `plugins` and of other environments (`pythons`, such as "envs/old=old"), and
    counts only if it holds; its journal goes to `results`, and `observer` learns what happens.

    Raises `ResultsError` for a name that names no records, `BackendError` for patterns that do not match up, and
    `NothingMeasuredError` when no pair is timed in both, or a regression cannot be measured again.
    """
    if by is not None and confirm:
        raise ResultsError(
            "--by and --confirm do not go together: what is slower under other settings is no regression. Give one."
        )
    folder = results_folder(None if results is None else Path(results))
    with _without_garbage_collection():
        more = ("problem",) if confirm else ()
        base_records = _records(base, folder, more)
        new_records = base_records if isinstance(new, (str, Path)) and new == base else _records(new, folder, more)
        others: Sides = ([], [])
        if backend is not None:
            (base_records, new_records), others = as_one_backend(base_records, new_records, backend, against or backend)
        if by is not None:
            (base_records, new_records), others = along(by, base_records, new_records), ([], [])
        limit = arguments.threshold(threshold, "threshold")
        comparison = analysis.compare(
            base_records,
            new_records,
            limit,
            others,
            across_machines=across_machines or by == "machine",
            across=by,
        )
    if not comparison.changes and not comparison.broken:
        names = [str(s) if isinstance(s, (str, Path)) else place for s, place in ((base, "the base"), (new, "the new"))]
        of_base, of_new = (f" of backend {name}" if name else "" for name in (backend, against or backend))
        sizes = f"{names[0]} has {len(base_records):,} records{of_base} and {names[1]} {len(new_records):,}{of_new}"
        raise NothingMeasuredError(_nothing(sizes, comparison))
    if confirm:
        place = None if results is None else Path(results)
        means = Means(plugins=tuple(map(Path, plugins)), pythons=tuple(pythons), results=place)
        names_of = partial(_names_of, backend=backend, against=against or backend)
        comparison = confirmed(comparison, limit, names_of, means, observer or Observer())
    return Compared(comparison, limit)


def _names_of(compared: str, backend: str | None, against: str | None) -> tuple[str, str]:
    """The backends that were compared under the name that `as_one_backend` gave them, in the base and in the new."""
    patterns = (compared if pattern is None else pattern for pattern in (backend, against))
    base, new = (pattern.replace("*", compared) for pattern in patterns)
    return base, new


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Records hold no cycles, and walking over a hundred thousand of them takes as long as reading them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _records(source: Source, folder: Path, more: Sequence[str] = ()) -> list[Record]:
    if isinstance(source, (str, Path)):
        return records_named(str(source), folder, (*analysis.FIELDS, *more))
    if isinstance(source, Result):
        return [cast("Record", record) for record in source.records]
    if not hasattr(source, "to_dict"):
        return list(source)
    # Of a frame's rows, as far as a comparison looks at them, without pandas' NaN for None.
    rows = cast("pd.DataFrame", source).to_dict("records")
    return [_nested({name: value for name, value in row.items() if value == value}) for row in rows]


def _nested(row: dict[Any, Any]) -> Record:
    tables = {
        "settings": ("allocator", "cache", "pass_bytes", "isa", "data"),
        "samples": ("round", "wall_s", "process"),
    }
    nested = {
        table: row.get(table) or {name: row[name] for name in names if row.get(name) is not None}
        for table, names in tables.items()
    }
    machine = row.get("machine")
    nested["machine"] = machine if isinstance(machine, dict) else {"machine": machine}
    return cast("Record", row | nested)


def _nothing(sizes: str, comparison: Comparison) -> str:
    if comparison.not_compared:
        return f"nothing to compare: {sizes}. {shown.machines_sentence(comparison)}"
    message = f"nothing to compare: {sizes}, and no suite, case, backend and number of threads is timed in both."
    if kept_apart := comparison.told_apart_by:
        what = " and ".join(kept_apart)
        message += f" There are records of more than one {what}, so each is compared with its own {what} alone."
    return message
