"""The pictures of the docs: the site's first page and reports, taken in a headless Chromium.

    convbench run --suite mobilenet-v2 --report build/report.html
    python -m sphinx docs build/site
    convbench report before.jsonl after.jsonl --compare -o build/compare.html
    convbench report laptop server -o build/machines.html
    convbench verify --plugin my_conv.py --backend my-conv --json > build/verify.jsonl
    convbench report build/verify.jsonl -o build/verify.html
    python evaluation/screenshots.py [--report build/report.html] [--site build/site] [--to docs/images] [--only NAME]
    python evaluation/screenshots.py --all --to build/pictures [--pages index.html api.html]

`--all` shows each page of the site that `--pages` names, and the report, at 1280 and at 380 pixels, to be looked at.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from browser import opened, what_is_missing

HEIGHTS = {1280: 900, 380: 800}
THEMES = ("light", "dark")


@dataclass(frozen=True)
class Picture:
    """One screen of a page, from the element `begins` on, as PNG in the file NAME.png."""

    name: str
    page: Path
    theme: str
    width: int = 1280
    begins: str = "body"


def of_docs(site: Path, report: Path) -> Iterator[Picture]:
    """Those that the docs show."""
    yield Picture("site", site / "index.html", "light")
    yield Picture("report-answer", report, "light")
    yield Picture("report-answer-dark", report, "dark")
    yield Picture("report-figures", report, "dark", begins="#figures")
    yield Picture("report-compare", report.with_name("compare.html"), "light")
    yield Picture("report-machines", report.with_name("machines.html"), "light")
    yield Picture("report-verify", report.with_name("verify.html"), "light")


def of_all(site: Path, names: list[str], report: Path) -> Iterator[Picture]:
    """Each page on a desk and on a phone."""
    for page, width, theme in product([*(site / name for name in names), report], HEIGHTS, THEMES):
        yield Picture(f"{page.stem}-{width}-{theme}", page, theme, width)


def taken(driver: Any, picture: Picture) -> bytes:
    size = {"width": picture.width, "height": HEIGHTS[picture.width], "deviceScaleFactor": 1}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size | {"mobile": picture.width < 500})
    driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    scheme = {"name": "prefers-color-scheme", "value": picture.theme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get(picture.page.resolve().as_uri())
    driver.execute_script("document.querySelector(arguments[0]).scrollIntoView()", picture.begins)
    until_drawn(driver, picture.begins)
    driver.execute_script("document.getAnimations().forEach(one => one.finish())")
    return bytes(driver.get_screenshot_as_png())


def until_drawn(driver: Any, begins: str) -> None:
    """Wait for the letters, for the report's own sign that its table is ready, and for the figures in sight."""
    from selenium.webdriver.support.ui import WebDriverWait

    ready = (
        "return document.readyState == 'complete' && document.fonts.status == 'loaded'"
        " && (!document.getElementById('pairs') || document.documentElement.dataset.ready == 'yes')"
        " && [...document.querySelectorAll(arguments[0] + ' figure:not([hidden])')].slice(0, 1)"
        ".every(figure => arguments[0] == 'body' || figure.dataset.drawn == 'yes')"
    )
    WebDriverWait(driver, 120).until(lambda d: d.execute_script(ready, begins))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, default=Path("build/site"))
    parser.add_argument("--report", type=Path, default=Path("build/report.html"))
    parser.add_argument("--to", type=Path, default=Path("docs/images"))
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--pages", nargs="*", default=["index.html"])
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="take these pictures of the docs")
    options = parser.parse_args()
    if missing := what_is_missing():
        sys.exit(missing)
    every = (
        of_all(options.site, options.pages, options.report) if options.all else of_docs(options.site, options.report)
    )
    pictures = [picture for picture in every if not options.only or picture.name in options.only]
    if absent := {str(picture.page) for picture in pictures if not picture.page.is_file()}:
        sys.exit(f"there is no {' and no '.join(sorted(absent))}; the first lines of this script say how to make them")
    options.to.mkdir(parents=True, exist_ok=True)
    with opened() as driver:
        for picture in pictures:
            target = options.to / f"{picture.name}.png"
            target.write_bytes(taken(driver, picture))
            print(target)


if __name__ == "__main__":
    main()
