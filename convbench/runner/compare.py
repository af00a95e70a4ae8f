"""`convbench compare`: two sets of records, worst first, with an exit code for CI."""

from __future__ import annotations

import gc
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.comparison import FIELDS, Change, ChangeVerdict, Comparison, compare
from convbench.errors import BackendError, NothingMeasuredError
from convbench.reporting.console import plain_table, print_json, show_journal_warnings, stdout
from convbench.reporting.markdown import escaped, markdown_table, printable
from convbench.reporting.numbers import aligned, interval_column, milliseconds
from convbench.runner.locate import records_named
from convbench.store.journal import Record
from convbench.store.locations import results_folder

_STYLES = {
    ChangeVerdict.SLOWER: "bold red",
    ChangeVerdict.FASTER: "bold green",
    ChangeVerdict.SAME: "dim",
    ChangeVerdict.UNCLEAR: "yellow",
}
_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command, as given."""

    base: str
    new: str
    backend: str | None = None
    against: str | None = None
    threshold: float = 0.05
    results: Path | None = None
    as_json: bool = False
    markdown: bool = False


def compare_records(request: Request) -> int:
    """Compare, show, and give the exit code: 1 on a regression or something broken, 3 when nothing is comparable."""
    show_journal_warnings()
    gc.disable()  # records hold no cycles, and walking over a hundred thousand of them takes as long as reading them
    try:
        return _compare_and_show(request)
    finally:
        gc.enable()


def _compare_and_show(request: Request) -> int:
    found = _comparison(request)
    if request.as_json:
        print_json([*map(_row, found.changes), *map(_broken_row, found.broken)])
    elif request.markdown:
        stdout().print(Text(_markdown(found, request)), soft_wrap=True)
    else:
        stdout().print(_report(found, request))
    regressed = any(change.regressed(request.threshold) for change in found.changes)
    return 1 if regressed or found.broken else 0


def _comparison(request: Request) -> Comparison:
    folder = results_folder(request.results)
    base = records_named(request.base, folder, FIELDS)
    new = base if request.new == request.base else records_named(request.new, folder, FIELDS)
    beside: tuple[Sequence[Record], Sequence[Record]] = ((), ())
    if request.backend is not None:
        (base, new), beside = _as_one_backend(base, new, request.backend, request.against or request.backend)
    found = compare(base, new, request.threshold, beside)
    if not found.changes and not found.broken:
        raise NothingMeasuredError(_nothing(request, base, new, found))
    return found


_Sides = tuple[list[Record], list[Record]]


def _as_one_backend(base: Sequence[Record], new: Sequence[Record], backend: str, against: str) -> tuple[_Sides, _Sides]:
    """`backend` in the base and `against` in the new, as if they were one that changed, and the others of both sides.
    `*` stands for what they share: `*@old` and `*@new` are compared by what is before the @. Raises `BackendError` when
    only one has a `*`."""
    if backend.count("*") != against.count("*") or backend.count("*") > 1:
        raise BackendError(
            f"--backend is {backend!r} and --against is {against!r}; give two names, or two patterns with one * each, "
            "such as '*@old' and '*@new'."
        )
    found, others = [], []
    for side, pattern in ((base, backend), (new, against)):
        matches = re.compile("(.*)".join(map(re.escape, pattern.split("*")))).fullmatch
        known = {name: match for name in {r["backend"] for r in side} if (match := matches(name))}
        names = {name: match[1] if match.re.groups else backend for name, match in known.items()}
        found.append([r | {"backend": names[r["backend"]]} for r in side if r["backend"] in names])
        others.append([r for r in side if r["backend"] not in names])
    return (found[0], found[1]), (others[0], others[1])


def _nothing(request: Request, base: Sequence[Record], new: Sequence[Record], found: Comparison) -> str:
    of = f" of backend {request.backend}" if request.backend else ""
    of_new = f" of backend {request.against}" if request.against else of
    told = (
        f"nothing to compare: {request.base} has {len(base):,} records{of} and {request.new} {len(new):,}{of_new}, and "
        f"no suite, case, backend and number of threads is timed in both."
    )
    if found.told_apart_by:
        what = " and ".join(found.told_apart_by)
        told += f" There are records of more than one {what}, so each is compared with its own {what} alone."
    return told


def _row(change: Change) -> dict[str, Any]:
    return {
        "suite": change.suite,
        "case": change.case,
        "backend": change.backend,
        "base_s": change.base.get("median_s"),
        "new_s": change.new.get("median_s"),
        "ratio": change.ratio.value,
        "low": change.ratio.low,
        "high": change.ratio.high,
        "q_value": change.q_value,
        "verdict": str(change.verdict),
        "paired": change.paired,
        "drift": change.drift,
    }


def _broken_row(record: Record) -> dict[str, Any]:
    told = {"suite": str(record.get("suite", "")), "case": record["case"], "backend": record["backend"]}
    return told | {"verdict": "broken", "status": record["status"], "reason": record.get("reason")}


# --- for people -------------------------------------------------------------------------------------------------------


def _shown(changes: Sequence[Change]) -> list[Change]:
    """As many as a person reads, slowest first: those that changed most, then of the others the worst."""
    if len(changes) <= _SHOWN:
        return list(changes)
    changed = sorted((c for c in changes if c.changed), key=lambda c: -max(c.ratio.value, 1 / c.ratio.value))
    chosen = [*changed, *(c for c in changes if not c.changed)][:_SHOWN]
    return sorted(chosen, key=lambda c: -c.ratio.value)


_NAMES = ("verdict", "suite", "case", "backend")


def _table(changes: Sequence[Change]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers, those after the names of figures, and rows. The drift is told where that of any pair is known."""
    olds, news = (
        aligned([_median_ms(side) for side in sides]) for sides in ([c.base for c in changes], [c.new for c in changes])
    )
    intervals = interval_column(((c.ratio.low, c.ratio.high, c.ratio.covers) for c in changes), digits=4)
    with_drift = any(change.drift for change in changes)
    rows = []
    for c, old, new, interval in zip(changes, olds, news, intervals, strict=True):
        names = (str(c.verdict), printable(c.suite), printable(c.case), printable(c.backend))
        drift = (f"{c.drift:.3f}" if c.drift else "–",) if with_drift else ()
        rows.append((*names, old, new, *drift, f"{c.ratio.value:.3f}", interval))
    headers = (*_NAMES, "base ms", "new ms", *(("drift",) if with_drift else ()), "new/base", "95 % interval")
    return headers, rows


