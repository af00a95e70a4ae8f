"""What a backend computes, as data: `Supports`, and the sets that backends of the whole of conv2d have."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

from convbench.backend.quantized import QuantizedSupport
from convbench.problem import (
    ACTIVATIONS,
    DIRECTIONS,
    DTYPES,
    GRADIENTS,
    PADDING_MODES,
    RESIDUALS,
    ConvProblem,
    Direction,
    Epilogue,
)

_SETS: dict[str, tuple[str, ...]] = {
    "dtypes": DTYPES, "padding_modes": PADDING_MODES, "directions": DIRECTIONS, "activations": ACTIVATIONS,
    "residuals": RESIDUALS,
}  # fmt: skip


@dataclass(frozen=True)
class Supports:
    """What a backend can compute, as data that is readable without its library. The defaults promise little.

    The sets take any iterable of words. For every direction but "forward" the backend needs `prepare_gradient`, for
    "step" it or `prepare_step`, and for any activation or residual sum `prepare_fused`. Raises `TypeError` for an
    unknown word.
    """

    dtypes: Set[str] = frozenset({"float32"})
    padding_modes: Set[str] = frozenset({"zeros"})
    stride: bool = True
    dilation: bool = True
    groups: bool = True
    asymmetric_padding: bool = True
    negative_padding: bool = False
    directions: Set[str] = frozenset({"forward"})
    activations: Set[str] = frozenset()
    """The activations of an epilogue (`convbench.problem.epilogue`)."""
    residuals: Set[str] = frozenset()
    """Whether a residual is added "before" the activation, as without one, or "after" it."""
    quantized: QuantizedSupport | None = None
    """The quantised problems, for which the backend needs `prepare_quantized`; None for none. `dtypes` has no word for
    them; padding modes, stride, dilation and groups hold for them, too."""

    def __post_init__(self) -> None:
        for name, known in _SETS.items():
            words = getattr(self, name)
            if isinstance(words, str):
                raise TypeError(f"{name} should be a set of words such as {{{words!r}}}, not the word {words!r} alone")
            if unknown := sorted(set(words).difference(known)):
                raise TypeError(f"{name} has {', '.join(unknown)}; known are {', '.join(known)}")
            object.__setattr__(self, name, frozenset(words))

    def reason_against(self, problem: ConvProblem) -> str | None:
        """Why `problem` is not supported, as a sentence; None when it is supported."""
        if (reason := self.reason_against_direction(problem.direction)) is not None:
            return reason
        if problem.epilogue is not None and (reason := self.reason_against_epilogue(problem.epilogue)) is not None:
            return reason
        if problem.quantization is not None:
            if self.quantized is None:
                return f"does not compute int8, only {', '.join(sorted(self.dtypes))}"
            if (reason := self.quantized.reason_against(problem.quantization)) is not None:
                return reason
        elif problem.dtype not in self.dtypes:
            return f"does not compute {problem.dtype}, only {', '.join(sorted(self.dtypes)) or 'int8'}"
        if problem.padding_mode not in self.padding_modes:
            return f"does not pad with {problem.padding_mode}, only {', '.join(sorted(self.padding_modes))}"
        if problem.stride != (1, 1) and not self.stride:
            return f"takes stride 1 only, not {problem.stride}"
        if problem.dilation != (1, 1) and not self.dilation:
            return f"takes dilation 1 only, not {problem.dilation}"
        if problem.groups != 1 and not self.groups:
            return f"takes one group only, not {problem.groups}"
        rows, columns = problem.padding
        if (rows[0] != rows[1] or columns[0] != columns[1]) and not self.asymmetric_padding:
            return f"pads both sides of an axis alike only, not {problem.padding}"
        if min(*rows, *columns) < 0 and not self.negative_padding:
            return f"does not take negative padding, such as {problem.padding}"
        return None

    def reason_against_direction(self, direction: Direction) -> str | None:
        """`computes forward only, not input_gradient`; None when the direction is supported."""
        if direction in self.directions:
            return None
        return f"computes {' and '.join(d for d in DIRECTIONS if d in self.directions)} only, not {direction}"

    def reason_against_epilogue(self, epilogue: Epilogue) -> str | None:
        """`computes no epilogue, such as relu`; None when the epilogue is supported."""
        if not self.activations and not self.residuals:
            return f"computes the bare convolution only, without an epilogue such as {epilogue}"
        if epilogue.activation is not None and epilogue.activation not in self.activations:
            known = ", ".join(word for word in ACTIVATIONS if word in self.activations) or "no activation"
            return f"does not compute {epilogue.activation}, only {known}"
        if epilogue.residual is not None and epilogue.residual not in self.residuals:
            return f"does not add a residual {epilogue.residual} the activation"
        return None


WHOLE_OF_CONV2D = Supports(dtypes=set(DTYPES), padding_modes=set(PADDING_MODES), negative_padding=True)
"""Every forward `ConvProblem`."""
WITH_GRADIENTS = replace(WHOLE_OF_CONV2D, directions={"forward", *GRADIENTS})
"""Every bare `ConvProblem`, forward or a gradient."""
WITH_STEP = replace(WHOLE_OF_CONV2D, directions=set(DIRECTIONS))
"""Every bare `ConvProblem`, forward, a gradient or a training step."""
WITH_EPILOGUES = replace(WITH_STEP, activations=set(ACTIVATIONS), residuals=set(RESIDUALS))
"""These, and every forward one with an epilogue."""
