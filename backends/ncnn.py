"""conv2d of ncnn: a net of one convolution, with Winograd as by default and without."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from convbench.backend import Algorithm, Arithmetic, Backend, Ready, Supports
from convbench.problem import ConvProblem

if TYPE_CHECKING:
    import numpy as np

_PADDING_TYPE = {"zeros": 0, "replicate": 1, "reflect": 2}  # ncnn's Padding has no circular one


class _Ncnn(Backend):
    requires = ("ncnn",)
    supports = Supports(
        dtypes={"float32", "float16", "bfloat16"}, padding_modes=set(_PADDING_TYPE), negative_padding=True
    )
    prepacks = ("input", "weight", "output")
    threads: int | None = None

    def __init__(self, name: str, algorithm: Algorithm, summary: str) -> None:
        self.name, self.arithmetic, self.summary = name, Arithmetic(algorithm), summary

    def unsupported(self, problem: ConvProblem) -> str | None:
        reason = super().unsupported(problem)
        if reason is None and problem.dtype != "float32" and self.unavailable() is None:
            import ncnn

            layer, short = _convolution(problem), problem.dtype.replace("float", "fp").replace("bfp", "bf")
            if not getattr(ncnn.create_layer(layer), f"support_{short}_storage"):
                return f"ncnn's {layer} has no {problem.dtype} on this CPU, and would compute in float32 instead"
        return reason

    def limit_threads(self, n: int) -> None:
        self.threads = n

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        import ncnn
        import numpy as np

        net = ncnn.Net()
        options = net.opt
        if self.threads:
            options.num_threads = self.threads
        options.use_winograd_convolution = self.arithmetic.algorithm == "winograd"
        # Half precision is on by default, and applies to float32 data wherever the CPU has it.
        options.use_fp16_packed = options.use_fp16_storage = problem.dtype == "float16"
        options.use_bf16_packed = options.use_bf16_storage = problem.dtype == "bfloat16"
        options.use_fp16_arithmetic = False
        _check(net.load_param_mem(_model(problem)))
        with tempfile.NamedTemporaryFile() as file:
            parts = [np.ascontiguousarray(part, np.float32).tobytes() for part in (w, b) if part is not None]
            file.write(b"".join([bytes(4), *parts]))  # four zeros: float32 follows
            file.flush()
            _check(net.load_model(file.name))
        packer = net.create_extractor()
        packer.input("x", ncnn.Mat(np.ascontiguousarray(x, np.float32), 0).clone())
        packed = _extracted(packer, "packed")

        def run() -> Any:
            extractor = net.create_extractor()
            extractor.input("packed", packed)
            return _extracted(extractor, "y")

        def to_numpy(output: Any) -> np.ndarray:
            plain = ncnn.convert_packing(output, 1, options)
            if plain.elembits() == 16:
                cast = ncnn.cast_float16_to_float32 if problem.dtype == "float16" else ncnn.cast_bfloat16_to_float32
                plain = cast(plain, options)
            return np.array(plain.numpy("f", 0), x.dtype).reshape(problem.output_shape)

        return Ready(run, to_numpy=to_numpy)


def _convolution(problem: ConvProblem) -> str:
    return "Convolution" if problem.groups == 1 else "ConvolutionDepthWise"


def _model(problem: ConvProblem) -> str:
    """The net as text: what has ncnn pack the input, what crops and pads where the convolution cannot, and that."""
    layers: list[tuple[str, dict[int, Any]]] = []
    layers.append(("Dropout", {0: "1.0"}))  # the identity, after which the input lies as ncnn wants it
    (top, bottom), (left, right) = sides = problem.padding
    if min(map(min, sides)) < 0:
        rest = {3: -233, 4: -233, 5: -233}  # what the four leave
        layers.append(("Crop", {0: max(0, -left), 1: max(0, -top), 6: max(0, -right), 7: max(0, -bottom), **rest}))
        (top, bottom), (left, right) = ((max(0, before), max(0, after)) for before, after in sides)
    if problem.padding_mode != "zeros":
        layers.append(("Padding", {0: top, 1: bottom, 2: left, 3: right, 4: _PADDING_TYPE[problem.padding_mode]}))
        top = bottom = left = right = 0
    keys = (1, 11, 2, 12, 3, 13, 4, 14, 15, 16)
    pairs = (problem.kernel_size, problem.dilation, problem.stride, (top, left), (bottom, right))
    sizes = [size for rows, columns in pairs for size in (columns, rows)]
    numbers = dict(zip(keys, sizes, strict=True))
    o = problem.out_channels
    numbers |= {0: o, 5: int(problem.bias), 6: o * problem.reduction_length}
    if problem.groups > 1:
        numbers[7] = problem.groups
    layers.append((_convolution(problem), numbers))
    blobs = ["x", "packed", *(f"blob{i}" for i in range(len(layers) - 2)), "y"]
    lines = ["7767517", f"{len(layers) + 1} {len(blobs)}", "Input x 0 1 x"]
    for (kind, arguments), source, target in zip(layers, blobs, blobs[1:], strict=False):
        lines.append(" ".join([kind, target, "1 1", source, target, *(f"{k}={v}" for k, v in arguments.items())]))
    return "\n".join([*lines, ""])


def _extracted(extractor: Any, blob: str) -> Any:
    """A blob in the layout that ncnn left it in: type 1, where 0 would unpack it."""
    status, output = extractor.extract(blob, 1)
    _check(status)
    return output


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"ncnn answered {status}")


BACKENDS = (
    _Ncnn("ncnn", "winograd", "a net of one convolution, float32 kept, Winograd where ncnn takes it"),
    _Ncnn("ncnn-direct", "gemm", "a net of one convolution, float32 kept, without Winograd"),
)