def _median_ms(record: Record) -> str:
    median_s = record.get("median_s")
    return milliseconds(median_s) if isinstance(median_s, (int, float)) else "–"


def _report(found: Comparison, request: Request) -> RenderableType:
    parts: list[RenderableType] = []
    changes = _shown(found.changes)
    if changes:
        headers, cells = _table(changes)
        rows: list[tuple[str | Text, ...]] = [
            (Text(told[0], style=_STYLES[change.verdict]), *told[1:])
            for change, told in zip(changes, cells, strict=True)
        ]
        parts += [plain_table(headers, rows, right=range(len(_NAMES), len(headers))), Text()]
    parts += [Text(f"broken: {told}", style="red") for told in map(printable, _broken(found))]
    return Group(*parts, Text(_sentence(found, request)))


def _markdown(found: Comparison, request: Request) -> str:
    changes = _shown(found.changes)
    headers, cells = _table(changes)
    table = [markdown_table(headers, cells, right=range(len(_NAMES), len(headers))), ""] if changes else []
    broken = [f"**broken**: {escaped(told)}\n" for told in _broken(found)]
    return "\n".join([*table, *broken, _sentence(found, request)])


def _broken(found: Comparison) -> list[str]:
    told = [
        f"{r['backend']} on {r['case']} was right and is now {r['status']}: {r.get('reason')}" for r in found.broken
    ]
    return [*told[:_SHOWN], f"{len(told) - _SHOWN:,} more"] if len(told) > _SHOWN else told


def _sentence(found: Comparison, request: Request) -> str:
    regressions = sum(change.regressed(request.threshold) for change in found.changes)
    counts = Counter(change.verdict for change in found.changes)
    told = ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in ChangeVerdict if counts[verdict])
    total = len(found.changes)
    sentence = f"{total:,} {'pair' if total == 1 else 'pairs'}: {told or 'none timed in both'}."
    if total and all(change.paired for change in found.changes):
        sentence += " Measured side by side, compared round by round."
    elif drifts := [math.log(change.drift) for change in found.changes if change.drift]:
        sentence += (
            " Measured in two runs: new/base is without the drift, by which the other libraries moved on the same case "
            f"({math.exp(fmean(drifts)):.3f} in the geometric mean)."
        )
    elif total:
        sentence += (
            " Measured in two runs: the intervals hold what the machine does by itself; side by side, or with other "
            "libraries in both runs, smaller changes would show."
        )
    if (mean := found.geometric_mean) is not None:
        sentence += f" Geometric mean new/base {mean:.3f}."
    sentence += f" {regressions:,} slower by more than {request.threshold:.0%}."
    if found.broken:
        sentence += f" {len(found.broken):,} broken."
    if total > _SHOWN:
        sentence += f" {_SHOWN} are shown, those that changed most; --json has all."
    if found.only_base or found.only_new:
        sentence += f" Not compared: {found.only_base:,} only in the base, {found.only_new:,} only in the new."
    return sentence
