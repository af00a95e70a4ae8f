"""The published pages: built by the real asv, opened in a real browser, showing what the journals say."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import opened, served, what_is_missing
from made_records import made
from test_asv import IS_CLONE, call, cloned
from test_asv import clone as clone

import convbench
from convbench.reporting.page.page import published_page

pytestmark = pytest.mark.slow

needs_clone = pytest.mark.skipif(not IS_CLONE, reason="needs git history to clone; an unpacked archive has none")
needs_browser = pytest.mark.skipif(what_is_missing() is not None, reason=what_is_missing() or "")


@pytest.fixture(scope="module")
def pages(clone: Path) -> Path:
    """The folder of the pages of two commits."""
    done = call(clone, sys.executable, "-m", "convbench", "publish")
    assert done.returncode == 0, done.stderr
    assert "shows the throughput of 24 records" in done.stdout
    return clone / ".asv" / "html"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with opened() as browser:
        yield browser


def until(driver: Any, script: str) -> Any:
    """What the script gives in the page as soon as that is something."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 30).until(lambda d: d.execute_script(script))


# --- what is written --------------------------------------------------------------------------------------------------


@needs_clone
def test_both_pages_are_written_and_lead_to_each_other(pages: Path) -> None:
    assert '<a href="convbench.html">Throughput</a>' in (pages / "index.html").read_text()
    page = (pages / "convbench.html").read_text()
    assert 'href="index.html"' in page and 'href="index.html#track.Smoke.track_time"' in page
    assert "default-src &#39;none&#39;" in page, "nothing is loaded from elsewhere"
    assert sorted(p.name for p in pages.glob(".*")) == []


@needs_clone
def test_publishing_again_changes_nothing_but_what_is_new(clone: Path, pages: Path) -> None:
    index, page = ((pages / name).read_text() for name in ("index.html", "convbench.html"))
    assert call(clone, sys.executable, "-m", "convbench", "publish").returncode == 0
    assert (pages / "convbench.html").read_text() == page
    assert (pages / "index.html").read_text().count("Throughput") == index.count("Throughput") == 1


def test_outside_a_checkout_and_without_results_it_says_so(tmp_path: Path) -> None:
    done = call(tmp_path, sys.executable, "-m", "convbench", "publish")
    assert done.returncode == 2 and "no asv.conf.json here or above" in done.stderr
    (tmp_path / "asv.conf.json").write_text('{"version": 1, "project": "p", "repo": ".", "results_dir": "results"}')
    done = call(tmp_path, sys.executable, "-m", "convbench", "publish")
    assert done.returncode == 3 and "there is nothing to publish" in done.stderr
    (tmp_path / "asv.conf.json").write_text("{broken")
    done = call(tmp_path, sys.executable, "-m", "convbench", "publish")
    assert done.returncode == 2 and "asv.conf.json cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


@needs_clone
def test_what_asv_says_when_it_cannot_is_told(tmp_path: Path) -> None:
    folder = cloned(tmp_path / "clone")
    (folder / "results" / "m").mkdir(parents=True)
    (folder / "results" / "benchmarks.json").write_text("{}")
    done = call(folder, sys.executable, "-m", "convbench", "publish")
    assert done.returncode == 2
    assert "asv could not publish (exit code 1)" in done.stderr and "Traceback" not in done.stderr


# --- what is shown ----------------------------------------------------------------------------------------------------


@needs_clone
@needs_browser
def test_the_graph_in_the_browser_shows_the_medians_of_the_journals(clone: Path, pages: Path, driver: Any) -> None:
    frame = convbench.load(clone / "results", ["commit", "backend", "case", "median_s"])
    revisions = {c: r for r, c in json.loads((pages / "index.json").read_text())["revision_to_hash"].items()}
    case = frame["case"].iloc[0]
    chosen = "&".join(f"p-backend='{name}'" for name in sorted(set(frame["backend"])))
    with served(pages) as address:
        driver.get(f"{address}/index.html#track.Smoke.track_time?{chosen}&p-case='{case}'")
        lines = until(
            driver,
            "const plot = $('#main-graph').data('plot'); if (!plot) return null;"
            "const found = plot.getData().filter(s => s.data.length).map(s => [s.label, s.data]);"
            "return found.length ? found : null;",
        )
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    shown = {
        (re.search(r"backend-([\w-]+)", label)[1], int(x)): y  # type: ignore[index]
        for label, points in lines
        for x, y in points
    }
    expected = {(r.backend, int(revisions[r.commit])): r.median_s for r in frame[frame.case == case].itertuples()}
    assert len(expected) == 4, "two backends at two commits"
    assert shown == pytest.approx(expected, rel=1e-6)


