"""Ways to change a step of the correct convolution, in one line of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from seeded_faults.convolution import Array, Axis, Plan, Steps


def plan(change: Callable[[Plan], Plan]) -> Steps:
    return Steps(plan=change)


def axes(change: Callable[[Axis], Axis]) -> Steps:
    """Both axes changed."""
    return Steps(plan=lambda plan: replace(plan, rows=change(plan.rows), columns=change(plan.columns)))


def both(**values: Any) -> Steps:
    """Both axes with other values."""
    return axes(lambda axis: replace(axis, **values))


def of_rows(*names: str) -> Steps:
    """Columns with the values of rows."""
    return Steps(plan=lambda plan: replace(plan, columns=_with(plan.columns, plan.rows, names)))


def swapped(*names: str) -> Steps:
    """Values swapped between the axes."""

    def change(plan: Plan) -> Plan:
        return replace(plan, rows=_with(plan.rows, plan.columns, names), columns=_with(plan.columns, plan.rows, names))

    return Steps(plan=change)


def image(change: Callable[[Array], Array]) -> Steps:
    """The input changed."""
    return Steps(operands=lambda problem, x, w, b: (change(x), w, b))


def kernel(change: Callable[[Array], Array]) -> Steps:
    """The weight changed."""
    return Steps(operands=lambda problem, x, w, b: (x, change(w), b))


def bias(change: Callable[[Array], Array]) -> Steps:
    """The bias changed, if the problem has one."""
    return Steps(operands=lambda problem, x, w, b: (x, w, None if b is None else change(b)))


def image_and_kernel(change: Callable[[Array], Array]) -> Steps:
    """The input and the weight changed alike."""
    return Steps(operands=lambda problem, x, w, b: (change(x), change(w), b))


def output(change: Callable[[Array], Array]) -> Steps:
    """The output changed."""
    return Steps(output=lambda problem, out: change(out))


def zeroed(*where: Any) -> Callable[[Array], Array]:
    """What sets to zero the part of an array that `where` indexes."""

    def change(array: Array) -> Array:
        array = array.copy()
        array[where] = 0
        return array

    return change


def _with(axis: Axis, other: Axis, names: tuple[str, ...]) -> Axis:
    return replace(axis, **{name: getattr(other, name) for name in names})
