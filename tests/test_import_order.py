"""The order of the house, read from the imports: a row knows only the rows above it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from import_graph import Import, circles, import_graph, imports, imports_of_file, module_name
from places import CHECKOUT

ROWS: tuple[tuple[str, ...], ...] = (
    ("errors", "isa", "status", "installation", "cuda_driver", "files"),
    ("stats",),
    ("problem",),
    ("suite",),
    ("backend", "registry"),
    ("verification",),
    ("measurement",),
    ("store",),
    ("analysis",),
    ("extraction",),
    ("plans",),
    ("runner",),
    ("fleet",),
    ("reporting",),
    ("api",),
    ("cli", "testing"),
)
ENTRY_POINTS = {"__init__.py", "__main__.py"}  # export names of every row, lazily
IMPORTED_AS = {"nvidia": "pynvml", "pillow": "PIL"}
COME_ALONG = {"asv": "asv_runner"}
OPTIONAL = {"pyarrow"}  # imported by convbench itself where a command needs it; a missing one is reported
OPTIONAL_OF = {
    "fleet": {"dask", "distributed"},
    "plans": {"torch"},
    "measurement": {"torch"},
    "reporting": {"altair", "vl_convert"},
    "extraction": {"onnx", "onnxruntime", "timm", "torch", "torchvision"},
}  # the same, in one row only
OF_AN_EXTRA = {"reporting/page/figures.py"}  # imported within a function, where the extra is installed
FIRST_ROW_OF = {"rich": "reporting", "click": "cli"}
FOR_BACKENDS = {"convbench.backend", "convbench.problem"}
HEAVY = ("numpy", "scipy", "pandas", "torch", "jax", "numba", "rich")
LARGEST_FOLDER = 15
TALKS_TO_ITS_PARENT = {"runner/verify/job.py"}  # a child process: JSON lines on standard output are its answers


def declared_dependencies() -> set[str]:
    """The modules of what pyproject.toml requires: what convbench itself may import."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^A-Za-z0-9_]", requirement)[0] for requirement in project["dependencies"]]
    return {IMPORTED_AS.get(name, name) for name in names} | {COME_ALONG[name] for name in names if name in COME_ALONG}


def exported_from() -> dict[str, str]:
    """For each name that `convbench` exports, the component that defines it."""
    source = (CHECKOUT / "convbench" / "__init__.py").read_text(encoding="utf-8")
    exports = [i.target.split(".") for i in imports(source, "convbench", is_package=True) if i.for_types_only]
    return {parts[-1]: parts[1] for parts in exports if parts[0] == "convbench"}


def row_of(component: str) -> int | None:
    """The row of a module or folder directly in `convbench`; None when the order does not know it."""
    return next((i for i, row in enumerate(ROWS) if component in row), None)


def violations(root: Path) -> list[str]:
    """Everything in `root`'s convbench/ and backends/ that is against the order, in words."""
    found = [*_in_package(root), *_in_backends(root), *_in_folders(root), *_in_circles(root)]
    return [*found, *_in_runner(root)]


def _in_package(root: Path) -> Iterator[str]:
    for path in sorted((root / "convbench").rglob("*.py")):
        inside = path.relative_to(root / "convbench")
        if len(inside.parts) == 1 and inside.name in ENTRY_POINTS:
            continue
        component = inside.with_suffix("").parts[0]
        row = row_of(component)
        if row is None:
            yield f"{inside}: {component} has no row; give it one in {Path(__file__).name} and docs/architecture.md"
            continue
        for one in imports_of_file(path, root):
            is_late = one.within_function or str(inside) in OF_AN_EXTRA
            is_own = one.target.startswith("convbench")
            why = _own(one, row, component, root) if is_own else _foreign(one, component, is_late)
            if why is not None:
                yield f"{inside}:{one.line}: {why}"


def _own(one: Import, row: int, component: str, root: Path) -> str | None:
    rest = one.target.split(".")[1:]
    if not rest or rest == ["*"]:
        return None
    if rest[0] in ("backends", "suites"):
        return None if rest == [rest[0], "*"] else f"names {one.target}; what is in there is discovered, not named"
    target_row = row_of(exported_from().get(rest[0], rest[0]))
    if target_row is not None and target_row > row:
        return f"{component} knows of {rest[0]}, which is below it"
    if target_row is None and _is_module(root, rest[0]):
        return f"imports {one.target}, which has no row"
    return None


