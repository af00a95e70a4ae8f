"""The contract between convbench and an implementation of conv2d.

A backend is an instance of a subclass of `Backend`, listed in the `BACKENDS` tuple of its file. It consists of data and
one method:

    class MyConv(Backend):
        name = "my-conv"
        requires = ("my_library",)
        supports = Supports(dtypes={"float32"}, padding_modes={"zeros"})

        def prepare(self, problem, x, w, b):
            import my_library
            return Ready(lambda: my_library.conv2d(x, w, b, stride=problem.stride, padding=problem.padding))

    BACKENDS = (MyConv(),)

A backend that computes gradients, too, names them in `Supports.directions` and has a second method,
`prepare_gradient`. Without them a backend computes forward only. One that names "step" is asked for training steps; it
calls its prepared parts in turn, unless it has a `prepare_step` of its own. One that computes an activation or a
residual sum with the convolution (`ConvProblem.epilogue`) names these in `Supports.activations` and
`Supports.residuals`, and has `prepare_fused`. Without them a backend is asked for bare convolutions only.
One that computes quantised convolutions says which in `Supports.quantized` and has `prepare_quantized`.

Three rules:

* Import the library inside methods, never at the top of the file. Listing backends then costs nothing.
* `prepare` does all work that does not depend on the call. Only `Ready.run` is timed.
* Refuse with a sentence, from `unavailable` or `unsupported`. An exception is reported as a bug.

`Supports` and `Arithmetic` describe the backend, `Ready` is what `prepare` returns, and `Instruments` are for devices
such as GPUs. Everything has a default except `name` and `prepare`.
"""

from __future__ import annotations

import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from convbench.cuda_driver import cuda_device_count
from convbench.installation import pip_line
from convbench.issue_form import IssueForm
from convbench.problem import (
    ACTIVATIONS,
    DIRECTIONS,
    DTYPES,
    GRADIENTS,
    PADDING_MODES,
    RESIDUALS,
    ConvProblem,
    Direction,
    Dtype,
    Epilogue,
    Scales,
)
from convbench.quantized import QuantizedArithmetic as QuantizedArithmetic
from convbench.quantized import QuantizedSupport as QuantizedSupport

if TYPE_CHECKING:
    import numpy as np

Algorithm = Literal["direct", "gemm", "winograd", "fft", "auto"]
Precision = Literal["float64", "float32", "tf32", "float16", "bfloat16"]
Arrays = Literal["numpy", "torch"]
_SETS: dict[str, tuple[str, ...]] = {
    "dtypes": DTYPES, "padding_modes": PADDING_MODES, "directions": DIRECTIONS, "activations": ACTIVATIONS,
    "residuals": RESIDUALS,
}  # fmt: skip


