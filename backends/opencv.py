"""conv2d of OpenCV's dnn module on the CPU: its new engine, and the classic one with and without Winograd."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from convbench.backend import Algorithm, Arithmetic, Backend, QuantizedArithmetic, QuantizedSupport, Ready, Supports
from convbench.problem import PADDING_MODES, ConvProblem, Scales

from ._issue_forms import OPENCV
from ._onnx.model import onnx_model
from ._onnx.quantized import qdq_model, qlinear_model
from ._onnx.quantized_script import quantized_onnx_lines
from ._onnx.script import onnx_lines

if TYPE_CHECKING:
    import numpy as np


# A name that this build does not know is passed over with a line on standard error.
_ISA_SWITCHES = {
    "avx2": {"OPENCV_CPU_DISABLE": "AVX512-SKX,AVX512-CNL,AVX512-CLX,AVX512-ICL,AVX512-COMMON,AVX512F"},
    "avx512": {"OPENCV_CPU_DISABLE": "AVX512-CNL,AVX512-CLX,AVX512-ICL"},
}

_CPU = {"AVX2": 11, "AVX_512F": 13, "AVX512_SKX": 256, "AVX512_CLX": 260, "AVX512_ICL": 261}  # cv::CpuFeatures


class _OpenCv(Backend):
    """The new engine, which ignores the setting for Winograd."""

    requires = ("cv2", "onnx")
    issue_form = OPENCV
    install = "'convbench[opencv]'"
    # About float64: "Assertion failed: wtype0 == CV_32F || wtype0 == CV_16F || wtype0 == CV_16BF"; of bfloat16, for an
    # input that Python could not hand over: "weights.type() == 5", which is float32.
    supports = Supports(
        dtypes={"float32", "float16"},
        padding_modes=set(PADDING_MODES),
        negative_padding=True,
        quantized=QuantizedSupport({"u8:u8", "s8:s8"}),
    )
    prepacks = ("weight",)
    engine = "ENGINE_NEW"
    quantized_model = staticmethod(qdq_model)
    requantization = QuantizedArithmetic("even-with-zero-point")
    isa_switches = _ISA_SWITCHES
    without_isa_switch = "its kernels use nothing beyond AVX-512"

    def __init__(self, name: str, algorithm: Algorithm, summary: str) -> None:
        self.name, self.summary = name, summary
        self.arithmetic = Arithmetic(algorithm, quantized=self.requantization)

    def limit_threads(self, n: int) -> None:
        import cv2

        cv2.setNumThreads(n)

    def isa_in_use(self) -> str | None:
        import cv2

        for name in ("AVX512_ICL", "AVX512_CLX", "AVX512_SKX", "AVX_512F", "AVX2"):
            if cv2.checkHardwareSupport(getattr(cv2, f"CPU_{name}", _CPU[name])):
                return {"AVX512_ICL": "AVX512_VNNI", "AVX512_CLX": "AVX512_VNNI"}.get(name, name)
        return None

    def _engines(self) -> tuple[int, ...]:
        import cv2

        return (getattr(cv2.dnn, self.engine),)

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self._prepared(onnx_model(problem, w, b), x, x.dtype)

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        model = self.quantized_model(problem, w, b, scales)
        return self._prepared(model, x, x.dtype)  # of one format, input and result

    def _prepared(self, model: bytes, x: np.ndarray, output_dtype: np.dtype) -> Ready:
        import numpy as np

        net = self._net(model)
        if hasattr(net, "enableWinograd"):  # since 4.7; before, there was none to turn off
            net.enableWinograd(self.arithmetic.algorithm == "winograd")
        image = np.array(x, order="C")
        net.setInput(image)

        def to_numpy(output: np.ndarray) -> np.ndarray:
            with np.errstate(over="ignore"):  # the answer to float16 is float32
                return output.astype(output_dtype)

        def explain() -> str | None:
            if self.arithmetic.algorithm == "winograd":
                plain = self._net(model)
                plain.enableWinograd(False)
                plain.setInput(image)
                if plain.forward().tobytes() != net.forward().tobytes():  # Winograd rounds in another way
                    return "winograd"
            return layer_in(net.dump())

        # OpenCV copies what it is given, so that giving it once more writes its own input.
        return Ready(net.forward, to_numpy=to_numpy, touch=lambda: net.setInput(image), explain=explain)

    def _net(self, model: bytes) -> Any:
        import cv2

        with TemporaryDirectory() as folder:  # from bytes, OpenCV 5.0 always takes its new engine
            path = Path(folder, "model.onnx")
            path.write_bytes(model)
            return cv2.dnn.readNetFromONNX(str(path), *self._engines())

    def script(self, problem: ConvProblem) -> str | None:
        return "\n".join([*onnx_lines(problem), *self._lines()])

    def quantized_script(self, problem: ConvProblem) -> str | None:
        return "\n".join([*quantized_onnx_lines(problem, self.quantized_model), *self._lines()])

    def _lines(self) -> list[str]:
        """From `model` and NumPy's `x` to `out`."""
        return [
            "import cv2, onnx, tempfile",
            "cv2.setNumThreads(1)",
            "with tempfile.TemporaryDirectory() as folder:  # from bytes, OpenCV 5.0 always takes its new engine",
            '    onnx.save(model, f"{folder}/conv2d.onnx")',
            f'    net = cv2.dnn.readNetFromONNX(f"{{folder}}/conv2d.onnx", cv2.dnn.{self.engine})',
            f"net.enableWinograd({self.arithmetic.algorithm == 'winograd'})",
            "net.setInput(np.ascontiguousarray(x))",
            "out = net.forward().astype(x.dtype)",
        ]

    def onnx_code(self, path: str, threads: int) -> str | None:
        lines = [
            "import cv2",
            f"cv2.setNumThreads({threads})",
            f"net = cv2.dnn.readNetFromONNX({path!r}, cv2.dnn.{self.engine})",
            f"net.enableWinograd({self.arithmetic.algorithm == 'winograd'})",
            "net.setInput(x)",
            "outputs = net.forward()",
        ]
        return "\n".join(lines)


