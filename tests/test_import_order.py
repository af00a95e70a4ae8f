"""The order of the house, read from the imports: an upper row knows nothing of a lower one."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent

ROWS: tuple[tuple[str, ...], ...] = (
    ("errors", "status", "installation", "cuda_driver"),
    ("stats",),
    ("problem", "case_id", "dialects"),
    ("suite", "suite_*", "case_data"),
    ("backend", "registry"),
    ("verification",),
    ("measurement",),
    ("store",),
    ("analysis",),
    ("extraction", "models"),
    ("plans", "acting"),
    ("runner",),
    ("reporting",),
    ("api",),
    ("cli", "interface", "testing"),
)
LAZILY_EXPORTED = {  # by convbench/__init__.py
    "ConvProblem": "problem",
    "load": "store",
    "read_plan": "store",
    "Conv2d": "acting",
    "apply": "acting",
    "conv2d": "acting",
}
LOOK_DOWN_LAZILY = {"__init__.py", "__main__.py"}
IMPORTED_AS = {"nvidia": "pynvml", "pillow": "PIL"}
COME_ALONG = {"asv": "asv_runner"}
OPTIONAL = {"pyarrow"}  # which convbench itself imports where a command needs it, and says so where it is missing
OPTIONAL_OF = {
    "acting": {"torch"},
    "models": {"onnx", "timm", "torch", "torchvision"},
}  # the same, in one row: models are made with these
FOR_BACKENDS = {"convbench.backend", "convbench.problem"}
HEAVY = ("numpy", "scipy", "pandas", "torch", "jax", "numba", "rich")
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "base", "core", "common"}


def declared_dependencies() -> set[str]:
    """The modules of what pyproject.toml requires: what convbench itself may import."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^A-Za-z0-9_]", requirement)[0] for requirement in project["dependencies"]]
    return {IMPORTED_AS.get(name, name) for name in names} | {COME_ALONG[name] for name in names if name in COME_ALONG}


@dataclass(frozen=True)
class Import:
    """One import: the module that is named in full, and where."""

    target: str
    line: int
    within_function: bool
    for_types_only: bool


def imports(source: str, module: str, is_package: bool) -> Iterator[Import]:
    """Every import in `source`, within functions too. `from p import n` names `p.n`, for `n` may be a module."""
    yield from _imports(ast.parse(source), module if is_package else module.rpartition(".")[0], False, False)


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
        given = node.args[0] if node.args else None
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            yield Import(f"{given.value}.*", node.lineno, within, typing)
    within = within or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    for field, value in ast.iter_fields(node):
        only_types = typing or (isinstance(node, ast.If) and field == "body" and "TYPE_CHECKING" in ast.dump(node.test))
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _imports(child, package, within, only_types)


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    return name in ("import_module", "__import__")


def row_of(component: str) -> int | None:
    """The row of a module or folder directly in `convbench`; None when the order does not know it."""
    return next((i for i, row in enumerate(ROWS) if any(fnmatchcase(component, p) for p in row)), None)


def violations(root: Path) -> list[str]:
    """Everything in `root`'s convbench/ and backends/ that is against the order, in words."""
    return [*_in_package(root), *_in_backends(root)]


def _in_package(root: Path) -> Iterator[str]:
    may_import = sys.stdlib_module_names | declared_dependencies()
    for path in sorted((root / "convbench").rglob("*.py")):
        inside = path.relative_to(root / "convbench")
        if len(inside.parts) == 1 and inside.name in LOOK_DOWN_LAZILY:
            continue
        component = inside.with_suffix("").parts[0]
        row = row_of(component)
        if row is None:
            yield f"{inside}: {component} has no row; give it one in {Path(__file__).name} and docs/architecture.md"
            continue
        for found in _read(path, root):
            top, *rest = found.target.split(".")
            where = f"{inside}:{found.line}"
            if top != "convbench":
                optional = OPTIONAL | OPTIONAL_OF.get(component, set())
                if top not in may_import and not (top in optional and found.within_function):
                    yield f"{where}: imports {top}, which pyproject.toml does not require or a backend is to import"
                continue
            if not rest or rest == ["*"]:
                continue
            if rest[0] in ("backends", "suites"):
                if rest != [rest[0], "*"]:
                    yield f"{where}: names {found.target}; what is in there is discovered, not named"
                continue
            target_row = row_of(LAZILY_EXPORTED.get(rest[0], rest[0]))
            if target_row is not None and target_row > row:
                yield f"{where}: {component} knows of {rest[0]}, which is below it"
            if target_row is None and _is_module(root, rest[0]):
                yield f"{where}: imports {found.target}, which has no row"


