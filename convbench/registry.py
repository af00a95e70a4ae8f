"""Discovery: which backends exist, and where each comes from.

The sources are, in this order, the files in `backends/`, the entry points of the group `convbench.backends`, and the
files given by `--plugin`. Each is loaded separately: one that fails becomes a `LoadFailure` and stops nothing. A source
defines `BACKENDS`; nothing registers itself.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from convbench.backend import Backend
from convbench.errors import BackendError, did_you_mean
from convbench.files.user_file import FileKind, check_regular, real_path

ENTRY_POINT_GROUP = "convbench.backends"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")
_PLUGIN = FileKind("a plugin", 16 * 2**20, "--plugin takes a Python file that defines BACKENDS", BackendError)


@dataclass(frozen=True)
class Origin:
    """Where backends are defined. It is enough for another process to find them again."""

    kind: Literal["module", "file"]
    target: str
    """A module, perhaps followed by `:attribute`, or the path of a file."""
    folder: str = ""
    """The last folder to look in for a module that is not installed, such as one on the path of a test runner."""

    def __str__(self) -> str:
        return self.target


@dataclass(frozen=True)
class Entry:
    """A backend that was loaded, and its origin."""

    name: str
    origin: Origin
    backend: Backend
    python: str | None = None
    """The interpreter of another environment that runs it; None for this one."""
    reason: str | None = None
    """Why it cannot run in that other environment, which was asked; None when it can."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that select it: its own and, for `x@label` of another environment, its backend's."""
        return (self.name, self.backend.name)

    def again(self, number: int) -> Entry:
        """The same backend in its `number`-th worker process. The first is the entry itself.

        A worker is identified by the name of its entry, and started by the name of its backend.
        """
        return self if number == 1 else replace(self, name=f"{self.name}#{number}")

    def unavailable(self) -> str | None:
        """Why this backend cannot run; None when it can."""
        if self.python is not None:
            return self.reason
        try:
            return self.backend.unavailable()
        except (Exception, SystemExit) as error:
            return f"asking whether it is available raised {type(error).__name__}: {error}"


