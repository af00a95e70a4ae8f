"""`module:callable` and `FILE.py:callable`: an object in a Python module or file of the user, which is imported."""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convbench.errors import ModelError, did_you_mean
from convbench.extraction.file_kinds import SOURCE
from convbench.files.user_file import check_regular, read_bytes, real_path
from convbench.registry import module_of_file, name_of_file

_NAMES = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_MODULE = re.compile(rf"(?P<module>{_NAMES}):(?P<name>{_NAMES})")
_FILE = re.compile(rf"(?P<file>.+\.py):(?P<name>{_NAMES})", re.DOTALL)


def is_callable(source: str) -> bool:
    """Whether a text has the form `module:callable` or `FILE.py:callable`."""
    return _MODULE.fullmatch(source) is not None or _FILE.fullmatch(source) is not None


def imported(source: str) -> Any:
    """The object that `source` names. Runs the user's code. Raises `ModelError`."""
    if match := _FILE.fullmatch(source):
        where, target = match["file"], _import_file(source, Path(match["file"]))
    else:
        where, _, _ = source.partition(":")
        target = _import_module(source, where)
    for word in source.rpartition(":")[2].split("."):
        if not hasattr(target, word):
            raise ModelError(f"{source}: there is no {word!r} in {where}.{did_you_mean(word, dir(target))}")
        target = getattr(target, word)
    return target


def names_in(path: Path) -> list[str]:
    """The classes and functions at the top of a Python file, which is not run; none where it cannot be parsed."""
    try:
        tree = ast.parse(read_bytes(path, SOURCE))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, ModelError):
            raise
        return []
    definitions = [node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    return [node.name for node in definitions if not node.name.startswith("_")]


def summary_of(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['without a message'])[0]}"


def _import_module(source: str, name: str) -> Any:
    with _importing_from(os.getcwd()):  # noqa: PTH109, as `python -m` does; the command's path begins elsewhere
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
                raise ModelError(
                    f"{source}: there is no module {error.name!r} here or among the installed packages; "
                    "a model of one's own is given by its file, as in module.py:callable."
                ) from None
            raise ModelError(f"{source}: {name} cannot be imported: {summary_of(error)}") from error


def _import_file(source: str, path: Path) -> Any:
    """The module in a file, which finds the modules beside it. A file of a package is imported as its part."""
    check_regular(path, SOURCE)
    path = real_path(path)
    packages = [folder for folder in path.parents if (folder / "__init__.py").is_file()]
    root = packages[-1].parent if packages and packages[0] == path.parent else path.parent
    with _importing_from(str(root)):
        try:
            if root != path.parent:
                return importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
            module = module_of_file(name_of_file("model", path), path)
        except (Exception, SystemExit) as error:
            raise ModelError(f"{source}: {path.name} cannot be imported: {summary_of(error)}") from error
    if module is None:
        raise ModelError(f"{source}: {path.name} is no Python file; give the path of a .py file, as in model.py:Net.")
    return module


@contextmanager
def _importing_from(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
