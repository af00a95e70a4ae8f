"""A correct convolution with a correct epilogue, what a fault may change of it, and a backend with one fault.

The convolution is that of `seeded_faults`. Epilogues are computed in float64 for float64 and in float32 for the rest,
and rounded once. No code is shared with convbench's reference nor with any backend.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from seeded_faults.convolution import SOUND, Array, convolve

from convbench.backend import WITH_EPILOGUES, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem, Epilogue

if TYPE_CHECKING:
    from convbench.verification.question import Calls, Layout, Values

_erf = np.frompyfunc(math.erf, 1, 1)


def relu6(y: Array) -> Array:
    return np.minimum(np.maximum(y, 0), 6)


def sigmoid(y: Array) -> Array:
    return 1 / (1 + np.exp(-y))


def gelu(y: Array) -> Array:
    return y * (0.5 + 0.5 * _erf(y.astype(np.float64) * math.sqrt(0.5)).astype(y.dtype))


def gelu_tanh(y: Array) -> Array:
    return y * (0.5 + 0.5 * np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y * y * y)))


def activate(epilogue: Epilogue, y: Array) -> Array:
    """The activation, in the dtype of `y`."""
    functions: dict[Any, Callable[[], Array]] = {
        None: lambda: y,
        "relu": lambda: np.maximum(y, 0),
        "relu6": lambda: relu6(y),
        "clip": lambda: np.minimum(np.maximum(y, epilogue.low), epilogue.high),
        "leaky_relu": lambda: np.where(y > 0, y, y * y.dtype.type(epilogue.slope or 0.0)),
        "hard_swish": lambda: y * relu6(y + 3) / 6,
        "sigmoid": lambda: sigmoid(y),
        "silu": lambda: y * sigmoid(y),
        "gelu": lambda: gelu(y),
        "gelu_tanh": lambda: gelu_tanh(y),
    }
    return np.asarray(functions[epilogue.activation](), y.dtype)


@dataclass
class FusedCall:
    """One call of a prepared convolution with an epilogue: the `number`-th, from 1. `kept` lives as long as the backend
    does."""

    problem: ConvProblem
    x: Array
    w: Array
    b: Array | None
    r: Array | None
    number: int
    kept: dict[Any, Any]

    @property
    def epilogue(self) -> Epilogue:
        assert self.problem.epilogue is not None
        return self.problem.epilogue

    @property
    def wide(self) -> Any:
        """The dtype that all is computed in."""
        return np.float64 if self.problem.dtype == "float64" else np.float32

    @property
    def residual(self) -> Array:
        """In that dtype; zeros for an epilogue without a sum."""
        return np.zeros(self.problem.output_shape, self.wide) if self.r is None else self.r.astype(self.wide)

    def convolved(self, *, biased: bool = True) -> Array:
        """The bare convolution, in that dtype."""
        bare = self.problem.replace(epilogue=None, dtype=np.dtype(self.wide).name)
        b = self.b.astype(self.wide) if biased and self.b is not None else None
        return convolve(bare, self.x.astype(self.wide), self.w.astype(self.wide), b, SOUND)

    def compute(
        self,
        *,
        y: Array | None = None,
        r: Array | None = None,
        activation: Callable[[Epilogue, Array], Array] = activate,
        residual: str | None = None,
    ) -> Array:
        """The result; of another convolution or residual, by another activation, or with the residual elsewhere."""
        y = self.convolved() if y is None else y
        r = self.residual if r is None else r
        where = residual or self.epilogue.residual
        z = activation(self.epilogue, y + r) if where == "before" else activation(self.epilogue, y)
        return np.asarray(z + r if where == "after" else z).astype(self.x.dtype)


@dataclass(frozen=True)
class EpilogueFault:
    """A fault that acts on problems for which `acts` holds. `example` is the id of a case that shows it, put with
    `values`, `layout` and `calls`."""

    name: str
    wrong: str
    example: str
    change: Callable[[FusedCall], Array]
    acts: Callable[[ConvProblem], bool]
    values: Values = "integers"
    layout: Layout = "contiguous"
    calls: Calls = "few"


@dataclass(eq=False)
class SeededEpilogue(Backend):
    """Correct, with one fault of its epilogues, or with none."""

    fault: EpilogueFault | None = None
    kept: dict[Any, Any] = field(default_factory=dict)
    requires = ("numpy",)
    supports = WITH_EPILOGUES
    arithmetic = Arithmetic("gemm")
    thread_safe = True

    def __post_init__(self) -> None:
        self.name = f"fault-{self.fault.name}" if self.fault else "sound-epilogues"
        self.summary = self.fault.wrong if self.fault else "correct"

    def prepare(self, problem: ConvProblem, x: Array, w: Array, b: Array | None) -> Ready:
        return Ready(lambda: convolve(problem, x, w, b, SOUND))

    def prepare_fused(self, problem: ConvProblem, x: Array, w: Array, b: Array | None, r: Array | None) -> Ready:
        numbers = itertools.count(1)
        acts = self.fault is not None and self.fault.acts(problem)

        def run() -> Any:
            call = FusedCall(problem, x, w, b, r, next(numbers), self.kept)
            with np.errstate(all="ignore"):  # of NaN and infinity the answer tells
                return self.fault.change(call) if acts and self.fault else call.compute()

        return Ready(run)
