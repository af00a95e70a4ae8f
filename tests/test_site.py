"""The documentation site is built for real: without a warning, complete, and with nothing from another host."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from browser import opened, what_is_missing
from places import CHECKOUT, DOCS

import convbench

sys.path.append(str(DOCS / "extensions"))
from navigation import relinked, sections

pytestmark = pytest.mark.slow

LOADING = {("object", "data"), *((element, "src") for element in ("iframe", "img", "script", "source", "video"))}
ICONS_AND_STYLES = {"stylesheet", "preload", "modulepreload", "icon", "preconnect", "dns-prefetch", "prefetch"}


@dataclass
class Page(HTMLParser):
    """What a page loads, where it leads, and the anchors that it has."""

    text: str
    loads: list[str] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attributes}
        self.anchors |= {has["id"]} if "id" in has else set()
        self.loads += [has[name] for element, name in LOADING if element == tag and name in has]
        self.loads += re.findall(r"url\(['\"]?([^)'\"]+)", has.get("style", ""))
        if tag == "link" and ICONS_AND_STYLES.intersection(has.get("rel", "").split()):
            self.loads.append(has.get("href", ""))
        elif tag == "a" and "href" in has:
            self.leads.append(has["href"])


def is_elsewhere(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme in ("http", "https", "ftp")


def loaded_from_elsewhere(site: Path) -> Iterator[str]:
    for file in sorted(site.rglob("*.html")):
        for address in filter(is_elsewhere, Page(file.read_text(encoding="utf-8")).loads):
            yield f"{file.relative_to(site)}: {address}"
    for file in sorted(site.rglob("*.css")):
        text = file.read_text(encoding="utf-8")
        for address in re.findall(r"url\(\s*['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)", text):
            if is_elsewhere("".join(address).strip()):
                yield f"{file.relative_to(site)}: {''.join(address)}"


def broken_links(site: Path) -> Iterator[str]:
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        for address in page.leads:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            if not target.is_file():
                yield f"{file.relative_to(site)}: no file for {address}"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{file.relative_to(site)}: no anchor for {address}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as CI and CONTRIBUTING build it, where a warning is an error."""
    path = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", str(DOCS), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=CHECKOUT)
    assert (done.returncode, done.stderr) == (0, "")
    return path.resolve()


def test_every_page_is_there(site: Path) -> None:
    sources = [*DOCS.glob("*.md"), *DOCS.glob("project/*.md"), *DOCS.glob("notebooks/*.ipynb")]
    expected = {source.relative_to(DOCS).with_suffix(".html") for source in sources} - {Path("README.html")}
    assert {Path("index.html"), Path("api.html"), Path("method.html")} < expected
    assert [page for page in expected if not (site / page).is_file()] == []


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    assert list(loaded_from_elsewhere(site)) == []


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    assert list(broken_links(site)) == []


def test_every_public_name_is_in_the_api_reference(site: Path) -> None:
    anchors = Page((site / "api.html").read_text(encoding="utf-8")).anchors
    names = [f"convbench.{name}" for name in convbench.__all__ if not name.startswith("_")]
    assert [name for name in [*names, "convbench.testing.verify"] if name not in anchors] == []


def test_every_page_is_reached_by_the_navigation(site: Path) -> None:
    """Each section is in the header of the first page, and each page in the list beside its section's pages."""
    listed = sections((DOCS / "README.md").read_text(encoding="utf-8"))
    first = Page((site / "index.html").read_text(encoding="utf-8"))
    assert [section for section in listed if f"{section}.html" not in first.leads] == []
    for section, pages in listed.items():
        leads = Page((site / f"{section}.html").read_text(encoding="utf-8")).leads
        assert [page for page in pages if leads.count(f"{page}.html") < 1] == []


@pytest.mark.skipif(what_is_missing() is not None, reason=what_is_missing() or "")
def test_pages_open_from_disk_without_a_request_and_fit_a_phone(site: Path) -> None:
    with opened() as driver:
        names = ("index.html", "api.html", "measured.html", "compared.html")
        for page in [*(site / name for name in names), *site.glob("notebooks/*.html")]:
            assert opens_by_itself(driver, page) == []
            assert driver.execute_script("return document.documentElement.scrollWidth") <= 380


def opens_by_itself(driver: Any, page: Path) -> list[str]:
    """What the page requests from elsewhere, and the errors that it logs, on a screen of 380 pixels."""
    size = {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.as_uri())
    requested = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    return [name for name in requested if not name.startswith(("file:", "data:"))] + errors


# --- what the checks would find ---------------------------------------------------------------------------------------


def test_what_is_loaded_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="https://example.com">leads there</a><script src="https://cdn.example.com/a.js"></script>'
        '<link rel="stylesheet" href="//cdn.example.com/a.css"><img src="here.png"><link rel="next" href="b.html">'
        '<p style="background: url(http://example.com/p.png)">',
        encoding="utf-8",
    )
    (tmp_path / "a.css").write_text(
        '@import "https://fonts.example.com/f"; p { background: url(data:image/png;base64,A) }', encoding="utf-8"
    )
    assert sorted(loaded_from_elsewhere(tmp_path)) == [
        "a.css: https://fonts.example.com/f",
        "a.html: //cdn.example.com/a.css",
        "a.html: http://example.com/p.png",
        "a.html: https://cdn.example.com/a.js",
    ]


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="top"></h1><a href="#top"></a><a href="#none"></a><a href="b.html#x"></a><a href="c.html"></a>'
        '<a href="b.html#y"></a><a href="https://example.com/none"></a>',
        encoding="utf-8",
    )
    (tmp_path / "b.html").write_text('<p id="x">', encoding="utf-8")
    assert list(broken_links(tmp_path)) == [
        "a.html: no anchor for #none",
        "a.html: no file for c.html",
        "a.html: no anchor for b.html#y",
    ]


def test_links_lead_to_the_pages_that_show_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "convbench").mkdir()
    monkeypatch.chdir(tmp_path / "convbench")  # a clone has the package's name, if nobody gives it another
    unchanged = "[b](bounds.md) [c](https://example.com/x.md) [d](../convbench/errors.py) [e](#f)"
    text = f"[a](../README.md#add-a-backend) {unchanged}"
    assert relinked(text, DOCS / "plans.md", "plans") == f"[a](index.md#add-a-backend) {unchanged}"
    assert relinked("[a](docs/glossary.md)", CHECKOUT / "CONTRIBUTING.md", "project/contributing") == (
        "[a](../glossary.md)"
    )


def test_the_navigation_is_the_list_of_pages() -> None:
    index = (
        "# Index\n\n## How-to: what to type\n\n* [A](a.md): text, [B](b.md).\n"
        "\n## Method: how\n\n* [M](method.md).\n* [C](../CHANGELOG.md).\n"
    )
    assert sections(index) == {"how-to": ["a"], "method": ["project/changelog"]}
