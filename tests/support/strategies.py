"""Hypothesis strategies: problems with every argument in every form, small enough to compute; what backends support."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from convbench.backend import Supports
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

SIZES = st.integers(1, 9)
SMALL = st.integers(1, 3)
FINITE = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 0.01, 0.25, 1.0, 6.0])
SUPPORTS = st.builds(
    Supports,
    dtypes=st.sets(st.sampled_from(DTYPES), min_size=1),
    padding_modes=st.sets(st.sampled_from(PADDING_MODES), min_size=1),
    stride=st.booleans(),
    dilation=st.booleans(),
    groups=st.booleans(),
    asymmetric_padding=st.booleans(),
    negative_padding=st.booleans(),
)


def int_or_pair(values: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    return values | st.tuples(values, values)


@st.composite
def arguments(draw: st.DrawFn, least_padding: int = 0) -> dict[str, Any]:
    """Arguments of a problem that may well be impossible."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    side = st.integers(least_padding, 4)
    return {
        "batch": draw(SMALL),
        "in_channels": groups * draw(SMALL),
        "height": draw(SIZES),
        "width": draw(SIZES),
        "out_channels": groups * draw(SMALL),
        "kernel_size": draw(int_or_pair(st.integers(1, 5))),
        "stride": draw(int_or_pair(SMALL)),
        "padding": draw(
            int_or_pair(side)
            | st.tuples(st.tuples(side, side), st.tuples(side, side))
            | st.sampled_from(["same", "valid"])
        ),
        "dilation": draw(int_or_pair(SMALL)),
        "groups": groups,
        "bias": draw(st.booleans()),
        "padding_mode": draw(st.sampled_from(PADDING_MODES)),
    }


@st.composite
def problems(draw: st.DrawFn, directions: Sequence[Direction] = DIRECTIONS, *, fused: bool = False) -> ConvProblem:
    """A possible problem of one of `directions`: the kernel is cut, and the padding made fit, to what the image has.
    With `fused` the forward ones have an epilogue."""
    mode = draw(st.sampled_from(PADDING_MODES))
    size = (draw(SIZES), draw(SIZES))
    least = [-((extent - 1) // 2) if mode == "zeros" else 0 for extent in size]
    most = [{"reflect": extent - 1, "circular": extent}.get(mode, 5) for extent in size]
    sides = [(draw(st.integers(a, b)), draw(st.integers(a, b))) for a, b in zip(least, most, strict=True)]
    if draw(st.booleans()):
        sides = [(side[0], side[0]) for side in sides]
    room = [extent + sum(side) for extent, side in zip(size, sides, strict=True)]
    kernel = [draw(st.integers(1, min(5, extent))) for extent in room]
    dilation = [
        draw(st.integers(1, max(1, min(3, (extent - 1) // max(1, k - 1)))))
        for extent, k in zip(room, kernel, strict=True)
    ]
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    direction = draw(st.sampled_from(directions))
    epilogue = draw(epilogues()) if fused and direction == "forward" else None
    return ConvProblem(
        batch=draw(SMALL),
        in_channels=groups * draw(SMALL),
        height=size[0],
        width=size[1],
        out_channels=groups * draw(SMALL),
        kernel_size=(kernel[0], kernel[1]),
        stride=draw(int_or_pair(SMALL)),
        padding=(sides[0], sides[1]),
        dilation=(dilation[0], dilation[1]),
        groups=groups,
        bias=draw(st.booleans()) or direction == "bias_gradient",
        padding_mode=mode,
        dtype=draw(st.sampled_from(DTYPES)),
        direction=direction,
        epilogue=epilogue,
    )


def forward_problems() -> st.SearchStrategy[ConvProblem]:
    """A possible problem of computing the output."""
    return problems(("forward",))


@st.composite
def epilogues(draw: st.DrawFn) -> Epilogue:
    """Any epilogue, its numbers of any size."""
    activation = draw(st.none() | st.sampled_from(ACTIVATIONS))
    residual = draw(st.sampled_from(RESIDUALS)) if activation is None else draw(st.none() | st.sampled_from(RESIDUALS))
    numbers: dict[str, float] = {}
    if activation == "leaky_relu":
        numbers = {"slope": draw(FINITE.filter(lambda slope: slope != 1))}
    if activation == "clip":
        low, high = sorted(draw(st.tuples(FINITE, FINITE).filter(lambda pair: pair[0] != pair[1])))
        numbers = {"low": low, "high": high}
    return Epilogue(activation=activation, residual=residual, **numbers)


def fused_problems() -> st.SearchStrategy[ConvProblem]:
    """A possible problem with an epilogue."""
    return problems(("forward",), fused=True)


def gradient_problems() -> st.SearchStrategy[ConvProblem]:
    """A possible problem of computing a gradient."""
    return problems(GRADIENTS)
