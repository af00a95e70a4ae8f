"""The tables and sentences of one suite in a run. What comes from elsewhere is text, never markup."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.backend_times import lower_precision
from convbench.analysis.ranking import BackendScore, CaseRanking, RankedBackend, SuiteRanking
from convbench.analysis.roofline import COMPUTE, IMPLAUSIBLE, Limit, Limits, may_pass
from convbench.reporting.bars import WIDTH as BAR_WIDTH
from convbench.reporting.bars import bar
from convbench.reporting.console import spaced, status_style
from convbench.reporting.numbers import (
    aligned,
    count,
    duration,
    flops,
    in_columns,
    interval_column,
    interval_text,
    milliseconds,
    percent,
    significant,
    times,
)
from convbench.reporting.run.case_table import CaseTable
from convbench.reporting.run.details_table import details_report
from convbench.reporting.tables import plain_table
from convbench.reporting.terminal_text import printable
from convbench.stats.ratio import Ratio
from convbench.status import Status
from convbench.store.readings import implementation, number, table
from convbench.store.schema import Record

_MOST_ABSENT = 4
_BAR = "speed"
_HOW_ENDED = re.compile(r", (fused|[a-z0-9_ ]{1,40} apart)$", re.ASCII)
"""The end of an implementation, as `Ready.explain` has it for a problem with an epilogue."""
_LESS_IMPORTANT = (
    _BAR,
    "mJ",
    "error/bound",
    "first answer ms",
    "GFLOP/s",
    "epilogue",
    "% of limit",
    "% of fastest",
    "95 % interval ms",
)


def suite_report(
    ranking: SuiteRanking,
    limits: Limits | None = None,
    *,
    details: bool = False,
    whole: bool = True,
    reasons: bool = False,
    bars: bool = False,
) -> RenderableType:
    """The table of one suite, the standings, the closing sentence, and what was left out. The machine's `limits`, if
    known, add a column; `details` adds a second table. Unless `whole`, the cases are a part of the suite. With
    `reasons` it says of each backend that cannot run here why, and with `bars` shares of the fastest are bars, too."""
    limits = limits or Limits(())
    parts: list[RenderableType | None] = [Text(f"Suite {printable(ranking.suite)}", style="bold")]
    if places := [place for case in ranking.cases for place in case.timed]:
        heading = partial(_case_heading, limits=limits)
        parts += [CaseTable(ranking, _columns(places, limits, bars), heading, _marks, _LESS_IMPORTANT)]
        parts += [details_report(ranking) if details else None]
        parts += [
            _standings(ranking, whole, bars) if len(ranking.cases) > 1 else None,
            closing(ranking),
            _apart(ranking),
        ]
        sentences = _limit_sentences(ranking, limits)
        parts.append(Group(*sentences) if sentences else None)
    return spaced(*parts, _failures(ranking), _left_out(ranking, reasons=reasons or details))


def _marks(case: CaseRanking, place: RankedBackend) -> Text:
    """The words after a row: level with the fastest, or computed in a lower precision than the case's dtype."""
    marks = Text(" level" if place.level and case.outright is None else "", style="green")
    return marks.append(f" in {place.precision}", style="yellow") if place.precision else marks


def _columns(places: Sequence[RankedBackend], limits: Limits, bars: bool) -> dict[str, list[str]]:
    """The cells of each column after the names, by heading."""
    records = [place.record for place in places]
    first_answers = [milliseconds((r["prepare_s"] or 0) + (r["first_call_s"] or 0)) for r in records]
    errors = [r["max_error_over_bound"] for r in records]
    return {
        "median ms": aligned([milliseconds(place.median_s) for place in places]),
        "95 % interval ms": _intervals(records),
        "GFLOP/s": aligned([significant(r["gflops"] or 0) for r in records]),
        "% of fastest": aligned(["–" if math.isnan(place.share) else percent(place.share) for place in places]),
        **({_BAR: [bar(place.share).ljust(BAR_WIDTH) for place in places]} if bars else {}),
        **_epilogues(records),
        **_if_known("% of limit", [limits.share(r) for r in records], percent),
        **_if_known("mJ", [number(r, "energy_j") for r in records], lambda joules: significant(joules * 1e3)),
        "first answer ms": aligned(first_answers),
        "error/bound": ["–" if error is None else f"{error:.0e}" for error in errors],
    }


