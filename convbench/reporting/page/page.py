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
from convbench.analysis.hardware.prices import CURRENCY
from convbench.analysis.ranking import SuiteRanking
from convbench.analysis.roofline import Limits
from convbench.installation import VERSION
from convbench.measurement.ceilings.figures import Ceilings
from convbench.reporting.console import plain_text
from convbench.reporting.hazards import hazard_report
from convbench.reporting.history.comparison import texts
from convbench.reporting.page.datasets import datasets
from convbench.reporting.page.environment import environment_of
from convbench.reporting.page.hardware import which_hardware
from convbench.reporting.page.narrower_numbers import narrower_numbers
from convbench.reporting.page.rows import Group, Row, groups_of, rows_of
from convbench.reporting.page.side_by_side import side_by_side
from convbench.reporting.page.verification import counts_sentence, verdict
from convbench.reporting.run.report import own_error_sentence
from convbench.reporting.run.suite_tables import closing
from convbench.reporting.terminal_text import printable
from convbench.store.schema import Record

_WRAPPED_BY_THE_PAGE = 10_000


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
    prices: Mapping[str, float] = field(default_factory=dict)
    """What an hour of a machine costs, by a glob of its name, in `currency`."""
    currency: str = CURRENCY


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
    templates = Environment(loader=PackageLoader(__package__, "."), autoescape=True)
    page = templates.get_template("report.html").render(
        title=report.title,
        groups=[_answer(group) for group in groups],
        hardware=which_hardware(groups, report.prices, report.currency),
        beside=_beside(groups),
        dtypes=narrower_numbers(groups),
        count=f"{len(rows):,}",
        comparison=_compared(report),
        verified=[verdict(row) for row in report.verified],
        verified_counts=counts_sentence(report.verified),
        environment=[environment_of(group) for group in groups],
        links=report.links,
        version=VERSION,
        policy=_policy(scripts),
        style=_resource("report.css"),
        scripts=scripts,
        data=_as_text(data),
        has_figures=bool(plots),
    )
    return page, bool(plots)


def _beside(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The conditions side by side, unless they differ in the machine alone, which is a question of its own."""
    machines = {group.machine for group in groups}
    return [] if len(machines) == len(groups) else side_by_side(groups)


def published_page(
    project: str, records: Iterable[Record], graphs: Mapping[str, str], pages: Mapping[str, str] | None = None
) -> str:
    """The page of all records of a project, beside asv's pages; `graphs` are addresses in these by suite, and `pages`
    those of other pages by what they are called, such as a machine."""
    links = {"History by commit (asv)": "index.html"} if graphs else {}
    links |= {f"{suite} by commit": address for suite, address in graphs.items()}
    links |= {printable(name): address for name, address in (pages or {}).items()}
    return page_of(Report(printable(f"{project}: throughput"), list(records), links=links))[0]


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
        "suites": [{"name": ranking.suite, **_closing(ranking)} for ranking in group.rankings],
        "verified": _verified(group.records),
        "error": own_error_sentence(group.records),
        "hazards": plain_text(hazards, _WRAPPED_BY_THE_PAGE) if hazards is not None else None,
    }


def _closing(ranking: SuiteRanking) -> dict[str, str]:
    """The sentence, and the lines below it."""
    if not ranking.standings:
        return {"sentence": "No backend is ranked." if ranking.apart else "Nothing was timed.", "lines": ""}
    sentence, _, lines = plain_text(closing(ranking), _WRAPPED_BY_THE_PAGE).partition("\n")
    return {"sentence": sentence, "lines": lines}


def _verified(records: Sequence[Record]) -> str:
    """`60 pairs: 58 ok, 2 wrong. The largest error is 0.42 of its bound.`"""
    counts = Counter(str(record["status"]) for record in records)
    listed = ", ".join(f"{number:,} {status}" for status, number in counts.most_common())
    errors = [e for r in records if r["status"] == "ok" and isinstance(e := r.get("max_error_over_bound"), float)]
    largest = f" The largest error of a right answer is {max(errors):.2g} of its bound." if errors else ""
    return f"{len(records):,} pairs: {listed}. Each time is that of an answer checked against the reference.{largest}"


def _compared(report: Report) -> dict[str, Any] | None:
    if report.comparison is None:
        return None
    return {"base": report.sides[0], "new": report.sides[1], **asdict(texts(report.comparison, report.threshold))}
