"""A correct quantised convolution in NumPy, each step of which a fault may replace, and what a fault of it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import (
    WHOLE_OF_CONV2D,
    Arithmetic,
    Backend,
    QuantizedArithmetic,
    QuantizedSupport,
    Ready,
    Supports,
)
from convbench.backend.quantized import FORMATS
from convbench.problem import ConvProblem, Quantization, Scales
from convbench.problem.quantization import LIMITS

Array = NDArray[Any]
MODES: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@dataclass
class QuantizedCall:
    """One call, with integers as int64. `kept` lives as long as the backend does."""

    problem: ConvProblem
    x: Array
    w: Array
    b: Array | None
    scales: Scales
    kept: dict[Any, Any]

    @property
    def quantization(self) -> Quantization:
        assert self.problem.quantization is not None
        return self.problem.quantization

    @property
    def w_zero(self) -> Array:
        return np.broadcast_to(self.scales.w_zero.astype(np.int64), self.problem.out_channels)

    @property
    def w_scale(self) -> Array:
        return np.broadcast_to(self.scales.w_scale.astype(np.float64), self.problem.out_channels)

    @property
    def bias(self) -> Array:
        return np.zeros(self.problem.out_channels, np.int64) if self.b is None else self.b.astype(np.int64)

    def multiplier(self, **changes: Any) -> Array:
        """m of each channel, with other scales where some are named."""
        scales = {"x_scale": self.scales.x_scale, "w_scale": self.w_scale, "y_scale": self.scales.y_scale} | changes
        return np.asarray(scales["x_scale"] * scales["w_scale"] / scales["y_scale"])

    def sums(
        self,
        x: Array | None = None,
        w: Array | None = None,
        bias: Array | None = None,
        border: int = 0,
        add: Callable[[Array, Array], Array] = np.matmul,
    ) -> Array:
        """The sums (N, O, h, w), of an input and a weight without their zero points. `border` is the padding of zeros;
        `add` gets the weight (G, O/G, K) and the taps (N, G, K, pixels)."""
        p = self.problem
        x = self.x - self.scales.x_zero if x is None else x
        w = self.w - self.w_zero.reshape(-1, 1, 1, 1) if w is None else w
        out = add(w.reshape(p.groups, p.out_channels // p.groups, -1), self._taps(self._padded(x, border)))
        bias = self.bias if bias is None else bias
        return np.asarray(out.reshape(p.output_shape) + bias.reshape(-1, 1, 1))

    def result(
        self,
        sums: Array,
        multiplier: Array | None = None,
        rounded: Callable[[Array], Array] = np.rint,
        finish: Callable[[QuantizedCall, Array], Array] | None = None,
    ) -> Array:
        """The result of sums: as they are, scaled, or `rounded` and given to `finish`."""
        q = self.quantization
        if q.result == "s32":
            return sums.astype(np.int32)
        real = sums * (self.multiplier() if multiplier is None else multiplier).reshape(-1, 1, 1)
        if q.result == "f32":
            return real.astype(np.float32)
        return (finish or clamped)(self, rounded(real)).astype(q.dtypes["y"])

    def compute(self) -> Array:
        return self.result(self.sums())

    def _padded(self, x: Array, border: int) -> Array:
        (top, bottom), (left, right) = self.problem.padding
        x = x[:, :, max(0, -top) : x.shape[2] - max(0, -bottom), max(0, -left) : x.shape[3] - max(0, -right)]
        sides = ((0, 0), (0, 0), (max(0, top), max(0, bottom)), (max(0, left), max(0, right)))
        if (mode := self.problem.padding_mode) != "zeros":
            return np.pad(x, sides, MODES[mode])
        return np.pad(x, sides, constant_values=border)

    def _taps(self, padded: Array) -> Array:
        p = self.problem
        (dh, dw), (sh, sw), (kh, kw) = p.dilation, p.stride, p.kernel_size
        spans = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
        seen = np.lib.stride_tricks.sliding_window_view(padded, spans, (2, 3))[:, :, ::sh, ::sw, ::dh, ::dw]
        seen = seen[:, :, : p.out_height, : p.out_width].transpose(0, 1, 4, 5, 2, 3)
        return seen.reshape(p.batch, p.groups, -1, p.out_height * p.out_width)


def clamped(call: QuantizedCall, rounded: Array) -> Array:
    """With the zero point, and within the format."""
    return np.clip(rounded + call.scales.y_zero, *LIMITS[call.quantization.result])


@dataclass(frozen=True)
class QuantizedFault:
    """A fault that acts on problems for which `when` holds. `example` is a question that shows it."""

    name: str
    wrong: str
    example: str
    change: Callable[[QuantizedCall], Array]
    when: Callable[[ConvProblem, Quantization], bool] = lambda problem, quantization: True

    def acts_on(self, problem: ConvProblem) -> bool:
        return problem.quantization is not None and self.when(problem, problem.quantization)


@dataclass(eq=False)
class SeededQuantized(Backend):
    """The correct quantised convolution, or one with a fault, declared as what it would be without it."""

    fault: QuantizedFault | None = None
    halves: str = "even"
    kept: dict[Any, Any] = field(default_factory=dict)
    requires = ("numpy",)
    thread_safe = True
    supports: Supports = field(
        default_factory=lambda: Supports(
            dtypes=frozenset(),
            padding_modes=WHOLE_OF_CONV2D.padding_modes,
            negative_padding=True,
            quantized=QuantizedSupport(set(FORMATS), weight_zero_point=True),
        )
    )

    def __post_init__(self) -> None:
        named = "" if self.halves == "even" else f"-{self.halves}"
        self.name = f"fault-{self.fault.name}" if self.fault else f"control{named}"
        self.summary = self.fault.wrong if self.fault else f"correct, halves go {self.halves}"
        quantized = QuantizedArithmetic(halves=self.halves, multiplier="float64")  # type: ignore[arg-type]
        self.arithmetic = Arithmetic(quantized=quantized)

    def prepare(self, problem: ConvProblem, x: Array, w: Array, b: Array | None) -> Ready:
        raise NotImplementedError

    def prepare_quantized(self, problem: ConvProblem, x: Array, w: Array, b: Array | None, scales: Scales) -> Ready:
        def on(x: Array) -> Array:
            call = QuantizedCall(problem, x.astype(np.int64), w.astype(np.int64), b, scales, self.kept)
            if self.fault is not None and self.fault.acts_on(problem):
                return self.fault.change(call)
            return call.result(call.sums(), rounded=ROUNDED[self.halves](call))

        return Ready(lambda: on(x), on={"numpy": on})


def halves_up(real: Array) -> Array:
    return np.floor(real + 0.5)


def halves_away(real: Array) -> Array:
    return np.copysign(np.floor(np.abs(real) + 0.5), real)


def halves_even_with_zero_point(call: QuantizedCall) -> Callable[[Array], Array]:
    zero = call.scales.y_zero
    return lambda real: np.rint(real + zero) - zero


ROUNDED: dict[str, Callable[[QuantizedCall], Callable[[Array], Array]]] = {
    "even": lambda _: np.rint,
    "up": lambda _: halves_up,
    "away": lambda _: halves_away,
    "even-with-zero-point": halves_even_with_zero_point,
}
