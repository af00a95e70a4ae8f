"""`Backend`: one way to compute conv2d."""

from __future__ import annotations

import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from convbench.backend.arithmetic import Arithmetic
from convbench.backend.issue_form import IssueForm
from convbench.backend.ready import Arrays, Ready, in_turn
from convbench.backend.supports import Supports
from convbench.cuda_driver import cuda_device_count
from convbench.installation import pip_line
from convbench.problem import (
    ConvProblem,
    Scales,
)

if TYPE_CHECKING:
    import numpy as np


class Backend(ABC):
    """One way to compute conv2d. Instances are backends, not classes: one library on CPU and on GPU is two of them."""

    name: str
    """Unique, of letters, digits and . _ @ + -. It stands in stored results, so it should never change."""
    requires: tuple[str, ...] = ()
    """Modules to import. A missing one makes the backend unavailable."""
    install: str | None = None
    """What to give to `pip install` for `requires`, when that differs from the names of the modules."""
    device: str = "cpu"
    """One of "cpu", "cuda" and "mps"."""
    supports: Supports = Supports()
    arithmetic: Arithmetic = Arithmetic()
    """A property where it depends on the CPU, such as on units for bfloat16 that the library uses by itself."""
    prepacks: tuple[str, ...] = ()
    """Which of "input", "weight" and "output" are converted to or from NCHW/OIHW/NCHW outside the timed call."""
    thread_safe: bool = False
    """Whether several threads may call a prepared convolution at once. `convbench verify` checks it."""
    stands_in_for: Arrays | None = None
    """The kind of arrays for which this backend computes whatever no plan names. Such a backend supports everything."""
    limits_itself_alone: bool = False
    """Whether `limit_threads` changes only what this backend prepares afterwards. It may then be called more than once,
    and in a process that already uses the library."""
    isa_switches: Mapping[str, Mapping[str, str]] = {}
    """For words of `--isa` (avx2, avx512, vnni, bf16, amx) the environment variables by which the library uses no wider
    instructions. They are set before its process starts. Without any, the backend is left out under `--isa`."""
    without_isa_switch: str | None = None
    """Why there is none, or none for some words, as a clause for that reason."""
    kept_caches: tuple[str, ...] = ()
    """Environment variables by which the library finds folders for what it compiles. convbench gives it folders that
    stay. Whatever else it writes to its temporary folder is removed when its worker ends."""
    issue_form: IssueForm | None = None
    """The form for bug reports of the library's project, for `convbench bug`."""
    summary: str = ""
    """One line for `convbench backends`."""

    def unavailable(self) -> str | None:
        """Why the backend cannot run here, and what to do about it; None when it can."""
        if missing := [module for module in self.requires if not _is_installed(module)]:
            return f"{' and '.join(missing)} not installed: {pip_line(self.install or ' '.join(self.requires))}"
        if self.device == "cuda" and cuda_device_count() == 0:
            return "no CUDA device: the NVIDIA driver is not installed or shows no GPU"
        if self.device == "mps" and sys.platform != "darwin":
            return "no MPS device: Metal is on macOS only"
        return None

    def unsupported(self, problem: ConvProblem) -> str | None:
        """Why the backend does not compute `problem`, as a sentence; None when it does. By default asks `supports`."""
        return self.supports.reason_against(problem)

    def limit_threads(self, n: int) -> None:  # noqa: B027 - optional to override: many libraries obey the environment
        """Use `n` threads. Called once in a worker, before the first `prepare` and before the library is imported.

        So environment variables that the library reads when it is imported can be set here.
        """

    def isa_in_use(self) -> str | None:
        """The widest instructions that the library will use, in its own words, such as "AVX512"; None where it does not
        tell. Called under `--isa` once the library is imported. An answer wider than what was set is an error."""
        return None

    @abstractmethod
    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        """Do all work but the call: move, convert, pack, allocate, compile. Padding belongs to the call.

        `x` (N, C, H, W), `w` (O, C/groups, kh, kw) and `b` (O,) or None have `problem.dtype` (bfloat16 from ml_dtypes)
        and any strides. They must not be written to.
        """

    def prepare_gradient(
        self, problem: ConvProblem, g: np.ndarray, x: np.ndarray | None, w: np.ndarray | None
    ) -> Ready:
        """As `prepare`, for a gradient that `supports.directions` names, `problem.direction`.

        `g` (N, O, out_h, out_w) is the gradient of the output. "input_gradient" has `w` as well and computes an array
        (N, C, H, W); "weight_gradient" has `x` and computes (O, C/groups, kh, kw); "bias_gradient" has `g` alone and
        computes (O,). What a direction does not take is None. The gradient of padding belongs to the call: where
        padding repeats elements of the input, their gradients add up; where nothing reads an element, its gradient is
        zero, and is written.
        """
        raise NotImplementedError(f"{self.name} declares {problem.direction} and has no prepare_gradient")

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        """As `prepare`, for a problem with an epilogue that `supports` names, `problem.epilogue`, which is never None.

        `r` (N, O, out_h, out_w) is the residual, in the problem's dtype and any strides; None for an epilogue without a
        sum. It must not be written to: a library that adds in place copies it first, within the call. All that the
        epilogue does belongs to the call as well, whether the library fuses it or not, and `Ready.explain` should say
        which it was. With a residual the functions of `Ready.on` take two arrays, the input and the residual.
        """
        raise NotImplementedError(f"{self.name} declares the epilogue {problem.epilogue} and has no prepare_fused")

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        """As `prepare`, for a problem with a `quantization`, as `supports.quantized` has it.

        `x` (N, C, H, W) is uint8 or int8, `w` (O, C/groups, kh, kw) int8, `b` (O,) int32 or None, in any strides, not
        to be written to. `scales` has scales and zero points. Padding holds the input's zero point. The output is
        (N, O, out_h, out_w) of uint8, int8, int32 or float32, `problem.quantization.dtypes["y"]`.
        `convbench.problem.quantization` has the formulas.
        """
        raise NotImplementedError(f"{self.name} declares {problem.quantization} and has no prepare_quantized")

    def prepare_step(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, g: np.ndarray
    ) -> Ready:
        """As `prepare`, for a training step of a layer: the output, the gradients of input and weight, and with a bias
        its gradient (`problem.computed`), from the gradient of the output, `g` (N, O, out_h, out_w).

        One call of `run` computes all of them. By default it calls the parts in turn, each prepared by itself, as a
        program does with a library that has no more.
        """
        forward, *gradients = problem.parts
        operands = {"x": x, "w": w}
        ready = [self.prepare(forward, x, w, b)]
        for part in gradients:
            taken = [operands[name] if name in part.operand_shapes else None for name in ("x", "w")]
            ready.append(self.prepare_gradient(part, g, *taken))
        return in_turn(ready)

    def bundled_versions(self) -> Mapping[str, str]:
        """Versions of other libraries that are compiled into this one, by name, such as oneDNN, where it tells them.
        Asked in an environment of its own, by `convbench bisect`."""
        return {}

    def script(self, problem: ConvProblem) -> str | None:
        """Plain code that computes what this backend computes, for a bug report to the library; None without one.

        It is asked for bare forward problems only; with an epilogue there is `fused_script`, for gradients
        `gradient_script`.
        The code starts with NumPy arrays `x`, `w` and `b` (None without a bias), as `prepare` does, and with `np`, and
        `ml_dtypes` for bfloat16, imported; it cannot use convbench. It leaves a NumPy array `out` in NCHW, computed on
        one thread. Its last line is the call, `out = ...`; all preparation stands before it.
        """
        return None

    def fused_script(self, problem: ConvProblem) -> str | None:
        """The same for a problem with an epilogue. The code starts with the residual `r`, too, where there is a sum."""
        return None

    def gradient_script(self, problem: ConvProblem) -> str | None:
        """The same for a gradient. The code starts with the arrays that `prepare_gradient` takes for its direction, `g`
        and `x` or `w`, and leaves the gradient in `out`."""
        return None

    def quantized_script(self, problem: ConvProblem) -> str | None:
        """The same for a quantised problem. The code starts with what `prepare_quantized` takes: arrays `x`, `w`, `b`,
        `w_scale` and `w_zero`, floats `x_scale` and `y_scale`, and integers `x_zero` and `y_zero`."""
        return None

    def onnx_code(self, path: str, threads: int) -> str | None:
        """Plain code that runs the ONNX model in the file `path` on `threads` threads, with the settings with which
        this backend computes; None for a library that runs no ONNX models. It starts with the model's input `x`."""
        return None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package of a dotted name
        return False