@dataclass(frozen=True)
class Supports:
    """What a backend can compute, as data that is readable without its library. The defaults promise little.

    The sets take any iterable of words. For every direction but "forward" the backend needs `prepare_gradient`, for
    "step" it or `prepare_step`, and for any activation or residual sum `prepare_fused`. Raises `TypeError` for an
    unknown word.
    """

    dtypes: Set[str] = frozenset({"float32"})
    padding_modes: Set[str] = frozenset({"zeros"})
    stride: bool = True
    dilation: bool = True
    groups: bool = True
    asymmetric_padding: bool = True
    negative_padding: bool = False
    directions: Set[str] = frozenset({"forward"})
    activations: Set[str] = frozenset()
    """The activations of an epilogue (`convbench.problem.epilogue`)."""
    residuals: Set[str] = frozenset()
    """Whether a residual is added "before" the activation, as without one, or "after" it."""
    quantized: QuantizedSupport | None = None
    """The quantised problems, for which the backend needs `prepare_quantized`; None for none. `dtypes` has no word for
    them; padding modes, stride, dilation and groups hold for them, too."""

    def __post_init__(self) -> None:
        for name, known in _SETS.items():
            words = getattr(self, name)
            if isinstance(words, str):
                raise TypeError(f"{name} should be a set of words such as {{{words!r}}}, not the word {words!r} alone")
            if unknown := sorted(set(words).difference(known)):
                raise TypeError(f"{name} has {', '.join(unknown)}; known are {', '.join(known)}")
            object.__setattr__(self, name, frozenset(words))

    def reason_against(self, problem: ConvProblem) -> str | None:
        """Why `problem` is not supported, as a sentence; None when it is supported."""
        if (reason := self.reason_against_direction(problem.direction)) is not None:
            return reason
        if problem.epilogue is not None and (reason := self.reason_against_epilogue(problem.epilogue)) is not None:
            return reason
        if problem.quantization is not None:
            if self.quantized is None:
                return f"does not compute int8, only {', '.join(sorted(self.dtypes))}"
            if (reason := self.quantized.reason_against(problem.quantization)) is not None:
                return reason
        elif problem.dtype not in self.dtypes:
            return f"does not compute {problem.dtype}, only {', '.join(sorted(self.dtypes)) or 'int8'}"
        if problem.padding_mode not in self.padding_modes:
            return f"does not pad with {problem.padding_mode}, only {', '.join(sorted(self.padding_modes))}"
        if problem.stride != (1, 1) and not self.stride:
            return f"takes stride 1 only, not {problem.stride}"
        if problem.dilation != (1, 1) and not self.dilation:
            return f"takes dilation 1 only, not {problem.dilation}"
        if problem.groups != 1 and not self.groups:
            return f"takes one group only, not {problem.groups}"
        rows, columns = problem.padding
        if (rows[0] != rows[1] or columns[0] != columns[1]) and not self.asymmetric_padding:
            return f"pads both sides of an axis alike only, not {problem.padding}"
        if min(*rows, *columns) < 0 and not self.negative_padding:
            return f"does not take negative padding, such as {problem.padding}"
        return None

    def reason_against_direction(self, direction: Direction) -> str | None:
        """`computes forward only, not input_gradient`; None when the direction is supported."""
        if direction in self.directions:
            return None
        return f"computes {' and '.join(d for d in DIRECTIONS if d in self.directions)} only, not {direction}"

    def reason_against_epilogue(self, epilogue: Epilogue) -> str | None:
        """`computes no epilogue, such as relu`; None when the epilogue is supported."""
        if not self.activations and not self.residuals:
            return f"computes the bare convolution only, without an epilogue such as {epilogue}"
        if epilogue.activation is not None and epilogue.activation not in self.activations:
            known = ", ".join(word for word in ACTIVATIONS if word in self.activations) or "no activation"
            return f"does not compute {epilogue.activation}, only {known}"
        if epilogue.residual is not None and epilogue.residual not in self.residuals:
            return f"does not add a residual {epilogue.residual} the activation"
        return None


WHOLE_OF_CONV2D = Supports(dtypes=set(DTYPES), padding_modes=set(PADDING_MODES), negative_padding=True)
"""Every forward `ConvProblem`."""
WITH_GRADIENTS = replace(WHOLE_OF_CONV2D, directions={"forward", *GRADIENTS})
"""Every bare `ConvProblem`, forward or a gradient."""
WITH_STEP = replace(WHOLE_OF_CONV2D, directions=set(DIRECTIONS))
"""Every bare `ConvProblem`, forward, a gradient or a training step."""
WITH_EPILOGUES = replace(WITH_STEP, activations=set(ACTIVATIONS), residuals=set(RESIDUALS))
"""These, and every forward one with an epilogue."""


