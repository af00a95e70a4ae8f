"""Every relative link, file and module that a page names exists, and the pages keep the lengths they promise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from import_graph import imports
from places import CHECKOUT, DOCS, EVALUATION
from test_names import PHRASES

PAGES = [
    *sorted(DOCS.glob("*.md")),
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(CHECKOUT / folder / "README.md" for folder in ("suites", "results", "evaluation")),
]
SOURCES = [*sorted((CHECKOUT / "convbench").rglob("*.py")), *sorted(EVALUATION.rglob("*.py"))]
EXAMPLES = re.compile(
    r"(^|/)(my_\w+|mine|program|FILE)\.(py|toml)$|^(results|onnx|torch|\.\.\.)/|^convbench\.(html|ya?ml)$"
)
MADE_OF_THE_INDEX = {DOCS / name for name in ("README.md", "index.md", "how-to.md", "reference.md")}
OLD_NAMES = {CHECKOUT / "CHANGELOG.md", DOCS / "glossary.md"}  # name what is no longer there, on purpose


def ids(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            yield f"{page.name}: no file for the link {target}"
        elif anchor and anchor not in anchors(file):
            yield f"{page.name}: no heading for the link {target}"


def _without_output(page: Path) -> str:
    """The text of a page without the blocks that quote what a command printed: those are history."""
    return re.sub(r"```\n\$ .*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def missing_files(page: Path) -> Iterator[str]:
    """Paths of source files, from the root of the checkout or within convbench/, that do not exist."""
    for name in re.findall(r"(?<![\w/.~-])[\w.-]+(?:/[\w.-]+)+\.(?:py|toml|css|md)\b", _without_output(page)):
        if not EXAMPLES.search(name) and not any((place / name).exists() for place in _places(page)):
            yield f"{page.name}: no file {name}"


def _places(page: Path) -> tuple[Path, ...]:
    return CHECKOUT, CHECKOUT / "convbench", *page.parents


def missing_names(page: Path) -> Iterator[str]:
    """Dotted names that begin with `convbench` and that are neither a module nor a name in one."""
    for dotted in re.findall(r"(?<![\w./-])convbench(?:\.[A-Za-z_]\w*)+", page.read_text(encoding="utf-8")):
        if not EXAMPLES.search(dotted) and not _is_there(dotted.split(".")):
            yield f"{page.name}: no {dotted}"


def _is_there(parts: list[str]) -> bool:
    for end in range(len(parts), 0, -1):
        file = _module(CHECKOUT.joinpath(*parts[:end]))
        if parts[1:2] in (["backends"], ["suites"]) and end > 1:
            file = file or _module(CHECKOUT.joinpath(*parts[1:end]))
        if file is not None:
            rest = parts[end:]
            return not rest or rest[0] in _names(file)
    return False


def _module(path: Path) -> Path | None:
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()), None)


def _names(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OLD_NAMES], ids=ids)
def test_every_file_and_module_that_a_page_names_exists(page: Path) -> None:
    assert [*missing_files(page), *missing_names(page)] == []


def test_every_file_that_a_source_names_exists() -> None:
    assert [missing for file in SOURCES for missing in missing_files(file)] == []


def test_every_name_that_a_script_imports_exists() -> None:
    missing = []
    for script in EVALUATION.rglob("*.py"):
        found = imports(script.read_text(encoding="utf-8"), script.stem, is_package=False)
        targets = (i.target.removesuffix(".*").split(".") for i in found)
        missing += [f"{ids(script)}: {'.'.join(t)}" for t in targets if t[0] == "convbench" and not _is_there(t)]
    assert missing == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "glossary.md"], ids=ids)
def test_the_prose_of_a_page_uses_no_retired_phrase(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert [name for name, pattern in PHRASES.items() if re.search(pattern, text)] == []


def test_every_page_is_in_the_index_once() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    bullets = re.findall(r"^\* \[[^\]]*\]\(([^)]+)\)", index, re.MULTILINE)
    assert sorted(page.name for page in DOCS.glob("*.md") if page not in MADE_OF_THE_INDEX) == sorted(
        target for target in bullets if "/" not in target
    )


def test_every_evaluation_script_is_in_its_table() -> None:
    table = (EVALUATION / "README.md").read_text(encoding="utf-8")
    scripts = [path for path in EVALUATION.rglob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    assert [ids(script) for script in scripts if f"`{script.relative_to(EVALUATION).as_posix()}`" not in table] == []


def figures_without_source(page: Path) -> Iterator[str]:
    """Figures in the tables of a page that the page linked in the last cell of their row does not have."""
    rows = re.findall(r"^\|(.*)\|.*?\]\(([\w.-]+\.md)[^)]*\) \|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    for row, target in rows:
        source = set(_figures((page.parent / target).read_text(encoding="utf-8")))
        yield from (f"{target} has no {figure}" for figure in _figures(row) if figure not in source)


def _figures(text: str) -> list[str]:
    return re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", text)


def test_the_figures_of_the_method_are_those_of_their_pages() -> None:
    method = DOCS / "method.md"
    assert "steady_loop.py" in method.read_text(encoding="utf-8")
    assert list(figures_without_source(method)) == []


def test_a_figure_that_its_page_does_not_have_is_found(tmp_path: Path) -> None:
    (tmp_path / "source.md").write_text("in 94 % of 1,151 pairs", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text("| how often? | in 95 % of 1,151 pairs | [`a.py`](source.md#there) |\n", encoding="utf-8")
    assert list(figures_without_source(page)) == ["source.md has no 95"]


def test_the_readme_and_contributing_stay_short() -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert len(re.sub(r"```.*?```", "", readme, flags=re.DOTALL).split()) <= 900
    assert len((CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One heading\n[a](#one-heading) [b](#another) [c](none.md) [d](https://example.com) [e](page.md)\n"
        "`convbench/nothing.py`, `store/journal.py`, `my/my_conv.py`, convbench.html\n"
        "`convbench.load`, `convbench.nothing`, `convbench.store.journal.Journal`, `convbench.store.journal.Nothing`\n",
        encoding="utf-8",
    )
    assert [*broken_links(page), *missing_files(page), *missing_names(page)] == [
        "page.md: no heading for the link #another",
        "page.md: no file for the link none.md",
        "page.md: no file convbench/nothing.py",
        "page.md: no convbench.nothing",
        "page.md: no convbench.store.journal.Nothing",
    ]
