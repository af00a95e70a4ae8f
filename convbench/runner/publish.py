"""`convbench publish`: asv's pages of the history, and beside them one of throughput, which asv itself cannot show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rich.text import Text

from convbench.errors import NothingMeasuredError, ResultsError
from convbench.reporting.console import show_journal_warnings, stderr, stdout
from convbench.reporting.html.summary_page import FIELDS, summary_page
from convbench.store.asv.metrics import METRICS, benchmark_name
from convbench.store.checkout import CONFIGURATION, find_checkout
from convbench.store.records import records

PAGE = "convbench.html"
_ANCHOR = '<li id="nav-li-regressions">'
_LINK = f'<li id="nav-li-throughput"><a href="{PAGE}">Throughput</a></li>\n\t'


def publish_pages() -> None:
    """Write the pages of the checkout one stands in. Raises `ResultsError` when that cannot be done, and
    `NothingMeasuredError` when there is nothing to write."""
    show_journal_warnings()
    checkout = find_checkout(Path.cwd())
    if checkout is None:
        raise ResultsError(f"there is no {CONFIGURATION} here or above; publish from within a checkout that has one.")
    project, results, pages = _configuration(checkout)
    if not (results / "benchmarks.json").is_file():
        raise NothingMeasuredError(
            f"there is nothing to publish: asv has no results in {results}. `convbench run` stores some where the "
            "checkout has no uncommitted changes."
        )
    _run_asv(checkout)
    found = list(records(results, FIELDS)) if results.is_dir() else []
    page = pages / PAGE
    _replace(page, summary_page(project, found, _graphs(pages, {str(record.get("suite", "")) for record in found})))
    _link(pages / "index.html")
    told = (
        f"{page} shows the throughput of {len(found):,} records, {pages / 'index.html'} their history; `asv preview` "
    )
    stdout().print(Text(told + "serves both."), soft_wrap=True)


def _configuration(checkout: Path) -> tuple[str, Path, Path]:
    """The project's name, its results and its pages, as asv is configured."""
    from asv.config import Config
    from asv.util import UserError

    try:
        conf = Config.load(str(checkout / CONFIGURATION))
    except (UserError, OSError, ValueError) as error:
        raise ResultsError(f"{checkout / CONFIGURATION} cannot be read: {error}.") from None
    return str(conf.project), checkout / conf.results_dir, checkout / conf.html_dir


def _run_asv(checkout: Path) -> None:
    stderr().print(Text("asv publish ..."))
    words = [sys.executable, "-m", "asv", "publish", "--no-pull"]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
        raise ResultsError(f"asv could not publish (exit code {done.returncode}): {' '.join(told[-2:])}")


def _graphs(pages: Path, suites: set[str]) -> dict[str, str]:
    """Links to asv's graphs of the suites that it has one of."""
    try:
        known = json.loads((pages / "index.json").read_text(encoding="utf-8"))["benchmarks"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    names = {suite: benchmark_name(suite, METRICS[0]) for suite in suites}
    return {suite: f"index.html#{name}" for suite, name in names.items() if name in known}


def _link(index: Path) -> None:
    """A link in asv's navigation, where that looks as it is known to."""
    page = index.read_text(encoding="utf-8")
    if _LINK not in page and page.count(_ANCHOR) == 1:
        _replace(index, page.replace(_ANCHOR, _LINK + _ANCHOR))


def _replace(path: Path, content: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(content, encoding="utf-8")
    draft.replace(path)
