"""How large the page of a report is, and how long a browser takes to open it, for many records.

python evaluation/overhead/report_page.py [--records 10000,50000] [--screenshots FOLDER]

The records are those of a quick run, copied under other names with their samples shaken. With --screenshots, pictures
of the page of that run in both themes are kept.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from browser import opened, what_is_missing

SAMPLES = 30
SUITES = 8


def convbench(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "convbench", *map(str, words)], stdout=subprocess.DEVNULL, check=True)


def copies(records: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(0)
    for number in range(count):
        record = records[number % len(records)]
        copy = number // len(records)
        walls = record["samples"].get("wall_s") or []
        shaken = [wall * rng.uniform(0.98, 1.02) for wall in (walls * SAMPLES)[:SAMPLES]]
        names = {"case": f"{record['case']}v{copy}", "suite": f"{record['suite']}{copy % SUITES}"}
        yield record | names | {"samples": {"round": list(range(len(shaken))), "wall_s": shaken}}


def wait(driver: Any, script: str) -> None:
    while not driver.execute_script(script):
        time.sleep(0.02)


def opening_s(page: Path) -> tuple[float, float]:
    """Seconds until the table of the page is there, and until its first figure is, once that is scrolled to."""
    with opened() as driver:
        start = time.perf_counter()
        driver.get(page.as_uri())
        wait(driver, "return document.documentElement.dataset.ready == 'yes'")
        table_s, start = time.perf_counter() - start, time.perf_counter()
        first = "document.querySelector('figure:not([hidden])')"
        driver.execute_script(f"{first}.scrollIntoView()")
        wait(driver, f"return {first}.dataset.drawn == 'yes'")
        return table_s, time.perf_counter() - start


def take_screenshots(page: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with opened() as driver:
        driver.set_window_size(1200, 900)
        driver.get(page.as_uri())
        wait(driver, "return document.documentElement.dataset.ready == 'yes'")
        for theme in ("light", "dark"):
            if driver.execute_script("return document.documentElement.dataset.theme") != theme:
                driver.find_element("id", "theme").click()
            for name, place in (("answer", "#answer"), ("table", "#table"), ("figures", "#figures")):
                driver.execute_script(f"document.querySelector('{place}').scrollIntoView()")
                time.sleep(2)
                driver.save_screenshot(str(folder / f"report-{name}-{theme}.png"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", default="10000,50000")
    parser.add_argument("--screenshots", type=Path)
    options = parser.parse_args()
    if reason := what_is_missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        words = ("--suite", "mobilenet-v2", "--quick", "--no-asv", "--results", folder / "results")
        chosen = [
            word for name in ("torch", "torch-channels-last", "jax", "numpy-gemm") for word in ("--backend", name)
        ]
        convbench("run", *words, *chosen, "--report", folder / "run.html")
        (journal,) = (folder / "results").rglob("*.jsonl")
        records = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        print(f"{'records':>8} {'MB':>6} {'written s':>10} {'table s':>8} {'first figure s':>15}")
        for count in map(int, options.records.split(",")):
            path, page = folder / f"{count}.jsonl", folder / f"{count}.html"
            path.write_text("".join(json.dumps(record) + "\n" for record in copies(records, count)), encoding="utf-8")
            start = time.perf_counter()
            convbench("report", path, "-o", page)
            written_s = time.perf_counter() - start
            table_s, figure_s = opening_s(page)
            megabytes = page.stat().st_size / 1e6
            print(f"{count:8,} {megabytes:6.1f} {written_s:10.1f} {table_s:8.2f} {figure_s:15.2f}")
        if options.screenshots is not None:
            take_screenshots(folder / "run.html", options.screenshots)


if __name__ == "__main__":
    main()
