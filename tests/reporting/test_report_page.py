"""`convbench report`: the page of real journals, made by the command, opened from disk in a real browser."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import opened, what_is_missing
from made_records import made
from places import CHECKOUT

from convbench.analysis.roofline import Limits
from convbench.reporting.page.datasets import datasets
from convbench.reporting.page.page import Report, page_of
from convbench.reporting.page.rows import groups_of, rows_of
from convbench.reporting.page.side_by_side import side_by_side
from convbench.store.records import records

pytestmark = pytest.mark.slow

needs_browser = pytest.mark.skipif(what_is_missing() is not None, reason=what_is_missing() or "")
STORED = CHECKOUT / "tests" / "store" / "stored_by_aefc737" / "results"
EVIL = '"></script><script>window.ran = 1</script><img src=x onerror="window.ran = 1">'


def convbench(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convbench", "report", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a machine that measured, raced and verified, and of one that ran a suite on twelve days."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    done = convbench("bench-1", "bench-2", "--results", STORED, "-o", path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"report\.html shows [\d,]+ records and \d+ verified backends?\.", done.stdout)
    return path


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with opened() as browser:
        yield browser


def visit(driver: Any, path: Path) -> None:
    driver.set_window_size(1300, 1000)
    driver.get(path.as_uri())
    until(driver, "return document.documentElement.dataset.ready == 'yes'")


def until(driver: Any, script: str) -> Any:
    """What the script returns as soon as that is something."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 60).until(lambda d: d.execute_script(script))


def column(driver: Any, number: int) -> list[str]:
    script = "return [...document.querySelectorAll('#pairs tbody tr')].map(row => row.cells[arguments[0]].innerText)"
    return [str(text) for text in driver.execute_script(script, number)]


def draw_all(driver: Any) -> list[str]:
    """Scroll to each figure and wait for it; the titles of those with data."""
    script = (
        "return [...document.querySelectorAll('figure')].map((f, i) => [f.hidden, i, f.querySelector('b').innerText])"
    )
    shown = [(index, title) for hidden, index, title in driver.execute_script(script) if not hidden]
    for index, _ in shown:
        figure = f"document.querySelectorAll('figure')[{index}]"
        driver.execute_script(f"{figure}.scrollIntoView()")
        until(driver, f"return {figure}.dataset.drawn == 'yes' && {figure}.querySelector('svg') != null")
    return [title for _, title in shown]


# --- in the browser ---------------------------------------------------------------------------------------------------


@needs_browser
def test_it_opens_from_disk_without_a_request_and_without_an_error(page: Path, driver: Any) -> None:
    visit(driver, page)
    titles = draw_all(driver)
    assert {"Time against work", "Backends by cases", "Memory", "History", "Conditions side by side"} <= set(titles)
    resources = driver.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert [name for name in resources if not name.startswith(("data:", "blob:"))] == []
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


@needs_browser
def test_the_table_sorts_filters_and_shows_what_the_journals_say(page: Path, driver: Any) -> None:
    visit(driver, page)
    groups = groups_of([*records(STORED / "bench-1"), *records(STORED / "bench-2")])
    first = driver.execute_script(
        "return [document.getElementById('conditions').value, document.getElementById('suite').value]"
    )
    rows = [row for row in rows_of(groups, Limits(())) if [row["conditions"], row["suite"]] == first]
    assert sorted(column(driver, 1)) == sorted(row["backend"] for row in rows)
    headings = [head.text for head in driver.find_elements("css selector", "#pairs th")]
    medians = headings.index("median ms")
    head = driver.find_elements("css selector", "#pairs th")[medians]
    for backwards in (False, True):
        head.click()
        values = [float(text.replace(",", "")) for text in column(driver, medians) if text != "–"]
        assert len(values) > 1 and values == sorted(values, reverse=backwards)
        assert values == pytest.approx(
            sorted((r["median_ms"] for r in rows if r["median_ms"]), reverse=backwards), rel=1e-3
        )
    name = rows[0]["backend"]
    driver.find_element("id", "search").send_keys(name)
    assert set(column(driver, 1)) == {row["backend"] for row in rows if name in row["backend"]}


