"""A quantised problem as an ONNX model, in the three forms that quantisers write. Several engines read them.

* `qlinear_model`: QLinearConv, the operator form of ONNX Runtime's quantiser. Results of 8 bits.
* `qdq_model`: QuantizeLinear and DequantizeLinear around Conv, which most exporters write today. Results of 8 bits, or
  float32 where the last QuantizeLinear is missing.
* `integer_model`: ConvInteger, which dynamic quantisation writes. Results int32, or float32 after a multiplication.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convbench.problem import ConvProblem, Scales

from .model import PAD_MODE, needs_pad

if TYPE_CHECKING:
    import numpy as np

_OPSET, _IR_VERSION = 19, 9  # the oldest that pads with wrap
_ELEMENT = {"uint8": "UINT8", "int8": "INT8", "int32": "INT32", "float32": "FLOAT"}


def qlinear_model(problem: ConvProblem, w: np.ndarray, b: np.ndarray | None, scales: Scales) -> bytes:
    """From the input "x" to the output "y" by one QLinearConv, with weight, bias and scales as constants."""
    model = _Model(problem, scales)
    model.constants |= {"w": w} | ({} if b is None else {"b": b})
    x = model.padded()
    operands = [x, "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", *(() if b is None else "b")]
    model.convolution("QLinearConv", operands, "y")
    return model.serialised()


def qdq_model(problem: ConvProblem, w: np.ndarray, b: np.ndarray | None, scales: Scales) -> bytes:
    """From "x" to "y" by Conv between conversions. The scale of the bias is the product of the other two."""
    import numpy as np

    model = _Model(problem, scales)
    operands = [model.dequantized(model.padded(), "x"), model.dequantized("w", "w")]
    model.constants["w"] = w
    if b is not None:
        bias_scale = np.broadcast_to(np.float32(scales.x_scale) * scales.w_scale, b.shape)
        model.constants |= {"b": b, "b_scale": bias_scale, "b_zero": np.zeros(b.shape, np.int32)}
        operands.append(model.dequantized("b", "b"))
    if model.quantization.is_requantized:
        model.convolution("Conv", operands, "real")
        model.node("QuantizeLinear", ["real", "y_scale", "y_zero"], "y")
    else:
        model.convolution("Conv", operands, "y")
    return model.serialised()


def integer_model(problem: ConvProblem, w: np.ndarray, b: np.ndarray | None, scales: Scales) -> bytes:
    """From "x" to "y" by ConvInteger, which has no bias: it is added to the sums, before they are scaled."""
    import numpy as np

    model = _Model(problem, scales)
    model.constants["w"] = w
    is_float = model.quantization.result == "f32"
    name = "sums" if b is not None or is_float else "y"
    model.convolution("ConvInteger", [model.padded(), "w", "x_zero"], name)
    if b is not None:
        model.constants["b"] = b.reshape(-1, 1, 1)
        name = model.node("Add", [name, "b"], "biased" if is_float else "y")
    if is_float:
        from onnx import TensorProto

        name = model.node("Cast", [name], "real", to=TensorProto.FLOAT)
        scale = np.float32(scales.x_scale) * scales.w_scale
        model.constants["scale"] = scale.reshape(-1, 1, 1)
        model.node("Mul", [name, "scale"], "y")
    return model.serialised()


class _Model:
    """Nodes and constants of a model with the input "x" and the output "y"."""

    def __init__(self, problem: ConvProblem, scales: Scales) -> None:
        import numpy as np

        assert problem.quantization is not None
        self.problem, self.quantization = problem, problem.quantization
        self.dtypes = problem.quantization.dtypes
        self.nodes: list[Any] = []
        per_tensor = scales.w_scale.size == 1
        self.constants: dict[str, Any] = {
            "x_scale": np.float32(scales.x_scale),
            "x_zero": np.array(scales.x_zero, self.dtypes["x"]),
            "w_scale": scales.w_scale[0] if per_tensor else scales.w_scale,
            "w_zero": scales.w_zero[0] if per_tensor else scales.w_zero,
        }
        if self.quantization.is_requantized:
            zero = np.array(scales.y_zero, self.dtypes["y"])
            self.constants |= {"y_scale": np.float32(scales.y_scale), "y_zero": zero}

    def node(self, kind: str, operands: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, operands, [output], **attributes))
        return output

    def padded(self) -> str:
        """The input, after a Pad node for what no convolution pads itself. Zeros become the zero point."""
        if not needs_pad(self.problem):
            return "x"
        import numpy as np

        (top, bottom), (left, right) = self.problem.padding
        self.constants["sides"] = np.array([0, 0, top, left, 0, 0, bottom, right])
        operands = ["x", "sides", *(["x_zero"] if self.problem.padding_mode == "zeros" else [])]
        return self.node("Pad", operands, "padded", mode=PAD_MODE[self.problem.padding_mode])

    def dequantized(self, name: str, scale_of: str) -> str:
        axis = {} if scale_of == "x" else {"axis": 0}
        operands = [name, f"{scale_of}_scale", f"{scale_of}_zero"]
        return self.node("DequantizeLinear", operands, f"{name}_real", **axis)

    def convolution(self, kind: str, operands: list[str], output: str) -> None:
        problem = self.problem
        (top, bottom), (left, right) = ((0, 0), (0, 0)) if needs_pad(problem) else problem.padding
        self.node(
            kind,
            operands,
            output,
            kernel_shape=problem.kernel_size,
            strides=problem.stride,
            pads=[top, left, bottom, right],
            dilations=problem.dilation,
            group=problem.groups,
        )

    def serialised(self) -> bytes:
        import numpy as np
        from onnx import TensorProto, helper, numpy_helper

        read = {name for node in self.nodes for name in node.input}
        ends = [
            helper.make_tensor_value_info(name, getattr(TensorProto, _ELEMENT[self.dtypes[name]]), shape)
            for name, shape in (("x", self.problem.input_shape), ("y", self.problem.output_shape))
        ]
        graph = helper.make_graph(
            self.nodes,
            self.problem.case_id,
            ends[:1],
            ends[1:],
            [
                numpy_helper.from_array(np.array(array, order="C"), name)
                for name, array in self.constants.items()
                if name in read
            ],
        )
        opset = helper.make_opsetid("", _OPSET)
        serialised: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION).SerializeToString()
        return serialised