def _epilogues(records: Sequence[Record]) -> dict[str, list[str]]:
    """Whether each convolution has its epilogue fused, or what it computes apart, as its implementation says; no column
    where no problem has one, or no library tells."""
    if not any((r.get("problem") or {}).get("epilogue") for r in records):
        return {}
    ends = [_HOW_ENDED.search(implementation(r) or "") for r in records]
    return {"epilogue": [end[1] if end else "–" for end in ends]} if any(ends) else {}


def _if_known(heading: str, values: Sequence[float | None], shown: Callable[[float], str]) -> dict[str, list[str]]:
    cells = aligned(["–" if value is None else shown(value) for value in values])
    return {heading: cells} if any(value is not None for value in values) else {}


def _intervals(records: Sequence[Record]) -> list[str]:
    """The interval of each median; `one sample` when there is no more."""
    ends = [((r["low_s"] or 0) * 1e3, (r["high_s"] or 0) * 1e3, r.get("interval") != "range") for r in records]
    texts = interval_column(ends)
    return [
        "one sample" if low == high and not covers else t for (low, high, covers), t in zip(ends, texts, strict=True)
    ]


def _case_heading(case: CaseRanking, limits: Limits) -> Text:
    record = case.record
    details: list[str] = [case_id] if (case_id := record["case_id"]) and case_id != case.case else []
    details += [layer] if (layer := record.get("layer")) else []
    details += [f"{record['count']} times"] if (record.get("count") or 1) > 1 else []
    details += [flops(work)] if (work := record["flops"]) else []
    details += [limit] if (limit := _limit_of_case(case, limits)) else []
    return Text(case.case, style="cyan").append("  " + ", ".join(details), style="dim")


def _standings(ranking: SuiteRanking, whole: bool, bars: bool) -> RenderableType | None:
    if not ranking.standings:
        return None
    total = len(ranking.cases)
    weighted = any((place.record.get("count") or 1) > 1 for case in ranking.cases for place in case.places)
    headers = ["backend", "cases", "fastest in", "level in", "mean % of fastest"]
    headers += ["whole model ms" if whole else "these layers ms"] if weighted else []
    rows = []
    totals = aligned([milliseconds(s.total_s) if s.cases == total else "–" for s in ranking.standings])
    for standing, total_ms in zip(ranking.standings, totals, strict=True):
        counts = (str(standing.cases), str(standing.outright or "–"), str(standing.level or "–"))
        row = [_named(standing), *counts, percent(standing.mean_share)]
        row += [total_ms] if weighted else []
        rows.append(row + ([bar(standing.mean_share)] if bars else []))
    numbers = range(1, len(headers))
    headers += [_BAR] if bars else []
    return plain_table(headers, rows, right=numbers, drops=([len(numbers) + 1] if bars else []) + [3, 1])


_RANGES = Text("In parentheses are ranges: there are too few samples for an interval.", style="dim")


