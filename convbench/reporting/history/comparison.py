"""What a person sees of a comparison: a table, worst first, and what follows from it; for a terminal or in Markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.backend_times import lower_precision
from convbench.analysis.comparison import Again, Change, ChangeVerdict, Comparison
from convbench.reporting.history.implementations import in_words, sentence
from convbench.reporting.markdown import escaped, markdown_table
from convbench.reporting.numbers import aligned, count, interval_column, milliseconds
from convbench.reporting.tables import plain_table
from convbench.reporting.terminal_text import printable
from convbench.store.readings import number
from convbench.store.schema import Record

_STYLES = {
    ChangeVerdict.SLOWER: "bold red",
    ChangeVerdict.FASTER: "bold green",
    ChangeVerdict.SAME: "dim",
    ChangeVerdict.UNCLEAR: "yellow",
}
_MOST_SHOWN = 100
_INTERVAL = "95 % interval"


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each pair, slowest first, then one for each pair that is broken now; JSON-ready, times in seconds."""
    names = ("case", "backend", "status", "reason")
    broken = [
        {"suite": str(record.get("suite", "")), "verdict": "broken"} | {name: record.get(name) for name in names}
        for record in comparison.broken
    ]
    return [*map(_row, comparison.changes), *broken]


def report(comparison: Comparison, threshold: float) -> RenderableType:
    """The table for a terminal, what is broken, and the closing sentences."""
    parts: list[RenderableType] = []
    if changes := _shown(comparison.changes):
        headers, cells = _table(changes)
        styled: list[tuple[str | Text, ...]] = [
            (Text(verdict, style=_STYLES[change.verdict]), *others)
            for change, (verdict, *others) in zip(changes, cells, strict=True)
        ]
        interval = headers.index(_INTERVAL)
        drops = (1, *range(interval + 1, len(headers)), interval, 4, 5)
        parts += [plain_table(headers, styled, right=range(4, interval + 1), drops=drops), Text()]
    parts += [Text(f"broken: {printable(line)}", style="red") for line in _broken(comparison)]
    return Group(*parts, Text(printable(_closing(comparison, threshold))))


def markdown(comparison: Comparison, threshold: float) -> str:
    """The same for a comment on GitHub."""
    parts: list[str] = []
    if changes := _shown(comparison.changes):
        headers, cells = _table(changes)
        parts += [markdown_table(headers, cells, right=range(4, headers.index(_INTERVAL) + 1)), ""]
    parts += [f"**broken**: {escaped(line)}\n" for line in _broken(comparison)]
    return "\n".join([*parts, printable(_closing(comparison, threshold, escaped))])


@dataclass(frozen=True)
class ComparisonTexts:
    """A comparison in texts, for a page: the pairs that a person reads, what is broken, and what follows."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The first cell is the verdict."""
    broken: Sequence[str]
    closing: str


def texts(comparison: Comparison, threshold: float) -> ComparisonTexts:
    """The same for a page."""
    changes = _shown(comparison.changes)
    headers, cells = _table(changes) if changes else ((), [])
    return ComparisonTexts(headers, cells, _broken(comparison), _closing(comparison, threshold))


def _row(change: Change) -> dict[str, Any]:
    return {
        **{name: getattr(change, name) for name in ("suite", "case", "backend", "q_value", "paired", "drift")},
        "base_s": change.base.get("median_s"),
        "new_s": change.new.get("median_s"),
        "ratio": change.ratio.value,
        "low": change.ratio.low,
        "high": change.ratio.high,
        "verdict": str(change.verdict),
        "base_implementation": change.implementations[0],
        "new_implementation": change.implementations[1],
    } | ({} if change.again is None else {"again": _again_row(change.again)})


def _again_row(again: Again) -> dict[str, Any]:
    ratio = {name: getattr(again.ratio, name) for name in ("low", "high")}
    return {"holds": again.holds, "side_by_side": again.side_by_side, "ratio": again.ratio.value, **ratio} | {
        "own_ratio": again.own_ratio
    }


def _shown(changes: Sequence[Change]) -> list[Change]:
    """As many pairs as a person reads, slowest first: those that changed most, then the worst of the others."""
    if len(changes) <= _MOST_SHOWN:
        return list(changes)
    changed = sorted((c for c in changes if c.changed), key=lambda c: -max(c.ratio.value, 1 / c.ratio.value))
    chosen = [*changed, *(c for c in changes if not c.changed)][:_MOST_SHOWN]
    return sorted(chosen, key=lambda c: -c.ratio.value)


