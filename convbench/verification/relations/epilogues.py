"""Relations of epilogues that are exact on integers: to the bare convolution, to a residual of zeros, to themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from convbench.problem import ConvProblem, Epilogue, Residual
from convbench.verification.fused.activations import activated
from convbench.verification.operands import Operands
from convbench.verification.relations.relation import Array, Concerns, Part, Relation, Restate

_LARGEST_IDENTITY = 2**21  # elements
_IDEMPOTENT = ("relu", "relu6", "clip")


def _has(problem: ConvProblem, *, residual: bool) -> bool:
    return problem.epilogue is not None and (problem.epilogue.residual is not None) is residual


def _of_epilogues(name: str, summary: str, concerns: Concerns, restate: Restate, **more: Any) -> Relation:
    settings: dict[str, Any] = {"adds_parts": False, "of_epilogues": True} | more
    return Relation(name, summary, restate, lambda _, outputs: outputs[0], concerns, **settings)


def _bare(problem: ConvProblem, operands: Operands) -> list[Part]:
    return [(problem.replace(epilogue=None), replace(operands, r=None))]


def _ended(
    problem: ConvProblem, operands: Operands, output: Array, parts: list[Part], outputs: list[Array]
) -> tuple[Array, Array]:
    """The backend's own convolution, which the epilogue follows here."""
    assert problem.epilogue is not None
    y = outputs[0]
    if problem.epilogue.residual == "before":
        y = y + operands.r.astype(np.float64)
    out = activated(problem.epilogue, y)
    return output, out + operands.r.astype(np.float64) if problem.epilogue.residual == "after" else out


def _with_zeros(where: Residual) -> Restate:
    def restate(problem: ConvProblem, operands: Operands) -> list[Part]:
        assert problem.epilogue is not None
        fused = problem.replace(epilogue=replace(problem.epilogue, residual=where))
        return [(fused, replace(operands, r=np.zeros(problem.output_shape, operands.dtype)))]

    return restate


def _of_both_signs(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Of the opposite sums; and the sums without ReLU."""
    opposite = {"w": -operands.w} | {name: -array for name, array in operands.named().items() if name in ("b", "r")}
    without = None if operands.r is None else Epilogue(residual="before")
    return [(problem, replace(operands, **opposite)), (problem.replace(epilogue=without), operands)]


def _is_relu_of_the_sum(problem: ConvProblem) -> bool:
    epilogue = problem.epilogue
    return epilogue is not None and epilogue.activation == "relu" and epilogue.residual != "after"


def _difference(
    problem: ConvProblem, operands: Operands, output: Array, parts: list[Part], outputs: list[Array]
) -> tuple[Array, Array]:
    return output - outputs[0], outputs[1]


def _is_idempotent(problem: ConvProblem) -> bool:
    epilogue, filters = problem.epilogue, problem.out_channels
    if epilogue is None or epilogue.activation not in _IDEMPOTENT or epilogue.residual == "after":
        return False
    return filters * filters // problem.groups <= _LARGEST_IDENTITY


def _once_more(problem: ConvProblem, output: Array) -> list[Part]:
    """The activation of the output, behind a convolution that changes nothing."""
    n, channels, height, width = problem.output_shape
    own = channels // problem.groups
    w = np.tile(np.eye(own, dtype=output.dtype), (problem.groups, 1))[:, :, None, None]
    part = ConvProblem(
        batch=n, in_channels=channels, height=height, width=width, out_channels=channels, kernel_size=1,
        groups=problem.groups, dtype=problem.dtype, epilogue=replace(problem.epilogue, residual=None),  # type: ignore[type-var]
    )  # fmt: skip
    return [(part, Operands(np.ascontiguousarray(output), np.ascontiguousarray(w)))]


OF_EPILOGUES = (
    _of_epilogues(
        "activation apart",
        "an activation joined to a convolution is that of its output",
        lambda problem: _has(problem, residual=False),
        _bare,
        compare=_ended,
    ),
    _of_epilogues(
        "sum apart",
        "a residual joined to a convolution is added to its output",
        lambda problem: _has(problem, residual=True),
        _bare,
        compare=_ended,
        adds_parts=True,
    ),
    _of_epilogues(
        "zeros before",
        "a residual of zeros before the activation changes nothing",
        lambda problem: _has(problem, residual=False),
        _with_zeros("before"),
    ),
    _of_epilogues(
        "zeros after",
        "a residual of zeros after the activation changes nothing",
        lambda problem: _has(problem, residual=False),
        _with_zeros("after"),
    ),
    _of_epilogues(
        "both signs",
        "the ReLU of a number less that of its opposite is the number",
        _is_relu_of_the_sum,
        _of_both_signs,
        compare=_difference,
    ),
    _of_epilogues(
        "activated twice",
        "what is activated twice is as if activated once",
        _is_idempotent,
        lambda problem, operands: [],
        follow=_once_more,
    ),
)
