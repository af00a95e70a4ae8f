"""The report's section on which hardware: what a pass brings on each machine, and how far machines can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import opened, what_is_missing
from made_records import made

from convbench.reporting.page.hardware import which_hardware
from convbench.reporting.page.page import Report, page_of
from convbench.reporting.page.rows import groups_of
from convbench.store.schema import Record

EVIL = '"></script><script>window.ran = 1</script><img src=x onerror="window.ran = 1">'
CASES = (("one", 2), ("two", 1))


def record(machine: str, backend: str, seconds: float, case: str, times: int, cpu: str = "", **more: Any) -> Record:
    problem = {**made()["problem"], "batch": 4}
    hardware = {"machine": machine, "cpu": cpu or f"CPU of {machine}", "num_cpu": 4}
    named = {"suite": "model", "case": case, "count": times, "session": machine, "problem": problem}
    return made(backend, (seconds,) * 8, machine=hardware, energy_j=20 * seconds, **named, **more)


def of_machine(machine: str, scale: float, cpu: str = "", **more: Any) -> list[Record]:
    """Each layer once or twice a pass: 3 `scale` seconds with torch, 6 with jax."""
    pairs = [(backend, factor * scale) for backend, factor in (("torch", 1.0), ("jax", 2.0))]
    return [record(machine, backend, s, case, times, cpu, **more) for backend, s in pairs for case, times in CASES]


def told(records: list[Record], **prices: float) -> dict[str, Any]:
    found = which_hardware(groups_of(records), prices, "USD")
    assert found is not None
    return found


def test_each_machine_and_backend_has_images_by_time_by_price_and_by_energy() -> None:
    answer = told([*of_machine("laptop", 1.0), *of_machine("server", 0.25)], laptop=0.5, server=4.0)
    [table] = answer["tables"]
    shown = [dict(zip(table["headers"], row["cells"], strict=True)) for row in table["rows"]]
    assert [(row["machine"], row["backend"], row["pass ms"]) for row in shown] == [
        ("server", "torch", "750"), ("server", "jax", "1,500"), ("laptop", "torch", "3,000"), ("laptop", "jax", "6,000")
    ]  # fmt: skip
    assert shown[0]["images/s"] == "5.33" and shown[0]["images per USD"] == "4,800"  # 4 images in 0.75 s; 3600 / 4
    assert shown[2]["images/s"] == "1.33" and shown[2]["images per USD"] == "9,600"
    assert shown[0]["images per J"] == "0.267"  # 4 images of 15 J
    low, high = (float(word.strip("()")) for word in shown[2]["range images/s"].split(" … "))
    assert low <= 1.333 <= high
    assert [row["is_best"] for row in table["rows"]] == [True, False, True, False]
    assert (
        "The fastest is server with torch. Next is laptop with torch, which takes 4.00x as long." in table["sentences"]
    )
    assert "Most images per USD: laptop with torch." in table["sentences"]


def test_cases_dealt_out_over_like_machines_make_one_pass_and_other_machines_need_all() -> None:
    whole = of_machine("big", 0.5)
    first, second = (
        record(f"node-{n}", "torch", 1.0, case, times, "CPU of a node") for n, (case, times) in enumerate(CASES)
    )
    partial = record("board", "torch", 9.0, "one", 2)
    answer = told([*whole, first, second, partial])
    [table] = answer["tables"]
    assert [row["cells"][1] for row in table["rows"]] == ["big", "big", "node-0 + node-1"]
    assert table["rows"][2]["cells"][4] == "3,000"
    assert "board has records of 1 of 2 cases of model, and is not in its table." in answer["comparable"]


def test_what_makes_machines_hard_to_compare_is_said() -> None:
    old, new = {"versions": {"torch": "2.9"}}, {"versions": {"torch": "2.10"}}
    answer = told(
        [
            *of_machine("a", 1.0, "A", time="2026-11-01T10:00:00+00:00", **old),
            *of_machine("b", 1.1, "A", time="2026-11-01T10:00:00+00:00", **new),
            *of_machine("c", 3.0, "C", time="2026-11-20T10:00:00+00:00", **new),
        ]
    )
    said = " ".join(answer["comparable"])
    assert "a and b are of one kind: over the 4 pairs that both timed, b took 1.100 times as long" in said
    assert "differ in backend torch: torch 2.9 on a; torch 2.10 on b" in said
    assert "several versions of torch: 2.9 on a; 2.10 on c" in said
    assert "different days: a 2026-11-01; b 2026-11-01; c 2026-11-20" in said
    assert "its own error is unknown" in said and "Two machines are two sessions" in said
    assert answer["machines"] == ["A, 4 CPUs: a, b", "C, 4 CPUs: c"]


def test_nothing_is_claimed_between_ranges_that_overlap_or_machines_of_one_kind() -> None:
    wide = {"low_s": 0.5, "high_s": 2.0}
    [level] = told([*of_machine("a", 1.0, **wide), *of_machine("b", 1.01, **wide)])["tables"]
    assert "a with torch and b with torch are level: their ranges overlap." in level["sentences"]
    [alike] = told([*of_machine("a", 1.0, "A"), *of_machine("b", 2.0, "A")])["tables"]
    assert alike["sentences"] == ["All are of one kind, A, 4 CPUs: what differs between them is the session."]


def test_one_machine_has_no_such_section_and_other_suites_have_no_table() -> None:
    one = of_machine("a", 1.0)
    assert which_hardware(groups_of(one), {}, "EUR") is None
    other = [{**each, "suite": "another"} for each in of_machine("b", 1.0)]
    assert told([*one, *other])["tables"] == []  # type: ignore[list-item]
    assert 'id="hardware"' not in page_of(Report("t", one))[0]


# --- in the browser ---------------------------------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(what_is_missing() is not None, reason=what_is_missing() or "")


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with opened() as browser:
        yield browser


def visit(driver: Any, path: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get(path.as_uri())
    WebDriverWait(driver, 60).until(
        lambda d: d.execute_script("return document.documentElement.dataset.ready == 'yes'")
    )


@pytest.mark.slow
@needs_browser
def test_the_section_is_seen_and_hostile_names_stay_text(tmp_path: Path, driver: Any) -> None:
    path = tmp_path / "report.html"
    named = [*of_machine(EVIL, 1.0, EVIL, versions={EVIL: EVIL}), *of_machine("server\x1b[2J", 0.25)]
    evil = [{**each, "suite": EVIL, "backend": each["backend"] + EVIL} for each in named]
    path.write_text(page_of(Report("t", evil, prices={"*": 1.0}, currency=EVIL))[0], encoding="utf-8")  # type: ignore[arg-type]
    visit(driver, path)
    assert driver.execute_script("return window.ran") is None
    assert driver.execute_script("return document.querySelectorAll('img').length") == 0
    section = driver.find_element("id", "hardware")
    assert section.is_displayed() and "Which hardware" in section.find_element("tag name", "h2").text
    assert section.find_element("tag name", "h3").text == EVIL
    cells = [row.find_elements("tag name", "td") for row in section.find_elements("css selector", "tbody tr")]
    assert [row[1].get_attribute("textContent") for row in cells] == ["server\\x1b[2J", "server\\x1b[2J", EVIL, EVIL]
    assert cells[0][3].get_attribute("textContent") == f"torch{EVIL}"
    best = section.find_elements("css selector", "tr.best")
    assert (
        len(best) == 2
        and driver.execute_script("return getComputedStyle(arguments[0].cells[0]).fontWeight", best[0]) == "600"
    )
    assert EVIL in section.find_element("tag name", "ul").text
    assert driver.find_element("link text", "Which hardware").get_attribute("href").endswith("#hardware")
    complaints = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert complaints == []
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        assert driver.execute_script("return arguments[0].scrollWidth", section) <= 380
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
