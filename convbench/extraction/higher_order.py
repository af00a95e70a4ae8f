"""`torch.cond`, loops and maps in the code of a torch module: each of their functions is run once, apart from the rest.

How often they run is known only with data, so their convolutions do not count. The result of one run is enough for what
follows, since torch demands that all branches and all turns give the same shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Apart = Callable[..., Any]
"""Calls a function with arguments, and gives its result; what it runs does not count."""


def result_of(name: str, arguments: Sequence[Any], apart: Apart) -> Any:
    """What the higher-order operator called `name` gives for these arguments, by shapes; NotImplemented if it is not
    one of those that are known here."""
    run = _RUNS.get(name)
    return NotImplemented if run is None else run(apart, *arguments)


@contextmanager
def not_compiled() -> Iterator[None]:
    """Within the context, `torch.compile` gives what it is given. `torch.cond` and the others compile themselves, which
    takes long, and reading needs the operators alone."""
    import torch

    def unchanged(model: Any = None, **_options: Any) -> Any:
        return unchanged if model is None else model

    original = torch.compile
    torch.compile = unchanged
    try:
        yield
    finally:
        torch.compile = original


def _cond(apart: Apart, _predicate: Any, if_true: Any, if_false: Any, operands: Sequence[Any] = ()) -> Any:
    apart(if_false, *operands)
    return apart(if_true, *operands)


def _while_loop(apart: Apart, condition: Any, body: Any, carried: Sequence[Any], more: Sequence[Any] = ()) -> Any:
    apart(condition, *carried, *more)
    return apart(body, *carried, *more)


def _map(apart: Apart, function: Any, mapped: Sequence[Any], more: Sequence[Any] = ()) -> Any:
    result = apart(function, *(tensor[0] for tensor in mapped), *more)
    return _stacked(result, mapped[0].shape[0])


def _scan(apart: Apart, combine: Any, initial: Sequence[Any], scanned: Sequence[Any], more: Sequence[Any] = ()) -> Any:
    result = apart(combine, *initial, *(tensor[0] for tensor in scanned), *more)
    carried, outputs = result[: len(initial)], result[len(initial) :]
    return (*carried, *_stacked(outputs, scanned[0].shape[0]))


def _stacked(results: Sequence[Any], count: int) -> tuple[Any, ...]:
    return tuple(result.new_empty((count, *result.shape)) for result in results)


_RUNS: dict[str, Callable[..., Any]] = {
    "cond": _cond,
    "while_loop": _while_loop,
    "map_impl": _map,
    "map": _map,
    "scan": _scan,
}
