"""The throughput of everything measured, as one page of HTML: no script, nothing loaded from elsewhere.

What comes from journals is text. The page's own policy forbids scripts besides, should that ever be broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from typing import Any

from convbench.analysis.ranking import CaseRanking, RankedBackend, SuiteRanking, rank
from convbench.reporting.numbers import flops, interval_text, percent, significant
from convbench.reporting.terminal_text import printable
from convbench.status import Status
from convbench.store.readings import cache_of, has_interval, number, table
from convbench.store.schema import Record

FIELDS = (
    "suite", "case", "backend", "status", "reason", "median_s", "low_s", "high_s", "interval", "gflops", "time",
    "threads", "dtype", "case_id", "count", "layer", "flops", "commit", "session", "declared", "samples.round",
    "samples.wall_s", "samples.process", "settings.allocator", "settings.cache", "settings.pass_bytes",
    "machine.machine", "machine.cpu", "machine.vector_isa", "machine.os",
)  # fmt: skip
"""What the page shows of a record."""


_Conditions = tuple[str, str, str, str]
"""What throughput depends on besides suite, case and backend: machine, threads, allocator and cache."""


def summary_page(project: str, records: Iterable[Record], graphs: Mapping[str, str]) -> str:
    """The page. The last of several records of one pair counts; `graphs` are links to the history of suites."""
    by_conditions: dict[_Conditions, list[Record]] = {}
    for record in filter(_is_sound, records):
        by_conditions.setdefault(_conditions(record), []).append(record)
    sections = [_section(at, by_conditions[at], graphs) for at in sorted(by_conditions, key=_order)]
    body = "\n".join(sections or ["<p>There is no record yet.</p>"])
    page, style = (files(__package__).joinpath(f"summary.{kind}").read_text("utf-8") for kind in ("html", "css"))
    return page.format(title=f"{_text(project)}: throughput", style=style, body=body)


def _conditions(record: Record) -> _Conditions:
    machine, settings = table(record, "machine"), table(record, "settings")
    name, allocator = machine.get("machine") or "a machine without a name", settings.get("allocator") or "steady"
    return str(name), str(record.get("threads") or 1), str(allocator), cache_of(record)


def _order(conditions: _Conditions) -> tuple[str, int, str, str, bool]:
    """By machine, then threads, allocator and cache; warm caches first."""
    machine, threads, allocator, cache = conditions
    return machine, len(threads), threads, allocator, cache != "warm"


def _is_sound(record: Record) -> bool:
    """Whether its times are positive numbers, or it has no times."""
    times = [record.get(name) for name in ("median_s", "low_s", "high_s")]
    return times == [None] * 3 or all(isinstance(time, float) and time > 0 for time in times)


def _section(conditions: _Conditions, records: list[Record], graphs: Mapping[str, str]) -> str:
    name, threads, allocator, cache = conditions
    machine = table(records[-1], "machine")
    parts = [machine.get("cpu"), machine.get("vector_isa"), machine.get("os")]
    parts += [f"{threads} thread{'s' if threads != '1' else ''}", f"{allocator} allocator"]
    parts += [f"{cache} cache"] if cache != "warm" else []
    suites = [_suite(ranking, records, graphs) for ranking in rank(records)]
    facts = ", ".join(_text(fact) for fact in parts if fact)
    return "\n".join([f"<h2>{_text(name)}</h2>", f"<p>{facts}</p>", *suites])


def _suite(ranking: SuiteRanking, records: Iterable[Record], graphs: Mapping[str, str]) -> str:
    own = [record for record in records if str(record.get("suite", "")) == ranking.suite]
    days = sorted({str(record.get("time"))[:10] for record in own if record.get("time")})
    commits = dict.fromkeys(str(record["commit"])[:8] for record in own if record.get("commit"))
    when = " to ".join(dict.fromkeys([*days[:1], *days[-1:]]))
    notes = [f"Measured {_text(when)}" if when else "Measured at an unknown time"]
    notes += [f"newest at commit <code>{_text(list(commits)[-1])}</code>"] if commits else []
    notes += [f'<a href="{escape(graphs[ranking.suite])}">history</a>'] if ranking.suite in graphs else []
    failed = [record["backend"] for case in ranking.cases for record in case.untimed if _is_failure(record)]
    backends = list(dict.fromkeys([*(standing.backend for standing in ranking.standings), *ranking.apart, *failed]))
    header = "".join(f"<th>{_text(name)}</th>" for name in backends)
    rows = "\n".join(_row(case, backends) for case in ranking.cases)
    return (
        f"<h3>{_text(ranking.suite)}</h3>\n<p>{'; '.join(notes)}.</p>\n"
        f'<div class="scroll"><table>\n<thead><tr><th>case</th>{header}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _row(case: CaseRanking, backends: Iterable[str]) -> str:
    places = {place.record["backend"]: place for place in case.timed}
    untimed = {record["backend"]: record for record in case.untimed}
    cells = [_time(places[name]) if name in places else _no_time(untimed.get(name)) for name in backends]
    record = case.record
    work = number(record, "flops")
    below = ", ".join(filter(None, (_text(record.get("layer") or ""), "" if work is None else flops(work))))
    return f"<tr><th>{_text(case.case)}<small>{below}</small></th>{''.join(cells)}</tr>"


def _time(place: RankedBackend) -> str:
    record = place.record
    kind = "time apart" if place.precision else "time best" if place.level else "time"
    low, high = (_gflops(record, end) for end in ("high_s", "low_s"))
    interval = interval_text(low, high, has_interval(record)) if low and high else ""
    title, mark, share = f"{percent(place.share)} % of the fastest", "", place.share
    if place.precision:
        title, mark, share = f"computes in {place.precision}: not ranked", f"<small>in {place.precision}</small>", 0.0
    value = significant(_gflops(record, "median_s") or 0)
    attributes = f'class="{kind}" style="--share:{share:.3f}" title="{title}"'
    return f"<td {attributes}><b>{value}</b>{mark}<small>{interval}</small></td>"


def _gflops(record: Record, seconds: str) -> float | None:
    work, time = number(record, "flops"), number(record, seconds)
    return work / time / 1e9 if work is not None and time is not None and time > 0 else None


def _no_time(record: Record | None) -> str:
    if record is None:
        return '<td class="none"></td>'
    kind, word = ("bad", record["status"]) if _is_failure(record) else ("none", "–")
    return f'<td class="{kind}" title="{_text(record.get("reason") or record["status"])}">{_text(word)}</td>'


def _is_failure(record: Record) -> bool:
    return record["status"] in {str(status) for status in Status if status.is_failure}


def _text(value: Any) -> str:
    """`value` as text of the page: neither markup nor an attribute's end, without characters that cannot be seen."""
    return escape(printable(" ".join(str(value).split())), quote=True)
