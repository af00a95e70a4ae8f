"""conv2d of ONNX Runtime on the CPU: a model of one Conv node with constant weights and bound input and output."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from convbench.backend import Arithmetic, Backend, QuantizedSupport, Ready, Supports, touching
from convbench.problem import PADDING_MODES, ConvProblem, Scales

from ._issue_forms import ONNXRUNTIME
from ._onnx_model import onnx_model
from ._onnx_quantized import integer_model, qdq_model, qlinear_model
from ._onnx_script import onnx_lines

if TYPE_CHECKING:
    import numpy as np


_BY_CONV_INTEGER = {"u8:s32", "u8:f32", "s8:s32", "s8:f32"}


class _OnnxRuntime(Backend):
    """ONNX Runtime packs constant weights and, for blocked kernels, reorders input and output."""

    name = "onnxruntime"
    summary = "a one-node ONNX model on ONNX Runtime's own CPU kernels"
    requires = ("onnxruntime", "onnx")
    issue_form = ONNXRUNTIME
    install = "'convbench[onnxruntime]'"
    # It computes float16 in float32, between two casts. About the other two it says "NOT_IMPLEMENTED: Could not find
    # an implementation for Conv(22)", and for float64 also in older opsets.
    # Of QLinearConv with an input and a result of two formats it says the same.
    supports = Supports(
        dtypes={"float32", "float16"},
        padding_modes=set(PADDING_MODES),
        negative_padding=True,
        quantized=QuantizedSupport({"u8:u8", "s8:s8", *_BY_CONV_INTEGER}),
    )
    # Sessions are thread-safe, but this is not: the output is bound to the session, and all calls write the same one.
    arithmetic = Arithmetic("direct")
    prepacks = ("weight",)
    threads = 0  # as many as the machine has cores
    limits_itself_alone = True
    without_isa_switch = "its kernels are picked by the CPU alone"

    def limit_threads(self, n: int) -> None:
        self.threads = n

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self._prepared(onnx_model(problem, w, b), x, problem.output_shape, problem.dtype)

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        assert problem.quantization is not None
        model = self._quantized_model(problem, w, b, scales)
        return self._prepared(model, x, problem.output_shape, problem.quantization.dtypes["y"])

    def _quantized_model(self, problem: ConvProblem, w: np.ndarray, b: np.ndarray | None, scales: Scales) -> bytes:
        """QLinearConv, as ONNX Runtime's static quantiser writes it, and ConvInteger, as its dynamic one does."""
        assert problem.quantization is not None
        form = qlinear_model if problem.quantization.is_requantized else integer_model
        return form(problem, w, b, scales)

    def _prepared(self, model: bytes, x: np.ndarray, output_shape: tuple[int, ...], output_dtype: str) -> Ready:
        """A session of `model`, with the input `x` and an output bound to it."""
        import numpy as np
        from onnxruntime import InferenceSession, OrtValue, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = self.threads
        session = InferenceSession(model, options, ["CPUExecutionProvider"])
        binding = session.io_binding()
        output = np.empty(output_shape, output_dtype)  # the same in every call
        # On the CPU a value shares the array's memory.
        input_ = np.array(x, order="C")
        bound = [OrtValue.ortvalue_from_numpy(array) for array in (input_, output)]
        binding.bind_ortvalue_input("x", bound[0])
        binding.bind_ortvalue_output("y", bound[1])

        def run(kept: object = bound) -> None:  # 1.20 to 1.23 do not keep bound values alive
            session.run_with_iobinding(binding)

        def on(x: np.ndarray) -> np.ndarray:
            fresh: np.ndarray = session.run(None, {"x": x})[0]
            return fresh

        return Ready(
            run,
            to_numpy=lambda _: output.copy(),
            on={"numpy": on},
            touch=touching(output, input_),
            explain=lambda: kernel_in(_optimised_graph(model, self.threads)),
        )

    def script(self, problem: ConvProblem) -> str | None:
        lines = [
            *onnx_lines(problem),
            "import onnxruntime",
            "options = onnxruntime.SessionOptions()",
            "options.intra_op_num_threads = 1",
            "serialised = model.SerializeToString()",
            'session = onnxruntime.InferenceSession(serialised, options, ["CPUExecutionProvider"])',
            'out = session.run(None, {"x": np.ascontiguousarray(x)})[0]',
        ]
        return "\n".join(lines)

    def onnx_code(self, path: str, threads: int) -> str | None:
        lines = [
            "import onnxruntime",
            "options = onnxruntime.SessionOptions()",
            f"options.intra_op_num_threads = {threads}",
            f'session = onnxruntime.InferenceSession({path!r}, options, ["CPUExecutionProvider"])',
            "outputs = session.run(None, {session.get_inputs()[0].name: x})",
        ]
        return "\n".join(lines)


class _Qdq(_OnnxRuntime):
    """Conv between conversions, which ONNX Runtime joins to one operator where the formats allow it. It computes in
    float32 elsewhere, as without the last conversion."""

    name = "onnxruntime-qdq"
    summary = "a QDQ model, QuantizeLinear and DequantizeLinear around Conv, on ONNX Runtime's CPU kernels"
    supports = replace(_OnnxRuntime.supports, dtypes=frozenset(), quantized=QuantizedSupport({"u8:u8", "s8:s8"}))

    def _quantized_model(self, problem: ConvProblem, w: np.ndarray, b: np.ndarray | None, scales: Scales) -> bytes:
        return qdq_model(problem, w, b, scales)


_LARGEST_BYTES = 2**28


def _optimised_graph(model: bytes, threads: int) -> list[tuple[str, str]]:
    """The domain and type of each node in the graph that ONNX Runtime makes of `model`. It writes it to a file when a
    session begins; none for a model so large that this is no small matter."""
    import tempfile
    from pathlib import Path

    import onnx
    from onnxruntime import InferenceSession, SessionOptions

    if len(model) > _LARGEST_BYTES:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimised.onnx")
        options = SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # it warns that the file is for this machine
        options.optimized_model_filepath = str(path)
        InferenceSession(model, options, ["CPUExecutionProvider"])
        return [(node.domain, node.op_type) for node in onnx.load(path, load_external_data=False).graph.node]


_CONVOLUTIONS = ("Conv", "ConvInteger")
_PREFIX = {"": "", "com.microsoft": "", "com.microsoft.nchwc": "Nchwc", "com.ms.internal.nhwc": "Nhwc"}


def kernel_in(graph: list[tuple[str, str]]) -> str | None:
    """The only convolution of `graph`, by its domain and type, such as "NchwcConv", the kernel in blocks of channels,
    "Conv" or "FusedConv"."""
    names = [_PREFIX[domain] + kind for domain, kind in graph if domain in _PREFIX and kind.endswith(_CONVOLUTIONS)]
    return names[0] if len(names) == 1 else None


BACKENDS = (_OnnxRuntime(),)