def _in_backends(root: Path) -> Iterator[str]:
    for path in sorted((root / "backends").rglob("*.py")):
        for found in _read(path, root):
            where = f"{path.name}:{found.line}"
            top = found.target.split(".")[0]
            if top == "convbench":
                own = found.target.startswith("convbench.backends._")
                if not own and not any(found.target == m or found.target.startswith(m + ".") for m in FOR_BACKENDS):
                    yield f"{where}: a backend imports {found.target}; it may know {' and '.join(sorted(FOR_BACKENDS))}"
        if not path.name.startswith("_"):
            for found in _heavy(path, root):
                yield f"{path.name}:{found.line}: imports {found.target} at module level, which listing would pay for"


def _heavy(path: Path, root: Path) -> Iterator[Import]:
    """What is imported with a file of backends/ that is not Python's own, by way of private modules too."""
    for found in _read(path, root):
        if found.within_function or found.for_types_only:
            continue
        top, *rest = found.target.split(".")
        private = root / "backends" / f"{rest[1]}.py" if top == "convbench" and len(rest) > 1 else None
        foreign = top not in sys.stdlib_module_names | {"convbench"}
        if foreign or (private is not None and private.is_file() and any(_heavy(private, root))):
            yield found


def _read(path: Path, root: Path) -> list[Import]:
    parts = path.relative_to(root).with_suffix("").parts
    if parts[0] == "backends":
        parts = ("convbench", *parts)
    is_package = parts[-1] == "__init__"
    module = ".".join(parts[:-1] if is_package else parts)
    return list(imports(path.read_text(encoding="utf-8"), module, is_package))


def _is_module(root: Path, name: str) -> bool:
    return (root / "convbench" / name).is_dir() or (root / "convbench" / f"{name}.py").is_file()


# --- the tree as it is ------------------------------------------------------------------------------------------------


def test_no_module_knows_of_a_row_below_its_own() -> None:
    assert violations(CHECKOUT) == []


def test_no_library_under_test_is_required_by_convbench_itself() -> None:
    assert not declared_dependencies() & {"torch", "jax", "jaxlib", "numba", "cv2", "onnxruntime", "tensorflow"}
    assert {"numpy", "PIL", "asv_runner"} <= declared_dependencies()


def test_every_row_has_modules() -> None:
    present = {row_of(p.stem) for p in (CHECKOUT / "convbench").iterdir() if not p.name.startswith("__")}
    assert set(range(len(ROWS))) <= present


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = [p for folder in ("convbench", "backends", "suites") for p in (CHECKOUT / folder).rglob("*")]
    assert [str(p) for p in named if p.stem.strip("_") in NAMES_THAT_SAY_NOTHING] == []


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import convbench", id="the package"),
        pytest.param("import convbench.cli.main", id="the command line"),
        pytest.param(
            "from convbench.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit as left:\n"
            "    assert not left.code",
            id="help",
        ),
        pytest.param(
            "from convbench.cli.main import main\ntry:\n    main(['run', '--help'])\nexcept SystemExit as left:\n"
            "    assert not left.code",
            id="help of run",
        ),
    ],
)
def test_help_imports_nothing_heavy(code: str) -> None:
    asked = f"{code}\nimport sys\nprint('heavy:', *(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["heavy:"]


# --- the check of the checker -----------------------------------------------------------------------------------------


def tree(root: Path, **files: str) -> Path:
    for name, source in files.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return root