@needs_browser
def test_a_row_opens_its_samples_and_a_point_has_a_tooltip(page: Path, driver: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    visit(driver, page)
    line = next(row for row in driver.find_elements("css selector", "#pairs tbody tr") if "ok" in row.text.split())
    backend, case = column(driver, 1)[int(line.get_attribute("data-index"))], line.text.split()[0]
    line.click()
    circles = "document.querySelectorAll('#pair .mark-symbol.role-mark path').length"
    count = until(driver, f"return {circles}")
    assert f"{count} samples" in driver.find_element("css selector", "#pair p").text
    assert driver.find_element("css selector", "#pair h3").text == f"{backend} on {case}"
    driver.find_element("css selector", "#pair button").click()
    draw_all(driver)
    point = driver.find_element("css selector", "figure:not([hidden]) .mark-symbol.role-mark path")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(driver).move_to_element(point).perform()
    tooltip = until(driver, "const tip = document.querySelector('.vg-tooltip.visible'); return tip && tip.innerText")
    assert "backend" in tooltip and "median, ms" in tooltip


@needs_browser
def test_one_sample_is_no_interval(tmp_path: Path, driver: Any) -> None:
    path = tmp_path / "report.html"
    path.write_text(page_of(Report("one", [made("alone", (0.5,)), made("often")]))[0], encoding="utf-8")
    visit(driver, path)
    texts = dict(zip(column(driver, 1), column(driver, 3), strict=True))
    assert texts["alone"] == "one sample" and texts["often"].startswith("(250")
    driver.find_elements("css selector", "#pairs tbody tr")[column(driver, 1).index("alone")].click()
    assert "500.0 ms, one sample" in driver.find_element("css selector", "#pair p").text


@needs_browser
def test_it_changes_its_theme_fits_a_phone_and_prints(page: Path, driver: Any) -> None:
    visit(driver, page)
    colour = "return getComputedStyle(document.body).backgroundColor"
    before = driver.execute_script(colour)
    driver.find_element("id", "theme").click()
    assert driver.execute_script(colour) != before
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 380
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    printed = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF") and len(printed) > 20_000


@needs_browser
def test_labels_stay_text(tmp_path: Path, driver: Any) -> None:
    wrong = made("b", (), status="wrong", reason=EVIL, suite=EVIL, case="c", machine={"machine": EVIL})
    timed = made(
        EVIL, layer=EVIL, suite=EVIL, case=EVIL, commit=EVIL, time=EVIL, machine={"machine": EVIL, "cpu": EVIL}
    )
    report = f"# title\n\n{EVIL}\n\n| a | {EVIL} |\n\n```sh\n{EVIL}\n```\n"
    failures = [{"case": EVIL, "status": EVIL, "reason": EVIL, "found_by": [EVIL], "reproduce": EVIL}]
    failures.append(failures[0] | {"report": report})
    verified = {"backend": EVIL, "status": "wrong", "cases": 1, "searched": 0, "failures": failures}
    path = tmp_path / "report.html"
    path.write_text(page_of(Report(EVIL, [timed, wrong], verified=[verified]))[0], encoding="utf-8")
    visit(driver, path)
    draw_all(driver)
    assert driver.execute_script("return window.ran") is None
    assert driver.execute_script("return document.querySelectorAll('img').length") == 0
    assert driver.title == EVIL and EVIL in column(driver, 1)
    where = "h1, #answer h3, #verified h3, #verified summary, #verified details > p, #verified details > pre"
    script = "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)"
    texts = driver.execute_script(script, where)
    assert len(texts) == 11 and all(EVIL in text for text in texts), texts
    complaints = [entry["message"] for entry in driver.get_log("browser") if "Security Policy" in entry["message"]]
    assert complaints == [], "nor did the page try"


@needs_browser
def test_the_policy_would_stop_a_script_that_got_into_it(tmp_path: Path, driver: Any) -> None:
    page, _ = page_of(Report("report", [made()]))
    path = tmp_path / "report.html"
    path.write_text(f"<p>{EVIL}</p></body>".join(page.rsplit("</body>", 1)), encoding="utf-8")
    visit(driver, path)
    assert driver.execute_script("return document.querySelectorAll('img').length") == 1
    assert driver.execute_script("return window.ran") is None


@needs_browser
def test_each_figure_is_saved_as_png_svg_and_csv(page: Path, driver: Any, tmp_path: Path) -> None:
    visit(driver, page)
    titles = draw_all(driver)
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for title in titles:
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower())
        names = {f"{stem}.{kind}" for kind in ("png", "svg", "csv")}
        until_there(tmp_path, names, lambda title=title: save_in_all_formats(driver, title))
        assert (tmp_path / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{stem}.svg").read_text(encoding="utf-8").startswith("<svg")
        rows = (tmp_path / f"{stem}.csv").read_text(encoding="utf-8").splitlines()
        assert len(rows) > 1 and {"backend", "suite"} <= set(rows[0].split(",")), stem


def save_in_all_formats(driver: Any, title: str) -> None:
    """Click what saves a figure; its menu makes the images when the mouse goes down."""
    figure = f"[...document.querySelectorAll('figure')].find(one => one.querySelector('b').innerText == {title!r})"
    links = f"[...{figure}.querySelectorAll('.vega-actions a')]"
    driver.execute_script(f"{links}.forEach(link => link.dispatchEvent(new MouseEvent('mousedown')))")
    until(driver, f"return {links}.length == 2 && {links}.every(link => /^(data:image|blob:)/.test(link.href))")
    driver.execute_script(f"{figure}.querySelector('figcaption button').click(); {links}.forEach(link => link.click())")


def until_there(folder: Path, names: set[str], save: Callable[[], None]) -> None:
    """Save and wait for the downloads: the browser gives a file its name when it is whole. It drops downloads of which
    more than 10 come at once, so this saves again what does not come."""
    deadline, again = time.monotonic() + 60, 0.0
    while missing := names - {path.name for path in folder.iterdir()}:
        assert time.monotonic() < deadline, sorted(missing)
        if time.monotonic() > again:
            save()
            again = time.monotonic() + 3
        time.sleep(0.05)


# --- the command ------------------------------------------------------------------------------------------------------


def test_a_run_writes_its_own_page(tmp_path: Path) -> None:
    words = ["run", "--problem", "n1c2h6w6_o3k3", "--backend", "numpy-gemm", "--quick", "--no-asv", "--json"]
    command = [
        sys.executable,
        "-m",
        "convbench",
        *words,
        "--results",
        str(tmp_path),
        "--report",
        str(tmp_path / "r.html"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "r.html shows 1 record" in done.stderr, done.stderr
    assert [json.loads(line)["backend"] for line in done.stdout.splitlines()] == ["numpy-gemm"]
    assert '"numpy-gemm"' in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_two_runs_are_compared(tmp_path: Path) -> None:
    base, new = sorted((STORED / "bench-2").glob("*.jsonl"))[:2]
    done = convbench(base, new, "--compare", "-o", tmp_path / "c.html", "--results", STORED)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert f"From {base.name} to {new.name}" in page and "Geometric mean new/base" in page
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    changes = json.loads(data)["sets"]["changes"]
    assert {change["verdict"] for change in changes} <= {"slower", "faster", "same", "unclear"} and changes
    assert [change["ratio"] for change in changes] == sorted((change["ratio"] for change in changes), reverse=True)


def test_machines_are_side_by_side_with_their_best_backends(tmp_path: Path) -> None:
    def record(backend: str, machine: str, seconds: float, case: str, times: int) -> Any:
        more = {
            "suite": "model",
            "case": case,
            "count": times,
            "machine": {"machine": machine, "cpu": f"CPU of {machine}"},
        }
        return made(backend, (seconds, seconds, seconds), session=machine) | more

    pairs = {("torch", "laptop"): (2.0, 3.0), ("jax", "laptop"): (4.0, 1.0), ("torch", "server"): (0.5, 1.0)}
    shown = [
        record(backend, machine, seconds, case, times)
        for (backend, machine), both in pairs.items()
        for case, seconds, times in zip(("one", "two"), both, (2, 1), strict=True)
    ]
    (table,) = side_by_side(groups_of(shown))
    assert table["suite"] == "model"
    assert [(row[0], row[1], row[2], row[5]) for row in table["rows"]] == [
        ("server, 1 thread", "CPU of server", "torch", "1.00x"),
        ("laptop, 1 thread", "CPU of laptop", "torch", "3.50x"),
    ]
    assert [float(row[3].replace(",", "")) for row in table["rows"]] == [2000, 7000]
    assert side_by_side(groups_of([one for one in shown if one["machine"]["machine"] == "laptop"])) == []
    other = [*shown[:4], *(one | {"case": one["case"] + "!"} for one in shown[4:])]
    assert side_by_side(groups_of(other)) == [], "other cases"


def test_directions_of_the_same_layers_stand_apart_and_those_of_one_model_together() -> None:
    def record(layer: str, direction: str) -> Any:
        more = {"suite": "model", "case": f"{layer} {direction}", "layer": layer, "problem": {"direction": direction}}
        return made("torch", (1.0, 1.0, 1.0)) | more

    layers = [record(layer, way) for layer in ("a", "b") for way in ("step", "weight_gradient", "forward")]
    assert [(group.settings, len(group.records)) for group in groups_of(layers)] == [
        ("1 thread, forward", 2),
        ("1 thread, weight_gradient", 2),
        ("1 thread, step", 2),
    ]
    autoencoder = [record("encoder", "forward"), record("decoder", "input_gradient")]
    assert [len(group.records) for group in groups_of(autoencoder)] == [2]


def test_points_of_a_history_are_in_the_order_of_time_and_each_run_has_its_place() -> None:
    def record(day: int, commit: str) -> Any:
        run = f"202611{day:02}T100000Z"
        more = {"commit": commit, "dirty": False, "time": f"2026-11-{day:02}T10:00:00+00:00"}
        return made("torch", (0.5, 0.5, 0.5)) | more | {"run": run, "session": run}

    days = {3: "a" * 40, 1: "f" * 40, 2: "0" * 40, 4: "a" * 40}
    history = datasets([], [record(day, commit) for day, commit in days.items()], [], [])["history"]
    assert [row["place"] for row in history] == ["ffffffff", "00000000", "aaaaaaaa", "aaaaaaaa #2"]


def test_the_report_of_a_failure_is_shown_from_the_results_folder_and_from_nowhere_else(tmp_path: Path) -> None:
    results = tmp_path / "results"
    (results / "here" / "failures").mkdir(parents=True)
    (results / "here" / "failures" / "mine.md").write_text("# t\n\n## Reproduce\n\n```sh\nconvbench verify x\n```\n")
    (tmp_path / "secret.md").write_text("a secret")
    for name, is_shown in (("/somewhere/else/mine.md", True), (f"{tmp_path}/secret.md", False), ("..", False)):
        row = {"backend": "b", "status": "wrong", "cases": 1, "searched": 0}
        row |= {"failures": [{"case": "c", "status": "wrong", "reason": "r", "report_file": name}]}
        (tmp_path / "v.jsonl").write_text(json.dumps(row) + "\n")
        done = convbench(tmp_path / "v.jsonl", "-o", tmp_path / "v.html", "--results", results)
        assert done.returncode == 0, done.stderr
        page = (tmp_path / "v.html").read_text(encoding="utf-8")
        assert ('<pre class="code">convbench verify x</pre>' in page) == is_shown
        assert "a secret" not in page and "1 backend: 1 wrong." in page


def test_what_cannot_be_reported_is_a_sentence(tmp_path: Path) -> None:
    cases = {
        ("nowhere",): (2, "is no journal"),
        (STORED / "bench-1", "--compare"): (2, "needs two runs"),
        (): (2, "has 0 runs"),
        (STORED / "bench-1", "-o", tmp_path / "no" / "folder" / "r.html"): (2, "cannot be written"),
    }
    for words, (code, sentence) in cases.items():
        done = convbench(
            *words, "--results", tmp_path / "empty", *([] if "-o" in words else ["-o", tmp_path / "r.html"])
        )
        assert done.returncode == code and sentence in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_without_the_extra_the_page_has_its_tables_and_says_what_is_missing(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['altair'] = None; from convbench.cli.main import main;"
        f"main(['report', {str(STORED / 'bench-1')!r}, '-o', {str(tmp_path / 'r.html')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "[report]'" in done.stderr
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "made without figures" in page and len(page) < 400_000


ODD: list[dict[str, Any]] = [
    {"flops": None}, {"flops": "x"}, {"median_s": None}, {"low_s": None}, {"machine": None}, {"time": 3}, {"commit": 5},
    {"threads": "many"}, {"layer": []}, {"reason": {}}, {"median_s": "1"}, {"gflops": []}, {"high_s": True},
    {"samples": None}, {"samples": {"round": [1], "wall_s": []}}, {"hazards": "x"}, {"problem": []}, {"count": "two"},
    {"versions": []}, {"settings": None}, {"declared": 1}, {"max_error_over_bound": "nan"},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_records_of_other_programs_stop_no_page(odd: dict[str, Any]) -> None:
    page, _ = page_of(Report("report", [made("good", (1.0,) * 6), made("odd") | odd]))
    assert '"good"' in page
