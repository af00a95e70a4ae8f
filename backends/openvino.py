"""conv2d of OpenVINO on the CPU: in float32 in two layouts, and in the precision that it picks by default."""

from __future__ import annotations

import platform
from collections.abc import Collection
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from convbench.backend import Algorithm, Arithmetic, Backend, Precision, QuantizedSupport, Ready, Supports, touching
from convbench.problem import ACTIVATIONS, DTYPES, PADDING_MODES, RESIDUALS, ConvProblem, Scales

from ._fusion import implementation_with, parts_of
from ._issue_forms import OPENVINO
from ._onednn import int8 as onednn_int8
from ._onednn import isa as onednn_isa
from ._onednn.log import LOSES_NAN
from ._onnx.fused import onnx_model_with_epilogue
from ._onnx.model import onnx_model
from ._onnx.quantized import qdq_model
from ._onnx.quantized_script import quantized_onnx_lines
from ._onnx.script import onnx_lines

if TYPE_CHECKING:
    import numpy as np

# On x86 it uses oneDNN's direct algorithm. On Arm its library may use Winograd.
_ALGORITHM: Algorithm = "direct" if platform.machine() in ("x86_64", "AMD64") else "auto"
_PRECISION: dict[str, Precision] = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


class _OpenVino(Backend):
    """All dtypes are computed in float32. The conversions before and after are part of the call."""

    requires = ("openvino", "onnx")
    issue_form = OPENVINO
    install = "'convbench[openvino]'"
    # About circular, which is wrap in ONNX: "Unsupported padding mode: [wrap]".
    supports = Supports(
        dtypes=set(DTYPES),
        padding_modes=set(PADDING_MODES) - {"circular"},
        negative_padding=True,
        activations=set(ACTIVATIONS),
        residuals=set(RESIDUALS),
        quantized=QuantizedSupport({"u8:u8", "u8:s8", "s8:s8", "s8:u8"}),
    )
    # Where the CPU multiplies bfloat16 all the same, as with AMX, pairs are multiplied, some of them zero weights with
    # values beside the window.
    arithmetic = Arithmetic(
        _ALGORITHM,
        operand="float32",
        accumulate="float32",
        epilogue_in_dtype=True,
        loses_nan=LOSES_NAN,
        taints=("bfloat16",),
        # Of an input with a zero point it adds dequantised numbers, by a kernel such as "brgconv_avx512_f32".
        quantized=replace(onednn_int8.ARITHMETIC, float_sums={"u8z", "s8z"}),
    )
    hint: str | None = "f32"
    isa_switches = onednn_isa.switches()

    def __init__(self, name: str, summary: str, *, channels_last: bool = False) -> None:
        self.name, self.summary, self.channels_last = name, summary, channels_last
        self.prepacks = ("input", "weight", "output") if channels_last else ("weight",)

    def limit_threads(self, n: int) -> None:
        _core().set_property("CPU", {"INFERENCE_NUM_THREADS": n})

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self._prepared(onnx_model(problem, w, b), x, x.dtype)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        return self._prepared(onnx_model_with_epilogue(problem, w, b), x, x.dtype, r, problem)

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        import numpy as np

        assert problem.quantization is not None
        dtype = np.dtype(problem.quantization.dtypes["y"])
        return self._prepared(qdq_model(problem, w, b, scales), x, dtype)

    def _prepared(
        self,
        onnx: bytes,
        x: np.ndarray,
        output_dtype: np.dtype,
        r: np.ndarray | None = None,
        problem: ConvProblem | None = None,
    ) -> Ready:
        """With the residual `r` and the `problem` where that has an epilogue."""
        model = _core().read_model(onnx)
        if self.channels_last:
            model = _channels_last(model) if r is None else _channels_last_with_sum(model)
        settings = {"INFERENCE_PRECISION_HINT": self.hint} if self.hint else {}
        compiled = _core().compile_model(model, "CPU", settings)
        request = compiled.create_infer_request()
        nchw = (0, 3, 1, 2) if self.channels_last else (0, 1, 2, 3)
        # OpenVINO's own tensors, the same in every call. They show bfloat16 as the 16 bits of a float16.
        images = {name: array for name, array in (("x", x), ("r", r)) if array is not None}
        inputs = [request.get_tensor(name).data.view(x.dtype).transpose(nchw) for name in images]
        for input_, array in zip(inputs, images.values(), strict=True):
            input_[...] = array
        output = request.get_output_tensor().data.view(output_dtype)
        if problem is not None and self.channels_last:
            n, channels, height, width = problem.output_shape
            output = output.reshape(n, height, width, channels)
        output = output.transpose(nchw)

        def on(*arrays: np.ndarray) -> np.ndarray:
            for input_, array in zip(inputs, arrays, strict=True):
                input_[...] = array
            request.infer(share_outputs=True)
            return output.copy()

        # Without sharing, every call would copy the output.
        run = lambda: request.infer(share_outputs=True)  # noqa: E731
        return Ready(
            run,
            to_numpy=lambda _: output.copy(),
            on={"numpy": on},
            touch=touching(output, *inputs),
            explain=lambda: fused_kernel_in(_executed_graph(compiled), _names_in_convolution(compiled), problem),
        )

    def script(self, problem: ConvProblem) -> str | None:
        return "\n".join([*onnx_lines(problem), *self._lines(problem, "x.dtype")])

    def quantized_script(self, problem: ConvProblem) -> str | None:
        assert problem.quantization is not None
        result = f"np.{problem.quantization.dtypes['y']}"
        return "\n".join([*quantized_onnx_lines(problem, qdq_model), *self._lines(problem, result)])

    def _lines(self, problem: ConvProblem, result: str) -> list[str]:
        """From `model`, NumPy's `x` and perhaps `r` to `out` in the dtype `result`."""
        settings = f'{{"INFERENCE_PRECISION_HINT": "{self.hint}"}}' if self.hint else "{}"
        there, back = ((0, 2, 3, 1), (0, 3, 1, 2)) if self.channels_last else ((0, 1, 2, 3), (0, 1, 2, 3))
        images = ("x", "r") if "r" in problem.operand_shapes else ("x",)
        laid_out = _CHANNELS_LAST_LINES if len(images) == 1 else _CHANNELS_LAST_LINES_WITH_SUM
        n, channels, height, width = problem.output_shape
        pixels_first = f".reshape({n}, {height}, {width}, {channels})" * (self.channels_last and len(images) > 1)
        return [
            "from openvino import Core, Layout",
            "core = Core()",
            'core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1})',
            "model = core.read_model(model.SerializeToString())",
            *(laid_out if self.channels_last else ()),
            f'request = core.compile_model(model, "CPU", {settings}).create_infer_request()',
            *(f'request.get_tensor("{name}").data.view(x.dtype)[...] = {name}.transpose({there})' for name in images),
            f"out = request.infer()[0].view({result}){pixels_first}.transpose({back})",
        ]

    def fused_script(self, problem: ConvProblem) -> str | None:
        return self.script(problem)

    def onnx_code(self, path: str, threads: int) -> str | None:
        hint = f', "INFERENCE_PRECISION_HINT": "{self.hint}"' if self.hint else ""
        lines = [
            "from openvino import Core",
            f'settings = {{"INFERENCE_NUM_THREADS": {threads}{hint}}}',
            f'model = Core().compile_model({path!r}, "CPU", settings)',
            "outputs = model(x)",
        ]
        return "\n".join(lines)


