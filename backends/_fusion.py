"""Epilogues as every library has them: the order of their parts, and the words of `Ready.explain` for what is computed
within the convolution."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convbench.problem import ConvProblem, Epilogue

SUM = "add"


def parts_of(epilogue: Epilogue) -> tuple[str, ...]:
    """`add` for the residual and the activation's word, in the order in which they are computed."""
    activation = [] if epilogue.activation is None else [epilogue.activation]
    before, after = (["add"] * (epilogue.residual == when) for when in ("before", "after"))
    return (*before, *activation, *after)


def lines_in_order(epilogue: Epilogue, activate: str) -> list[str]:
    """Lines of code that turn the convolution `y` into the result `y`: `activate` is an expression of `y`, and the
    residual is `r`."""
    return ["y = y + r" if part == SUM else f"y = {activate}" for part in parts_of(epilogue)]


def in_order(
    epilogue: Epilogue, activate: Callable[[Any], Any], add: Callable[[Any, Any], Any] = lambda y, r: y + r
) -> Callable[[Any, Any], Any]:
    """A function from the convolution and the residual, or None, to the result."""
    if epilogue.residual == "before":
        return lambda y, r: activate(add(y, r))
    if epilogue.residual == "after":
        return lambda y, r: add(activate(y), r)
    return lambda y, r: activate(y)


def implementation_with(kernel: str | None, problem: ConvProblem, fused: Collection[str]) -> str | None:
    """The kernel and what is computed apart from it: "brg_conv:avx512_core, fused" or "..., relu apart", where the
    kernel is known and `fused` are the parts that it computes."""
    if kernel is None or problem.epilogue is None:
        return kernel
    apart = [part for part in parts_of(problem.epilogue) if part not in fused]
    return f"{kernel}, {' and '.join(apart)} apart" if apart else f"{kernel}, fused"