@dataclass(frozen=True)
class Arithmetic:
    """How a backend computes. It decides the error bound that the backend's answers have to keep.

    Raises `TypeError` for an unknown word.
    """

    algorithm: Algorithm = "gemm"
    """With "auto" the library chooses the algorithm itself, and may choose any."""
    operand: Precision | None = None
    """The precision that operands are rounded to before they are multiplied; None for the problem's dtype."""
    accumulate: Precision | None = None
    """The precision of sums of products; None for float64 in float64 problems and float32 in all others."""
    output: Precision | None = None
    """A precision that results are rounded to, in some problems or all, before they get the problem's dtype."""
    adds_gradients_in_dtype: bool = False
    """Whether parts of a gradient are rounded to the problem's dtype before they are added: that of the weight for each
    image, that of the input for each tap of the kernel, that of the bias for each element."""
    epilogue_in_dtype: bool = False
    """Whether the convolution is rounded to the problem's dtype before its epilogue, and so is each step of that, as
    where a library does not fuse them."""
    activation_errors: Mapping[str, float] = field(default_factory=dict, hash=False)
    """How far activations may be from their exact values, by their words, where the library approximates them: an
    absolute error at sizes up to 1 of what they get, and relative to that above. Rounding is not meant."""
    loses_nan: tuple[str, ...] = ()
    """The activations that make a number of a NaN, as a maximum of 0 and NaN does in many vector instructions. Declared
    here, it is no failure."""
    taints: tuple[Dtype, ...] = ()
    """The dtypes in which a NaN or an infinity in an image may make unrelated outputs of that image NaN, as a Fourier
    or Winograd transform does in every dtype. Declared here, it is no failure."""
    quantized: QuantizedArithmetic = field(default_factory=QuantizedArithmetic)
    """How results of quantised problems are rounded."""

    def __post_init__(self) -> None:
        if self.algorithm not in get_args(Algorithm):
            raise TypeError(f"algorithm is {self.algorithm!r}; it should be one of {', '.join(get_args(Algorithm))}")
        for name in ("operand", "accumulate", "output"):
            if getattr(self, name) not in (None, *get_args(Precision)):
                words = ", ".join(get_args(Precision))
                raise TypeError(f"{name} is {getattr(self, name)!r}; it should be None or one of {words}")
        if not isinstance(self.taints, tuple) or set(self.taints) - set(DTYPES):
            raise TypeError(f"taints is {self.taints!r}; it should be a tuple of {', '.join(DTYPES)}")
        if unknown := sorted({*self.activation_errors, *self.loses_nan}.difference(ACTIVATIONS)):
            raise TypeError(f"{', '.join(unknown)} should be one of {', '.join(ACTIVATIONS)}")

    def operand_precision(self, dtype: Dtype) -> Precision:
        """The precision that operands of `dtype` are rounded to before they are multiplied."""
        return self.operand or cast(Precision, dtype)

    def accumulate_precision(self, dtype: Dtype) -> Precision:
        """The precision of sums of products in a problem of `dtype`."""
        return self.accumulate or ("float64" if dtype == "float64" else "float32")


@dataclass(frozen=True)
class DeviceClock:
    """A device's own clock, which times its work without the host's waits."""

    mark: Callable[[], Any]
    """Puts a mark behind all work in the queue that `run` uses, and returns the mark."""
    between_s: Callable[[Any, Any], float]
    """The seconds that the device took from one mark to a later one. Called after `Ready.sync`."""


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on the device for one prepared convolution, its operands included; None for what the library hides."""

    held: int | None = None
    """What it holds between calls."""
    peak: int | None = None
    """The most that it holds during a call."""


@dataclass(frozen=True)
class Instruments:
    """What convbench can read and do on a backend's device. All of it is optional."""

    clock: DeviceClock | None = None
    """Without it the host's clock times batches of calls, from before the first until `sync` returns."""
    flush: Callable[[], Any] | None = None
    """Overwrites twice the size of the device's last-level cache, in the order of the queue."""
    send: Callable[[], Any] | None = None
    """Copies the input from host memory, as `prepare` got it, into the layout that `run` reads. `sync` waits for it."""
    memory: Callable[[Callable[[], Any]], DeviceMemory] | None = None
    """Calls the `run` that it is given once, and returns the memory that this takes."""


NO_INSTRUMENTS = Instruments()


def _no_wait() -> None:
    return None


def _as_array(output: Any) -> np.ndarray:
    import numpy

    return numpy.asarray(output)


TAKES_ONE_INPUT = "takes no other input than the one that it was prepared with"
HAS_OWN_LAYOUT = "has a layout of its own, into which every input and output would be copied"


def reason_against_applying(takes: Collection[str], prepacks: Collection[str]) -> str | None:
    """Why no layer of a torch model can be computed by a backend that takes other inputs as these kinds of arrays
    (`Ready.on`) and has converted these operands beforehand (`Backend.prepacks`); None when it can."""
    if "torch" in takes:
        return None
    if "numpy" not in takes:
        return TAKES_ONE_INPUT
    return HAS_OWN_LAYOUT if {"input", "output"} & set(prepacks) else None


def touching(*arrays: np.ndarray) -> Callable[[], None]:
    """A `Ready.touch` for memory that NumPy can see: writes every byte of `arrays` again, unchanged, or reads it where
    that memory is read-only. The arrays have any order of axes, and no gaps between their elements; raises
    `ValueError` for others, whose memory is not theirs alone."""
    import numpy

    views = [_as_bytes(array) for array in arrays]

    def touch() -> None:
        for view in views:
            if view.flags.writeable:
                numpy.bitwise_or(view, 0, out=view)
            elif view.size:
                view.max()

    return touch