# OpenVINO picks bfloat16 by its own look at the CPU. Held to AVX2, oneDNN has no kernel for it: "object is not
# initialized". With AVX-512 alone oneDNN computes bfloat16 by other instructions.
_ISA_SWITCHES = {isa: switches for isa, switches in onednn_isa.switches().items() if isa != "avx2"}


class _Default(_OpenVino):
    """OpenVINO's default: bfloat16 on a CPU with units for it, for models of any dtype.

    Operands are rounded to it. So are results, if the problem has a bias or another dtype than float32.
    """

    supports = replace(_OpenVino.supports, quantized=None)  # it would fall back to bfloat16
    hint = None
    isa_switches = _ISA_SWITCHES
    without_isa_switch = "it picks bfloat16 by its own look at the CPU, and oneDNN then finds no kernel"

    @cached_property
    def arithmetic(self) -> Arithmetic:  # type: ignore[override]
        """With the precision that OpenVINO picks on this CPU, or float32 if OpenVINO is not installed."""
        try:
            picked = _core().get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
        except (ImportError, OSError, RuntimeError):
            picked = "f32"
        precision = _PRECISION.get(picked, "float32")
        taints = DTYPES if precision == "bfloat16" else ("bfloat16",)
        return replace(_OpenVino.arithmetic, operand=precision, output=precision, taints=taints)


