"""conv2d of LiteRT, formerly TensorFlow Lite, on XNNPACK: a model of one convolution in NHWC."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from convbench.backend import Arithmetic, Backend, QuantizedArithmetic, QuantizedSupport, Ready, Supports
from convbench.problem import ACTIVATIONS, RESIDUALS, ConvProblem, Scales

from ._fusion import implementation_with
from ._issue_forms import LITERT
from ._tflite.convolution import tflite_model
from ._tflite.epilogue import fused_in_convolution

if TYPE_CHECKING:
    import numpy as np


class _LiteRt(Backend):
    """One backend for each dtype, because XNNPACK sums float16 in float16, in depthwise kernels even on x86.

    For other dtypes CONV_2D says "input_type == kTfLiteFloat32 || ... was not true". No node pads with replicate or
    circular.
    """

    requires = ("ai_edge_litert",)
    issue_form = LITERT
    install = "ai-edge-litert"
    prepacks = ("input", "weight", "output")
    threads: int | None = None
    without_isa_switch = "XNNPACK picks its kernels by the CPU alone"

    def __init__(self, name: str, dtype: Literal["float32", "float16"], summary: str) -> None:
        self.name, self.summary = name, summary
        self.supports = Supports(
            dtypes={dtype},
            padding_modes={"zeros", "reflect"},
            negative_padding=True,
            activations=set(ACTIVATIONS),
            residuals=set(RESIDUALS),
        )
        # XNNPACK's products read channels in blocks: with a 1x1 kernel, zero weights meet values of the next pixel.
        self.arithmetic = Arithmetic("gemm", accumulate=dtype, epilogue_in_dtype=True, taints=(dtype,))

    def limit_threads(self, n: int) -> None:
        importlib.import_module("ai_edge_litert.interpreter")  # not in prepare, which is timed
        self.threads = n

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self._prepared(tflite_model(problem, w, b), x)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        return self._prepared(tflite_model(problem, w, b), x, r, problem)

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        return self._prepared(tflite_model(problem, w, b, scales), x)

    def _prepared(
        self, model: bytes, x: np.ndarray, r: np.ndarray | None = None, problem: ConvProblem | None = None
    ) -> Ready:
        """With the residual `r` and the `problem` where that has an epilogue."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=model, num_threads=self.threads)
        interpreter.allocate_tensors()
        images = [array.transpose(0, 2, 3, 1).copy() for array in (x, r) if array is not None]
        places = [details["index"] for details in interpreter.get_input_details()]

        def load() -> None:
            for place, image in zip(places, images, strict=True):
                interpreter.set_tensor(place, image)

        load()
        output = interpreter.get_output_details()[0]["index"]

        def to_numpy(_: Any) -> np.ndarray:
            nhwc: np.ndarray = interpreter.get_tensor(output)
            return nhwc.transpose(0, 3, 1, 2)

        def touch() -> None:  # no array of the interpreter's memory may exist during a call
            interpreter.get_tensor(output)
            load()

        # The operators are shown by this method only, which is not public and may go.
        def explain() -> str | None:
            kernel = kernel_in(interpreter._get_ops_details())
            return kernel if problem is None else implementation_with(kernel, problem, fused_in_convolution(problem))

        return Ready(interpreter.invoke, to_numpy=to_numpy, touch=touch, explain=explain)


def kernel_in(operators: list[dict[str, Any]]) -> str | None:
    """What computes the only convolution of a model: XNNPACK if it took the operator over, or else a kernel of LiteRT.
    An operator that was taken over stays in the list. Its output is also one of the delegate's, or with more operators
    its weight is an input of that."""
    convolutions = [each for each in operators if each["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    delegates = [each for each in operators if each["op_name"] in ("DELEGATE", "TfLiteXNNPackDelegate")]
    if len(convolutions) != 1 or len(delegates) > 1:
        return None
    name, outputs = convolutions[0]["op_name"].lower(), set(convolutions[0]["outputs"])
    weight = set(list(convolutions[0].get("inputs", ()))[1:2])
    taken_over = any(outputs & set(each["outputs"]) or weight & set(each.get("inputs", ())) for each in delegates)
    return f"xnnpack {name}" if taken_over else f"builtin {name}"


class _Quantized(_LiteRt):
    """TFLite's scheme: int8 for input and result. Of uint8 CONV_2D says "input->type == kTfLiteInt8 || input->type ==
    kTfLiteInt16 was not true". Weights are from -127 on, by TFLite's quantization specification.
    """

    def __init__(self, name: str, summary: str) -> None:
        super().__init__(name, "float32", summary)
        formats = QuantizedSupport({"s8:s8"})
        self.supports = replace(self.supports, quantized=formats)
        self.arithmetic = replace(self.arithmetic, quantized=QuantizedArithmetic("even", least_weight=-127))


BACKENDS = (
    _Quantized("litert", "a TFLite model of one convolution in NHWC, run by XNNPACK"),
    _LiteRt(
        "litert-float16", "float16", "a TFLite model of one convolution in NHWC and float16, sums too, run by XNNPACK"
    ),
)
