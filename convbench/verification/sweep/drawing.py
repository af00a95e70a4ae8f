"""A question made from free decisions: whatever they are, the question exists and the backend supports it.

Images follow from outputs and are enlarged to what the padding asks for. Sizes favour the boundaries of vectors and
blocks, paddings those of the kernel. The range is wider than that of the sweep: up to 128 channels, kernels up to 11,
images up to about 100.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

from convbench.backend import Supports
from convbench.problem import DTYPES, PADDING_MODES, ConvProblem, Direction, Dtype, Epilogue, PaddingMode, Pair
from convbench.verification.quantized.data import QUANTIZED_VALUES
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Question, Values
from convbench.verification.sweep.catalogue import lies_otherwise, supported_epilogues
from convbench.verification.sweep.quantized_catalogue import supported_quantizations

T = TypeVar("T")
Choose = Callable[[Sequence[T]], T]

DECISIONS = 28
"""The most that a question takes."""
MOST_MACS = 2**18

_CHANNELS = (*range(1, 11), 12, 14, 15, 16, 17, 18, 20, 24, 31, 32, 33, 40, 47, 48, 49, 63, 64, 65, 70)
_IN_A_GROUP = (1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
_KINDS_OF_GROUPS = ("one", "one", "one", "one", "several", "several", "depthwise", "multiplier")
_BATCHES = (1, 1, 1, 2, 2, 3, 4, 5)
_KERNELS: tuple[Pair, ...] = (
    *((k, k) for k in (1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 10, 11)),
    *((1, k) for k in (2, 3, 3, 4, 5, 7, 9, 11)),
    *((k, 1) for k in (2, 3, 3, 4, 5, 7, 9, 11)),
    *((2, 3), (3, 2), (3, 5), (5, 3), (2, 7), (7, 2), (4, 3), (6, 5), (5, 8), (11, 2), (3, 10)),
)
_STRIDES: tuple[Pair, ...] = (
    *((s, s) for s in (1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 4, 5, 6, 8, 9, 12)),
    *((1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2), (1, 4), (4, 1), (2, 5), (5, 2), (1, 7), (7, 1), (1, 12), (12, 1)),
)
_DILATIONS: tuple[Pair, ...] = (
    *((d, d) for d in (1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4)),
    *((1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2), (4, 1), (1, 5)),
)
_PADDINGS = ("none", "same", "same", "symmetric", "symmetric", "one side", "any", "negative")
_SYMMETRIC_PADDINGS = ("none", "same", "symmetric", "symmetric", "negative")
_OUTPUTS = (1, 1, 1, *range(1, 19), 20, 24, 31, 32, 33)
_BIASES: dict[Direction, tuple[bool, ...]] = {
    "input_gradient": (False,),
    "weight_gradient": (False,),
    "bias_gradient": (True,),
}
_IMAGES = (*7 * ("of the output",), "square", "square", "small", "one pixel", "one row", "one column")


class Drawing:
    """What questions may be drawn for a backend that `supports` this, in those of its dtypes that are named; with
    `dtypes` {"int8"} quantised ones."""

    def __init__(
        self,
        supports: Supports,
        thread_safe: bool,
        direction: Direction = "forward",
        epilogues: Iterable[Epilogue | None] = (None,),
        dtypes: Collection[str] = DTYPES,
    ) -> None:
        self._direction = direction
        self._epilogues = supported_epilogues(supports, epilogues)
        self.dtypes: list[Dtype] = [dtype for dtype in DTYPES if dtype in supports.dtypes and dtype in dtypes]
        self._quantizations = supported_quantizations(supports) if "int8" in dtypes else []
        self._values: Sequence[Values] = QUANTIZED_VALUES if self._quantizations else VALUES
        self.modes: list[PaddingMode] = [mode for mode in PADDING_MODES if mode in supports.padding_modes]
        self._groups = _KINDS_OF_GROUPS if supports.groups else ("one",)
        self._strides: tuple[Pair, ...] = _STRIDES if supports.stride else ((1, 1),)
        self._dilations: tuple[Pair, ...] = _DILATIONS if supports.dilation else ((1, 1),)
        paddings = _PADDINGS if supports.asymmetric_padding else _SYMMETRIC_PADDINGS
        crops = supports.negative_padding and "zeros" in self.modes
        self._paddings = [kind for kind in paddings if crops or kind != "negative"]
        self._alike_only = not supports.asymmetric_padding
        self._calls = [calls for calls in CALLS if thread_safe or calls != "threads"]
        self.is_empty = not (self.dtypes or self._quantizations) or not self.modes or not self._epilogues
        self.is_empty |= direction not in supports.directions

    def question(self, decisions: Iterable[int]) -> Question:
        """That of `DECISIONS` numbers, each much larger than what it decides among is many."""
        numbers = iter(decisions)

        def choose(options: Sequence[T]) -> T:
            return options[next(numbers) % len(options)]

        problem = self._with_epilogue(self._problem(choose))
        layout = choose(LAYOUTS)
        layout = layout if lies_otherwise(problem, layout) else "contiguous"
        return Question(problem=problem, values=choose(self._values), layout=layout, calls=choose(self._calls))

    def _numbers(self, choose: Choose[Any]) -> dict[str, Any]:
        if self._quantizations:
            return {"quantization": choose(self._quantizations)}
        return {"dtype": choose(self.dtypes)}

    def _with_epilogue(self, problem: ConvProblem) -> ConvProblem:
        """One of the epilogues, which the rest of the problem decides: stored seeds of bare ones keep their meaning."""
        number = zlib.crc32(problem.case_id.encode())
        return problem.replace(epilogue=self._epilogues[number % len(self._epilogues)])

    def _problem(self, choose: Choose[Any]) -> ConvProblem:
        kernel, stride, dilation = choose(_KERNELS), choose(self._strides), choose(self._dilations)
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        kind, mode = choose(self._paddings), choose(self.modes)
        sides = [_padding(choose, kind, span, self._alike_only) for span in spans]
        if "zeros" in self.modes and (kind == "negative" or not any(map(any, sides))):
            mode = "zeros"
        image = choose(_IMAGES)
        size = [_extent(choose, image, axis, spans[axis], stride[axis], sides[axis], mode) for axis in (0, 1)]
        if image == "square":
            size = [max(size)] * 2
        out = [(size[axis] + sum(sides[axis]) - spans[axis]) // stride[axis] + 1 for axis in (0, 1)]
        batch, groups, inputs, outputs = _channels(choose, self._groups, out[0] * out[1] * kernel[0] * kernel[1])
        return ConvProblem(
            batch=batch,
            in_channels=groups * inputs,
            height=size[0],
            width=size[1],
            out_channels=groups * outputs,
            kernel_size=kernel,
            stride=stride,
            padding=(sides[0], sides[1]),
            dilation=dilation,
            groups=groups,
            bias=choose(_BIASES.get(self._direction, (False, True))),
            padding_mode=mode,
            **self._numbers(choose),
            direction=self._direction,
        )


def _padding(choose: Choose[Any], kind: str, span: int, alike_only: bool) -> Pair:
    """Before and after, on an axis on which the kernel reaches over `span`."""
    some = (0, 0, 1, 1, 2, 3, span // 2, span - 1, span, span + 1)
    if kind == "negative":
        some = (0, 0, -1, -1, -2, -3, 1, 2, -4, -5)
    one, other = choose(some), choose(some)
    if kind == "none":
        return (0, 0)
    if kind == "same":
        one, other = choose(((span // 2, (span - 1) // 2), ((span - 1) // 2, span // 2)))
    if kind == "one side":
        one, other = choose(((one, 0), (0, one)))
    return (one, one) if alike_only or kind == "symmetric" else (one, other)


def _extent(choose: Choose[Any], image: str, axis: int, span: int, stride: int, sides: Pair, mode: PaddingMode) -> int:
    """Height or width, by the kind of image and by what must be at least."""
    out, unread, small = choose(_OUTPUTS), choose((0, 0, 1, stride - 1)), 1 + choose(range(7))
    size = (min(out, 1 + 45 // stride) - 1) * stride + span - sum(sides) + min(unread, stride - 1)
    if image == "small":
        size = small
    if image == "one pixel" or image == ("one row", "one column")[axis]:
        size = 1
    of_mode = {"reflect": max(sides) + 1, "circular": max(sides)}.get(mode, 1)
    return int(max(size, span - sum(sides), 1 - sum(min(0, side) for side in sides), of_mode))


def _channels(choose: Choose[Any], kinds: Sequence[str], cost: int) -> tuple[int, int, int, int]:
    """Batch, groups, and channels in and out of each: no more than can be afforded at `cost` multiplications each."""
    batch, kind, groups = choose(_BATCHES), choose(kinds), choose(_CHANNELS)
    inputs, outputs = 1, 1
    if kind == "one":
        groups, inputs, outputs = 1, groups, choose(_CHANNELS)
    elif kind == "several":
        groups, inputs, outputs = 2 + groups % 7, choose(_IN_A_GROUP), choose(_IN_A_GROUP)
    elif kind == "multiplier":
        outputs = choose((2, 3, 4))
    afforded = max(1, MOST_MACS // cost)
    groups = min(groups, afforded)
    inputs = min(inputs, max(1, afforded // groups))
    outputs = min(outputs, max(1, afforded // (groups * inputs)))
    return min(batch, max(1, afforded // (groups * inputs * outputs))), groups, inputs, outputs
