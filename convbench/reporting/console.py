"""The tables and sentences of a run, for a terminal. What comes from elsewhere is text, never markup."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from convbench.analysis.backend_times import lower_precision
from convbench.analysis.ranking import CaseRanking, Place, Standing, SuiteRanking
from convbench.analysis.roofline import Limits
from convbench.reporting.case_table import CaseTable
from convbench.reporting.details_table import details_report
from convbench.reporting.limits import HEADING, limit_of_case, limit_sentences, share_cells
from convbench.reporting.numbers import aligned, flops, milliseconds, percent, significant
from convbench.stats.ratio import Ratio
from convbench.status import Status
from convbench.store.journal import JournalWarning, Record

_WIDTH_OF_A_FILE = 132

_STYLES = {
    Status.OK: "green",
    Status.WRONG: "bold red",
    Status.CRASHED: "bold red",
    Status.ERROR: "bold red",
    Status.TIMEOUT: "yellow",
    Status.OUT_OF_MEMORY: "yellow",
}


def plain_table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Iterable[int] = ()) -> Table:
    """A table of texts without lines but one under the header; the columns `right` are set flush right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    flush = set(right)
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index in flush else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table


def suite_report(ranking: SuiteRanking, limits: Limits | None = None, *, details: bool = False) -> RenderableType:
    """All that a person sees of one suite: its table, the standings, the closing sentence, what was left out.

    With the machine's `limits`, where they are known, the table has a column more; with `details`, another below it.
    """
    limits = limits or Limits(())
    parts: list[RenderableType] = [Text(f"Suite {ranking.suite}", style="bold"), Text()]
    if any(case.places for case in ranking.cases):
        parts += [times_table(ranking, limits), Text()]
        if details and (table := details_report(ranking)):
            parts += [table, Text()]
        if len(ranking.cases) > 1:
            parts += [_standings(ranking), Text()]
        parts += [closing(ranking)]
        if sentences := limit_sentences(ranking, limits):
            parts += [Text(), *sentences]
    if failures := _failures(ranking):
        parts += [Text(), failures]
    if left := _left_out(ranking):
        parts += [Text(), left]
    return Group(*parts)


def times_table(ranking: SuiteRanking, limits: Limits) -> CaseTable:
    """The times of a suite that has some. On a narrow terminal the last columns are left out."""
    places = [place for case in ranking.cases for place in case.places]
    return CaseTable(ranking, _columns(places, limits), partial(_case_heading, limits=limits), _marks)


def _marks(case: CaseRanking, place: Place) -> Text:
    """What stands behind a line: that it is level with the fastest, that it is computed in less than was asked for."""
    marks = Text(" level" if place.level and case.outright is None else "", style="green")
    precision = lower_precision(place.record)
    return marks.append(f" in {precision}", style="yellow") if precision else marks


def _columns(places: Sequence[Place], limits: Limits) -> dict[str, list[str]]:
    """The figures under their headings, the names left out."""
    records = [place.record for place in places]
    of_limit = share_cells(records, limits)
    first_answers = [milliseconds((r["prepare_s"] or 0) + (r["first_call_s"] or 0)) for r in records]
    errors = [r["max_error_over_bound"] for r in records]
    return {
        "median ms": aligned([milliseconds(place.median_s) for place in places]),
        "95 % interval ms": _intervals(records),
        "GFLOP/s": aligned([significant(r["gflops"] or 0) for r in records]),
        "% of fastest": aligned([percent(place.share) for place in places]),
        **({HEADING: of_limit} if of_limit else {}),
        **_energies(records),
        "first answer ms": aligned(first_answers),
        "error/bound": ["–" if error is None else f"{error:.0e}" for error in errors],
    }


def _energies(records: Sequence[Record]) -> dict[str, list[str]]:
    """Millijoules a call of the CPU packages, where the machine let them be read."""
    joules = [r.get("energy_j") for r in records]
    if not any(isinstance(one, float) for one in joules):
        return {}
    return {"mJ": aligned([significant(one * 1e3) if isinstance(one, float) else "–" for one in joules])}


def _intervals(records: Sequence[Record]) -> list[str]:
    """`low – high` for an interval, `low … high` for the range of samples too few to give one."""
    lows, highs = (aligned([milliseconds(r[end] or 0) for r in records]) for end in ("low_s", "high_s"))
    widest_low, widest_high = (max(map(len, ends), default=0) for ends in (lows, highs))
    texts = []
    for record, low, high in zip(records, lows, highs, strict=True):
        between = "…" if record.get("interval") == "range" else "–"
        one = between == "…" and record["low_s"] == record["high_s"]
        texts.append("one sample" if one else f"{low.rjust(widest_low)} {between} {high.rjust(widest_high)}")
    return texts


def _case_heading(case: CaseRanking, limits: Limits) -> Text:
    record = case.places[0].record if case.places else case.untimed[0]
    details: list[str] = [record["case_id"]] if record["case_id"] != case.case else []
    details += [layer] if (layer := record.get("layer")) else []
    details += [f"{record['count']} times"] if (record.get("count") or 1) > 1 else []
    details.append(flops(record["flops"]))
    details += [limit] if (limit := limit_of_case(case, limits)) else []
    return Text(case.case, style="cyan", no_wrap=True).append("  " + ", ".join(details), style="dim")


