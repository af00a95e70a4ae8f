"""conv2d of ONNX Runtime on the CPU: a model of one Conv node with constant weights and bound input and output."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from convbench.backend import (
    Arithmetic,
    Backend,
    QuantizedArithmetic,
    QuantizedSupport,
    Ready,
    Supports,
    touching,
)
from convbench.problem import ACTIVATIONS, PADDING_MODES, RESIDUALS, ConvProblem, Scales

from ._fusion import implementation_with, parts_of
from ._issue_forms import ONNXRUNTIME
from ._onnx.fused import OPERATIONS, onnx_model_with_epilogue
from ._onnx.model import onnx_model
from ._onnx.quantized import integer_model, qdq_model, qlinear_model
from ._onnx.quantized_script import quantized_onnx_lines
from ._onnx.script import onnx_lines
from ._vnni import cpu_lacks_vnni

if TYPE_CHECKING:
    import numpy as np


_BY_CONV_INTEGER = {"u8:s32", "u8:f32", "s8:s32", "s8:f32"}


def integer_arithmetic(lacks_vnni: bool) -> QuantizedArithmetic:
    """How ONNX Runtime computes on a CPU without VNNI, or on another. Without it, products of u8 and s8 are added in
    pairs that saturate: "Quantize ONNX Models" in its documentation, where `reduce_range` is for that reason. Under an
    emulated CPU those of s8 and s8 did not (`evaluation/engines/saturating_pairs.py`)."""
    return QuantizedArithmetic(saturates={"u8"} if lacks_vnni else False)


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
        activations=set(ACTIVATIONS),
        residuals=set(RESIDUALS),
        quantized=QuantizedSupport({"u8:u8", "s8:s8", *_BY_CONV_INTEGER}),
    )
    # Sessions are thread-safe, but this is not: the output is bound to the session, and all calls write the same one.
    # Its logistic function is a rational approximation.
    arithmetic = Arithmetic(
        "direct",
        activation_errors={"sigmoid": 2.0**-22, "silu": 2.0**-21},
        quantized=integer_arithmetic(cpu_lacks_vnni()),
    )
    prepacks = ("weight",)
    threads = 0  # as many as the machine has cores
    limits_itself_alone = True
    without_isa_switch = "its kernels are picked by the CPU alone"

    def limit_threads(self, n: int) -> None:
        self.threads = n

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self._prepared(onnx_model(problem, w, b), x, problem.output_shape, problem.dtype)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        model = onnx_model_with_epilogue(problem, w, b)
        ready = self._prepared(model, x, problem.output_shape, problem.dtype, r)
        return replace(ready, explain=lambda: fused_kernel_in(_optimised_graph(model, self.threads), problem))

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

    def _prepared(
        self, model: bytes, x: np.ndarray, output_shape: tuple[int, ...], output_dtype: str, r: np.ndarray | None = None
    ) -> Ready:
        """A session of `model`, with the input `x`, perhaps a residual `r`, and an output bound to it."""
        import numpy as np
        from onnxruntime import InferenceSession, OrtValue, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = self.threads
        session = InferenceSession(model, options, ["CPUExecutionProvider"])
        binding = session.io_binding()
        output = np.empty(output_shape, output_dtype)  # the same in every call
        # On the CPU a value shares the array's memory.
        inputs = {name: np.array(a, order="C") for name, a in (("x", x), ("r", r)) if a is not None}
        bound = {name: OrtValue.ortvalue_from_numpy(array) for name, array in {**inputs, "y": output}.items()}
        for name in inputs:
            binding.bind_ortvalue_input(name, bound[name])
        binding.bind_ortvalue_output("y", bound["y"])

        def run(kept: object = bound) -> None:  # 1.20 to 1.23 do not keep bound values alive
            session.run_with_iobinding(binding)

        def on(*arrays: np.ndarray) -> np.ndarray:
            fresh: np.ndarray = session.run(None, dict(zip(inputs, arrays, strict=True)))[0]
            return fresh

        return Ready(
            run,
            to_numpy=lambda _: output.copy(),
            on={"numpy": on},
            touch=touching(output, *inputs.values()),
            explain=lambda: kernel_in(_optimised_graph(model, self.threads) or _profiled(model, self.threads, inputs)),
        )

    def script(self, problem: ConvProblem) -> str | None:
        feed = '{"x": np.ascontiguousarray(x)}'
        if "r" in problem.operand_shapes:
            feed = '{"x": np.ascontiguousarray(x), "r": np.ascontiguousarray(r)}'
        return "\n".join([*onnx_lines(problem), *_SESSION, f"out = session.run(None, {feed})[0]"])

    def quantized_script(self, problem: ConvProblem) -> str | None:
        lines = quantized_onnx_lines(problem, self._quantized_model)
        return "\n".join([*lines, *_SESSION, 'out = session.run(None, {"x": np.ascontiguousarray(x)})[0]'])

    def fused_script(self, problem: ConvProblem) -> str | None:
        return self.script(problem)

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
    arithmetic = replace(
        _OnnxRuntime.arithmetic,
        quantized=replace(_OnnxRuntime.arithmetic.quantized, float_sums={"s8", "s8z"}),
    )

    def _quantized_model(self, problem: ConvProblem, w: np.ndarray, b: np.ndarray | None, scales: Scales) -> bytes:
        return qdq_model(problem, w, b, scales)


_SESSION = (
    "import onnxruntime",
    "options = onnxruntime.SessionOptions()",
    "options.intra_op_num_threads = 1",
    "serialised = model.SerializeToString()",
    'session = onnxruntime.InferenceSession(serialised, options, ["CPUExecutionProvider"])',
)
"""From `model` to a session of it."""

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


def _profiled(model: bytes, threads: int, inputs: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    """The same of one call, by the profiler, which writes a file that is always small."""
    import tempfile
    from pathlib import Path

    from onnxruntime import InferenceSession, SessionOptions

    with tempfile.TemporaryDirectory() as folder:
        options = SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = InferenceSession(model, options, ["CPUExecutionProvider"])
        session.run(None, inputs)
        return nodes_in(Path(session.end_profiling()).read_text(encoding="utf-8"))


def nodes_in(profile: str) -> list[tuple[str, str]]:
    """The domain and type of each node in a profile. It names no domains, but nodes in blocks of channels by a suffix
    of their own."""
    events = [event for event in json.loads(profile) if event.get("cat") == "Node" and "op_name" in event["args"]]
    blocked = {True: "com.microsoft.nchwc", False: ""}
    return [(blocked[event["name"].endswith("_nchwc_kernel_time")], event["args"]["op_name"]) for event in events]


_CONVOLUTIONS = ("Conv", "ConvInteger")
_PREFIX = {"": "", "com.microsoft": "", "com.microsoft.nchwc": "Nchwc", "com.ms.internal.nhwc": "Nhwc"}


def fused_kernel_in(graph: list[tuple[str, str]], problem: ConvProblem) -> str | None:
    """`kernel_in`, and which parts of the problem's epilogue are nodes of their own in `graph`."""
    assert problem.epilogue is not None
    kinds = {kind for _, kind in graph}
    fused = [part for part in parts_of(problem.epilogue) if not kinds.intersection(OPERATIONS[part])]
    return implementation_with(kernel_in(graph), problem, fused)


def kernel_in(graph: list[tuple[str, str]]) -> str | None:
    """The only convolution of `graph`, by its domain and type, such as "NchwcConv", the kernel in blocks of channels,
    "Conv" or "FusedConv"."""
    names = [_PREFIX[domain] + kind for domain, kind in graph if domain in _PREFIX and kind.endswith(_CONVOLUTIONS)]
    return names[0] if len(names) == 1 else None


BACKENDS = (_OnnxRuntime(), _Qdq())
