"""Measure again, in fresh processes, what a comparison would call slower.

Where both sides can be had, as two environments (`--python`) or two backends, they are timed side by side. Otherwise
the new one is timed once more and compared with the base's record, as two runs are, and how far it is from its own
earlier record says what the machine did meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from convbench.analysis import comparison as analysis
from convbench.analysis.comparison import Again, Change, ChangeVerdict, Comparison
from convbench.errors import NothingMeasuredError
from convbench.measurement.environments.interpreters import OtherEnvironment, environments, with_availability
from convbench.registry import Entry
from convbench.runner import run
from convbench.runner.observer import Observer
from convbench.runner.run import measure, registry, requested_suites
from convbench.store.readings import hardware_of, number, problem_of, table, this_hardware
from convbench.store.schema import Record
from convbench.suite import Case, Suite

PROCESSES = 3
"""Fresh processes of each side; the fewest for an interval over processes."""

Names = Callable[[str], tuple[str, str]]
"""The names of a compared backend in the base and in the new records."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """What there is to measure with: plugins, other environments, and where the journal goes."""

    plugins: tuple[Path, ...] = ()
    pythons: tuple[str, ...] = ()
    results: Path | None = None


class _Kind(NamedTuple):
    """What pairs have in common that are measured in one run."""

    base: str
    new: str
    threads: int
    settings: tuple[tuple[str, Any], ...]


def confirmed(comparison: Comparison, threshold: float, names: Names, means: Means, observer: Observer) -> Comparison:
    """The comparison with an `again` for each regression; one that does not hold is unclear and no regression. Raises
    `NothingMeasuredError` where a regression cannot be measured again, and says what to give."""
    suspects = comparison.regressions(threshold)
    if not suspects:
        return comparison
    offered = _offered(means)
    groups: dict[_Kind, list[Change]] = {}
    for change in suspects:
        groups.setdefault(_kind(change, names), []).append(change)
    again: dict[int, Again] = {}
    for kind, changes in groups.items():
        observer.message(f"{kind.new} seems slower in {len(changes)} of the pairs; it is measured again ...")
        fresh = _records(kind, changes, offered, means, observer)
        again |= {id(change): _again(change, kind, fresh, threshold) for change in changes}
    return replace(
        comparison, changes=tuple(_judged(c, again[id(c)]) if id(c) in again else c for c in comparison.changes)
    )


def _judged(change: Change, again: Again) -> Change:
    verdict = change.verdict if again.holds else ChangeVerdict.UNCLEAR
    return change._replace(again=again, verdict=verdict)


def _offered(means: Means) -> dict[str, tuple[Entry, OtherEnvironment | None]]:
    """What can be measured here, by name, with its environment."""
    others = environments(means.pythons)
    here = registry(run.Request(plugins=means.plugins))
    entries = {entry.name: (entry, None) for entry in here}
    return entries | {o.name: (o, other) for other in others for o in (other.offer(entry) for entry in here)}


def _kind(change: Change, names: Names) -> _Kind:
    settings = table(change.new, "settings")
    kept = {name: settings[name] for name in ("allocator", "cache", "pass_bytes") if settings.get(name) is not None}
    if kept.get("cache") != "pass":
        kept.pop("pass_bytes", None)
    return _Kind(*names(change.backend), int(number(change.new, "threads") or 1), tuple(sorted(kept.items())))


def _records(
    kind: _Kind,
    changes: Sequence[Change],
    offered: dict[str, tuple[Entry, OtherEnvironment | None]],
    means: Means,
    observer: Observer,
) -> Sequence[Record]:
    """Fresh records of the new side, and of the base's if it is another backend or environment."""
    if hardware_of(table(changes[0].new, "machine")).is_other_than(this_hardware()):
        raise NothingMeasuredError("what seems slower was measured on another machine; type --confirm there.")
    entries = _available([offered[name] for name in dict.fromkeys(kind[:2]) if name in offered])
    by_name = {entry.name: entry for entry in entries}
    if (new := by_name.get(kind.new)) is None or (reason := new.unavailable()):
        why = f": {reason}" if new is not None else ""
        raise NothingMeasuredError(
            f"{kind.new} seems slower and cannot be measured again here{why}. Give its --plugin, or its environment "
            "as --python PATH=LABEL."
        )
    request = run.Request(
        suites=tuple(_suites(changes)),
        threads=kind.threads,
        processes=PROCESSES,
        plugins=means.plugins,
        results=means.results,
        no_asv=True,
        **dict(kind.settings),
    )
    measured = measure(request, requested_suites(request), entries, observer)
    if measured.error is not None:
        raise measured.error
    if measured.interrupted:
        raise KeyboardInterrupt
    return measured.records


def _available(offered: Iterable[tuple[Entry, OtherEnvironment | None]]) -> list[Entry]:
    pairs = list(offered)
    return with_availability([entry for entry, _ in pairs], [other for _, other in pairs if other is not None])


def _suites(changes: Sequence[Change]) -> list[Suite]:
    """The cases under the names that they were measured by."""
    cases: dict[str, dict[str, Case]] = {}
    for change in changes:
        if (problem := problem_of(change.new)) is None:
            raise NothingMeasuredError(f"the record of {change.case} does not say what was computed.")
        cases.setdefault(change.suite, {})[change.case] = Case(problem, name=change.case)
    return [Suite(name, "", (), tuple(of_suite.values()), Path()) for name, of_suite in cases.items()]


def _again(change: Change, kind: _Kind, fresh: Sequence[Record], threshold: float) -> Again:
    """The change as the fresh records have it."""
    own = [r for r in fresh if (r.get("suite"), r["case"]) == (change.suite, change.case)]
    new = [r | {"backend": change.backend} for r in own if r["backend"] == kind.new]
    base = [r | {"backend": change.backend} for r in own if r["backend"] == kind.base and kind.base != kind.new]
    side_by_side = bool(base)
    _check_versions(change, new)
    result = analysis.compare(base or [change.base], new, threshold)
    if not result.changes:
        reason = new[0].get("reason") if new else "there is no record of it"
        raise NothingMeasuredError(f"{kind.new} on {change.case} seems slower, and was not timed again: {reason}.")
    (now,) = result.changes
    before_s, now_s = number(change.new, "median_s"), number(new[0], "median_s")
    drift = now_s / before_s if before_s and now_s else None
    return Again(now.ratio, now.regressed(threshold), side_by_side, drift)


def _check_versions(change: Change, new: Sequence[Any]) -> None:
    """Raise if another version of the library is here than the one that seems slower."""
    then, now = table(change.new, "versions"), table(new[0], "versions") if new else {}
    if then and now and then != now:
        was, here = (", ".join(f"{name} {version}" for name, version in each.items()) for each in (then, now))
        raise NothingMeasuredError(
            f"{change.backend} seems slower with {was}, and here is {here}; give --python PATH=LABEL."
        )
