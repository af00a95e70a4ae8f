"""conv2d of ncnn: a net of one convolution, with Winograd, the default, and without."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convbench.backend import Algorithm, Arithmetic, Backend, Ready, Supports
from convbench.problem import ACTIVATIONS, RESIDUALS, ConvProblem, Scales

from ._fusion import implementation_with
from ._issue_forms import NCNN
from ._ncnn import quantized
from ._ncnn.model import LOSES_NAN, PADDING_TYPE, fused_in_layer, layer_type, net_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class _Ncnn(Backend):
    requires = ("ncnn",)
    issue_form = NCNN
    supports = Supports(
        dtypes={"float32", "float16", "bfloat16"},
        padding_modes=set(PADDING_TYPE),
        negative_padding=True,
        activations=set(ACTIVATIONS),
        residuals=set(RESIDUALS),
        quantized=quantized.SUPPORT,
    )
    prepacks = ("input", "weight", "output")
    threads: int | None = None
    without_isa_switch = "its kernels are picked by the CPU alone"

    def __init__(self, name: str, algorithm: Algorithm, summary: str) -> None:
        self.name, self.summary = name, summary
        self.arithmetic = Arithmetic(
            algorithm, epilogue_in_dtype=True, loses_nan=LOSES_NAN, quantized=quantized.ARITHMETIC
        )

    def unsupported(self, problem: ConvProblem) -> str | None:
        reason = super().unsupported(problem)
        if reason is None and problem.quantization is not None:
            return quantized.reason_against(problem)
        if reason is None and problem.dtype != "float32" and self.unavailable() is None:
            import ncnn

            layer, short = layer_type(problem), problem.dtype.replace("float", "fp").replace("bfp", "bf")
            if not getattr(ncnn.create_layer(layer), f"support_{short}_storage"):
                return f"ncnn's {layer} has no {problem.dtype} on this CPU, and would compute in float32 instead"
        return reason

    def limit_threads(self, n: int) -> None:
        self.threads = n

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self.prepare_fused(problem, x, w, b, None)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        import ncnn
        import numpy as np

        net = self._net(problem, _weights(w, b))
        options = net.opt
        images = {"x": x} if r is None else {"x": x, "r": r}
        plain = {name: _image(array, np.float32) for name, array in images.items()}
        blobs = {"x": "packed", "r": "rpacked"}  # as ncnn packs them
        packed: dict[str, Any] = {}

        def pack() -> None:
            for name, image in plain.items():
                packer = net.create_extractor()
                packer.input(name, image.clone())
                packed[blobs[name]] = _extracted(packer, blobs[name])

        def run() -> Any:
            extractor = net.create_extractor()
            for blob, image in packed.items():
                extractor.input(blob, image)
            return _extracted(extractor, "y")

        def to_numpy(output: Any) -> np.ndarray:
            unpacked = ncnn.convert_packing(output, 1, options)
            if unpacked.elembits() == 16:
                cast = ncnn.cast_float16_to_float32 if problem.dtype == "float16" else ncnn.cast_bfloat16_to_float32
                unpacked = cast(unpacked, options)
            return np.array(unpacked.numpy("f", 0), x.dtype).reshape(problem.output_shape)

        def explain() -> str | None:
            def answer(*switched_off: str) -> bytes:
                extractor = self._net(problem, _weights(w, b), switched_off).create_extractor()
                for name, image in plain.items():
                    extractor.input(name, image.clone())
                return to_numpy(_extracted(extractor, "y")).tobytes()

            is_depthwise = problem.groups == problem.in_channels == problem.out_channels  # a kernel of its own
            algorithm = "depthwise" if is_depthwise else self._algorithm(answer)
            kernel = f"{algorithm} pack{packed['packed'].elempack}"
            return implementation_with(kernel, problem, fused_in_layer(problem.epilogue) if problem.epilogue else ())

        pack()
        return Ready(run, to_numpy=to_numpy, touch=pack, explain=explain)

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        import ncnn

        net = self._net(problem, quantized.weights(problem, w, b, scales))
        image = _image(x, x.dtype)
        packed: list[Any] = [None]

        def pack() -> None:
            packer = net.create_extractor()
            packer.input("x", image.clone())
            packed[0] = _extracted(packer, "packed")

        def run() -> Any:
            extractor = net.create_extractor()
            extractor.input("packed", packed[0])
            return _extracted(extractor, "y")

        pack()
        return Ready(
            run,
            to_numpy=lambda y: quantized.to_numpy(problem, ncnn.convert_packing(y, 1, net.opt)),
            touch=pack,
            kernel=f"int8 pack{packed[0].elempack}",
        )

    def _net(self, problem: ConvProblem, weights: bytes, switched_off: Sequence[str] = ()) -> Any:
        """The net with the `weights` of its file, without the options that are `switched_off`."""
        import ncnn

        net = ncnn.Net()
        options = net.opt
        if self.threads:
            options.num_threads = self.threads
        options.use_winograd_convolution = self.arithmetic.algorithm == "winograd"
        # By default ncnn computes float32 in half precision on CPUs that have it.
        options.use_fp16_packed = options.use_fp16_storage = problem.dtype == "float16"
        options.use_bf16_storage = problem.dtype == "bfloat16"
        if hasattr(options, "use_bf16_packed"):  # not in releases before 2026
            options.use_bf16_packed = problem.dtype == "bfloat16"
        options.use_fp16_arithmetic = False
        for option in switched_off:
            setattr(options, option, False)
        with tempfile.TemporaryDirectory() as folder:  # releases before 2024 read no text from memory
            text, numbers = Path(folder, "net.param"), Path(folder, "net.bin")
            text.write_text(net_text(problem))
            numbers.write_bytes(weights)
            _check(net.load_param(str(text)))
            _check(net.load_model(str(numbers)))
        return net

    def _algorithm(self, answer: Callable[..., bytes]) -> str:
        """The algorithm that ncnn took. It does not tell, but each can be switched off, and where the answer rounds in
        another way without one, that was it. Between others nothing can be told apart."""
        usual = answer()
        for tile in (63, 43, 23) if self.arithmetic.algorithm == "winograd" else ():
            if answer(f"use_winograd{tile}_convolution") != usual:
                return f"winograd {tile // 10}x{tile % 10}"
        return "sgemm" if answer("use_sgemm_convolution") != usual else "direct or sgemm"

    def script(self, problem: ConvProblem) -> str | None:
        half, has_residual = problem.dtype != "float32", "r" in problem.operand_shapes
        output = f"ncnn.cast_{problem.dtype}_to_float32(plain, net.opt)" if half else "plain"
        return self._program(
            problem,
            weights=_WEIGHTS,
            image="np.ascontiguousarray(x, np.float32)",
            output=f'{output}.numpy("f", 0), x.dtype',
            residual_array=_RESIDUAL_ARRAY if has_residual else "",
            residual=_RESIDUAL if has_residual else "",
        )

    def fused_script(self, problem: ConvProblem) -> str | None:
        return self.script(problem)

    def quantized_script(self, problem: ConvProblem) -> str | None:
        return self._program(
            problem,
            weights=quantized.weights_code(problem),
            image="np.ascontiguousarray(x)",
            output=f'plain.numpy("{quantized.result_letter(problem)}", 0)',
        )

    def _program(
        self,
        problem: ConvProblem,
        *,
        weights: str,
        image: str,
        output: str,
        residual_array: str = "",
        residual: str = "",
    ) -> str:
        return _SCRIPT.format(
            winograd=self.arithmetic.algorithm == "winograd",
            fp16=problem.dtype == "float16",
            bf16=problem.dtype == "bfloat16",
            net=",\n".join(f"    {line!r}" for line in net_text(problem).splitlines()),
            weights=weights,
            image=image,
            output=output,
            shape=problem.output_shape,
            residual_array=residual_array,
            residual=residual,
        )


_RESIDUAL_ARRAY = "residual = np.ascontiguousarray(r, np.float32)\n"
_RESIDUAL = '    extractor.input("r", ncnn.Mat(residual, 0).clone())\n'
_WEIGHTS = """\
weights = [np.ascontiguousarray(a, np.float32).tobytes() for a in (w, b) if a is not None]
weights.insert(0, bytes(4))  # four zeros: float32 follows"""
_SCRIPT = """\
import ncnn, tempfile
net = ncnn.Net()
net.opt.num_threads = 1
net.opt.use_winograd_convolution = {winograd}
net.opt.use_fp16_packed = net.opt.use_fp16_storage = {fp16}
net.opt.use_bf16_packed = net.opt.use_bf16_storage = {bf16}
net.opt.use_fp16_arithmetic = False
net.load_param_mem("\\n".join([
{net},
    "",
]))
{weights}
with tempfile.TemporaryDirectory() as folder:
    path = f"{{folder}}/conv2d.bin"
    with open(path, "wb") as file:
        file.write(b"".join(weights))
    net.load_model(path)
image = {image}  # a Mat is a view of it, and does not keep it alive
{residual_array}def convolve():
    extractor = net.create_extractor()
    extractor.input("x", ncnn.Mat(image, 0).clone())
{residual}    plain = ncnn.convert_packing(extractor.extract("y", 1)[1], 1, net.opt)
    return np.array({output}).reshape({shape})
out = convolve()"""


def _image(array: np.ndarray, dtype: npt.DTypeLike) -> Any:
    """A Mat of a copy. One that is made of an array views its memory, and does not keep it alive."""
    import ncnn
    import numpy as np

    contiguous = np.ascontiguousarray(array, dtype)
    return ncnn.Mat(contiguous, 0).clone()


def _weights(w: np.ndarray, b: np.ndarray | None) -> bytes:
    """The file of a layer's weights: four zeros mean that float32 follows."""
    import numpy as np

    parts = [np.ascontiguousarray(part, np.float32).tobytes() for part in (w, b) if part is not None]
    return b"".join([bytes(4), *parts])


def _extracted(extractor: Any, blob: str) -> Any:
    """A blob in the layout that ncnn uses: type 1 keeps it, and 0 would unpack it."""
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
