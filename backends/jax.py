"""conv2d of JAX: lax.conv_general_dilated, compiled by XLA, on the CPU in two layouts and on CUDA."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convbench.backend import WITH_EPILOGUES, Arithmetic, Backend, DeviceMemory, Instruments, Ready, touching
from convbench.problem import ConvProblem, Scales

from . import _int8_correction
from ._hlo import implementation_in
from ._issue_forms import JAX
from ._jax import quantized
from ._jax.compiled import compiled, compiled_gradient, compiled_step, from_jax, from_nhwc, hlo, with_float64
from ._jax.quantized_script import quantized_script
from ._jax.script import jax_gradient_script, jax_script

if TYPE_CHECKING:
    import numpy as np

_FLUSHED_BYTES = 256 << 20  # about twice the largest last-level cache of any GPU; JAX does not show its size


class _Jax(Backend):
    requires = ("jax",)
    issue_form = JAX
    supports = replace(WITH_EPILOGUES, quantized=_int8_correction.SUPPORT)
    thread_safe = True
    # XLA hands convolutions to YNNPACK. --xla_cpu_max_isa holds only what XLA compiles itself, which pads and adds.
    without_isa_switch = "--xla_cpu_max_isa does not reach YNNPACK, which computes XLA's convolutions"
    # XLA computes groups in float64 as one dense convolution with zeros in the weight.
    arithmetic = Arithmetic(taints=("float64",), quantized=_int8_correction.ARITHMETIC)

    def __init__(self, name: str, summary: str, *, channels_last: bool = False) -> None:
        self.name, self.summary, self.channels_last = name, summary, channels_last
        if channels_last:
            self.prepacks = ("input", "weight", "output")

    def limit_threads(self, n: int) -> None:
        if "jax" not in sys.modules:  # JAX reads these once, when it starts
            os.environ["NPROC"] = str(n)  # the flags that forums name have no effect in jax 0.10
            os.environ["JAX_PLATFORMS"] = "cpu"  # or JAX would initialise a CUDA device, too

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self.prepare_fused(problem, x, w, b, None)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        import jax
        import numpy as np

        if self.channels_last:
            x, w = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)
            r = None if r is None else r.transpose(0, 2, 3, 1)
        # Copies, because JAX may keep using the memory of a NumPy array.
        operands = [np.array(a, order="C") for a in (x, *([] if r is None else [r]), w, b) if a is not None]
        device = jax.devices(self.device)[0]
        to_device = with_float64(jax.device_put, problem)
        operands = jax.block_until_ready(to_device(operands, device))
        convolve = with_float64(compiled(problem, self.channels_last), problem)
        run, sync = self._call(lambda: convolve(*operands))
        to_numpy = from_nhwc if self.channels_last else np.asarray
        images = 1 if r is None else 2
        weights = operands[images:]
        compiled_text = with_float64(hlo(problem, self.channels_last), problem)
        explain = lambda: implementation_in(compiled_text(*operands), problem)  # noqa: E731

        def on(*arrays: np.ndarray) -> np.ndarray:
            # A copy, because JAX returns its own memory, which is read-only.
            given = (a.transpose(0, 2, 3, 1) if self.channels_last else a for a in arrays)
            return np.array(to_numpy(convolve(*given, *weights)))

        if self.device == "cpu":
            # JAX shows its memory read-only: the input is read, which brings as much of it into the caches.
            touch = touching(*map(np.asarray, operands[:images]))
            return Ready(run, sync, to_numpy, {"numpy": on}, touch=touch, explain=explain)
        host = np.array(x, order="C")
        instruments = _instruments(lambda: to_device(host, device), device)
        return Ready(run, sync, to_numpy, instruments=instruments, explain=explain)

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        import jax
        import numpy as np

        host = quantized.operands(problem, x, w, b, scales, channels_last=self.channels_last)
        operands = jax.block_until_ready(jax.device_put(host, jax.devices(self.device)[0]))
        convolve: Any = quantized.compiled(problem, self.channels_last)
        run, sync = self._call(lambda: convolve(*operands))
        to_numpy = from_nhwc if self.channels_last else np.asarray
        explain = lambda: implementation_in(convolve.lower(*operands).compile().as_text())  # noqa: E731
        return Ready(run, sync, to_numpy, touch=touching(np.asarray(operands[0])), explain=explain)

    def prepare_gradient(
        self, problem: ConvProblem, g: np.ndarray, x: np.ndarray | None, w: np.ndarray | None
    ) -> Ready:
        import jax
        import numpy as np

        device = jax.devices(self.device)[0]
        to_device = with_float64(jax.device_put, problem)
        host = self._arranged(g=g, x=x, w=w)
        operands = jax.block_until_ready(to_device(host, device))
        gradient = with_float64(compiled_gradient(problem, self.channels_last), problem)
        run, sync = self._call(lambda: gradient(*operands))
        to_numpy = from_jax(problem) if self.channels_last else np.asarray
        compiled_text = with_float64(hlo(problem, self.channels_last), problem)
        explain = lambda: implementation_in(compiled_text(*operands))  # noqa: E731
        if self.device == "cpu":
            return Ready(run, sync, to_numpy, touch=touching(np.asarray(operands[0])), explain=explain)
        instruments = _instruments(lambda: to_device(host[0], device), device)
        return Ready(run, sync, to_numpy, instruments=instruments, explain=explain)

    def prepare_step(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, g: np.ndarray
    ) -> Ready:
        import jax
        import numpy as np

        device = jax.devices(self.device)[0]
        to_device = with_float64(jax.device_put, problem)
        host = self._arranged(x=x, g=g, w=w, b=b)
        operands = jax.block_until_ready(to_device(host, device))
        step = with_float64(compiled_step(problem, self.channels_last), problem)
        run, sync = self._call(lambda: step(*operands), jax.block_until_ready)
        back = [from_jax(part) if self.channels_last else np.asarray for part in problem.parts]

        def to_numpy(outputs: Any) -> tuple[np.ndarray, ...]:
            return tuple(of_part(output) for of_part, output in zip(back, outputs, strict=True))

        if self.device == "cpu":
            return Ready(run, sync, to_numpy, touch=touching(np.asarray(operands[0])))
        return Ready(run, sync, to_numpy, instruments=_instruments(lambda: to_device(host[0], device), device))

    def _arranged(self, **operands: np.ndarray | None) -> list[np.ndarray]:
        """Those that there are, in the backend's layout. Copies, because JAX may keep using the memory of an array."""
        import numpy as np

        orders = {"g": (0, 2, 3, 1), "x": (0, 2, 3, 1), "w": (2, 3, 1, 0), "b": (0,)}
        there = {name: array for name, array in operands.items() if array is not None}
        if self.channels_last:
            there = {name: array.transpose(orders[name]) for name, array in there.items()}
        return [np.array(array, order="C") for array in there.values()]

    def script(self, problem: ConvProblem) -> str | None:
        return jax_script(problem, self.device, channels_last=self.channels_last)

    def fused_script(self, problem: ConvProblem) -> str | None:
        return jax_script(problem, self.device, channels_last=self.channels_last)

    def gradient_script(self, problem: ConvProblem) -> str | None:
        return jax_gradient_script(problem, self.device, channels_last=self.channels_last)

    def quantized_script(self, problem: ConvProblem) -> str | None:
        return quantized_script(problem, self.device, channels_last=self.channels_last)

    def _call(
        self, convolve: Callable[[], Any], wait: Callable[[Any], Any] = lambda output: output.block_until_ready()
    ) -> tuple[Callable[[], Any], Callable[[], None]]:
        """`run` and `sync`. On the CPU `run` waits, or calls would overlap on several cores."""
        return lambda: wait(convolve()), lambda: None


