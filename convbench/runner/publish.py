"""asv's pages of the history, and beside them a page of throughput, which asv itself cannot show."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from convbench.analysis.hardware.machines import NAMELESS
from convbench.errors import NothingMeasuredError, ResultsError
from convbench.store.asv.files import METRICS, benchmark_name
from convbench.store.locations import CONFIGURATION, draft_of, find_checkout
from convbench.store.readings import machine_of
from convbench.store.records import records
from convbench.store.schema import Record

PAGE = "convbench.html"
_ANCHOR = '<li id="nav-li-regressions">'
_LINK = f'<li id="nav-li-throughput"><a href="{PAGE}">Throughput</a></li>\n\t'

PageOf = Callable[[str, Iterable[Record], Mapping[str, str], Mapping[str, str]], str]
"""The page of throughput as HTML, of the project's name, its records, links to asv's graphs by suite, and links to
other pages of throughput by what they are called."""


def publish(
    fields: Iterable[str], page_of: PageOf, starting: Callable[[], None], *, machines: bool = False
) -> tuple[int, Path, Path]:
    """Write asv's pages of the checkout around the current folder, and the page of throughput, which `page_of` makes of
    the `fields` of all records; gives their number, that page and asv's own. `starting` is called before asv is run.
    With `machines` each machine has a page besides.

    Raises `ResultsError` outside a checkout and when asv cannot publish, and `NothingMeasuredError` when asv has no
    results there.
    """
    checkout, name, results, pages = _project()
    starting()
    _run_asv(checkout)
    shown = list(records(results, fields)) if results.is_dir() else []
    graphs = _graphs(pages, {str(record.get("suite", "")) for record in shown})
    page, index = _write_pages(pages, page_of, name, shown, graphs, machines=machines), pages / "index.html"
    _link(index)
    return len(shown), page, index


def publish_page(fields: Iterable[str], page_of: PageOf, results: Path, *, machines: bool = False) -> tuple[int, Path]:
    """Write the page of throughput alone, of the journals in the folder `results`, into that folder; gives the number
    of records, and the page. With `machines` each machine has a page besides. Raises `ResultsError` without such a
    folder, and `NothingMeasuredError` without a record.
    """
    shown = list(records(results, fields))
    if not shown:
        raise NothingMeasuredError(f"there is nothing to publish: {results} has no journal with a record.")
    return len(shown), _write_pages(results, page_of, results.resolve().name, shown, {}, machines=machines)


def _write_pages(
    folder: Path, page_of: PageOf, name: str, shown: list[Record], graphs: Mapping[str, str], *, machines: bool
) -> Path:
    """Write the page of all records into `folder` and, with `machines`, one of each machine; the first of them."""
    by_machine: dict[str, list[Record]] = {}
    for record in shown if machines else ():
        by_machine.setdefault(machine_of(record) or NAMELESS, []).append(record)
    links = {machine: machine_page(machine) for machine in sorted(by_machine)}
    for machine, address in links.items():
        of_machine = page_of(f"{name}: {machine}", by_machine[machine], {}, {"All machines": PAGE})
        _write(folder / address, of_machine)
    _write(folder / PAGE, page_of(name, shown, graphs, links))
    return folder / PAGE


def machine_page(machine: str) -> str:
    """The name of the file of a machine's page: safe as a file and as an address, whatever the machine is called."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", machine).strip("-.")[:60]
    digest = (
        "" if plain == machine else f"-{hashlib.blake2b(machine.encode(errors='replace'), digest_size=4).hexdigest()}"
    )
    return f"convbench-{plain}{digest}.html"


def _write(path: Path, content: str) -> None:
    with draft_of(path) as draft:
        draft.write_text(content, encoding="utf-8", errors="backslashreplace")


def _project() -> tuple[Path, str, Path, Path]:
    """The checkout, the name of its project, its results and the folder of its pages."""
    from asv.config import Config
    from asv.util import UserError

    checkout = find_checkout(Path.cwd())
    if checkout is None:
        raise ResultsError(f"there is no {CONFIGURATION} here or above; publish from within a checkout that has one.")
    try:
        conf = Config.load(str(checkout / CONFIGURATION))
    except (UserError, OSError, ValueError) as error:
        raise ResultsError(f"{checkout / CONFIGURATION} cannot be read: {error}.") from None
    results = checkout / conf.results_dir
    if not (results / "benchmarks.json").is_file():
        raise NothingMeasuredError(
            f"there is nothing to publish: asv has no results in {results}. `convbench run` stores some where the "
            "checkout has no uncommitted changes."
        )
    return checkout, str(conf.project), results, checkout / conf.html_dir


def _run_asv(checkout: Path) -> None:
    words = [sys.executable, "-P", "-m", "asv", "publish", "--no-pull"]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
        raise ResultsError(f"asv could not publish (exit code {done.returncode}): {' '.join(lines[-2:])}")


def _graphs(pages: Path, suites: set[str]) -> dict[str, str]:
    """Links to asv's graphs, for the suites that have a graph."""
    try:
        known = json.loads((pages / "index.json").read_text(encoding="utf-8"))["benchmarks"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return {suite: f"index.html#{name}" for suite in suites if (name := benchmark_name(suite, METRICS[0])) in known}


def _link(index: Path) -> None:
    """A link in asv's navigation, unless the page looks different from what is expected."""
    page = index.read_text(encoding="utf-8")
    if _LINK not in page and page.count(_ANCHOR) == 1:
        _replace(index, page.replace(_ANCHOR, _LINK + _ANCHOR))


def _replace(path: Path, content: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(content, encoding="utf-8")
    draft.replace(path)
