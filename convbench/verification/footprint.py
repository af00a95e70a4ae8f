"""The memory that a problem takes at the least, known before anything of it is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from convbench.problem import ConvProblem
from convbench.verification.operands import NUMPY_DTYPES

_COPIES_OF_OPERANDS = 3  # in the run, in the file that workers read, and in one worker
_OUTPUTS = 3  # the answer, the sizes of its sums, and a product that is added to one of them
_FLOAT64_BYTES = 8


@dataclass(frozen=True)
class Footprint:
    """Bytes of the operands, and of all that has to be in memory at once while the answer is checked."""

    operands_bytes: int
    all_bytes: int


def footprint(problem: ConvProblem) -> Footprint:
    """What `convbench.verification.reference` and one worker keep of `problem` at once; a backend may take more."""
    (top, bottom), (left, right) = problem.padding
    images = problem.batch * problem.in_channels
    padded = images * (problem.height + max(0, top + bottom)) * (problem.width + max(0, left + right))
    one_tap = images * problem.out_height * problem.out_width
    result = math.prod(problem.result_shape)
    operands_bytes = sum(
        math.prod(shape) * _itemsize_bytes(problem, name) for name, shape in problem.operand_shapes.items()
    )
    reference_bytes = _FLOAT64_BYTES * (padded + one_tap + _OUTPUTS * result + math.prod(problem.weight_shape))
    return Footprint(operands_bytes, _COPIES_OF_OPERANDS * operands_bytes + reference_bytes)


def _itemsize_bytes(problem: ConvProblem, operand: str) -> int:
    q = problem.quantization
    return NUMPY_DTYPES[problem.dtype].itemsize if q is None else q.itemsizes_bytes[operand]
