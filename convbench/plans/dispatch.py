"""`conv2d` and `Conv2d`: torch's conv2d, for NumPy arrays and torch tensors, computed by the backend that a plan names.

    y = convbench.conv2d(x, w, bias, stride=2, padding=1, plan="plan.json")
    conv = convbench.Conv2d(w, bias, stride=2, padding=1, plan="plan.json")   # for loops: it has weights of its own
    y = conv(x)

Prepared convolutions, with their packed weights, are kept: a later call with the same weights, shape and arguments uses
them again. When the plan cannot be followed another backend computes, and a `PlanWarning` says so once.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

from convbench.errors import PlanError, ProblemError
from convbench.plans.arrays import Changed, changed_since, device_of, dtype_of, kind_of, owned, shape_of
from convbench.plans.plan import Plan, read_plan
from convbench.plans.prepared_call import Call, OneInputError, prepare_call
from convbench.plans.resolution import (
    CallSpec,
    Resolution,
    limit_threads,
    registry_with,
    report_deviations,
    resolve_backend,
)
from convbench.problem import ConvProblem

MOST_KEPT = 512
"""Convolutions that `conv2d` keeps prepared. When there are more, the oldest is dropped."""

Place = str | PathLike[str]


def conv2d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    plan: Plan | Place | None = None,
    strict: bool = False,
    plugins: tuple[Place, ...] = (),
) -> Any:
    """`x` (N, C, H, W) with `w` (O, C/groups, kh, kw) and `bias` (O,), in the words of `torch.nn.functional.conv2d`.

    `x` is a NumPy array or a torch tensor. The output (N, O, out_h, out_w) is of the same kind and belongs to the
    caller. `plan` is a `Plan` or the path of its file, which is read once; without a plan a backend computes that
    supports everything. With `strict`, any deviation from the plan is a `PlanError`. `plugins` are files with backends.

    Changed weights are noticed. A tensor counts its changes, except those through its `.data`. The numbers of a
    writeable NumPy array are compared in each call; make it read-only (`w.flags.writeable = False`) or use `Conv2d` to
    avoid the cost.

    Raises `ProblemError` for operands that do not fit together, `PlanError` and `BackendError`.
    """
    plan_key = id(plan) if plan.__class__ is Plan else plan  # what is kept holds its plan, so the id stays unique
    key = (id(w), id(bias), stride, padding, dilation, groups, padding_mode, plan_key, strict, plugins)
    try:
        kept = _kept.get(key)
    except TypeError:  # lists instead of tuples
        key = _as_tuples(key)
        kept = _kept.get(key)
    if kept is None or kept.w_changed(w) or (bias is not None and kept.b_changed(bias)):
        convolution = Conv2d(
            w,
            bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
            plan=plan,
            strict=strict,
            plugins=plugins,
        )
        kept = _keep(key, convolution, w, bias)
    if (
        kept.grad_enabled is not None
        and kept.grad_enabled()
        and any(getattr(v, "requires_grad", False) for v in (w, bias))
    ):
        raise PlanError("the weight asks for a gradient, which no plan gives: call conv2d under torch.no_grad().")
    return kept.convolution(x)


class Conv2d:
    """A convolution with its own copy of the weights: `conv(x)` computes it, for inputs of any size.

    The arguments are those of `conv2d`. The first input of each shape resolves and prepares its backend.
    """

    def __init__(
        self,
        w: Any,
        bias: Any = None,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        plan: Plan | Place | None = None,
        strict: bool = False,
        plugins: tuple[Place, ...] = (),
    ) -> None:
        kind_of("w", w)
        if len(shape := shape_of(w)) != 4:
            raise ProblemError(f"w has shape {shape}; it should have four axes, (O, C/groups, kh, kw).")
        if bias is not None:
            kind_of("bias", bias)
            if shape_of(bias) != shape[:1] or dtype_of("bias", bias) != dtype_of("w", w):
                raise ProblemError(
                    f"bias is {bias.dtype} of shape {shape_of(bias)}, and w {w.dtype} of shape {shape}; "
                    f"bias should have w's dtype and shape {shape[:1]}."
                )
        self._dtype = dtype_of("w", w)
        self._w, self._b = owned(w), None if bias is None else owned(bias)
        self._words: dict[str, Any] = {
            "out_channels": shape[0],
            "kernel_size": shape[2:],
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "bias": bias is not None,
            "padding_mode": padding_mode,
        }
        self._plan, self._strict = _plan_of(plan), strict
        self._registry = registry_with(tuple(Path(file) for file in plugins))
        self._calls: dict[Any, Call] = {}
        self._backends: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def backends(self) -> Mapping[str, str]:
        """The backend of each problem computed so far, by case id."""
        return MappingProxyType(self._backends)

    def __call__(self, x: Any) -> Any:
        """The output (N, O, out_h, out_w) for `x` (N, C, H, W), of the same kind. It belongs to the caller."""
        try:
            call = self._calls[x.shape, x.dtype, x.device]
        except (KeyError, AttributeError):
            call = self._prepared(x)
        return call(x)

    def problem(self, x: Any) -> ConvProblem:
        """The problem that is computed for `x`. Raises `ProblemError` when `x` does not fit the weights."""
        if len(shape := shape_of(x)) != 4:
            raise ProblemError(f"x has shape {shape}; it should have four axes, (N, C, H, W).")
        if dtype_of("x", x) != self._dtype:
            raise ProblemError(f"x is {dtype_of('x', x)} and w is {self._dtype}; both should have one dtype.")
        batch, channels, height, width = shape
        problem = ConvProblem(
            batch=batch, in_channels=channels, height=height, width=width, dtype=self._dtype, **self._words
        )
        if problem.weight_shape[1] != self._w.shape[1]:
            raise ProblemError(
                f"x has {channels} channels and w, of shape {self._w.shape}, takes {self._w.shape[1] * problem.groups} "
                f"with groups={problem.groups}."
            )
        return problem

    def _prepared(self, x: Any) -> Call:
        arrays = kind_of("x", x)
        spec = CallSpec(self.problem(x), arrays, device_of(x))
        with self._lock:
            if (call := self._calls.get((x.shape, x.dtype, x.device))) is not None:
                return call  # another thread was first
            resolution, call = self._resolved(spec)
            report_deviations(resolution, strict=self._strict)
            self._calls[x.shape, x.dtype, x.device] = call
            self._backends[spec.problem.case_id] = resolution.backend.name
            return call

    def _resolved(self, spec: CallSpec) -> tuple[Resolution, Call]:
        """The backend that computes, and its call. A backend that would be prepared in each call, which takes longer
        than what it saves, is passed over."""
        refused: dict[str, str] = {}
        while True:
            resolution = resolve_backend(spec, self._plan, self._registry, refused)
            limit_threads(resolution.backend, self._plan)
            try:
                return resolution, prepare_call(resolution.backend, spec, self._w, self._b)
            except OneInputError as error:
                refused[resolution.backend.name] = f"The plan's {error} Preparing it in each call would take longer."


@dataclass(frozen=True)
class _Kept:
    """A convolution for weights that the caller owns. `grad_enabled` is set when a weight is a tensor."""

    convolution: Conv2d
    w_changed: Changed
    b_changed: Changed
    grad_enabled: Callable[[], bool] | None
    watched: tuple[Any, ...]


_kept: dict[Any, _Kept] = {}


def _keep(key: Any, convolution: Conv2d, w: Any, bias: Any) -> _Kept:
    """Keep `convolution` until a weight is gone, because its id may then be that of another."""
    grad_enabled = None
    if "torch" in [kind_of("a weight", weight) for weight in (w, bias) if weight is not None]:
        import torch

        grad_enabled = torch.is_grad_enabled
    forget = functools.partial(_kept.pop, key, None)
    kept = _Kept(
        convolution,
        changed_since(w, convolution._w),
        (lambda _: False) if convolution._b is None else changed_since(bias, convolution._b),
        grad_enabled,
        tuple(weakref.ref(weight, lambda _: forget()) for weight in (w, bias) if weight is not None),
    )
    while len(_kept) >= MOST_KEPT:
        _kept.pop(next(iter(_kept)), None)
    _kept[key] = kept
    return kept


def _plan_of(plan: Plan | Place | None) -> Plan | None:
    if plan is None or isinstance(plan, Plan):
        return plan
    if not isinstance(plan, (str, PathLike)):
        raise PlanError(f"plan is of type {type(plan).__name__}; it should be a Plan or the path of its file.")
    return _read_once(os.fspath(plan))


_read_once = functools.lru_cache(maxsize=16)(read_plan)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, (list, tuple)) else value
