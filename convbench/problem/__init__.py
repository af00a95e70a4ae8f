"""One 2-D convolution as a value: `ConvProblem`, its case id, and the field's other ways to write it down."""

from convbench.problem.conv_problem import ConvProblem
from convbench.problem.epilogue import ACTIVATIONS, RESIDUALS, Activation, Epilogue, Residual
from convbench.problem.quantization import Quantization, Scales
from convbench.problem.vocabulary import (
    ALL_DTYPES,
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
    "ACTIVATIONS", "ALL_DTYPES", "DIRECTIONS", "DTYPES", "GRADIENTS", "ITEMSIZE_BYTES", "PADDING_MODES", "RESIDUALS",
    "Activation", "ConvProblem", "Direction", "Dtype", "Epilogue", "Kind", "PaddingMode", "Pair", "Quantization",
    "Residual", "Scales", "Sides", "output_size",
]  # fmt: skip