class _Classic(_OpenCv):
    # Of float16: "input is 7 (CV_16FC1)"; of float64: "input.type() == CV_32F || input.type() == CV_16F"; of circular:
    # "Unknown padding type: wrap"; of negative padding: "Assertion failed: paddings[i].first >= 0".
    supports = Supports(
        dtypes={"float32"}, padding_modes=set(PADDING_MODES) - {"circular"}, quantized=QuantizedSupport({"s8:s8"})
    )
    engine = "ENGINE_CLASSIC"
    quantized_model = staticmethod(qlinear_model)  # it computes a QDQ model in float32
    # modules/dnn/src/int8layers: vectors are rounded by v_round, halves to even, and what is left over by std::round,
    # away from zero.
    requantization = QuantizedArithmetic("any")

    def _engines(self) -> tuple[int, ...]:
        import cv2

        return super()._engines() if hasattr(cv2.dnn, self.engine) else ()  # old releases have this one alone

    def unsupported(self, problem: ConvProblem) -> str | None:
        reason = super().unsupported(problem)
        image = ((problem.height, "height"), (problem.width, "width"))
        for (size, axis), sides in zip(image, problem.padding, strict=True):
            if reason is None and problem.padding_mode == "replicate" and max(sides) > size:
                return f"replicates no more than the {axis} of {size}"  # "expected: 'padLeft <= inpWidth'"
        return reason


_NEW_LAYER, _BLOCK = re.compile(r"^ +(Conv\w*) \{$", re.M), re.compile(r"^ +C0: (\d+),$", re.M)
_CLASSIC_LAYER = re.compile(r"\\n(Convolution\w*)\\nkernel_size")


def layer_in(dump: str) -> str | None:
    """The only layer that convolves in the graph that OpenCV dumps, such as "Conv2 block8", in blocks of 8 channels, or
    "Convolution" of the classic engine. OpenCV tells no more."""
    layers = _NEW_LAYER.findall(dump) or _CLASSIC_LAYER.findall(dump)
    blocks = sorted(set(_BLOCK.findall(dump)))
    if len(layers) != 1 or len(blocks) > 1:
        return None
    return " ".join([layers[0], *(f"block{block}" for block in blocks)])


BACKENDS = (
    _OpenCv("opencv", "direct", "cv2.dnn on its new engine"),
    _Classic("opencv-classic", "winograd", "cv2.dnn on its classic engine, with Winograd for 3x3"),
    _Classic("opencv-classic-no-winograd", "gemm", "cv2.dnn on its classic engine, Winograd off"),
)