class _Cuda(_Jax):
    device = "cuda"
    requires = ("jax",)
    install = "'jax[cuda12]'"
    supports = WITH_EPILOGUES
    arithmetic = Arithmetic("auto")  # cuDNN may choose Winograd or FFT; precision "highest" leaves TF32 out

    def unavailable(self) -> str | None:
        reason = super().unavailable()
        plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
        if reason is None and not any(importlib.util.find_spec(plugin) for plugin in plugins):
            return f"jax is installed without CUDA: pip install {self.install}"
        return reason

    def limit_threads(self, n: int) -> None:
        if "jax" not in sys.modules:
            os.environ["NPROC"] = str(n)
            # Otherwise JAX takes three quarters of the GPU's memory, which workers of other backends need as well.
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

    def _call(
        self, convolve: Callable[[], Any], wait: Callable[[Any], Any] = lambda output: output.block_until_ready()
    ) -> tuple[Callable[[], Any], Callable[[], None]]:
        """JAX cannot wait for a whole device. Calls run in order, so waiting for the last output is enough."""
        last: list[Any] = []

        def run() -> Any:
            last[:] = [convolve()]
            return last[0]

        def sync() -> None:
            for output in last:
                wait(output)

        return run, sync


def _instruments(send: Callable[[], Any], device: Any) -> Instruments:
    """JAX shows no clock of the device, and only the memory of all arrays together."""
    import jax
    from jax import numpy as jnp

    overwrite = jax.jit(lambda buffer: buffer + 1, donate_argnums=0)
    overwritten: list[Any] = []

    def flush() -> None:
        if not overwritten:
            overwritten.append(jax.device_put(jnp.zeros(_FLUSHED_BYTES, jnp.uint8), device))
        overwritten[0] = overwrite(overwritten[0]).block_until_ready()

    def memory(run: Callable[[], Any]) -> DeviceMemory:
        return DeviceMemory(held=(device.memory_stats() or {}).get("bytes_in_use"))

    return Instruments(flush=flush, send=lambda: jax.block_until_ready(send()), memory=memory)


BACKENDS = (
    _Jax("jax", "lax.conv_general_dilated in NCHW"),
    _Jax("jax-nhwc", "lax.conv_general_dilated in NHWC", channels_last=True),
    _Cuda("jax-cuda", "lax.conv_general_dilated on CUDA in NCHW"),
)