def closing(ranking: SuiteRanking) -> RenderableType:
    """Which backend was the fastest, and how much longer each other backend takes."""
    if not ranking.standings:
        return Text("No backend is ranked.", style="bold")
    best, *others = ranking.standings
    ratios = [(_named(other), ranking.lead(best.backend, other.backend)) for other in others]
    known = sorted(((name, ratio) for name, ratio in ratios if ratio is not None), key=lambda pair: pair[1].value)
    if not known:
        only = f" was the only backend timed, in {best.cases} of {len(ranking.cases)} cases."
        return Text().append(_named(best), style="bold green").append(only)
    sentence = Text().append(_named(best), style="bold green").append(f" {_claim(best, ranking)}")
    sentence.append(". The others take so many times as long, as a geometric mean over the cases that both ran:")
    values = aligned([times(ratio.value) for _, ratio in known])
    lines = in_columns([(value, name) for value, (name, _) in zip(values, known, strict=True)], (0,), gap="  ")
    width = max(map(len, lines))
    intervals = [Text(f"  {_interval(ratio)}", style="dim") for _, ratio in known]
    table = [Text(line.ljust(width)) + text for line, text in zip(lines, intervals, strict=True)]
    return Group(sentence, *table, *([] if all(ratio.covers for _, ratio in known) else [_RANGES]))


def _named(standing: BackendScore) -> str:
    return printable(f"{standing.backend} (in {standing.precision})" if standing.precision else standing.backend)


def _claim(best: BackendScore, ranking: SuiteRanking) -> str:
    timed = ranking.timed_cases
    scope = f"of {count(timed, 'case')}" + (_timed_words(timed) if timed < len(ranking.cases) else "")
    scope += f" (it ran {best.cases})" if best.cases < timed else ""
    if not best.outright:
        return f"was level with the fastest in {best.level} {scope}"
    more = f", and level with the fastest in {best.level} more" if best.level else ""
    return f"was fastest in {best.outright} {scope}{more}"


def _timed_words(cases: int) -> str:
    return " that was timed" if cases == 1 else " that were timed"


def _interval(ratio: Ratio) -> str:
    span = interval_text(ratio.low, ratio.high, ratio.covers)
    if not ratio.covers:
        return span
    if ratio.includes_one:
        return f"{span}: level"
    return f"{span}, faster over these cases" if ratio.value < 1 else span


def _apart(ranking: SuiteRanking) -> RenderableType | None:
    """Which backends are not ranked because they compute in less than was asked for."""
    if not ranking.apart:
        return None
    names = ", ".join(f"{name} (in {precision})" for name, precision in ranking.apart.items())
    why = "computes in less precision than the dtype; --lower-precision ranks it, too"
    return Text(f"Not ranked: {names} {why}." if len(ranking.apart) == 1 else f"Not ranked: {names}: each {why}.")


