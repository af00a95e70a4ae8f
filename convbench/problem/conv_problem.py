"""`ConvProblem`: one 2-D convolution, in the words of `torch.nn.Conv2d`. A value: nothing is computed here.

What is called a convolution is a cross-correlation, as in every deep-learning library: the kernel is not flipped.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import gcd
from operator import index
from typing import Any, Literal, Self, TypeVar, get_args

from convbench.errors import ProblemError, did_you_mean

_Word = TypeVar("_Word", bound=str)

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Dtype = Literal["float64", "float32", "float16", "bfloat16"]
Direction = Literal["forward", "input_gradient", "weight_gradient"]
Kind = Literal["pointwise", "depthwise", "grouped", "dense"]

PADDING_MODES: tuple[PaddingMode, ...] = get_args(PaddingMode)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
_LARGEST = 2**63 - 1  # what libraries count in, and what fits into an id

ITEMSIZE_BYTES: dict[Dtype, int] = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


def output_size(size: int, kernel: int, stride: int = 1, before: int = 0, after: int = 0, dilation: int = 1) -> int:
    """Output extent of one axis: floor((size + before + after - dilation*(kernel - 1) - 1) / stride) + 1.

    The formula of torch.nn.Conv2d's documentation, with the two sides of the padding kept apart. Padding is *added*;
    several tutorials subtract it, and leave the dilation out. Not positive when the kernel does not fit.
    """
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


@dataclass(frozen=True, kw_only=True, slots=True, init=False)
class ConvProblem:
    """One convolution: what is computed, without saying by whom.

    Arguments take torch's forms and are kept in one: `kernel_size`, `stride`, `dilation` as (height, width);
    `padding` as ((top, bottom), (left, right)), given as an int, a pair (height, width), nested pairs, "valid", or
    "same" (torch's: stride 1 only, an odd one out goes to the bottom and the right; ONNX and TensorFlow mean another
    thing by SAME when the stride is larger). Negative padding crops, and exists in mode "zeros" only.

    Raises `ProblemError` (a `ValueError`), with the numbers, when no such convolution exists.
    """

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
    ) -> None:
        keep = object.__setattr__
        for name, value in (
            ("batch", batch),
            ("in_channels", in_channels),
            ("height", height),
            ("width", width),
            ("out_channels", out_channels),
            ("groups", groups),
        ):
            keep(self, name, _positive(name, value))
        keep(self, "kernel_size", _pair("kernel_size", kernel_size))
        keep(self, "stride", _pair("stride", stride))
        keep(self, "dilation", _pair("dilation", dilation))
        if not isinstance(bias, bool) and type(bias).__name__ not in ("bool", "bool_"):  # NumPy's, by name
            raise ProblemError(f"bias is {bias!r}; it should be true or false.")
        keep(self, "bias", bool(bias))
        keep(self, "padding_mode", _one_of("padding_mode", padding_mode, PADDING_MODES))
        keep(self, "dtype", _one_of("dtype", dtype, DTYPES))
        keep(self, "direction", _one_of("direction", direction, DIRECTIONS))
        keep(self, "padding", _sides(padding, self.kernel_size, self.stride, self.dilation))
        self._check_channels()
        self._check_padding()
        self._check_output()

    # --- shapes -------------------------------------------------------------------------------------------------

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
        return self._output_extent(0, self.height)

    @property
    def out_width(self) -> int:
        return self._output_extent(1, self.width)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(batch, out_channels, out_height, out_width): NCHW."""
        return (self.batch, self.out_channels, self.out_height, self.out_width)

    # --- what it costs ------------------------------------------------------------------------------------------

    @property
    def reduction_length(self) -> int:
        """Products summed for one output element: in_channels/groups * kernel height * kernel width."""
        return self.in_channels // self.groups * self.kernel_size[0] * self.kernel_size[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates, groups counted. Taps that fall on padding count too, as in most of the field;
        benchdnn leaves those out."""
        return self.batch * self.out_channels * self.out_height * self.out_width * self.reduction_length

    @property
    def flops(self) -> int:
        """2 * macs; the additions of a bias are left out."""
        return 2 * self.macs

    @property
    def bytes(self) -> int:
        """Bytes moved when input, weight, bias and output are each touched once."""
        n, c, h, w = self.input_shape
        o, i, kh, kw = self.weight_shape
        on, oc, oh, ow = self.output_shape
        elements = n * c * h * w + o * i * kh * kw + on * oc * oh * ow + (o if self.bias else 0)
        return elements * ITEMSIZE_BYTES[self.dtype]

    @property
    def arithmetic_intensity(self) -> float:
        """flops per byte: the x axis of a roofline."""
        return self.flops / self.bytes

    @property
    def kind(self) -> Kind:
        """The class a kernel library would dispatch on."""
        if self.groups > 1:
            return "depthwise" if self.groups == self.in_channels else "grouped"
        return "pointwise" if self.kernel_size == (1, 1) else "dense"

    # --- other forms --------------------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> Self:
        """The same problem with some arguments changed; checked like a new one."""
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name: JSON-ready, and `ConvProblem(**problem.as_dict())` gives the problem back."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def case_id(self) -> str:
        """Short, stable, unique name, a key in stored history: see `convbench.problem.case_id`."""
        from convbench.problem.case_id import format_case_id

        return format_case_id(self)

    @classmethod
    def parse(cls, text: str) -> ConvProblem:
        """The problem that a case id, a benchdnn descriptor, MIOpenDriver flags or a torch snippet names.

        Raises `ProblemError` when the text is none of these.
        """
        from convbench.problem.dialects import parse

        return parse(text)

    def __str__(self) -> str:
        return self.case_id

    # --- validity -----------------------------------------------------------------------------------------------

    def _output_extent(self, axis: int, size: int) -> int:
        before, after = self.padding[axis]
        return output_size(size, self.kernel_size[axis], self.stride[axis], before, after, self.dilation[axis])

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
        for axis, size in zip(("height", "width"), (self.height, self.width), strict=True):
            before, after = self.padding[axis == "width"]
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
        for axis, (name, size, out) in enumerate(
            (("height", self.height, self.out_height), ("width", self.width, self.out_width))
        ):
            if out < 1:
                kernel, dilation = self.kernel_size[axis], self.dilation[axis]
                before, after = self.padding[axis]
                raise ProblemError(
                    f"the kernel spans {dilation * (kernel - 1) + 1} in {name} "
                    f"(kernel {kernel}, dilation {dilation}), but the padded input only "
                    f"{size + before + after} ({size} + {before} + {after}); use a smaller kernel or more padding."
                )


def _positive(name: str, value: Any) -> int:
    integer = _integer(name, value)
    if integer < 1:
        raise ProblemError(f"{name} is {integer}; it should be at least 1.")
    return integer


def _integer(name: str, value: Any) -> int:
    try:
        integer = index(value)
    except TypeError:
        integer = None
    if integer is None or isinstance(value, bool):
        raise ProblemError(f"{name} is {value!r}; it should be an integer.")
    if abs(integer) > _LARGEST:
        raise ProblemError(f"{name} has {integer.bit_length()} bits; it should be at most {_LARGEST}.")
    return integer


def _pair(name: str, value: Any) -> Pair:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ProblemError(f"{name} is {value!r}; it should be an integer or a pair (height, width).")
        return (_positive(name, value[0]), _positive(name, value[1]))
    size = _positive(name, value)
    return (size, size)


def _one_of(name: str, value: Any, known: tuple[_Word, ...]) -> _Word:
    for word in known:
        if value == word:
            return word
    raise ProblemError(f"{name} is {value!r}; it should be one of {', '.join(known)}.{did_you_mean(str(value), known)}")


def _sides(padding: Any, kernel: Pair, stride: Pair, dilation: Pair) -> Sides:
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0), (0, 0))
        if padding != "same":
            raise ProblemError(f"padding is {padding!r}; as a word it should be 'same' or 'valid'.")
        if stride != (1, 1):
            raise ProblemError(
                f"padding 'same' with stride {stride}: 'same' is torch's, for stride 1 only. "
                "Give the sides as ((top, bottom), (left, right)) if ONNX's or TensorFlow's SAME is meant."
            )
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        top, left = (total // 2 for total in totals)
        return ((top, totals[0] - top), (left, totals[1] - left))
    if isinstance(padding, (tuple, list)):
        if len(padding) != 2:
            raise ProblemError(
                f"padding is {padding!r}; it should be an integer, a pair (height, width), "
                "nested pairs ((top, bottom), (left, right)), 'same' or 'valid'."
            )
        rows, columns = (_side(axis) for axis in padding)
        return (rows, columns)
    both = _side(padding)
    return (both, both)


def _side(value: Any) -> Pair:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ProblemError(f"padding of one axis is {value!r}; it should be an integer or a pair (before, after).")
        return (_integer("padding", value[0]), _integer("padding", value[1]))
    size = _integer("padding", value)
    return (size, size)