SEEDED = {
    "absolute": ("convbench/errors", "import convbench.problem"),
    "from": ("convbench/problem", "from convbench.backend import Backend"),
    "from the package": ("convbench/problem", "from convbench import registry"),
    "of a lazily exported name": ("convbench/backend", "from convbench import load"),
    "relative": ("convbench/problem", "from .backend import Backend"),
    "relative, up": ("convbench/verification/bounds", "from ..measurement import sampling"),
    "relative, the folder": ("convbench/measurement/engine", "from .. import store"),
    "in a function": ("convbench/registry", "def f():\n    from convbench.store import journal"),
    "in a method": ("convbench/suite", "class A:\n    def f(self):\n        if 1:\n            import convbench.store"),
    "for types only": (
        "convbench/store/journal",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import convbench.analysis.paired_ratio",
    ),
    "in a try": ("convbench/analysis/ratio", "try:\n    import convbench.cli.main\nexcept ImportError: pass"),
    "by name": ("convbench/store/journal", "import importlib\nimportlib.import_module('convbench.analysis')"),
    "models": ("convbench/models/onnx", "from convbench.cli.main import main"),
    "models' library at once": ("convbench/models/onnx", "import onnx"),
    "models' other library": ("convbench/models/onnx", "def f():\n    import jax"),
    "of a library": ("convbench/measurement/engine", "def f():\n    import torch"),
    "of another library": ("convbench/registry", "from cv2 import filter2D"),
    "of a backend": ("convbench/measurement/engine", "from convbench.backends import torch"),
    "of a backend by name": ("convbench/registry", "__import__('convbench.backends.torch')"),
    "of a suite's module": ("convbench/suite", "import convbench.suites.mine"),
    "module without a row": ("convbench/things", "x = 1"),
    "backend on registry": ("backends/mine", "from convbench.registry import discover"),
    "backend on errors": ("backends/mine", "def f():\n    from convbench.errors import BackendError"),
    "backend on another": ("backends/mine", "def f():\n    from .torch import BACKENDS"),
    "backend on the package": ("backends/mine", "from convbench import load"),
    "private module on status": ("backends/_mine", "from convbench.status import Status"),
    "backend's heavy import": ("backends/mine", "import numpy as np"),
}


@pytest.mark.parametrize("seeded", SEEDED.values(), ids=SEEDED)
def test_a_seeded_violation_is_found_with_its_place(seeded: tuple[str, str], tmp_path: Path) -> None:
    place, source = seeded
    found = violations(tree(tmp_path, **{place: source}))
    assert len(found) == 1
    assert Path(place).name in found[0]


def test_a_heavy_import_by_way_of_private_modules_is_found(tmp_path: Path) -> None:
    light = {"backends/a": "from ._b import f", "backends/_b": "from . import _c", "backends/_c": "import math"}
    assert violations(tree(tmp_path, **light)) == []
    heavy = light | {"backends/_c": "from numba import njit"}
    assert violations(tree(tmp_path, **heavy)) == [
        "a.py:1: imports convbench.backends._b.f at module level, which listing would pay for"
    ]


ALLOWED = {
    "downward": ("convbench/interface/cli", "from convbench.store.journal import Journal\nimport convbench.problem"),
    "of the same row": ("convbench/problem", "def f():\n    from convbench.problem.case_id import format_case_id"),
    "of the same folder": ("convbench/store/records", "from convbench.store.locations import results_folder"),
    "of the version": ("convbench/store/records", "import convbench\nfrom convbench import __version__"),
    "of declared dependencies": ("convbench/verification/bounds", "import math\nimport numpy as np\nimport ml_dtypes"),
    "discovery": ("convbench/registry", "import importlib\nimportlib.import_module('convbench.backends')"),
    "lazy loads of the package": ("convbench/__init__", "def __getattr__(n):\n    from convbench.store import records"),
    "models' libraries, late": ("convbench/models/onnx", "def f():\n    import onnx, torch.fx"),
    "a backend's contract": ("backends/mine", "from convbench.backend import Backend\nimport convbench.problem"),
    "a backend's library": ("backends/mine", "def f():\n    import torch\n    from ._mine import g"),
    "a backend's types": (
        "backends/mine",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy as np\n    from ._mine import T",
    ),
    "a private module's library": ("backends/_mine", "import numba\nfrom ._other import f"),
}


@pytest.mark.parametrize("allowed", ALLOWED.values(), ids=ALLOWED)
def test_what_the_order_allows_is_no_violation(allowed: tuple[str, str], tmp_path: Path) -> None:
    place, source = allowed
    assert violations(tree(tmp_path, **{place: source})) == []
