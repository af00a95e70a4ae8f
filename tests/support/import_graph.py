"""The imports of a checkout, read from its source and never executed: which module names which."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One import: the full name of the imported module, and where it stands."""

    target: str
    line: int
    within_function: bool
    for_types_only: bool


@cache
def imports(source: str, module: str, is_package: bool) -> tuple[Import, ...]:
    """Every import in `source`, within functions too. `from p import n` gives `p.n`, because `n` may be a module."""
    package = module if is_package else module.rpartition(".")[0]
    return tuple(_imports(ast.parse(source), package, within=False, typing=False))


def _imports(node: ast.AST, package: str, within: bool, typing: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, within, typing)
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        origin = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
        origin = ".".join(filter(None, (origin, node.module)))
        for alias in node.names:
            yield Import(f"{origin}.{alias.name}", node.lineno, within, typing)
    elif isinstance(node, ast.Call) and _is_import_call(node.func):
        argument = node.args[0] if node.args else None
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield Import(f"{argument.value}.*", node.lineno, within, typing)
    within = within or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    for field, value in ast.iter_fields(node):
        only_types = typing or (isinstance(node, ast.If) and field == "body" and "TYPE_CHECKING" in ast.dump(node.test))
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _imports(child, package, within, only_types)


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    return name in ("import_module", "__import__")


def module_name(path: Path, root: Path) -> str:
    """The dotted name of a file in `convbench/` or `backends/` of `root`; a package's for its `__init__.py`."""
    parts = path.relative_to(root).with_suffix("").parts
    parts = ("convbench", *parts) if parts[0] == "backends" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of_file(path: Path, root: Path) -> tuple[Import, ...]:
    """Every import in a file of `convbench/` or `backends/`."""
    return imports(path.read_text(encoding="utf-8"), module_name(path, root), path.name == "__init__.py")


def import_graph(root: Path) -> dict[str, frozenset[str]]:
    """For each module of `root`'s `convbench/` the modules of `convbench/` that it names, at any place.

    The package itself is left out: it exports names from every row, lazily.
    """
    files = {module_name(path, root): path for path in sorted((root / "convbench").rglob("*.py"))}
    entry_points = {"convbench", "convbench.__main__"}
    return {
        name: frozenset(filter(None, (_module_of(i.target, files) for i in imports_of_file(path, root)))) - entry_points
        for name, path in files.items()
        if name not in entry_points
    }


def _module_of(target: str, files: Mapping[str, Path]) -> str | None:
    while target and target not in files:
        target = target.rpartition(".")[0]
    return target or None


def circles(graph: Mapping[str, frozenset[str]]) -> list[tuple[str, ...]]:
    """The groups of modules that reach each other, each sorted: the strongly connected components of two or more."""
    reached = {name: _reached_from(name, graph) for name in graph}
    groups = {tuple(sorted({name} | {n for n in there if name in reached[n]})) for name, there in reached.items()}
    return sorted(group for group in groups if len(group) > 1)


def _reached_from(name: str, graph: Mapping[str, frozenset[str]]) -> set[str]:
    reached: set[str] = set()
    pending = [name]
    while pending:
        new = graph[pending.pop()] - reached
        reached |= new
        pending += new
    return reached