def _foreign(one: Import, component: str, is_late: bool) -> str | None:
    top = one.target.split(".")[0]
    optional = OPTIONAL | OPTIONAL_OF.get(component, set())
    if top not in sys.stdlib_module_names | declared_dependencies() and not (top in optional and is_late):
        return f"imports {top}, which pyproject.toml does not require or a backend is to import"
    first_row = FIRST_ROW_OF.get(top)
    if first_row is not None and ROWS.index(_row_with(component)) < ROWS.index(_row_with(first_row)):
        return f"imports {top}, which no row above {first_row} may know"
    return None


def _row_with(component: str) -> tuple[str, ...]:
    return next(row for row in ROWS if component in row)


def _in_backends(root: Path) -> Iterator[str]:
    for path in sorted((root / "backends").rglob("*.py")):
        for one in imports_of_file(path, root):
            allowed = ("convbench.backends._", *(name + "." for name in FOR_BACKENDS))
            if one.target.split(".")[0] == "convbench" and not f"{one.target}.".startswith(allowed):
                may = " and ".join(sorted(FOR_BACKENDS))
                yield f"{path.name}:{one.line}: a backend imports {one.target}; it may know {may}"
        if not path.relative_to(root / "backends").parts[0].startswith("_"):
            for one in _heavy(path, root):
                yield f"{path.name}:{one.line}: imports {one.target} at module level, which listing would pay for"


def _heavy(path: Path, root: Path) -> Iterator[Import]:
    """The imports of a file of backends/ that are not Python's own, by way of private modules too."""
    for one in imports_of_file(path, root):
        if one.within_function or one.for_types_only:
            continue
        foreign = one.target.partition(".")[0] not in sys.stdlib_module_names | {"convbench"}
        if foreign or any(any(_heavy(private, root)) for private in _private_modules(one.target, root)):
            yield one


def _private_modules(target: str, root: Path) -> Iterator[Path]:
    """The file of backends/ that an import names: a module, or something in it."""
    parts = target.split(".")
    if parts[:2] == ["convbench", "backends"]:
        for end in (len(parts), len(parts) - 1):
            if (path := (root / "backends").joinpath(*parts[2:end]).with_suffix(".py")).is_file():
                yield path
                return


def _in_folders(root: Path) -> Iterator[str]:
    modules = [path for path in (root / "convbench").rglob("*.py") if path.name != "__init__.py"]
    for folder, count in sorted(Counter(path.parent for path in modules).items()):
        if count > LARGEST_FOLDER:
            yield f"{folder.relative_to(root)}: {count} modules in one folder; {LARGEST_FOLDER} are the most"


def _in_circles(root: Path) -> Iterator[str]:
    for group in circles(import_graph(root)):
        yield f"{group[0]}: an import circle of {', '.join(group)}"


def _in_runner(root: Path) -> Iterator[str]:
    """Every use of the terminal in runner/, which returns values and tells an Observer."""
    for path in sorted((root / "convbench" / "runner").rglob("*.py")):
        inside = path.relative_to(root / "convbench").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, (ast.Attribute, ast.Name)) else ""
            if text in {"print", "sys.stdout", "sys.stderr"} and inside not in TALKS_TO_ITS_PARENT:
                yield f"{inside}:{node.lineno}: uses {text}; runner/ prints nothing"  # type: ignore[attr-defined]


def _is_module(root: Path, name: str) -> bool:
    return (root / "convbench" / name).is_dir() or (root / "convbench" / f"{name}.py").is_file()


# --- the tree as it is ------------------------------------------------------------------------------------------------


def test_the_tree_keeps_the_order() -> None:
    assert violations(CHECKOUT) == []


def test_no_library_under_test_is_required_by_convbench_itself() -> None:
    assert not declared_dependencies() & {"torch", "jax", "jaxlib", "numba", "cv2", "onnxruntime", "tensorflow"}
    assert {"numpy", "PIL", "asv_runner"} <= declared_dependencies()


def test_every_name_in_the_rows_is_a_module() -> None:
    present = {p.stem for p in (CHECKOUT / "convbench").iterdir() if not p.name.startswith("__")}
    assert {component for row in ROWS for component in row} <= present


def test_the_exports_of_the_package_are_known() -> None:
    assert {"ConvProblem": "problem", "load": "store"}.items() <= exported_from().items()


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
    program = f"{code}\nimport sys\nprint('heavy:', *(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=CHECKOUT, check=False)
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
    "extraction": ("convbench/extraction/onnx", "from convbench.cli.main import main"),
    "extraction's library at once": ("convbench/extraction/onnx", "import onnx"),
    "extraction's other library": ("convbench/extraction/onnx", "def f():\n    import jax"),
    "of a library": ("convbench/measurement/engine", "def f():\n    import jax"),
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
    "rich above reporting": ("convbench/runner/run", "def f():\n    from rich.text import Text"),
    "click above cli": ("convbench/reporting/console", "import click"),
    "runner that prints": ("convbench/runner/run", "def f():\n    print('x')"),
    "runner that writes": ("convbench/runner/choose/answer", "import sys\nsys.stderr.write('x')"),
    "runner on reporting": ("convbench/runner/run", "from convbench.reporting.console import stdout"),
}


