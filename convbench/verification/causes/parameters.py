"""A question as a flat row of parameters, each of which can be changed alone; and the size of a question."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from convbench.errors import ProblemError
from convbench.problem import PADDING_MODES, ConvProblem, Direction, Dtype, PaddingMode
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Calls, Layout, Question, Values

SIDES = ("top", "bottom", "left", "right")
WORDS: dict[str, tuple[Any, ...]] = {
    "values": VALUES,
    "layout": LAYOUTS,
    "calls": CALLS,
    "padding_mode": PADDING_MODES,
    "dtype": ("float32", "float64", "float16", "bfloat16"),
    "bias": (False, True),
}
"""What the parameters that are no numbers may be, the plainest first."""
_SIZES = (
    "batch", "groups", "channels", "filters", "height", "width", "kernel_h", "kernel_w", "stride_h", "stride_w",
    "dilation_h", "dilation_w",
)  # fmt: skip
NUMBERS = (*_SIZES, *SIDES)


@dataclass(frozen=True, kw_only=True)
class QuestionParameters:
    """`channels` and `filters` are those of one group, so that any number of groups goes with any of them."""

    batch: int
    groups: int
    channels: int
    filters: int
    height: int
    width: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    top: int
    bottom: int
    left: int
    right: int
    bias: bool
    padding_mode: PaddingMode
    dtype: Dtype
    direction: Direction
    values: Values
    layout: Layout
    calls: Calls
    seed: int

    @classmethod
    def of(cls, question: Question) -> Self:
        """The form of `question`."""
        p = question.problem
        (top, bottom), (left, right) = p.padding
        return cls(
            batch=p.batch,
            groups=p.groups,
            channels=p.in_channels // p.groups,
            filters=p.out_channels // p.groups,
            height=p.height,
            width=p.width,
            kernel_h=p.kernel_size[0],
            kernel_w=p.kernel_size[1],
            stride_h=p.stride[0],
            stride_w=p.stride[1],
            dilation_h=p.dilation[0],
            dilation_w=p.dilation[1],
            top=top,
            bottom=bottom,
            left=left,
            right=right,
            bias=p.bias,
            padding_mode=p.padding_mode,
            dtype=p.dtype,
            direction=p.direction,
            values=question.values,
            layout=question.layout,
            calls=question.calls,
            seed=question.seed,
        )

    def replace(self, **changes: Any) -> Self:
        """The same form with some parameters changed."""
        return replace(self, **changes)

    @cached_property
    def question(self) -> Question | None:
        """The question of this form; None when there is no such convolution."""
        try:
            problem = ConvProblem(
                batch=self.batch,
                in_channels=self.groups * self.channels,
                height=self.height,
                width=self.width,
                out_channels=self.groups * self.filters,
                kernel_size=(self.kernel_h, self.kernel_w),
                stride=(self.stride_h, self.stride_w),
                padding=((self.top, self.bottom), (self.left, self.right)),
                dilation=(self.dilation_h, self.dilation_w),
                groups=self.groups,
                bias=self.bias,
                padding_mode=self.padding_mode,
                dtype=self.dtype,
                direction=self.direction,
            )
        except ProblemError:
            return None
        return Question(problem=problem, values=self.values, layout=self.layout, calls=self.calls, seed=self.seed)

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right)."""
        return (self.top, self.bottom, self.left, self.right)

    def least_height(self) -> int:
        """The smallest height that the kernel and the padding leave possible."""
        return self._least_extent(self.kernel_h, self.dilation_h, self.top, self.bottom)

    def least_width(self) -> int:
        """The smallest width that the kernel and the padding leave possible."""
        return self._least_extent(self.kernel_w, self.dilation_w, self.left, self.right)

    def _least_extent(self, kernel: int, dilation: int, before: int, after: int) -> int:
        reflected = max(before, after) + 1 if self.padding_mode == "reflect" else 1
        wrapped = max(before, after) if self.padding_mode == "circular" else 1
        left_over = max(0, -before) + max(0, -after) + 1
        return max(reflected, wrapped, left_over, dilation * (kernel - 1) + 1 - before - after)

    @cached_property
    def extent(self) -> tuple[int, ...]:
        """How far every parameter but the seed goes: numbers as they are, words by their place in the list, a side of
        the padding as what it adds and what it crops."""
        words = [known.index(getattr(self, name)) for name, known in WORDS.items()]
        sides = [part for side in self.padding for part in (max(0, side), max(0, -side))]
        return (*(getattr(self, name) for name in _SIZES), *words, *sides)

    def is_within(self, other: Self) -> bool:
        """Whether no parameter goes further than that of `other`."""
        return all(own <= others for own, others in zip(self.extent, other.extent, strict=True))


def size(question: Question) -> tuple[int, int, int, int]:
    """How large a question is, for comparing: first by how many parameters are not as plain as can be, then by the sum
    of all numbers, then by how far down the lists of words its words stand, then by its seed.

    Padding that is not symmetric counts twice, and negative padding once more; one axis alone counts like both, so that
    of the two the smaller numbers win: they say which axis it is.
    """
    form = QuestionParameters.of(question)
    words = [known.index(getattr(form, name)) for name, known in WORDS.items()]
    strides, dilations = (form.stride_h, form.stride_w), (form.dilation_h, form.dilation_w)
    counted = [*words, form.batch > 1, form.groups > 1, form.seed, max(strides) > 1, max(dilations) > 1]
    parameters = sum(map(bool, counted)) + _complications(form)
    channels, filters = form.groups * form.channels, form.groups * form.filters
    numbers = [form.batch, form.groups, channels, filters, form.height, form.width, form.kernel_h, form.kernel_w]
    return (parameters, sum([*numbers, *strides, *dilations, *map(abs, form.padding)]), sum(words), form.seed)


def _complications(form: QuestionParameters) -> int:
    symmetric = form.top == form.bottom and form.left == form.right
    return any(form.padding) + (not symmetric) + (min(form.padding) < 0)
