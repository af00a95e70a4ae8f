"""What a bisection found, for a terminal and as rows."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.reporting.console import print_json
from convbench.reporting.numbers import count, duration, interval_text, milliseconds
from convbench.reporting.tables import plain_table
from convbench.reporting.terminal_text import printable
from convbench.runner.bisect.finding import Bisected, Finding, Side
from convbench.stats.ratio import Ratio
from convbench.status import Status

_RIGHT = str(Status.OK)


def print_rows(result: Bisected) -> None:
    """Print the rows as JSON lines on standard output."""
    print_json(result.rows())


def bisection_report(result: Bisected) -> RenderableType:
    """What was looked at, what was found, and how much it took."""
    cells = [(look.label, look.result, look.sentence) for look in result.looks]
    parts: list[RenderableType] = [plain_table((result.word, "", ""), cells, wraps=(2,)), Text()] if cells else []
    for finding in result.findings:
        parts += [_report(finding, result), Text()]
    if result.conclusion:
        parts += [Text(printable(result.conclusion)), Text()]
    effort = f"{count(result.environments, 'environment')} for {count(result.members, result.word)}"
    kept = f"; the log is {result.log}" if result.log else ""
    return Group(*parts, Text(printable(f"{effort}, {duration(result.elapsed_s)}{kept}")))


def _report(finding: Finding, result: Bisected) -> RenderableType:
    heading = Text(printable(_heading(finding, result)), style=_style(finding))
    return Group(heading, *(Text(f"  {name:<16}{printable(text)}") for name, text in _lines(finding)))


def _style(finding: Finding) -> str:
    if finding.kind == "further":
        return "dim"
    return "bold green" if finding.ratio is not None and finding.ratio.value < 1 else "bold red"


def _heading(finding: Finding, result: Bisected) -> str:
    before, after = finding.before, finding.after
    ends = f"{result.library} {before.label} and {after.label}"
    if finding.kind == "undecided":
        return f"A step lies between {ends}, and no {result.word} can be blamed for it beyond doubt."
    is_range = bool(finding.skipped or finding.untried)
    further = "A further change: " if finding.kind == "further" else ""
    if is_range:
        return f"{further}{_changed(finding)} between {ends}"
    when = f", of {after.date}" if after.date else ""
    return f"{further}{result.library} {after.label}{when}, {_changed(finding)}"


def _changed(finding: Finding) -> str:
    if finding.ratio is not None:
        if finding.ratio.value < 1:
            return f"made it {_times(finding.ratio.inverse())} faster"
        return f"made it {_times(finding.ratio)} slower"
    if (finding.after.answer or "").split(" ")[0] == _RIGHT:
        return "made it right"
    first = finding.before.answer == _RIGHT
    return "made it wrong" if first else "changed how it fails"


def _times(ratio: Ratio) -> str:
    return f"{ratio.value:.3f} times {interval_text(ratio.low, ratio.high, ratio.covers)}"


def _lines(finding: Finding) -> Iterator[tuple[str, str]]:
    before, after = finding.before, finding.after
    for side in (before, after):
        if text := ", ".join(_about(side)):
            yield side.label, text
    for label, reason in finding.skipped:
        yield "skipped", f"{label}: {reason}"
    if finding.untried:
        yield "not decided", count(finding.untried, "more between them", "more between them")
    if before.implementation or after.implementation:
        yield "implementation", f"{before.implementation or 'unknown'} -> {after.implementation or 'unknown'}"
    for name in sorted({*before.bundled, *after.bundled}):
        yield f"bundled {name}", f"{before.bundled.get(name, 'none')} -> {after.bundled.get(name, 'none')}"
    if finding.changelog:
        yield "changelog", finding.changelog


def _about(side: Side) -> Iterator[str]:
    if side.date:
        yield side.date
    if side.subject:
        yield side.subject
    if side.answer:
        yield "right" if side.answer == _RIGHT else side.answer
    if side.median_s is not None:
        yield f"{milliseconds(side.median_s)} ms"
