"""The throughput of everything measured, as one page of HTML: no script, nothing loaded from elsewhere.

What comes from journals is text. The page's own policy forbids scripts besides, should that ever be broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from typing import Any, NamedTuple

from convbench.analysis.ranking import CaseRanking, RankedBackend, SuiteRanking, rank
from convbench.reporting.markdown import printable
from convbench.reporting.numbers import flops, interval_text, percent, significant
from convbench.status import Status
from convbench.store.readings import table
from convbench.store.schema import Record

FIELDS = (
    "suite", "case", "backend", "status", "reason", "median_s", "low_s", "high_s", "interval", "gflops", "time",
    "threads", "dtype", "case_id", "count", "layer", "flops", "commit", "session", "declared", "samples.round",
    "samples.wall_s", "samples.process", "settings.allocator", "settings.cache", "machine.machine", "machine.cpu",
    "machine.vector_isa", "machine.os",
)  # fmt: skip
"""What the page shows of a record."""


class _Conditions(NamedTuple):
    """What throughput depends on besides suite, case and backend."""

    machine: str
    threads: str
    allocator: str
    cache: str

    @classmethod
    def of(cls, record: Record) -> _Conditions:
        machine, settings = table(record, "machine"), table(record, "settings")
        name, allocator = machine.get("machine") or "a machine without a name", settings.get("allocator")
        cache = str(settings.get("cache") or "warm")
        return cls(str(name), str(record.get("threads") or 1), str(allocator or "steady"), cache)

    def order(self) -> tuple[str, int, str, str, bool]:
        """By machine, then threads, allocator and cache; warm caches first."""
        return self.machine, len(self.threads), self.threads, self.allocator, self.cache != "warm"


def summary_page(project: str, records: Iterable[Record], graphs: Mapping[str, str]) -> str:
    """The page. The last of several records of one pair counts; `graphs` are links to the history of suites."""
    by_conditions: dict[_Conditions, list[Record]] = {}
    for record in filter(_is_sound, records):
        by_conditions.setdefault(_Conditions.of(record), []).append(record)
    title = f"{_text(project)}: throughput"
    ordered = sorted(by_conditions, key=_Conditions.order)
    body = [f"<h1>{title}</h1>", _INTRODUCTION, *(_section(at, by_conditions[at], graphs) for at in ordered)]
    if not by_conditions:
        body.append("<p>There is no record yet.</p>")
    page, style = (files(__package__).joinpath(f"summary.{kind}").read_text("utf-8") for kind in ("html", "css"))
    return page.format(title=title, style=style, body="\n".join(body))


def _is_sound(record: Record) -> bool:
    """Whether its times are positive numbers, or it has no times."""
    times = [record.get(name) for name in ("median_s", "low_s", "high_s")]
    return times == [None] * 3 or all(isinstance(time, float) and time > 0 for time in times)


_INTRODUCTION = (
    "<p>GFLOP/s by the newest record of each suite, case and backend, above its 95 % interval [low, high], or the "
    "range (low … high) of too few samples for an interval. Two operations per multiply-accumulate; more is "
    "better. The deeper the green, the nearer to the fastest of the row. The fastest is underlined, and so are "
    'those level with it. <a href="index.html">History by commit (asv)</a></p>'
)


def _section(conditions: _Conditions, records: list[Record], graphs: Mapping[str, str]) -> str:
    machine = table(records[-1], "machine")
    parts = [machine.get("cpu"), machine.get("vector_isa"), machine.get("os")]
    parts += [f"{conditions.threads} thread{'s' if conditions.threads != '1' else ''}"]
    parts += [f"{conditions.allocator} allocator", f"{conditions.cache} cache" if conditions.cache != "warm" else ""]
    suites = [_suite(ranking, records, graphs) for ranking in rank(records)]
    facts = ", ".join(_text(fact) for fact in parts if fact)
    return "\n".join([f"<h2>{_text(conditions.machine)}</h2>", f"<p>{facts}</p>", *suites])


def _suite(ranking: SuiteRanking, records: Iterable[Record], graphs: Mapping[str, str]) -> str:
    own = [record for record in records if str(record.get("suite", "")) == ranking.suite]
    days = sorted({str(record.get("time"))[:10] for record in own if record.get("time")})
    commits = dict.fromkeys(str(record["commit"])[:8] for record in own if record.get("commit"))
    when = " to ".join(dict.fromkeys([*days[:1], *days[-1:]]))
    notes = [f"Measured {_text(when)}" if when else "Measured at an unknown time"]
    notes += [f"newest at commit <code>{_text(list(commits)[-1])}</code>"] if commits else []
    notes += [f'<a href="{escape(graphs[ranking.suite])}">history</a>'] if ranking.suite in graphs else []
    backends = [standing.backend for standing in ranking.standings]
    untimed = dict.fromkeys(
        record["backend"] for case in ranking.cases for record in case.untimed if _is_failure(record)
    )
    backends += [backend for backend in untimed if backend not in backends]
    header = "".join(f"<th>{_text(name)}</th>" for name in backends)
    rows = "\n".join(_row(case, backends) for case in ranking.cases)
    return (
        f"<h3>{_text(ranking.suite)}</h3>\n<p>{'; '.join(notes)}.</p>\n"
        f'<div class="scroll"><table>\n<thead><tr><th>case</th>{header}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _row(case: CaseRanking, backends: Iterable[str]) -> str:
    places = {place.record["backend"]: place for place in case.places}
    untimed = {record["backend"]: record for record in case.untimed}
    cells = [_time(places[name]) if name in places else _no_time(untimed.get(name)) for name in backends]
    record = case.places[0].record if case.places else case.untimed[0]
    work, layer = record.get("flops"), record.get("layer")
    details = (_text(layer or ""), flops(work) if isinstance(work, (int, float)) else "")
    below = ", ".join(filter(None, details))
    return f"<tr><th>{_text(case.case)}<small>{below}</small></th>{''.join(cells)}</tr>"


def _time(place: RankedBackend) -> str:
    record = place.record
    kind = "time best" if place.level else "time"
    low, high = (_gflops(record, end) for end in ("high_s", "low_s"))
    interval = interval_text(low, high, record.get("interval") != "range") if low and high else ""
    title = f"{percent(place.share)} % of the fastest"
    value = significant(_gflops(record, "median_s") or 0)
    attributes = f'class="{kind}" style="--share:{place.share:.3f}" title="{title}"'
    return f"<td {attributes}><b>{value}</b><small>{interval}</small></td>"


def _gflops(record: Record, seconds: str) -> float | None:
    work, time = record.get("flops"), record.get(seconds)
    return work / time / 1e9 if isinstance(work, (int, float)) and isinstance(time, (int, float)) and time > 0 else None


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
