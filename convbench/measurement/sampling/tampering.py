"""Notices when code in a worker has replaced functions that measure it.

A process cannot be kept from itself: this finds what is done plainly. The run checks the clock from outside as well
(`convbench.measurement.scheduling.clock_check`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any


class TamperError(RuntimeError):
    """A function that measures was replaced."""


class Tampering:
    """The functions of `modules` as they are now, before a backend's file is imported."""

    def __init__(self, modules: Sequence[ModuleType]) -> None:
        self._modules = tuple(modules)
        self._before = dict(self._parts())

    def refuse(self) -> None:
        """Raise `TamperError` if one of them is not what it was."""
        now = dict(self._parts())
        for name, part in self._before.items():
            if now.get(name) != part:
                raise TamperError(f"the backend, or a library that it imports, replaced {name}")

    def _parts(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for module in self._modules:
            for name, value in vars(module).items():
                if callable(value) and not name.startswith("__"):
                    yield f"{module.__name__}.{name}", _identity(value)
                if isinstance(value, type) and value.__module__ == module.__name__:
                    for attribute, method in list(vars(value).items()):
                        function = getattr(method, "__func__", method)
                        if isinstance(function, FunctionType):
                            yield f"{module.__name__}.{name}.{attribute}", _identity(function)


def _identity(value: Any) -> tuple[int, ...]:
    if not isinstance(value, FunctionType):
        return (id(value),)
    return id(value), id(value.__code__), id(value.__defaults__), id(value.__kwdefaults__)