@needs_clone
@needs_browser
def test_the_summary_in_the_browser_shows_the_throughput_of_the_newest_records(
    clone: Path, pages: Path, driver: Any
) -> None:
    newest = sorted((clone / "results" / "here").glob("*.jsonl"))[-1]
    frame = convbench.load(newest, ["case", "backend", "flops", "median_s", "low_s", "high_s"])
    with served(pages) as address:
        driver.get(f"{address}/index.html")
        until(
            driver, "return [...document.querySelectorAll('#nav a')].find(a => a.textContent == 'Throughput')"
        ).click()
        until(driver, "return location.pathname == '/convbench.html' && document.readyState == 'complete'")
        until(driver, "return document.documentElement.dataset.ready == 'yes'")
        rows = driver.execute_script(
            "return [...document.querySelectorAll('#pairs tr')].map(row => [...row.cells].map(cell => cell.innerText))"
        )
        # asv's own page asks for the graphs of suites that nobody ran.
        complaints = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert [message for message in complaints if "/graphs/" not in message] == []
    headings, *rows = rows
    at = [headings.index(name) for name in ("median ms", "95 % interval ms", "GFLOP/s")]
    shown = {tuple(row[:2]): [text for i in at for text in re.findall(r"\d[\d,]*(?:\.\d+)?", row[i])] for row in rows}
    expected = {
        (r.case, r.backend): [r.median_s * 1e3, r.low_s * 1e3, r.high_s * 1e3, r.flops / r.median_s / 1e9]
        for r in frame.itertuples()
    }
    assert shown.keys() == expected.keys() and len(shown) == 12
    for pair, figures in expected.items():
        # The ends of a wide interval have as many decimals as one another, so the lower one has few digits.
        assert len(shown[pair]) == len(figures)
        for text, figure in zip(shown[pair], figures, strict=True):
            rounding = 0.51 * 10.0 ** -len(text.partition(".")[2])
            assert float(text.replace(",", "")) == pytest.approx(figure, rel=0.006, abs=rounding), (pair, text)


# --- many machines ----------------------------------------------------------------------------------------------------


@needs_clone
def test_two_machines_have_their_series_in_asv_and_a_page_each(pages: Path, clone: Path, tmp_path: Path) -> None:
    both = tmp_path / "clone"
    shutil.copytree(clone, both, symlinks=True)
    for path in (both / "results" / "here").iterdir():  # as another machine would have written them
        (both / "results" / "there").mkdir(exist_ok=True)
        content = path.read_text(encoding="utf-8").replace('"here"', '"there"')
        (both / "results" / "there" / path.name).write_text(content, encoding="utf-8")
    done = call(both, sys.executable, "-m", "convbench", "publish", "--machines")
    assert done.returncode == 0, done.stderr
    site = both / ".asv" / "html"
    parameters = json.loads((site / "index.json").read_text())["params"]
    assert sorted(parameters["machine"]) == ["here", "there"]
    for machine in ("here", "there"):
        graphs = [path for path in site.rglob("track.Smoke.track_time.json") if f"machine-{machine}" in path.parts]
        points = [json.loads(path.read_text()) for path in graphs]
        assert points == [json.loads(path.read_text()) for path in pages.rglob("track.Smoke.track_time.json")
                          if "machine-here" in path.parts]  # fmt: skip
        assert len(points) == 1 and len(points[0]) == 2
        page = (site / f"convbench-{machine}.html").read_text()
        assert 'href="convbench.html"' in page and "12 " in page and 'id="hardware"' not in page
    page = (site / "convbench.html").read_text()
    assert 'id="hardware"' in page and 'href="convbench-there.html"' in page
    assert "here and there are of one kind: over the 12 pairs that both timed, there took 1.000 times as long" in page


def test_pages_of_machines_with_hostile_names_are_files_beside_the_first(tmp_path: Path) -> None:
    names = ["../../evil", "<script>alert(1)</script>", "a b", "plain"]
    folder = tmp_path / "results"
    (folder / "x").mkdir(parents=True)
    made_ones = [made(machine={"machine": name, "cpu": name}, suite="s", case="c") for name in names]
    (folder / "x" / "run.jsonl").write_text("".join(json.dumps(one) + "\n" for one in made_ones))
    done = call(tmp_path, sys.executable, "-m", "convbench", "publish", "--results", "results", "--machines")
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in tmp_path.rglob("*.html"))
    assert (
        len(written) == 5
        and written[0].startswith("convbench-")
        and {"convbench.html", "convbench-plain.html"} < {*written}
    )
    assert all(path.parent == folder for path in tmp_path.rglob("*.html"))
    page = (folder / "convbench.html").read_text()
    assert all(f'href="{name}"' in page for name in written if name != "convbench.html")
    assert "<script>alert" not in page


# --- the page without asv ---------------------------------------------------------------------------------------------


def test_a_page_without_records_says_so() -> None:
    assert "There is no record." in published_page("p", [], {})
