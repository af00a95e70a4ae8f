"""A quantised convolution of oneDNN: a primitive with scales and zero points as attributes.

oneDNN multiplies sums by the scales of input and weight, adds a bias of float32, divides by the scale of the result and
adds its zero point. Sums that stay int32 have no scales, and a bias of int32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convbench.backend import QuantizedSupport, Ready
from convbench.problem import ConvProblem, Quantization, Scales

from . import library as dnnl

if TYPE_CHECKING:
    import numpy as np

# Of zero points of the weight oneDNN says "unimplemented".
SUPPORT = QuantizedSupport({f"{first}:{result}" for first in ("u8", "s8") for result in ("u8", "s8", "s32", "f32")})
_FORWARD_INFERENCE, _DIRECT = 96, 1  # in dnnl_types.h
_SCALES, _ZERO_POINTS = 4096, 8192  # DNNL_ARG_ATTR_SCALES and DNNL_ARG_ATTR_ZERO_POINTS, to which an argument is added
_ONE, _PER_CHANNEL, _PER_CHANNEL_OF_GROUP = 0, 1, 3  # masks: which axes have numbers of their own


def described(problem: ConvProblem, shapes: dict[int, tuple[int, ...]]) -> dnnl.Owned:
    """The convolution, with layouts that oneDNN chooses. Raises `RefusedError` for one that it does not compute."""
    quantization = _quantization(problem)
    dtypes = _dtypes(quantization)
    layouts = {argument: dnnl.any_layout(shape, dtypes[argument]) for argument, shape in shapes.items()}
    operands = (layouts.get(argument) for argument in (dnnl.SRC, dnnl.WEIGHTS, dnnl.BIAS, dnnl.DST))
    create = "dnnl_convolution_forward_primitive_desc_create"
    ends = (*dnnl.convolution_sizes(problem), _attributes(problem, quantization))
    return dnnl.Owned("primitive_desc", create, dnnl.engine(), _FORWARD_INFERENCE, _DIRECT, *operands, *ends)


def prepared(
    problem: ConvProblem,
    description: dnnl.Owned,
    shapes: dict[int, tuple[int, ...]],
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    scales: Scales,
) -> Ready:
    """The primitive with operands in the layouts that oneDNN chose."""
    import numpy as np

    quantization = _quantization(problem)
    dtypes = _dtypes(quantization)
    memory = {dnnl.DST: dnnl.chosen_memory(description, dnnl.DST)}
    operands = {dnnl.SRC: x, dnnl.WEIGHTS: w, dnnl.BIAS: _bias(quantization, b, scales)}
    # Copies, because the memory of operands may go after `prepare`, and `touch` reads the input again.
    plain = {argument: np.array(a, order="C") for argument, a in operands.items() if a is not None}
    for argument, array in plain.items():
        memory[argument] = dnnl.chosen_memory(description, argument)
        dnnl.reorder(dnnl.row_major(shapes[argument], dtypes[argument], array.ctypes.data), memory[argument])
    parameters = _parameters(quantization, scales)
    for argument, array in parameters.items():
        memory[argument] = dnnl.row_major(array.shape, array.dtype.name, array.ctypes.data)

    def to_numpy(_: Any) -> np.ndarray:
        output = np.empty(problem.output_shape, dtypes[dnnl.DST])
        dnnl.reorder(memory[dnnl.DST], dnnl.row_major(output.shape, dtypes[dnnl.DST], output.ctypes.data))
        return output

    compute = dnnl.execution(description, memory)
    source = dnnl.row_major(shapes[dnnl.SRC], dtypes[dnnl.SRC], plain[dnnl.SRC].ctypes.data)
    load = dnnl.reordering(source, memory[dnnl.SRC])

    def run(kept: object = (plain, parameters)) -> None:  # oneDNN reads their memory
        compute()

    def touch() -> None:
        to_numpy(None)  # reads the output's memory
        load()

    return Ready(run, to_numpy=to_numpy, touch=touch, kernel=dnnl.implementation(description))


def _quantization(problem: ConvProblem) -> Quantization:
    assert problem.quantization is not None
    return problem.quantization


def _dtypes(quantization: Quantization) -> dict[int, str]:
    names = quantization.dtypes
    bias = "int32" if quantization.result == "s32" else "float32"
    return {dnnl.SRC: names["x"], dnnl.WEIGHTS: "int8", dnnl.BIAS: bias, dnnl.DST: names["y"]}


def _attributes(problem: ConvProblem, quantization: Quantization) -> dnnl.Owned:
    attributes, library = dnnl.Owned("primitive_attr", "dnnl_primitive_attr_create"), dnnl.library()
    per_channel = _PER_CHANNEL_OF_GROUP if problem.groups > 1 else _PER_CHANNEL
    if quantization.result != "s32":
        masks = {dnnl.SRC: _ONE, dnnl.WEIGHTS: per_channel if quantization.per_channel else _ONE}
        for argument, mask in (masks | ({dnnl.DST: _ONE} if quantization.is_requantized else {})).items():
            dnnl.check(library.dnnl_primitive_attr_set_scales_mask(attributes, argument, mask))
    for argument, has_one in ((dnnl.SRC, quantization.input_zero_point), (dnnl.DST, quantization.result_zero_point)):
        if has_one:
            dnnl.check(library.dnnl_primitive_attr_set_zero_points_mask(attributes, argument, _ONE))
    return attributes


def _bias(quantization: Quantization, b: np.ndarray | None, scales: Scales) -> np.ndarray | None:
    if b is None or quantization.result == "s32":
        return b
    bias: np.ndarray = (b * (scales.x_scale * scales.w_scale.astype("float64"))).astype("float32")
    return bias


def _parameters(quantization: Quantization, scales: Scales) -> dict[int, np.ndarray]:
    """Scales and zero points, as arguments of the primitive."""
    import numpy as np

    parameters: dict[int, np.ndarray] = {}
    if quantization.result != "s32":
        parameters[_SCALES | dnnl.SRC] = np.array([scales.x_scale], np.float32)
        parameters[_SCALES | dnnl.WEIGHTS] = np.array(scales.w_scale, np.float32)
    if quantization.is_requantized:
        parameters[_SCALES | dnnl.DST] = np.array([scales.y_scale], np.float32)
    if quantization.input_zero_point:
        parameters[_ZERO_POINTS | dnnl.SRC] = np.array([scales.x_zero], np.int32)
    if quantization.result_zero_point:
        parameters[_ZERO_POINTS | dnnl.DST] = np.array([scales.y_zero], np.int32)
    return parameters