def _failures(ranking: SuiteRanking) -> RenderableType | None:
    """The failures, one line per backend and reason."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for r in (r for case in ranking.cases for r in case.untimed if Status(r["status"]).is_failure):
        grouped.setdefault((r["status"], r["backend"], _why(r)), []).append(r["case"])
    if not grouped:
        return None
    rows = []
    for (status, backend, reason), cases in grouped.items():
        more = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
        rows.append((Text(status, style=status_style(status)), backend, cases[0] + more, reason))
    table = plain_table(("status", "backend", "case", "reason"), rows, wraps=(3,), drops=(2,))
    return Group(Text("Broken", style="bold red"), table)


def _left_out(ranking: SuiteRanking, *, reasons: bool) -> RenderableType | None:
    """What was not timed although nothing is broken: one line per reason, with its backends and number of cases, and
    one for all that cannot run here unless their `reasons` are asked for."""
    grouped: dict[tuple[str, str], Counter[str]] = {}
    absent: dict[str, None] = {}
    for r in (r for case in ranking.cases for r in case.untimed if not Status(r["status"]).is_failure):
        if r["status"] == Status.UNAVAILABLE and not reasons:
            absent[r["backend"]] = None
        else:
            grouped.setdefault((r["status"], _why(r)), Counter())[r["backend"]] += 1
    line = Text(absent_sentence(list(absent)), style="dim") if absent else None
    if not grouped:
        return line
    rows = []
    for (status, reason), counts in grouped.items():
        cases = max(counts.values())
        scope = "every case" if cases == len(ranking.cases) else f"{cases} of {len(ranking.cases)} cases"
        rows.append((Text(status, style=status_style(status)), ", ".join(counts), scope, reason))
    table = plain_table(("status", "backends", "where", "why"), rows, wraps=(1, 3), drops=(2,))
    return Group(Text("Left out", style="bold"), table, *([Text(), line] if line else []))


def absent_sentence(backends: Sequence[str]) -> str:
    """One line for all `backends` that cannot run here."""
    names = [*backends[:_MOST_ABSENT], *(["..."] if len(backends) > _MOST_ABSENT else [])]
    return f"{count(len(backends), 'backend')} cannot run here ({', '.join(names)}); convbench backends says why."


def _why(record: Record) -> str:
    return record["reason"] or Status(record["status"]).sentence


# --- the limits of the machine ----------------------------------------------------------------------------------------


def _limit_of_case(case: CaseRanking, limits: Limits) -> str | None:
    """The least time that a case can take here in its dtype, and the bound that sets it."""
    records = [place.record for place in case.timed]
    plain = next((record for record in records if lower_precision(record) is None), None)
    if plain is None or (limit := limits.of(plain)) is None:
        return None
    bound = limit.bound if limit.bound in (COMPUTE, "memory") else f"{limit.bound} bandwidth"
    return f"limit {duration(limit.seconds)} ({bound})"


def _limit_sentences(ranking: SuiteRanking, limits: Limits) -> list[Text]:
    """Which backend came nearest to the limit, which kinds may pass it, what was assumed, and the doubtful times."""
    judged = list(_judged(ranking, limits))
    believed = [
        j for j in judged if j[0] <= IMPLAUSIBLE and not (may_pass(table(j[1], "declared")) or lower_precision(j[1]))
    ]
    sentences = []
    if believed:
        share, record, limit = max(believed, key=itemgetter(0))
        came = f" came nearest to what this machine can do: {percent(share)} % of it, {limit.bound}-bound, on "
        sentences.append(Text(record["backend"], style="bold").append(came).append(f"{record['case']}."))
    if any(share > 1 and may_pass(table(record, "declared")) for share, record, _ in judged):
        sentences.append(Text("Winograd and FFT multiply less often than is counted, and may pass 100 % of the limit."))
    assumed = dict.fromkeys(limit.assumed for _, _, limit in judged if limit.assumed)
    sentences += [Text(f"In % of limit, {assumption}.") for assumption in assumed]
    return sentences + doubts(ranking, limits)


def doubts(ranking: SuiteRanking, limits: Limits) -> list[Text]:
    """A warning for each backend that declares a direct computation and is faster than any can be."""
    worst: dict[str, tuple[float, Record]] = {}
    for share, record, _ in _judged(ranking, limits):
        if not may_pass(table(record, "declared")) and share > worst.get(record["backend"], (IMPLAUSIBLE,))[0]:
            worst[record["backend"]] = share, record
    return [Text(_doubt(share, record, limits), style="bold yellow") for share, record in worst.values()]


def _doubt(share: float, record: Record, limits: Limits) -> str:
    where = f"{record['backend']} on {record['case']} is {share:.1f} times as fast as"
    if (dtype := limits.undeclared(record)) is not None:
        operand = table(record, "declared")["operand"]
        return (
            f"{where} this machine can be in {operand}, which it declares to compute in: on this CPU it may compute in "
            f"{dtype}. See convbench verify --backend {record['backend']}."
        )
    return (
        f"{where} this machine can be: does the backend wait for its work to end (sync)? If so, convbench machine "
        "--measure when the machine is idle."
    )


def _judged(ranking: SuiteRanking, limits: Limits) -> Iterator[tuple[float, Record, Limit]]:
    for case in ranking.cases:
        for place in case.timed:
            if (limit := limits.of(place.record)) is not None:
                yield limit.share(place.median_s), place.record, limit