def _as_bytes(array: np.ndarray) -> np.ndarray:
    """The memory of `array` as one row of bytes."""
    import numpy

    in_memory = array.transpose(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))
    if not in_memory.flags.c_contiguous:
        raise ValueError(f"an array of shape {array.shape} and strides {array.strides} has gaps between its elements")
    return in_memory.reshape(-1).view(numpy.uint8)


@dataclass(frozen=True)
class Ready:
    """A prepared convolution: operands moved, converted and packed, code compiled."""

    run: Callable[[], Any]
    """Computes once and returns the library's own output, perhaps before the work is done. Only this call is timed."""
    sync: Callable[[], None] = _no_wait
    """Waits until the work of every `run` so far is done."""
    to_numpy: Callable[[Any], np.ndarray | tuple[np.ndarray, ...]] = _as_array
    """Turns an output of `run` into an array of `problem.result_shape` (NCHW) and the problem's dtype; that of a step
    into a tuple of arrays of `problem.result_shapes`. Never timed."""
    on: Mapping[Arrays, Callable[..., Any]] = field(default_factory=dict)
    """Functions that compute another input with the same weights, by kind of array. Used to act on a plan.

    The input has the problem's shape and dtype. A NumPy input is contiguous and aligned, and may be read-only. A tensor
    is on the backend's device, in any strides, and needs no gradient. Neither may be written to. The output is of the
    same kind, in NCHW and any strides, and belongs to the caller: no later call changes it. Conversions into the
    backend's own layout are part of the call. Without a function no plan is followed with this backend.
    """
    instruments: Instruments = NO_INSTRUMENTS
    """For backends on a device of its own, such as a GPU."""
    kernel: str | None = None
    """The library's own name of the kernel that it chose for this convolution, where it tells. Reports of wrong answers
    have it, and a failure is only made smaller within its kernel."""
    explain: Callable[[], str | None] | None = None
    """Says which kernel or algorithm `run` uses, in a few stable words such as `brg_conv:avx512_core` or `winograd`, at
    most 80 characters of ASCII; None if the library does not tell. Without it this is `kernel`.

    Called once, after the last timed call and before anything else is prepared. It may call `run`, and prepare a second
    object that logs what it does. What it raises is ignored. Logs are no contract: an answer that is not understood to
    the last word should be None.
    """
    touch: Callable[[], Any] | None = None
    """Writes the input once more, with the same values, where `run` reads it, as the layer before it in a model would;
    and the output, if every `run` writes it to the same memory. `touching` makes one of arrays. Called before each
    timed call in the state of caches `pass`. Without it the array that `prepare` was given is written instead."""


def in_turn(parts: Sequence[Ready]) -> Ready:
    """A training step that calls its prepared parts one after the other, which share nothing."""
    runs, syncs = [part.run for part in parts], [part.sync for part in parts]
    touches = [part.touch for part in reversed(parts) if part.touch is not None]  # the input last, as it is read first

    def each(actions: Iterable[Callable[[], Any]]) -> None:
        for act in actions:
            act()

    def to_numpy(outputs: list[Any]) -> tuple[Any, ...]:
        return tuple(part.to_numpy(output) for part, output in zip(parts, outputs, strict=True))

    return Ready(
        lambda: [run() for run in runs],
        lambda: each(syncs),
        to_numpy,
        instruments=parts[0].instruments,
        touch=(lambda: each(touches)) if touches else None,
    )


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

        It is asked for forward problems only; for gradients there is `gradient_script`.
        The code starts with NumPy arrays `x`, `w` and `b` (None without a bias), as `prepare` does, and with `np`, and
        `ml_dtypes` for bfloat16, imported; it cannot use convbench. It leaves a NumPy array `out` in NCHW, computed on
        one thread. Its last line is the call, `out = ...`; all preparation stands before it.
        """
        return None

    def gradient_script(self, problem: ConvProblem) -> str | None:
        """The same for a gradient. The code starts with the arrays that `prepare_gradient` takes for its direction, `g`
        and `x` or `w`, and leaves the gradient in `out`."""
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
