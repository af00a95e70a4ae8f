"""PyTorch's F.conv2d as a backend, on any device and in either memory format. Its variants are subclasses."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from convbench.backend import (
    NO_INSTRUMENTS,
    WITH_EPILOGUES,
    Algorithm,
    Arithmetic,
    Arrays,
    Backend,
    Instruments,
    Ready,
)
from convbench.problem import ConvProblem

from .._issue_forms import PYTORCH
from .._onednn import isa as onednn_isa
from .fused import epilogue_code, separately
from .gradients import gradient, operand, step
from .kernels import explained
from .script import CALL, torch_gradient_script, torch_script
from .tensors import on_both, padding, results_to_numpy, tensor, to_numpy, touch_of

if TYPE_CHECKING:
    import numpy as np

# On x86 torch uses oneDNN's direct algorithm, and matrix products without oneDNN. On Arm it may use Winograd.
CPU_ALGORITHM: Algorithm = "direct" if platform.machine() in ("x86_64", "AMD64") else "auto"


# oneDNN's kernels, ATen's own, and MKL's matrix products, each have a switch. ATen and MKL know nothing beyond AVX-512.
ISA_SWITCHES = onednn_isa.switches(avx2={"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"})


class TorchConv2d(Backend):
    """F.conv2d. No operand requires a gradient, so the call needs no guard, which would cost 2 microseconds."""

    requires = ("torch",)
    issue_form = PYTORCH
    supports = WITH_EPILOGUES
    thread_safe = True
    # oneDNN multiplies pairs of bfloat16, some of them zero weights with values beside the window. Where torch computes
    # half formats itself, it adds parts of gradients in the half format.
    arithmetic = Arithmetic(CPU_ALGORITHM, adds_gradients_in_dtype=True, epilogue_in_dtype=True, taints=("bfloat16",))
    epilogue_in_place = False

    def __init__(self, name: str, summary: str, *, channels_last: bool = False) -> None:
        self.name, self.summary, self.channels_last = name, summary, channels_last
        if channels_last:
            self.prepacks = ("input", "weight", "output")
        if name in ("torch", "torch-cuda", "torch-mps"):
            self.stands_in_for = "torch"
        if self.device == "cpu":
            self.isa_switches = ISA_SWITCHES

    def bundled_versions(self) -> dict[str, str]:
        import torch

        built_with = re.search(r"(?:MKL-DNN|oneDNN) v?(\d+(?:\.\d+)+)", torch.__config__.show())
        return {"oneDNN": built_with[1]} if built_with else {}

    def limit_threads(self, n: int) -> None:
        limit_torch_threads(n)

    def isa_in_use(self) -> str | None:
        import torch

        return None if self.device != "cpu" else torch.backends.cpu.get_cpu_capability()

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        import torch

        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        host = tensor(x)
        instruments = self._instruments(host, layout)
        input_, weight = (a.to(self.device, memory_format=layout) for a in (host, tensor(w)))
        bias = None if b is None else tensor(b).to(self.device)
        padded, sides = padding(problem)
        convolve = self._convolution(problem, input_, weight, bias, sides)
        compute = convolve if padded is None else lambda x: convolve(padded(x))
        on = self._on(compute, input_, layout)
        run = self._call(compute, input_)
        return Ready(
            run,
            self._sync(),
            to_numpy,
            on,
            instruments,
            touch=touch_of(input_),
            explain=explained(run, self.device),
        )

    def prepare_gradient(
        self, problem: ConvProblem, g: np.ndarray, x: np.ndarray | None, w: np.ndarray | None
    ) -> Ready:
        import torch

        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        host = tensor(g)
        instruments = self._instruments(host, layout)
        upstream = host.to(self.device, memory_format=layout)
        input_, weight = (
            operand(array, shape, upstream.dtype).to(self.device, memory_format=layout)
            for array, shape in ((x, problem.input_shape), (w, problem.weight_shape))
        )
        compute = self._gradient(problem, input_, weight, layout)
        run = self._call(compute, upstream)
        explain = explained(run, self.device)
        return Ready(run, self._sync(), to_numpy, instruments=instruments, touch=touch_of(upstream), explain=explain)

    def prepare_step(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, g: np.ndarray
    ) -> Ready:
        import torch

        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        host = tensor(x)
        instruments = self._instruments(host, layout)
        input_, weight, upstream = (a.to(self.device, memory_format=layout) for a in (host, tensor(w), tensor(g)))
        bias = None if b is None else tensor(b).to(self.device)
        compute = self._step(problem, input_, weight, bias, upstream)
        run = self._call(compute, input_)
        return Ready(run, self._sync(), results_to_numpy, instruments=instruments, touch=touch_of(input_.detach()))

    def _step(self, problem: ConvProblem, x: Any, w: Any, b: Any, g: Any) -> Callable[[Any], list[Any]]:
        """A function from `x` to all results, as autograd computes them."""
        padded, sides = padding(problem)
        convolve = TorchConv2d._convolution(self, problem, x, w, b, sides)  # settings have to hold for all of the step
        leaves = [x, w] if b is None else [x, w, b]
        return step(convolve if padded is None else lambda x: convolve(padded(x)), leaves, g)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        import torch

        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        host = tensor(x)
        instruments = self._instruments(host, layout)
        input_, weight = (a.to(self.device, memory_format=layout) for a in (host, tensor(w)))
        bias = None if b is None else tensor(b).to(self.device)
        residual = [] if r is None else [tensor(r).to(self.device, memory_format=layout)]
        padded, sides = padding(problem)
        of_padded = self._fused(problem, input_, weight, bias, sides)

        def compute(x: Any, r: Any = None) -> Any:
            return of_padded(x if padded is None else padded(x), r)

        def on_tensors(*tensors: Any) -> Any:
            return compute(*(a.contiguous(memory_format=layout) for a in tensors) if self.channels_last else tensors)

        operands = (input_, *residual)
        run = self._call(lambda x: compute(x, *residual), input_)
        on: dict[Arrays, Callable[..., Any]] = {"torch": on_tensors}
        on = on_both(on_tensors) if self.device == "cpu" else on
        explain = explained(run, self.device, problem)
        return Ready(run, self._sync(), to_numpy, on, instruments, touch=touch_of(*operands), explain=explain)

    def _fused(
        self, problem: ConvProblem, x: Any, w: Any, b: Any, padding: tuple[int, int]
    ) -> Callable[[Any, Any], Any]:
        """A function from the input, padded already if conv2d cannot do that itself, and the residual to the result."""
        assert problem.epilogue is not None
        convolve = self._convolution(problem, x, w, b, padding)
        end = separately(problem.epilogue, in_place=self.epilogue_in_place)
        return lambda x, r: end(convolve(x), r)

    def _gradient(self, problem: ConvProblem, x: Any, w: Any, layout: Any) -> Callable[[Any], Any]:
        """A function from the gradient of the output to the one that `problem` asks for, by the operator that autograd
        calls, with one result asked for."""
        return gradient(problem, x, w, layout)

    def _call(self, compute: Callable[[Any], Any], x: Any) -> Callable[[], Any]:
        return lambda: compute(x)

    def _on(self, compute: Callable[[Any], Any], x: Any, layout: Any) -> dict[Arrays, Callable[[Any], Any]]:
        on_tensor = (lambda x: compute(x.contiguous(memory_format=layout))) if self.channels_last else compute
        return on_both(on_tensor) if self.device == "cpu" else {"torch": on_tensor}

    def _instruments(self, x: Any, layout: Any) -> Instruments:
        """Instruments of the device. Called before anything is on it; `x` is on the host."""
        return NO_INSTRUMENTS

    def _convolution(
        self, problem: ConvProblem, x: Any, w: Any, b: Any, padding: tuple[int, int]
    ) -> Callable[[Any], Any]:
        """A function from the input to the output. The input is padded already if conv2d cannot do that itself."""
        from torch.nn.functional import conv2d

        stride, dilation, groups = problem.stride, problem.dilation, problem.groups
        return lambda x: conv2d(x, w, b, stride, padding, dilation, groups)

    def _sync(self) -> Callable[[], None]:
        return lambda: None

    def script(self, problem: ConvProblem) -> str | None:
        return torch_script(problem, device=self.device, channels_last=self.channels_last)

    def fused_script(self, problem: ConvProblem) -> str | None:
        return self._fused_script(problem)

    def _fused_script(self, problem: ConvProblem, settings: Sequence[str] = ()) -> str:
        assert problem.epilogue is not None
        return torch_script(
            problem,
            device=self.device,
            channels_last=self.channels_last,
            settings=["from torch.nn import functional", *settings],
            call=epilogue_code(problem.epilogue, CALL, in_place=self.epilogue_in_place),
        )

    def gradient_script(self, problem: ConvProblem) -> str | None:
        return torch_gradient_script(problem, device=self.device, channels_last=self.channels_last)


def limit_torch_threads(n: int) -> None:
    """Use `n` threads within operations, and one operation at a time."""
    import torch

    torch.set_num_threads(n)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
