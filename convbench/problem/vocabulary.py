"""The words, types and shapes of a 2-D convolution, as the writers of case ids and dialects read them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, get_args

from convbench.problem.epilogue import Epilogue
from convbench.problem.quantization import Quantization

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Dtype = Literal["float64", "float32", "float16", "bfloat16", "int8"]
Direction = Literal["forward", "input_gradient", "weight_gradient", "bias_gradient", "step"]
Kind = Literal["pointwise", "depthwise", "grouped", "dense"]

PADDING_MODES: tuple[PaddingMode, ...] = get_args(PaddingMode)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
GRADIENTS: tuple[Direction, ...] = ("input_gradient", "weight_gradient", "bias_gradient")
DTYPES: tuple[Dtype, ...] = ("float64", "float32", "float16", "bfloat16")
"""The floating-point formats."""
ALL_DTYPES: tuple[Dtype, ...] = get_args(Dtype)
"""Those, and int8: quantised problems, whose `quantization` says more."""

OPERANDS: dict[Direction, tuple[str, ...]] = {
    "forward": ("x", "w"),
    "input_gradient": ("g", "w"),
    "weight_gradient": ("x", "g"),
    "bias_gradient": ("g",),
    "step": ("x", "w", "g"),
}
"""What each direction takes: the input `x`, the weight `w`, the gradient of the output `g`; forward and a training step
take a bias `b`, too."""

ITEMSIZE_BYTES: dict[Dtype, int] = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


def output_size(size: int, kernel: int, stride: int = 1, before: int = 0, after: int = 0, dilation: int = 1) -> int:
    """Output extent of one axis: floor((size + before + after - dilation*(kernel - 1) - 1) / stride) + 1.

    This is the formula in the documentation of torch.nn.Conv2d, with the two sides of the padding kept apart. Padding
    is *added*; several tutorials subtract it and leave out the dilation. Not positive when the kernel does not fit.
    """
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """The arguments and shapes of a convolution. `ConvProblem` checks them, and knows what follows from them."""

    batch: int = 1
    in_channels: int
    height: int
    width: int
    out_channels: int
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Sides = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False
    padding_mode: PaddingMode = "zeros"
    dtype: Dtype = "float32"
    direction: Direction = "forward"
    epilogue: Epilogue | None = None
    quantization: Quantization | None = None

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(batch, in_channels, height, width): NCHW."""
        return (self.batch, self.in_channels, self.height, self.width)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(out_channels, in_channels/groups, kernel height, kernel width): OIHW."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def bias_shape(self) -> tuple[int] | None:
        """(out_channels,), or None without a bias."""
        return (self.out_channels,) if self.bias else None

    @property
    def out_height(self) -> int:
        return self._output_size(0, self.height)

    @property
    def out_width(self) -> int:
        return self._output_size(1, self.width)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(batch, out_channels, out_height, out_width): NCHW."""
        return (self.batch, self.out_channels, self.out_height, self.out_width)

    @property
    def operand_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what the direction takes, by name: input `x`, weight `w`, bias `b`, output gradient `g`, and
        the residual `r` of an epilogue that has a sum."""
        known = {"x": self.input_shape, "w": self.weight_shape, "g": self.output_shape}
        shapes: dict[str, tuple[int, ...]] = {name: known[name] for name in OPERANDS[self.direction]}
        has_bias = self.direction in ("forward", "step") and self.bias
        shapes |= {"b": (self.out_channels,)} if has_bias else {}
        return shapes | ({"r": self.output_shape} if self.epilogue and self.epilogue.residual else {})

    @property
    def result_shape(self) -> tuple[int, ...]:
        """The shape of what the direction computes: the output, or the gradient of the input, weight or bias. The
        results of a step are counted as one row, one after the other: (elements,)."""
        shapes = self.result_shapes
        return shapes[0] if len(shapes) == 1 else (sum(map(prod, shapes)),)

    @property
    def result_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each result: one; of a step, those of `computed`."""
        known: dict[str, tuple[int, ...]] = {
            "forward": self.output_shape,
            "input_gradient": self.input_shape,
            "weight_gradient": self.weight_shape,
            "bias_gradient": (self.out_channels,),
        }
        return tuple(known[direction] for direction in self.computed)

    @property
    def computed(self) -> tuple[Direction, ...]:
        """The directions whose results are computed: its own; in a training step forward, then each gradient that the
        layer has, in the order of `DIRECTIONS`."""
        if self.direction != "step":
            return (self.direction,)
        return ("forward", *(gradient for gradient in GRADIENTS if self.bias or gradient != "bias_gradient"))

    def _output_size(self, axis: int, size: int) -> int:
        before, after = self.padding[axis]
        return output_size(size, self.kernel_size[axis], self.stride[axis], before, after, self.dilation[axis])
