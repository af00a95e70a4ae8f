"""Settings that all tests share, and the marker `quick`."""

from __future__ import annotations

import ast
import os
import re
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from places import SUPPORT

# A shared machine may be slow at any moment, which is no failure: no test here is about time.
settings.register_profile("convbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("convbench")

# pytest imports readline, which tells every child process the width of a terminal that it does not write to.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
    os.unsetenv(name)

# A shell starts what runs in the background with interrupts ignored, and every command under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HEAVY = re.compile(
    r"(?:\w*(?:torch|subprocess|[pP]ool).*|Popen|Worker|discover|verify|run|choose|browser|jax|onnx|numba|main)"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `quick` each test that names no process and no large library, itself or through what it uses."""
    for item in items:
        heavy = any(item.get_closest_marker(name) for name in ("slow", "gpu"))
        names = {item.originalname, *item.fixturenames} if isinstance(item, pytest.Function) else set()
        heavy = heavy or torch_on_one_thread.__name__ in names
        if not heavy and not names & heavy_definitions(item.path):
            item.add_marker(pytest.mark.quick)


@pytest.fixture(scope="module")
def torch_on_one_thread() -> Iterator[None]:
    """torch's threads wait for each other, on a busy machine for seconds; the tensors of these tests are tiny."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def heavy_definitions(file: Path) -> frozenset[str]:
    """The functions, classes and constants of a test file that use `HEAVY`, directly or through one another."""
    uses = dict(_definitions(ast.parse(file.read_text(encoding="utf-8"))))
    heavy = {name for name, names in uses.items() if any(map(HEAVY.fullmatch, names))}
    while more := {name for name, names in uses.items() if name not in heavy and names & heavy}:
        heavy |= more
    return frozenset(heavy)


def _definitions(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Each top-level name with the names that its definition uses; a name of a heavy support module uses processes."""
    for node in tree.body:
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        names |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        names |= {part for n in ast.walk(node) if isinstance(n, ast.alias) for part in n.name.split(".")}
        names |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, names
        elif isinstance(node, ast.ImportFrom):
            heavy = {"subprocess"} if _starts_processes(SUPPORT / f"{node.module}.py") else set()
            yield from ((alias.asname or alias.name, {alias.name} | heavy) for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id, names) for target in targets if isinstance(target, ast.Name))


@cache
def _starts_processes(module: Path) -> bool:
    return module.is_file() and re.search(r"\b(subprocess|Popen|torch)\b", module.read_text("utf-8")) is not None