@dataclass(frozen=True)
class LoadFailure:
    """An origin that gave no backends, named by its module or file, and why."""

    name: str
    origin: Origin
    reason: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names that select it."""
        return (self.name,)

    def unavailable(self) -> str:
        """Why nothing of it can run."""
        return self.reason


Row = Entry | LoadFailure


@dataclass(frozen=True)
class Registry:
    """What discovery found, in its order: backends, and origins that failed to load. Iterates over the backends."""

    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Entry]:
        return (row for row in self.rows if isinstance(row, Entry))

    def defined_by(self, plugins: Iterable[Path]) -> list[Entry]:
        """The entries of these files.

        Raises `BackendError` when one of them failed to load: a file that the user names has to load, while an
        installed one that is broken must not stop the others.
        """
        origins = {Origin("file", str(real_path(path))) for path in plugins}
        for row in self.rows:
            if row.origin in origins and isinstance(row, LoadFailure):
                raise BackendError(f"the plugin {row.reason}")
        return [entry for entry in self if entry.origin in origins]

    def select(self, patterns: Iterable[str]) -> list[Row]:
        """The rows whose names match any of the shell patterns, in the registry's order; all rows without a pattern.

        Raises `BackendError` for a pattern that matches nothing.
        """
        patterns = list(patterns)
        for pattern in patterns:
            if not any(_matches(row, pattern) for row in self.rows):
                elsewhere = {entry.name for entry in self if entry.python is not None and "@" not in pattern}
                names = [row.name for row in self.rows if row.name not in elsewhere]
                raise BackendError(
                    f"no backend matches {pattern!r}.{did_you_mean(pattern, names)} There are: {', '.join(names)}."
                )
        return [row for row in self.rows if not patterns or any(_matches(row, pattern) for pattern in patterns)]


def _matches(row: Row, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in row.names)


def discover(plugins: Sequence[Path] = (), *, entry_points: bool = True) -> Registry:
    """Every backend, or without `entry_points` those that come with convbench and those of `plugins`.

    Raises `BackendError` when two have one name, naming both sources.
    """
    registry = Registry(tuple(chain.from_iterable(map(_rows, dict.fromkeys(_origins(plugins, entry_points))))))
    seen: dict[str, Entry] = {}
    for entry in registry:
        if entry.name in seen:
            raise BackendError(
                f"two backends are called {entry.name!r}: one in {seen[entry.name].origin}, one in {entry.origin}. "
                "Rename one of them, or leave out one of the two."
            )
        seen[entry.name] = entry
    return registry


def load(origin: Origin) -> tuple[Backend, ...]:
    """The backends that `origin` defines. Runs its code, and raises whatever that raises.

    Raises `BackendError` if it does not define `BACKENDS` as it should.
    """
    if origin.kind == "file":
        exports = getattr(_import_file(Path(origin.target)), "BACKENDS", None)
    else:
        module, _, attribute = origin.target.partition(":")
        if origin.folder and origin.folder not in sys.path:
            sys.path.append(origin.folder)
        exports = getattr(importlib.import_module(module), attribute or "BACKENDS", None)
    return _checked(exports, origin)


def find(origin: Origin, name: str) -> Backend:
    """The backend called `name` that `origin` defines. A worker process finds the backend of its parent with it."""
    for backend in load(origin):
        if backend.name == name:
            return backend
    raise BackendError(f"{origin} defines no backend called {name!r} any more.")


def versions(backend: Backend) -> dict[str, str]:
    """Versions of the distributions that `backend` requires, by name, read from their metadata without an import.

    Without required modules, as for a C library in a wheel, `install` names the distributions.
    """
    installed: dict[str, str] = {}
    for module in backend.requires or (backend.install or "").split():
        distribution = module.partition(".")[0]
        try:
            installed[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            for name in _distributions_by_module().get(distribution, [])[:1]:
                installed[name] = importlib.metadata.version(name)
    return installed


# Cached, because it reads the metadata of everything that is installed.
_distributions_by_module = functools.cache(importlib.metadata.packages_distributions)


def _origins(plugins: Sequence[Path], entry_points: bool) -> Iterator[Origin]:
    backends = importlib.import_module("convbench.backends")
    for module in sorted(pkgutil.iter_modules(backends.__path__), key=lambda m: m.name):
        if not module.name.startswith("_"):
            yield Origin("module", f"convbench.backends.{module.name}")
    points = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP) if entry_points else ()
    for point in sorted(points, key=lambda p: (p.name, p.value)):
        yield Origin("module", point.value)
    for path in plugins:
        yield Origin("file", str(real_path(path)))


def _rows(origin: Origin) -> list[Row]:
    try:
        return [Entry(backend.name, origin, backend) for backend in load(origin)]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may even call sys.exit: still only a row
        message = str(error) if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"
        label = Path(origin.target).name if origin.kind == "file" else origin.target.rpartition(".")[2]
        return [LoadFailure(label, origin, f"{origin} failed to load: {message}")]


def _import_file(path: Path) -> Any:
    check_regular(path, _PLUGIN)
    name = name_of_file("plugin", path)
    if name in sys.modules:
        return sys.modules[name]
    module = module_of_file(name, path)
    if module is None:
        raise BackendError(f"{path} is not a Python file; --plugin takes a .py file that defines BACKENDS.")
    return module


def name_of_file(purpose: str, path: Path) -> str:
    """A module's name that no other file has."""
    return f"convbench_{purpose}_{path.stem}_{zlib.crc32(str(path).encode(errors='replace')):08x}"


def module_of_file(name: str, path: Path) -> ModuleType | None:
    """The module `name` that the file makes, executed anew; None where it is no Python file. Raises what it raises."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _checked(exports: Any, origin: Origin) -> tuple[Backend, ...]:
    if not isinstance(exports, (tuple, list)):
        raise BackendError(f"{origin} defines no tuple BACKENDS; it should end with a line like BACKENDS = (MyConv(),)")
    if not exports:
        raise BackendError(f"{origin} has an empty BACKENDS; it should end with a line like BACKENDS = (MyConv(),)")
    for backend in exports:
        if isinstance(backend, type) and issubclass(backend, Backend):
            raise BackendError(f"BACKENDS holds the class {backend.__name__}; write {backend.__name__}() instead.")
        if not isinstance(backend, Backend):
            raise BackendError(f"BACKENDS holds {backend!r}, which is not an instance of convbench.backend.Backend.")
        name = getattr(backend, "name", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BackendError(f"a backend is named {name!r}; a name should be letters, digits and . _ @ + - only.")
    return tuple(exports)