_COMPUTING = ("Convolution", "FullyConnected", "MatMul")


def _executed_graph(compiled: Any) -> list[tuple[str, str]]:
    """The type and the kernel of each operation in the graph that OpenVINO executes."""
    details = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ordered_ops()]
    return [(detail["layerType"].astype(str), detail["primitiveType"].astype(str)) for detail in details]


def _names_in_convolution(compiled: Any) -> set[str]:
    """The names of the model's nodes that OpenVINO executes in its convolution."""
    details = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ordered_ops()]
    named = [d["originalLayersNames"].astype(str) for d in details if d["layerType"].astype(str) in _COMPUTING]
    return {name for names in named for name in names.split(",")}


def fused_kernel_in(graph: list[tuple[str, str]], names: Collection[str], problem: ConvProblem | None) -> str | None:
    """`kernel_in`, and which parts of the problem's epilogue are computed apart: those whose nodes are not among the
    `names` that the convolution has taken over. The last node has the name of its output, "y"."""
    kernel = kernel_in(graph)
    if problem is None or problem.epilogue is None:
        return kernel
    last = parts_of(problem.epilogue)[-1:] if "y" in names else ()
    return implementation_with(kernel, problem, {*names, *last})


def kernel_in(graph: list[tuple[str, str]]) -> str | None:
    """The kernel of the only operation in `graph` that convolves, such as "brgconv_avx512_f32"."""
    kernels = [kernel for operation, kernel in graph if operation in _COMPUTING]
    return kernels[0] if len(kernels) == 1 and not kernels[0].startswith("unknown") else None


def _channels_last(model: Any, *, output: bool = True) -> Any:
    """The model with inputs and, where asked for, `output` in NHWC, as between layers of a channels-last network."""
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor

    processor = PrePostProcessor(model)
    ends = [processor.input(number) for number in range(len(model.inputs))] + [processor.output()] * output
    for end in ends:
        end.model().set_layout(Layout("NCHW"))
        end.tensor().set_layout(Layout("NHWC"))
    return processor.build()


def _channels_last_with_sum(model: Any) -> Any:
    """The same with a residual; the output is N x HW x C. A convolution that adds in place is not joined with the
    transposition of four axes after it, which then takes ten times as long as the convolution. With three axes it is.
    """
    import numpy as np
    from openvino import Model, opset13

    result = _channels_last(model, output=False).get_results()[0]
    n, channels, height, width = result.shape
    rows = opset13.reshape(result.input_value(0), np.array([n, channels, height * width], np.int64), False)
    pixels_first = opset13.transpose(rows, np.array([0, 2, 1], np.int64))
    return Model([pixels_first], model.get_parameters(), "channels_last")


_CHANNELS_LAST_LINES = (
    "from openvino.preprocess import PrePostProcessor",
    "processor = PrePostProcessor(model)",
    "for end in (processor.input(), processor.output()):",
    '    end.model().set_layout(Layout("NCHW"))',
    '    end.tensor().set_layout(Layout("NHWC"))',
    "model = processor.build()",
)
_CHANNELS_LAST_LINES_WITH_SUM = (
    "from openvino import Model, opset13",
    "from openvino.preprocess import PrePostProcessor",
    "processor = PrePostProcessor(model)",
    "for end in (processor.input(0), processor.input(1)):",
    '    end.model().set_layout(Layout("NCHW"))',
    '    end.tensor().set_layout(Layout("NHWC"))',
    "model = processor.build()",
    "result = model.get_results()[0]",
    "n, channels, height, width = result.shape",
    "shape = np.array([n, channels, height * width], np.int64)",
    "rows = opset13.reshape(result.input_value(0), shape, False)",
    "pixels_first = opset13.transpose(rows, np.array([0, 2, 1], np.int64))",
    'model = Model([pixels_first], model.get_parameters(), "channels_last")',
)


@cache
def _core() -> Any:
    from openvino import Core

    return Core()


BACKENDS = (
    _OpenVino("openvino", "a one-node model, float32 forced"),
    _OpenVino("openvino-channels-last", "a one-node model in NHWC, float32 forced", channels_last=True),
    _Default("openvino-default", "a one-node model in the precision OpenVINO picks: bfloat16 on CPUs that have it"),
)
