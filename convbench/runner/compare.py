"""Two sets of records, compared: read them, match backends by name, and refuse where nothing can be compared."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from convbench.analysis.comparison import FIELDS, Comparison, compare
from convbench.errors import BackendError, NothingMeasuredError
from convbench.runner.locate import records_named
from convbench.store.locations import results_folder
from convbench.store.schema import Record

Source = str | Path | Iterable[Record]
"""Records, or the name of some: a journal, a folder of journals, a machine, a commit, tag or branch."""


def compare_sources(
    base: Source,
    new: Source,
    *,
    backend: str | None = None,
    against: str | None = None,
    threshold: float = 0.05,
    results: Path | None = None,
) -> Comparison:
    """Compare `base` with `new`, of all backends or of `backend`, in `new` under the name `against`.

    Raises `ResultsError` for a name that names no records, `BackendError` for patterns that do not match up, and
    `NothingMeasuredError` when no pair is timed in both.
    """
    with _without_garbage_collection():
        base_records = _records(base, results)
        new_records = base_records if isinstance(new, (str, Path)) and new == base else _records(new, results)
        others: tuple[Sequence[Record], Sequence[Record]] = ((), ())
        if backend is not None:
            (base_records, new_records), others = _as_one_backend(
                base_records, new_records, backend, against or backend
            )
        comparison = compare(base_records, new_records, threshold, others)
    if not comparison.changes and not comparison.broken:
        sizes = (
            f"{_name(base, 'the base')} has {len(base_records):,} records{_scope(backend)} and "
            f"{_name(new, 'the new')} {len(new_records):,}{_scope(against or backend)}"
        )
        raise NothingMeasuredError(_nothing(sizes, comparison.told_apart_by))
    return comparison


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


def _records(source: Source, results: Path | None) -> list[Record]:
    if isinstance(source, (str, Path)):
        return records_named(str(source), results_folder(results), FIELDS)
    return list(source)


_Sides = tuple[list[Record], list[Record]]


def _as_one_backend(base: Sequence[Record], new: Sequence[Record], backend: str, against: str) -> tuple[_Sides, _Sides]:
    """`backend` of the base and `against` of the new under one name, and the other backends of both sides.

    `*` stands for the part of the name that both share: `*@old` and `*@new` are matched by what is before the @. Raises
    `BackendError` when only one has a `*`.
    """
    if backend.count("*") != against.count("*") or backend.count("*") > 1:
        raise BackendError(
            f"--backend is {backend!r} and --against is {against!r}; give two names, or two patterns with one * each, "
            "such as '*@old' and '*@new'."
        )
    chosen, others = [], []
    for side, pattern in ((base, backend), (new, against)):
        matcher = re.compile("(.*)".join(map(re.escape, pattern.split("*"))))
        matches = {name: match for name in {r["backend"] for r in side} if (match := matcher.fullmatch(name))}
        names = {name: match[1] if matcher.groups else backend for name, match in matches.items()}
        chosen.append([r | {"backend": names[r["backend"]]} for r in side if r["backend"] in names])
        others.append([r for r in side if r["backend"] not in names])
    return (chosen[0], chosen[1]), (others[0], others[1])


def _name(source: Source, place: str) -> str:
    return str(source) if isinstance(source, (str, Path)) else place


def _scope(backend: str | None) -> str:
    return f" of backend {backend}" if backend else ""


def _nothing(sizes: str, kept_apart: Sequence[str]) -> str:
    message = f"nothing to compare: {sizes}, and no suite, case, backend and number of threads is timed in both."
    if kept_apart:
        what = " and ".join(kept_apart)
        message += f" There are records of more than one {what}, so each is compared with its own {what} alone."
    return message