@pytest.mark.parametrize("seeded", SEEDED.values(), ids=SEEDED)
def test_a_seeded_violation_is_found_with_its_place(seeded: tuple[str, str], tmp_path: Path) -> None:
    place, source = seeded
    found = violations(tree(tmp_path, **{place: source}))
    assert len(found) == 1
    assert Path(place).name in found[0]


def test_a_folder_of_more_modules_than_a_person_can_survey_is_found(tmp_path: Path) -> None:
    names = [f"convbench/stats/a{i}" for i in range(LARGEST_FOLDER)]
    full = tree(tmp_path, **dict.fromkeys([*names, "convbench/stats/__init__", "convbench/stats/more/b"], "x = 1"))
    assert violations(full) == []
    assert violations(tree(tmp_path, **{"convbench/stats/last": ""})) == [
        "convbench/stats: 16 modules in one folder; 15 are the most"
    ]


CIRCLES = {
    "of two": {"a": "import convbench.stats.b", "b": "from convbench.stats import a"},
    "in a function": {"a": "import convbench.stats.b", "b": "def f():\n    from . import a"},
    "for types only": {
        "a": "from . import b",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING: from . import a",
    },
    "of three": {"a": "from .b import x", "b": "from .c import x", "c": "from .a import x"},
    "with its package": {"__init__": "from .a import x", "a": "from convbench.stats import y"},
}


@pytest.mark.parametrize("files", CIRCLES.values(), ids=CIRCLES)
def test_an_import_circle_is_found(files: dict[str, str], tmp_path: Path) -> None:
    root = tree(tmp_path, **{f"convbench/stats/{name}": source for name, source in files.items()})
    [violation] = violations(root)
    named = sorted(module_name(root / "convbench" / "stats" / f"{name}.py", root) for name in files)
    assert violation == f"{named[0]}: an import circle of {', '.join(named)}"


def test_a_heavy_import_by_way_of_private_modules_is_found(tmp_path: Path) -> None:
    light = {"backends/a": "from ._b import f", "backends/_b": "from . import _c", "backends/_c": "import math"}
    assert violations(tree(tmp_path, **light)) == []
    heavy = light | {"backends/_c": "from numba import njit"}
    assert violations(tree(tmp_path, **heavy)) == [
        "a.py:1: imports convbench.backends._b.f at module level, which listing would pay for"
    ]


ALLOWED = {
    "downward": ("convbench/cli/run", "from convbench.store.journal import Journal\nimport convbench.problem"),
    "of the same row": ("convbench/problem", "def f():\n    from convbench.problem.case_id import format_case_id"),
    "of the same folder": ("convbench/store/records", "from convbench.store.locations import results_folder"),
    "of the version": ("convbench/store/records", "import convbench\nfrom convbench import __version__"),
    "of declared dependencies": ("convbench/verification/bounds", "import math\nimport numpy as np\nimport ml_dtypes"),
    "discovery": ("convbench/registry", "import importlib\nimportlib.import_module('convbench.backends')"),
    "lazy loads of the package": ("convbench/__init__", "def __getattr__(n):\n    from convbench.store import records"),
    "extraction's libraries, late": ("convbench/extraction/onnx", "def f():\n    import onnx, torch.fx"),
    "a backend's contract": ("backends/mine", "from convbench.backend import Backend\nimport convbench.problem"),
    "a backend's library": ("backends/mine", "def f():\n    import torch\n    from ._mine import g"),
    "a backend's types": (
        "backends/mine",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy as np\n    from ._mine import T",
    ),
    "a private module's library": ("backends/_mine", "import numba\nfrom ._other import f"),
}


@pytest.mark.parametrize("allowed", ALLOWED.values(), ids=ALLOWED)
def test_the_order_allows(allowed: tuple[str, str], tmp_path: Path) -> None:
    place, source = allowed
    assert violations(tree(tmp_path, **{place: source})) == []


def test_every_package_is_in_the_wheel() -> None:
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    inits = [path for root in ("convbench", "backends", "suites") for path in (CHECKOUT / root).rglob("__init__.py")]
    parts = [path.parent.relative_to(CHECKOUT).parts for path in inits]
    assert sorted(".".join(p if p[0] == "convbench" else ("convbench", *p)) for p in parts) == sorted(listed)
