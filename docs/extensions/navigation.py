"""The site's navigation, made of the one list of pages: docs/README.md.

Each of its headings is a section. The section's page has the heading's name (`how-to.md`); the pages that the bullets
below it begin with are its children. Links to files that the site shows elsewhere lead to the page that shows them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]
CHECKOUT = DOCS.parent
INDEX = DOCS / "README.md"
SHOWN_ON = {  # files that the site shows on a page of another name
    INDEX: "index.md",
    CHECKOUT / "README.md": "index.md",
    CHECKOUT / "CHANGELOG.md": "project/changelog.md",
    CHECKOUT / "CONTRIBUTING.md": "project/contributing.md",
    CHECKOUT / "evaluation" / "README.md": "project/evaluation.md",
    CHECKOUT / "results" / "README.md": "project/results.md",
    CHECKOUT / "suites" / "README.md": "project/suites.md",
}
_LINK = re.compile(r"\]\((?![a-z]+:)([^)\s#]+)((?:#[^)\s]*)?)\)")
_BULLET = re.compile(r"^\* \[[^\]]*\]\((?![a-z]+:)([^)\s#]+)\)", re.MULTILINE)


def sections(index: str) -> dict[str, list[str]]:
    """The sections of the list, by the names of their pages, each with the names of its other pages."""
    found: dict[str, list[str]] = {}
    for part in index.split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        name = heading.partition(":")[0].strip().lower()
        pages = [_page(INDEX, target).rpartition(".")[0] for target in _BULLET.findall(text)]
        found[name] = [page for page in pages if page != name]
    return found


def relinked(text: str, file: Path, page: str) -> str:
    """`text`, which stands in `file` and is shown on `page`, with links from that page."""

    def link(match: re.Match[str]) -> str:
        # Both from the folder of pages: what begins with .. would else depend on the current folder's name.
        return f"]({os.path.relpath(DOCS / _page(file, match[1]), (DOCS / page).parent)}{match[2]})"

    return _LINK.sub(link, text)


def _page(file: Path, target: str) -> str:
    """What the link `target` in `file` leads to, from the folder of pages."""
    path = (file.parent / target).resolve()
    return SHOWN_ON.get(path) or Path(os.path.relpath(path, DOCS)).as_posix()


def toctree(entries: list[str]) -> str:
    return "\n".join(["", "", "```{toctree}", ":hidden:", "", *entries, "```", ""])


def _read(app: Any, page: str, source: list[str]) -> None:
    file = Path(app.env.doc2path(page))
    if file.suffix != ".md":
        return
    source[0] = relinked(source[0], file, page)
    listed = sections(INDEX.read_text(encoding="utf-8"))
    if page == app.config.root_doc:
        source[0] += toctree([f"{section.capitalize()} </{section}>" for section in listed])
    elif listed.get(page):
        source[0] += toctree([f"/{child}" for child in listed[page]])
    elif file.name == "README.md" and file.parent != DOCS:  # a folder of pages, all of them below its own
        source[0] += toctree(sorted(each.stem for each in file.parent.glob("*.md") if each != file))


def _include(app: Any, file: Path, _: str, content: list[str]) -> None:
    content[0] = relinked(content[0], (DOCS / file).resolve(), app.env.docname)


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", _read)
    app.connect("include-read", _include)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
