"""The words and types of a 2-D convolution, and what the writers of case ids and dialects read of one."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Dtype = Literal["float64", "float32", "float16", "bfloat16"]
Direction = Literal["forward", "input_gradient", "weight_gradient"]
Kind = Literal["pointwise", "depthwise", "grouped", "dense"]

PADDING_MODES: tuple[PaddingMode, ...] = get_args(PaddingMode)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

ITEMSIZE_BYTES: dict[Dtype, int] = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


def output_size(size: int, kernel: int, stride: int = 1, before: int = 0, after: int = 0, dilation: int = 1) -> int:
    """Output extent of one axis: floor((size + before + after - dilation*(kernel - 1) - 1) / stride) + 1.

    This is the formula in the documentation of torch.nn.Conv2d, with the two sides of the padding kept apart. Padding
    is *added*; several tutorials subtract it and leave out the dilation. Not positive when the kernel does not fit.
    """
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


class Problem(Protocol):
    """What the writers read: attributes of `ConvProblem`, which imports them."""

    @property
    def in_channels(self) -> int: ...
    @property
    def out_channels(self) -> int: ...
    @property
    def kernel_size(self) -> Pair: ...
    @property
    def stride(self) -> Pair: ...
    @property
    def padding(self) -> Sides: ...
    @property
    def dilation(self) -> Pair: ...
    @property
    def groups(self) -> int: ...
    @property
    def bias(self) -> bool: ...
    @property
    def padding_mode(self) -> PaddingMode: ...
    @property
    def dtype(self) -> Dtype: ...
    @property
    def direction(self) -> Direction: ...
    @property
    def input_shape(self) -> tuple[int, int, int, int]: ...
    @property
    def output_shape(self) -> tuple[int, int, int, int]: ...