def _standings(ranking: SuiteRanking) -> Table:
    total = len(ranking.cases)
    weighted = any((place.record.get("count") or 1) > 1 for case in ranking.cases for place in case.places)
    headers = ["backend", "cases", "fastest in", "level in", "mean % of fastest"]
    headers += ["whole model ms"] if weighted else []
    rows = []
    totals = aligned([milliseconds(s.total_s) if s.cases == total else "–" for s in ranking.standings])
    for standing, total_ms in zip(ranking.standings, totals, strict=True):
        counts = (str(standing.cases), str(standing.outright or "–"), str(standing.level or "–"))
        row = [_named(standing), *counts, percent(standing.mean_share)]
        rows.append(row + ([total_ms] if weighted else []))
    return plain_table(headers, rows, right=range(1, len(headers)))


def closing(ranking: SuiteRanking) -> RenderableType:
    """The sentence that answers the question, and by how much the best is ahead of each other backend."""
    best, *others = ranking.standings
    leads = [(_named(other), ranking.lead(best.backend, other.backend)) for other in others]
    known = [(name, lead) for name, lead in leads if lead is not None]
    if not known:
        only = f" was the only backend timed, in {best.cases} of {len(ranking.cases)} cases."
        return Text().append(best.backend, style="bold green").append(only)
    sentence = Text().append(_named(best), style="bold green").append(" " + _claim(best, len(ranking.cases)))
    known.sort(key=lambda pair: pair[1].value)
    sentence.append("; its lead, as a geometric mean over the cases that both ran, with a 95 % interval:")
    values = [_with_x(value) for value in aligned([_times_text(lead.value) for _, lead in known])]
    rows = [(value, name, _interval(lead)) for value, (name, lead) in zip(values, known, strict=True)]
    widest = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [
        Text(f"  {value.rjust(widest[0])}  over {name.ljust(widest[1])}  ").append(interval, style="dim")
        for value, name, interval in rows
    ]
    return Group(sentence, *lines)


def _named(standing: Standing) -> str:
    return f"{standing.backend} (in {standing.precision})" if standing.precision else standing.backend


def _claim(best: Standing, cases: int) -> str:
    plural = "case" if cases == 1 else "cases"
    if best.outright and best.level:
        return f"was fastest in {best.outright} of {cases} {plural}, and level with the fastest in {best.level} more"
    if best.outright:
        return f"was fastest in {best.outright} of {cases} {plural}"
    return f"was level with the fastest in {best.level} of {cases} {plural}"


def _times_text(value: float) -> str:
    return f"{value:.2f}" if value < 10 else significant(value)


def _with_x(aligned_text: str) -> str:
    figure = aligned_text.rstrip()
    return figure + "x" + aligned_text[len(figure) :]


def _interval(lead: Ratio) -> str:
    span = f"[{_times_text(lead.low)}, {_times_text(lead.high)}]"
    if not lead.covers:
        return f"{span}, a range: too few samples for an interval"
    return f"{span}, which includes 1: level" if lead.includes_one else span


def _failures(ranking: SuiteRanking) -> RenderableType | None:
    """What is broken: one line per backend and reason."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for case in ranking.cases:
        for r in case.untimed:
            if Status(r["status"]).is_failure:
                grouped.setdefault((r["status"], r["backend"], _why(r)), []).append(r["case"])
    if not grouped:
        return None
    rows = [
        (
            Text(status, style=_STYLES[Status(status)]),
            backend,
            cases[0] if len(cases) == 1 else f"{cases[0]} and {len(cases) - 1} more",
            reason,
        )
        for (status, backend, reason), cases in grouped.items()
    ]
    return Group(Text("Broken", style="bold red"), plain_table(("status", "backend", "case", "reason"), rows))


def _left_out(ranking: SuiteRanking) -> RenderableType | None:
    """What was not timed though nothing is broken: one line per reason, with whom and how many cases it concerns."""
    grouped: dict[tuple[str, str], dict[str, int]] = {}
    for case in ranking.cases:
        for r in case.untimed:
            if not Status(r["status"]).is_failure:
                counts = grouped.setdefault((r["status"], _why(r)), {})
                counts[r["backend"]] = counts.get(r["backend"], 0) + 1
    if not grouped:
        return None
    rows = []
    for (status, reason), counts in grouped.items():
        cases = max(counts.values())
        scope = "every case" if cases == len(ranking.cases) else f"{cases} of {len(ranking.cases)} cases"
        rows.append((Text(status, style=_STYLES.get(Status(status), "dim")), ", ".join(counts), scope, reason))
    return Group(Text("Left out", style="bold"), plain_table(("status", "backends", "where", "why"), rows))


def _why(record: Record) -> str:
    return record["reason"] or Status(record["status"]).sentence


def outcome_cells(record: Record) -> tuple[Any, ...]:
    """A row of the live table."""
    status = Status(record["status"])
    told = Text(str(status), style=_STYLES.get(status, "dim"))
    if record["median_s"] is None:
        return (record["case"], record["backend"], told, "", "")
    return (
        record["case"],
        record["backend"],
        told,
        milliseconds(record["median_s"]),
        significant(record["gflops"] or 0),
    )


def print_json(rows: Iterable[Any]) -> None:
    """JSON lines on standard output, and nothing else there."""
    import json

    for row in rows:
        sys.stdout.write(json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n")


def stdout() -> Console:
    """Where answers go."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)


def stderr() -> Console:
    """Where progress, warnings and errors go."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDTH_OF_A_FILE)


def show_journal_warnings() -> None:
    """From now on, what a journal's reader warns of is a sentence on standard error."""
    warnings.simplefilter("always", JournalWarning)
    warnings.showwarning = _show_warning  # type: ignore[assignment]


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    if category is JournalWarning:
        stderr().print(Text(f"convbench: {message}"))
