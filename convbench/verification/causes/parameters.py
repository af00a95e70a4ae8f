"""A question as a flat row of parameters, each of which can be changed alone; and the size of a question."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from convbench.errors import ProblemError
from convbench.problem import (
    ACTIVATIONS,
    PADDING_MODES,
    RESIDUALS,
    ConvProblem,
    Direction,
    Dtype,
    Epilogue,
    PaddingMode,
    Quantization,
)
from convbench.problem.quantization import properties_of
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Calls, Layout, Question, Values

SIDES = ("padding_top", "padding_bottom", "padding_left", "padding_right")
WORDS: dict[str, tuple[Any, ...]] = {
    "values": VALUES,
    "layout": LAYOUTS,
    "calls": CALLS,
    "padding_mode": PADDING_MODES,
    "dtype": ("float32", "float64", "float16", "bfloat16", "int8"),
    "bias": (False, True),
    **dict.fromkeys(("input_zero_point", "weight_zero_point", "result_zero_point", "per_tensor"), (False, True)),
}
"""What the parameters that are no numbers may be, the plainest first."""
_AS_IN_THE_PROBLEM = (
    *("batch", "groups", "height", "width", "bias", "padding_mode", "dtype", "direction"),
    *("epilogue", "quantization"),
)
_AXES = tuple(f"{name}_{axis}" for name in ("kernel", "stride", "dilation") for axis in ("height", "width"))
SIZES = ("batch", "groups", "channels", "filters", "height", "width", *_AXES)
NUMBERS = (*SIZES, *SIDES)


@dataclass(frozen=True, kw_only=True)
class QuestionParameters:
    """`channels` and `filters` are those of one group, so that any number of groups goes with any of them."""

    batch: int
    groups: int
    channels: int
    filters: int
    height: int
    width: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    dilation_height: int
    dilation_width: int
    padding_top: int
    padding_bottom: int
    padding_left: int
    padding_right: int
    bias: bool
    padding_mode: PaddingMode
    dtype: Dtype
    direction: Direction
    epilogue: Epilogue | None
    quantization: Quantization | None
    """Its formats; the rest of it has fields of its own, which are false in floating point."""
    input_zero_point: bool
    weight_zero_point: bool
    result_zero_point: bool
    per_tensor: bool
    values: Values
    layout: Layout
    calls: Calls
    seed: int

    @classmethod
    def of(cls, question: Question) -> Self:
        p = question.problem
        numbers: dict[str, Any] = dict(zip(_AXES, (*p.kernel_size, *p.stride, *p.dilation), strict=True))
        numbers |= zip(SIDES, (*p.padding[0], *p.padding[1]), strict=True)
        numbers |= {"channels": p.in_channels // p.groups, "filters": p.out_channels // p.groups}
        numbers |= {name: getattr(p, name) for name in _AS_IN_THE_PROBLEM}
        named = properties_of(p.quantization)
        numbers |= {name: named[name] for name in ("input_zero_point", "weight_zero_point", "result_zero_point")}
        numbers["per_tensor"] = p.quantization is not None and not p.quantization.per_channel
        return cls(**numbers, **{name: getattr(question, name) for name in ("values", "layout", "calls", "seed")})

    def replace(self, **changes: Any) -> Self:
        return replace(self, **changes)

    @cached_property
    def question(self) -> Question | None:
        """The question of this form; None when there is no such convolution."""
        try:
            problem = ConvProblem(
                in_channels=self.groups * self.channels,
                out_channels=self.groups * self.filters,
                kernel_size=(self.kernel_height, self.kernel_width),
                stride=(self.stride_height, self.stride_width),
                padding=(self.padding[:2], self.padding[2:]),
                dilation=(self.dilation_height, self.dilation_width),
                **{name: getattr(self, name) for name in _AS_IN_THE_PROBLEM} | {"quantization": self._quantization},
            )
        except ProblemError:
            return None
        return Question(problem=problem, values=self.values, layout=self.layout, calls=self.calls, seed=self.seed)

    @property
    def _quantization(self) -> Quantization | None:
        if self.quantization is None:
            return None
        return replace(
            self.quantization,
            input_zero_point=self.input_zero_point,
            weight_zero_point=self.weight_zero_point,
            result_zero_point=self.result_zero_point,
            per_channel=not self.per_tensor,
        )

    @property
    def padding(self) -> tuple[int, int, int, int]:
        return (self.padding_top, self.padding_bottom, self.padding_left, self.padding_right)

    def least_height(self) -> int:
        """The smallest height that the kernel and the padding leave possible."""
        return self._least_extent(self.kernel_height, self.dilation_height, *self.padding[:2])

    def least_width(self) -> int:
        """The same of the width."""
        return self._least_extent(self.kernel_width, self.dilation_width, *self.padding[2:])

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
        return (*(getattr(self, name) for name in SIZES), *words, *sides, *self.epilogue_words)

    @property
    def epilogue_words(self) -> tuple[int, int]:
        """How far down the lists its activation and its residual stand; 0 for none."""
        if self.epilogue is None:
            return (0, 0)
        activation, residual = self.epilogue.activation, self.epilogue.residual
        return (
            0 if activation is None else 1 + ACTIVATIONS.index(activation),
            0 if residual is None else 1 + RESIDUALS.index(residual),
        )

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
    words = [known.index(getattr(form, name)) for name, known in WORDS.items()] + [*form.epilogue_words]
    top, bottom, left, right = form.padding
    problem = question.problem
    counted = [*words, form.batch > 1, form.groups > 1, form.seed, max(problem.stride) > 1, max(problem.dilation) > 1]
    counted += [any(form.padding), top != bottom or left != right, min(form.padding) < 0]
    numbers = [form.batch, form.groups, problem.in_channels, problem.out_channels, form.height, form.width]
    numbers += [getattr(form, name) for name in _AXES]
    return (sum(map(bool, counted)), sum([*numbers, *map(abs, form.padding)]), sum(words), form.seed)
