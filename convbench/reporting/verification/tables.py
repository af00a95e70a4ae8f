"""What `convbench verify` found, for a terminal: a line per backend, then each cause of failures."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from convbench.reporting.tables import plain_table
from convbench.runner.verify.rows import Row
from convbench.runner.verify.verify import Verification
from convbench.status import Status

_STYLES = {Status.OK: "green", Status.WRONG: "bold red", Status.CRASHED: "bold red", Status.ERROR: "bold red"}
_MOST_OTHERS = 3
_ABSENT = (Status.UNAVAILABLE, Status.UNSUPPORTED)


def verification_report(verification: Verification, *, debug: bool = False) -> RenderableType:
    """All that a person sees at the end; with `debug` the frames of exceptions, too."""
    rows, is_whole = verification.rows, verification.request.is_whole
    present = [row for row in rows if row["status"] not in _ABSENT]
    parts: list[RenderableType] = []
    if present:
        parts += [Text(), _table(present, is_whole)]
    for row in present:
        parts += _failures(row, debug)
    if absent := [row for row in rows if row["status"] in _ABSENT]:
        parts += [Text(), Text("Left out:")]
        parts += [Text(f"  {row['backend']}: {row['reason']}", style="dim") for row in absent]
    return Group(*parts, Text(), _sentence(present, verification.request.accept_known))


def _table(rows: Sequence[Row], is_whole: bool) -> RenderableType:
    headers = ["backend", "verdict", "cases", *(["coverage", "searched"] if is_whole else []), "seconds", "error/bound"]
    last = len(headers) - 1
    cells = [_cells(row, is_whole) for row in rows]
    return plain_table(headers, cells, right=range(2, len(headers)), drops=(last, 3, 2))


def _cells(row: Row, is_whole: bool) -> list[str | Text]:
    verdict = Text(row["status"], style=_STYLES.get(Status(row["status"]), "yellow"))
    largest = row.get("max_error_over_bound")
    figures = [f"{row['cases']:,}"]
    figures += [_coverage(row), f"{row['searched']:,}"] if is_whole else []
    return [row["backend"], verdict, *figures, f"{row['seconds']:.1f}", "–" if largest is None else f"{largest:.2f}"]


def _coverage(row: Row) -> str:
    if row["coverage"] is None:
        return "–"
    share = row["coverage"]
    percent = "100 %" if share == 1 else f"{min(share * 100, 99.9):.1f} %"
    return f"{percent} of {row['combinations']:,}"


def _failures(row: Row, debug: bool) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if row["reason"] and row["status"] != Status.OUT_OF_MEMORY:
        parts += [Text(), Text(f"{row['backend']}: {row['reason']}", style="red")]
    for case in row.get("too_large", ()):
        parts += [
            Text(),
            Text(f"{row['backend']}: {case['case']} was not asked. It is {case['reason']}.", style="yellow"),
        ]
    for number, failure in enumerate(row["failures"], 1):
        heading = Text(f"{row['backend']}, cause {number} of {len(row['failures'])}: ", style="bold")
        flaky = failure.get("flaky")
        status = f"flaky ({failure['status']})" if flaky else failure["status"]
        heading.append(f"{status}, {failure['check']}", style="yellow" if flaky else "bold red")
        lines = [f"fails: {failure['failing']:,} of the questions asked"]
        lines += [f"flaky: fails in {flaky['failed']} of {flaky['asked'] + 1} fresh processes"] if flaky else []
        lines += [f"known: {failure['known']}"] if failure.get("known") else []
        lines += [f"only:  {failure['shared_by_failures']}"] if failure["shared_by_failures"] else []
        lines += [f"also:  {_listed(failure['also'])}"] if failure.get("also") else []
        lines += [
            f"case:  {failure['case']}",
            f"       {failure['reason']}",
            *(f"       {line}" for line in ((failure.get("traceback") or "") if debug else "").splitlines()),
            f"again: {failure['reproduce']}{'' if failure['reproduced'] else '  (passes in a fresh process)'}",
            *([f"report: {failure['report_file']}"] if "report_file" in failure else []),
        ]
        parts += [Text(), heading, Padding(Group(*(Text(line) for line in lines)), (0, 0, 0, 2), expand=False)]
    return parts


def _listed(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - _MOST_OTHERS} more" if len(cases) > _MOST_OTHERS else ""
    return ", ".join(cases[:_MOST_OTHERS]) + more


def _sentence(rows: Sequence[Row], accept_known: bool) -> Text:
    if not rows:
        return Text("Nothing could be verified.")
    questions = sum(row["cases"] + row["searched"] for row in rows)
    counts = f"{len(rows)} backend{'s' * (len(rows) > 1)}, {questions:,} question{'s' * (questions != 1)}: "
    wrong = [row for row in rows if row["status"] != Status.OK]
    if not wrong:
        return Text(counts + "every answer was right.", style="green")
    names = ", ".join(f"{row['backend']} (known)" if row.get("known") else row["backend"] for row in wrong)
    right = len(rows) - len(wrong)
    others = f", {right} {'is' if right == 1 else 'are'} right" if right else ""
    accepted = " Known wrong answers are accepted." if accept_known and any(row.get("known") for row in wrong) else ""
    return Text(f"{counts}{names} {'fails' if len(wrong) == 1 else 'fail'}{others}.{accepted}")
