"""`ConvProblem`: one 2-D convolution, in the words of `torch.nn.Conv2d`. A value: nothing is computed here.

As in every deep-learning library, "convolution" means cross-correlation: the kernel is not flipped.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import gcd, prod
from typing import Any, Literal, Self

from convbench.errors import ProblemError
from convbench.problem import arguments
from convbench.problem.case_id import format_case_id, parse_case_id
from convbench.problem.dialects import parse
from convbench.problem.epilogue import Epilogue, epilogue_of
from convbench.problem.quantization import Quantization, check_quantized, quantization_of
from convbench.problem.vocabulary import (
    ALL_DTYPES,
    DIRECTIONS,
    ITEMSIZE_BYTES,
    PADDING_MODES,
    Direction,
    Dtype,
    Kind,
    PaddingMode,
    Pair,
    Problem,
    Sides,
)


@dataclass(frozen=True, kw_only=True, slots=True, init=False)
class ConvProblem(Problem):
    """One convolution: what is computed, and not which library computes it.

    Arguments take torch's forms, and each is kept in one form: `kernel_size`, `stride` and `dilation` as (height,
    width), `padding` as ((top, bottom), (left, right)). Padding is given as an integer, a pair (height, width), nested
    pairs, "valid" or "same". "same" is torch's: it needs stride 1, and puts an odd row or column at the bottom or the
    right. ONNX and TensorFlow mean something else by SAME when the stride is larger. Negative padding crops the input;
    only padding_mode "zeros" allows it.

    `direction` says what is computed: the output, or one of the gradients that training needs, of the input, the weight
    or the bias, from the gradient of the output. A "step" computes all of these, as one training step of the layer.
    `operand_shapes` and `result_shapes` have the shapes.

    `epilogue` is what is done to the output before it is written, an activation or a residual sum, as an `Epilogue` or
    in its spelling such as "add_relu". Only a forward problem has one.

    `quantization`, a text such as "u8z:s8:u8z", makes it a convolution of 8-bit integers (see
    `convbench.problem.quantization`). Its dtype is "int8" then; dtype "int8" alone means the usual quantization.

    Raises `ProblemError` (a `ValueError`), with the numbers, when no such convolution exists.
    """

    def __init__(
        self,
        *,
        batch: int = 1,
        in_channels: int,
        height: int,
        width: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | Sides | Literal["same", "valid"] = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = False,
        padding_mode: PaddingMode = "zeros",
        dtype: Dtype = "float32",
        direction: Direction = "forward",
        epilogue: Epilogue | str | None = None,
        quantization: Quantization | str | None = None,
    ) -> None:
        keep = object.__setattr__
        sizes = {"batch": batch, "in_channels": in_channels, "height": height, "width": width}
        for name, size in {**sizes, "out_channels": out_channels, "groups": groups}.items():
            keep(self, name, arguments.positive(name, size))
        for name, pair in {"kernel_size": kernel_size, "stride": stride, "dilation": dilation}.items():
            keep(self, name, arguments.pair(name, pair))
        keep(self, "bias", arguments.boolean("bias", bias))
        keep(self, "padding_mode", arguments.word("padding_mode", padding_mode, PADDING_MODES))
        keep(self, "quantization", quantization_of(quantization, arguments.word("dtype", dtype, ALL_DTYPES)))
        keep(self, "dtype", "int8" if self.quantization else dtype)
        keep(self, "direction", arguments.word("direction", direction, DIRECTIONS))
        if self.direction == "bias_gradient" and not self.bias:
            raise ProblemError("direction is 'bias_gradient', and there is no bias; add bias=True.")
        keep(self, "epilogue", epilogue_of(epilogue))
        if self.epilogue is not None and self.direction != "forward":
            raise ProblemError(
                f"direction is {self.direction!r}; only 'forward' has an epilogue, such as {self.epilogue}."
            )
        keep(self, "padding", arguments.sides(padding, self.kernel_size, self.stride, self.dilation))
        self._check_channels()
        self._check_padding()
        self._check_output()
        if self.quantization is not None:
            check_quantized(self.quantization, self.direction, self.epilogue, self.reduction_length)

    @property
    def parts(self) -> tuple[Self, ...]:
        """The problems whose results are computed: itself; of a step, one for each of `computed`."""
        if self.direction != "step":
            return (self,)
        return tuple(self.replace(direction=direction) for direction in self.computed)

    # --- what it costs ------------------------------------------------------------------------------------------

    @property
    def reduction_length(self) -> int:
        """The most terms that are summed for one element of the result.

        Forward, in_channels/groups * kernel height * kernel width. For the gradient of the input, out_channels/groups
        times the taps that an element of the input is seen through, which are more where padding repeats it. For those
        of weight and bias, batch * out_height * out_width. For a step, the most of any of its results.
        """
        if self.direction == "step":
            return max(part.reduction_length for part in self.parts)
        kernel = self.kernel_size[0] * self.kernel_size[1]
        if self.direction == "forward":
            return self.in_channels // self.groups * kernel
        if self.direction == "input_gradient":
            return self.out_channels // self.groups * kernel * self.repeats
        return self.batch * self.out_height * self.out_width

    @property
    def repeats(self) -> int:
        """How often an element of the input is in the padded input, at the most: more than once if padding repeats
        elements, whose gradients then add up."""
        return prod(map(self._repeats, self.input_shape[2:], self.padding))

    def _repeats(self, size: int, sides: Pair) -> int:
        if self.padding_mode == "zeros":
            return 1
        if self.padding_mode == "replicate":
            return 1 + (max(sides) if size > 1 else sum(sides))
        return 1 + sum(map(bool, sides))

    @property
    def macs(self) -> int:
        """Multiply-accumulates, groups considered, the same in each direction; additions for the gradient of the bias;
        of a step, those of its parts. Taps on padding count, as in most of the field; benchdnn leaves them out."""
        if self.direction == "step":
            return sum(part.macs for part in self.parts)
        outputs = prod(self.output_shape)
        if self.direction == "bias_gradient":
            return outputs
        return outputs * (self.in_channels // self.groups) * self.kernel_size[0] * self.kernel_size[1]

    @property
    def flops(self) -> int:
        """2 * macs; macs for the gradient of the bias. The additions of a bias are not counted, nor is an
        epilogue: rates of the bare and the fused convolution can be compared."""
        if self.direction == "step":
            return sum(part.flops for part in self.parts)
        return self.macs if self.direction == "bias_gradient" else 2 * self.macs

    @property
    def bytes(self) -> int:
        """Bytes moved when each operand and each result are moved once. Scales and zero points are not counted."""
        if self.quantization is not None:
            itemsizes = self.quantization.itemsizes_bytes
            return sum(prod(s) * itemsizes[name] for name, s in {**self.operand_shapes, "y": self.result_shape}.items())
        shapes = (*self.operand_shapes.values(), self.result_shape)
        return sum(map(prod, shapes)) * ITEMSIZE_BYTES[self.dtype]

    @property
    def arithmetic_intensity(self) -> float:
        """flops per byte, the x axis of a roofline."""
        return self.flops / self.bytes

    @property
    def kind(self) -> Kind:
        """The class that a kernel library dispatches on."""
        if self.groups > 1:
            return "depthwise" if self.groups == self.in_channels else "grouped"
        return "pointwise" if self.kernel_size == (1, 1) else "dense"

    # --- other forms --------------------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> Self:
        """The same problem with some arguments changed. Checked as a new one is. A new dtype ends a quantization."""
        if changes.get("dtype", self.dtype) != self.dtype:
            changes = {"quantization": None} | changes
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name: JSON-ready, and `ConvProblem(**problem.as_dict())` gives the problem back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        spelled = {name: plain.pop(name) for name in ("quantization", "epilogue")}
        return plain | {name: str(value) for name, value in spelled.items() if value is not None}

    @property
    def case_id(self) -> str:
        """Short, stable, unique name, a key in stored history: see `convbench.problem.case_id`."""
        return format_case_id(self)

    @classmethod
    def from_case_id(cls, text: str) -> Self:
        """The problem that a case id names. Raises `ProblemError` when it names none."""
        return cls(**parse_case_id(text))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The problem that a case id, a benchdnn descriptor, MIOpenDriver flags or a torch snippet names.

        Raises `ProblemError` when the text is none of these.
        """
        return cls(**parse(text))

    def __str__(self) -> str:
        return self.case_id

    # --- validity -----------------------------------------------------------------------------------------------

    def _check_channels(self) -> None:
        for name in ("in_channels", "out_channels"):
            channels = getattr(self, name)
            if channels % self.groups:
                both = gcd(self.in_channels, self.out_channels)
                raise ProblemError(
                    f"{name} is {channels}, which {self.groups} groups do not divide; "
                    f"groups should divide both in_channels and out_channels, so be a divisor of {both}."
                )

    def _check_padding(self) -> None:
        for axis, size, (before, after) in zip(("height", "width"), self.input_shape[2:], self.padding, strict=True):
            if self.padding_mode == "zeros":
                if max(0, -before) + max(0, -after) >= size:
                    raise ProblemError(
                        f"padding ({before}, {after}) crops all of {axis} {size}; at least one row or column must stay."
                    )
                continue
            if min(before, after) < 0:
                raise ProblemError(
                    f"padding ({before}, {after}) of {axis} is negative, which only padding_mode 'zeros' knows, "
                    f"not {self.padding_mode!r}."
                )
            largest = {"reflect": size - 1, "circular": size}.get(self.padding_mode)
            if largest is not None and max(before, after) > largest:
                raise ProblemError(
                    f"padding ({before}, {after}) of {axis} is more than padding_mode {self.padding_mode!r} can take "
                    f"from {axis} {size}: at most {largest}."
                )

    def _check_output(self) -> None:
        for axis, name in enumerate(("height", "width")):
            if self.output_shape[2 + axis] < 1:
                size, kernel, dilation = self.input_shape[2 + axis], self.kernel_size[axis], self.dilation[axis]
                before, after = self.padding[axis]
                raise ProblemError(
                    f"the kernel spans {dilation * (kernel - 1) + 1} in {name} "
                    f"(kernel {kernel}, dilation {dilation}), but the padded input only "
                    f"{size + before + after} ({size} + {before} + {after}); use a smaller kernel or more padding."
                )
