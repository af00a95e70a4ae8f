"""How a backend computes, as data: its algorithm, the precisions that it uses, and what it may do to special values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from convbench.backend.quantized import QuantizedArithmetic
from convbench.problem import (
    ACTIVATIONS,
    DTYPES,
    Dtype,
)

Algorithm = Literal["direct", "gemm", "winograd", "fft", "auto"]
Precision = Literal["float64", "float32", "tf32", "float16", "bfloat16"]


@dataclass(frozen=True)
class Arithmetic:
    """How a backend computes. It decides the error bound that the backend's answers have to keep.

    Raises `TypeError` for an unknown word.
    """

    algorithm: Algorithm = "gemm"
    """With "auto" the library chooses the algorithm itself, and may choose any."""
    operand: Precision | None = None
    """The precision that operands are rounded to before they are multiplied; None for the problem's dtype."""
    accumulate: Precision | None = None
    """The precision of sums of products; None for float64 in float64 problems and float32 in all others."""
    output: Precision | None = None
    """A precision that results are rounded to, in some problems or all, before they get the problem's dtype."""
    adds_gradients_in_dtype: bool = False
    """Whether parts of a gradient are rounded to the problem's dtype before they are added: that of the weight for each
    image, that of the input for each tap of the kernel, that of the bias for each element."""
    epilogue_in_dtype: bool = False
    """Whether the convolution is rounded to the problem's dtype before its epilogue, and so is each step of that, as
    where a library does not fuse them."""
    activation_errors: Mapping[str, float] = field(default_factory=dict, hash=False)
    """How far activations may be from their exact values, by their words, where the library approximates them: an
    absolute error at sizes up to 1 of what they get, and relative to that above. Rounding is not meant."""
    loses_nan: tuple[str, ...] = ()
    """The activations that make a number of a NaN, as a maximum of 0 and NaN does in many vector instructions. Declared
    here, it is no failure."""
    taints: tuple[Dtype, ...] = ()
    """The dtypes in which a NaN or an infinity in an image may make unrelated outputs of that image NaN, as a Fourier
    or Winograd transform does in every dtype. Declared here, it is no failure."""
    quantized: QuantizedArithmetic = field(default_factory=QuantizedArithmetic)
    """How results of quantised problems are rounded."""

    def __post_init__(self) -> None:
        if self.algorithm not in get_args(Algorithm):
            raise TypeError(f"algorithm is {self.algorithm!r}; it should be one of {', '.join(get_args(Algorithm))}")
        for name in ("operand", "accumulate", "output"):
            if getattr(self, name) not in (None, *get_args(Precision)):
                words = ", ".join(get_args(Precision))
                raise TypeError(f"{name} is {getattr(self, name)!r}; it should be None or one of {words}")
        if not isinstance(self.taints, tuple) or set(self.taints) - set(DTYPES):
            raise TypeError(f"taints is {self.taints!r}; it should be a tuple of {', '.join(DTYPES)}")
        if unknown := sorted({*self.activation_errors, *self.loses_nan}.difference(ACTIVATIONS)):
            raise TypeError(f"{', '.join(unknown)} should be one of {', '.join(ACTIVATIONS)}")

    def operand_precision(self, dtype: Dtype) -> Precision:
        """The precision that operands of `dtype` are rounded to before they are multiplied."""
        return self.operand or cast(Precision, dtype)

    def accumulate_precision(self, dtype: Dtype) -> Precision:
        """The precision of sums of products in a problem of `dtype`."""
        return self.accumulate or ("float64" if dtype == "float64" else "float32")
