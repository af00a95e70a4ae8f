"""The page of a report, put together: one file that loads nothing, in which whatever comes from a file is text.

The data lie in the page as JSON. The policy in its head forbids every request and every script but the page's own,
which are named by their hashes. Vega's expressions are interpreted: the policy does not let them be compiled.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from convbench.analysis.comparison import Comparison
from convbench.analysis.ranking import SuiteRanking
from convbench.analysis.roofline import Limits
from convbench.installation import VERSION
from convbench.measurement.ceilings.figures import Ceilings
from convbench.reporting.console import plain_text
from convbench.reporting.hazards import hazard_report
from convbench.reporting.history.comparison import report as comparison_report
from convbench.reporting.page.datasets import datasets
from convbench.reporting.page.rows import Group, Row, groups_of, is_failure, rows_of
from convbench.reporting.run.report import own_error_sentence
from convbench.reporting.run.suite_tables import closing
from convbench.store.readings import table
from convbench.store.schema import Record

_WIDTH = 100


@dataclass(frozen=True)
class Report:
    """What a page shows: records, what the machines can do at most, rows of `convbench verify --json`, and in compare
    mode what changed, with the names of both sides and the threshold of a regression."""

    title: str
    records: Sequence[Record]
    ceilings: Sequence[Ceilings] = ()
    verified: Sequence[Mapping[str, Any]] = ()
    comparison: Comparison | None = None
    sides: tuple[str, str] = ("", "")
    threshold: float = 0.05
    links: Mapping[str, str] = field(default_factory=dict)
    """Pages beside this one: addresses by what they are called."""


def page_of(report: Report) -> tuple[str, bool]:
    """The page, and whether it has figures: they need the extra `report`."""
    from jinja2 import Environment, PackageLoader

    groups = groups_of(report.records)
    rows = rows_of(groups, Limits(report.ceilings))
    changes = report.comparison.changes if report.comparison else ()
    plots, library = _figures()
    data = {
        "columns": _columns(rows),
        "sets": datasets(groups, report.records, report.ceilings, changes),
        "figures": plots,
        "samples": _samples() if plots else None,
    }
    scripts = [library, _resource("report.js")] if plots else [_resource("report.js")]
    environment = Environment(loader=PackageLoader(__package__, "."), autoescape=True)
    page = environment.get_template("report.html").render(
        title=report.title,
        groups=[_answer(group) for group in groups],
        count=f"{len(rows):,}",
        comparison=_compared(report),
        verified=[_verdict(row) for row in report.verified],
        environment=[_environment(group) for group in groups],
        links=report.links,
        version=VERSION,
        policy=_policy(scripts),
        style=_resource("report.css"),
        scripts=scripts,
        data=_as_text(data),
        has_figures=bool(plots),
    )
    return page, bool(plots)


def published_page(project: str, records: Iterable[Record], graphs: Mapping[str, str]) -> str:
    """The page of all records of a project, beside asv's pages; `graphs` are addresses in these by suite."""
    links = {"History by commit (asv)": "index.html"} if graphs else {}
    links |= {f"{suite} by commit": address for suite, address in graphs.items()}
    return page_of(Report(f"{project}: throughput", list(records), links=links))[0]


def _policy(scripts: Iterable[str]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'"
    )


def _as_text(data: object) -> str:
    """JSON that no end of a script element can be part of."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _columns(rows: Sequence[Row]) -> dict[str, Any]:
    """The rows by column; a column of texts as its distinct words and, for each row, the number of its word."""
    columns: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        columns[name] = _by_word(values) if all(isinstance(value, str) for value in values) else values
    return columns


def _by_word(values: Sequence[Any]) -> dict[str, Any]:
    numbers = {word: number for number, word in enumerate(dict.fromkeys(values))}
    return {"words": list(numbers), "at": [numbers[value] for value in values]}


@cache
def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


@cache
def _figures() -> tuple[list[dict[str, Any]], str]:
    """The specifications and the library that draws them; nothing where they are not installed."""
    try:
        import altair  # noqa: F401
        import vl_convert
    except ImportError:
        return [], ""
    from convbench.reporting.page.figures import figure_templates

    bundle: Any = vl_convert.javascript_bundle  # whose stub requires an argument that it can do without
    return [asdict(figure) | {"data_names": figure.data_names} for figure in figure_templates()], bundle()


def _samples() -> Mapping[str, Any]:
    from convbench.reporting.page.figures import samples_figure

    return samples_figure()


def _answer(group: Group) -> dict[str, Any]:
    hazards = hazard_report(group.records)
    return {
        "name": group.name,
        "suites": [{"name": ranking.suite, "text": _closing(ranking)} for ranking in group.rankings],
        "verified": _verified(group.records),
        "error": own_error_sentence(group.records),
        "hazards": plain_text(hazards, _WIDTH) if hazards is not None else None,
    }


def _closing(ranking: SuiteRanking) -> str:
    if not ranking.standings:
        return "No backend is ranked." if ranking.apart else "Nothing was timed."
    return plain_text(closing(ranking), _WIDTH)


def _verified(records: Sequence[Record]) -> str:
    """`60 pairs: 58 ok, 2 wrong. The largest error is 0.42 of its bound.`"""
    counts = Counter(str(record["status"]) for record in records)
    listed = ", ".join(f"{number:,} {status}" for status, number in counts.most_common())
    errors = [e for r in records if r["status"] == "ok" and isinstance(e := r.get("max_error_over_bound"), float)]
    largest = f" The largest error of a right answer is {max(errors):.2g} of its bound." if errors else ""
    return f"{len(records):,} pairs: {listed}. Each time is that of an answer checked against the reference.{largest}"


def _compared(report: Report) -> dict[str, str] | None:
    if report.comparison is None:
        return None
    text = plain_text(comparison_report(report.comparison, report.threshold), 132)
    return {"base": report.sides[0], "new": report.sides[1], "text": text}


def _verdict(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("backend", "status", "reason", "cases", "searched")
    failures = row.get("failures")
    return {
        **{name: row.get(name) for name in names},
        "is_failure": is_failure(str(row.get("status"))),
        "failures": [failure for failure in failures if isinstance(failure, dict)]
        if isinstance(failures, list)
        else [],
    }


def _environment(group: Group) -> dict[str, Any]:
    newest = group.records[-1]
    machine, settings = table(newest, "machine"), table(newest, "settings")
    versions = sorted({(str(k), str(v)) for r in group.records for k, v in table(r, "versions").items()})
    facts = [(name, _fact(value)) for name, value in machine.items() if value not in (None, "", {})]
    facts += [("libraries", ", ".join(f"{name} {version}" for name, version in versions))] if versions else []
    facts += [("settings", ", ".join(f"{name} {_fact(value)}" for name, value in settings.items()))]
    facts += [("convbench", str(newest.get("convbench") or "")), ("commit", str(newest.get("commit") or "unknown"))]
    times = sorted(str(record.get("time")) for record in group.records if record.get("time"))
    facts += [("measured", " to ".join(dict.fromkeys([*times[:1], *times[-1:]])))] if times else []
    return {"name": group.name, "facts": facts}


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(value)