def _table(changes: Sequence[Change]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers and rows: the names, then the numbers. The drift has a column if it is known for any pair."""
    base_ms = aligned([_median_ms(change.base) for change in changes])
    new_ms = aligned([_median_ms(change.new) for change in changes])
    intervals = interval_column(((c.ratio.low, c.ratio.high, c.ratio.covers) for c in changes), digits=4)
    with_drift = any(change.drift for change in changes)
    kernels = [in_words(change.implementations) for change in changes]
    cells = []
    for c, base, new, interval, kernel in zip(changes, base_ms, new_ms, intervals, kernels, strict=True):
        names = (str(c.verdict), printable(c.suite), printable(c.case), printable(_named(c)))
        drift = (f"{c.drift:.3f}" if c.drift else "–",) if with_drift else ()
        last = (kernel or "–",) if any(kernels) else ()
        cells.append((*names, base, new, *drift, f"{c.ratio.value:.3f}", interval, *last))
    headers = ("verdict", "suite", "case", "backend", "base ms", "new ms", "new/base", _INTERVAL)
    kernel_header = ("implementation",) if any(kernels) else ()
    return (*headers[:6], *(("drift",) if with_drift else ()), *headers[6:], *kernel_header), cells


def _named(change: Change) -> str:
    """The backend, with the precision that it computes in now if that is lower than the dtype."""
    precision = lower_precision(change.new)
    return f"{change.backend} (in {precision})" if precision else change.backend


def _median_ms(record: Record) -> str:
    median_s = number(record, "median_s")
    return "–" if median_s is None else milliseconds(median_s)


def _broken(comparison: Comparison) -> list[str]:
    sentences = [
        f"{r['backend']} on {r['case']} was right and is now {r['status']}: {r.get('reason')}"
        for r in comparison.broken
    ]
    more = len(sentences) - _MOST_SHOWN
    return [*sentences[:_MOST_SHOWN], f"{more:,} more"] if more > 0 else sentences


def _closing(comparison: Comparison, threshold: float, quoted: Callable[[str], str] = str) -> str:
    """How many pairs changed, how they were measured, and what was left out. `quoted` shows what is from a journal."""
    changes = comparison.changes
    verdicts = Counter(change.verdict for change in changes)
    counts = ", ".join(f"{verdicts[verdict]:,} {verdict}" for verdict in ChangeVerdict if verdicts[verdict])
    sentences = [f"{count(len(changes), 'pair')}: {counts or 'none timed in both'}.", *_how_measured(changes)]
    sentences += _confirmations([change for change in changes if change.again is not None])
    if (mean := comparison.geometric_mean) is not None:
        sentences.append(f"Geometric mean new/base {mean:.3f}.")
    sentences.append(f"{len(comparison.regressions(threshold)):,} slower by more than {threshold:.0%}.")
    if kernels := sentence((f"{c.backend} on {c.case}", c.implementations) for c in changes):
        sentences.append(quoted(kernels))
    if comparison.broken:
        sentences.append(f"{len(comparison.broken):,} broken.")
    if len(changes) > _MOST_SHOWN:
        sentences.append(f"{_MOST_SHOWN} are shown, those that changed most; --json has all.")
    base, new = comparison.only_base, comparison.only_new
    if base or new:
        sentences.append(f"Not compared: {base:,} only in the base, {new:,} only in the new.")
    return " ".join([*sentences, *filter(None, [machines_sentence(comparison)])])


def _confirmations(changes: Sequence[Change]) -> list[str]:
    """What was measured again, and what came of it."""
    if not changes:
        return []
    again = [change.again for change in changes if change.again is not None]
    lost = [change for change in changes if change.again is not None and not change.again.holds]
    sentences = [
        f"{count(len(again), 'pair')} seemed slower and {'was' if len(again) == 1 else 'were'} measured again:"
    ]
    sentences[0] += f" {len(again) - len(lost):,} slower again, {len(lost):,} not."
    sentences += [
        f"{_named(change)} on {change.case} was {change.ratio.value:.3f} and is {_again_text(change)}."
        for change in lost[:_MOST_SHOWN]
    ]
    if own := [math.log(each.own_ratio) for each in again if each.own_ratio and not each.side_by_side]:
        drift = math.exp(fmean(own))
        sentences.append(f"The new ones alone were measured again: they took {drift:.3f} times their earlier times.")
    return sentences


def _again_text(change: Change) -> str:
    again = change.again
    if again is None:
        return "unknown"
    return f"{again.ratio.value:.3f} [{again.ratio.low:.3f}, {again.ratio.high:.3f}]"


def machines_sentence(comparison: Comparison) -> str:
    """Which machines pairs were measured on, if their hardware differs; empty if it does not."""
    if not comparison.machines:
        return ""
    pairs = " and ".join(f"the base on {base}, the new on {new}" for base, new in comparison.machines[:3])
    if comparison.not_compared:
        number = count(comparison.not_compared, "pair")
        return (
            f"{number} {'was' if comparison.not_compared == 1 else 'were'} measured on different hardware and not "
            f"compared: {pairs}. To compare the machines as well, type --across-machines."
        )
    return f"Measured on different hardware, {pairs}: what differs may be the machines."


def _how_measured(changes: Sequence[Change]) -> list[str]:
    if not changes:
        return []
    if all(change.paired for change in changes):
        return ["Measured side by side, compared round by round."]
    if drifts := [math.log(change.drift) for change in changes if change.drift]:
        return [
            "Measured in two runs: new/base is without the drift, by which the other libraries moved on the same case "
            f"({math.exp(fmean(drifts)):.3f} in the geometric mean)."
        ]
    return [
        "Measured in two runs: the intervals hold what the machine does by itself; side by side, or with other "
        "libraries in both runs, smaller changes would show."
    ]
