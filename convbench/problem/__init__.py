"""One 2-D convolution as a value: `ConvProblem`, its case id, and the field's other ways to write it down."""

from convbench.problem.conv_problem import ConvProblem
from convbench.problem.epilogue import ACTIVATIONS, RESIDUALS, Activation, Epilogue, Residual
from convbench.problem.vocabulary import (
    DIRECTIONS,
    DTYPES,
    GRADIENTS,
    ITEMSIZE_BYTES,
    PADDING_MODES,
    Direction,
    Dtype,
    Kind,
    PaddingMode,
    Pair,
    Sides,
    output_size,
)

__all__ = [
    "ACTIVATIONS", "DIRECTIONS", "DTYPES", "GRADIENTS", "ITEMSIZE_BYTES", "PADDING_MODES", "RESIDUALS", "Activation",
    "ConvProblem", "Direction", "Dtype", "Epilogue", "Kind", "PaddingMode", "Pair", "Residual", "Sides", "output_size",
]  # fmt: skip
