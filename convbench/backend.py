"""What a backend is: the contract between convbench and an implementation of conv2d.

A backend is an instance of a subclass of `Backend`, listed in the `BACKENDS` tuple of its file. Write `prepare`, fill
in the data, and it is done:

    class MyConv(Backend):
        name = "my-conv"
        requires = ("my_library",)
        supports = Supports(dtypes={"float32"}, padding_modes={"zeros"})

        def prepare(self, problem, x, w, b):
            import my_library
            return Ready(lambda: my_library.conv2d(x, w, b, stride=problem.stride, padding=problem.padding))

    BACKENDS = (MyConv(),)

The library is imported inside methods, never at the top of the file, so that listing backends costs nothing.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from convbench.problem import DIRECTIONS, DTYPES, PADDING_MODES, ConvProblem, Dtype

if TYPE_CHECKING:
    import numpy as np

Algorithm = Literal["direct", "gemm", "winograd", "fft", "auto"]
Precision = Literal["float64", "float32", "tf32", "float16", "bfloat16"]
Arrays = Literal["numpy", "torch"]


@dataclass(frozen=True)
class Supports:
    """Capabilities as data, readable without importing the library. The defaults promise little: say what there is.

    The sets may be given as any iterable of words.
    """

    dtypes: Set[str] = frozenset({"float32"})
    padding_modes: Set[str] = frozenset({"zeros"})
    stride: bool = True
    dilation: bool = True
    groups: bool = True
    asymmetric_padding: bool = True
    negative_padding: bool = False
    directions: Set[str] = frozenset({"forward"})

    def __post_init__(self) -> None:
        for name, known in (("dtypes", DTYPES), ("padding_modes", PADDING_MODES), ("directions", DIRECTIONS)):
            words = getattr(self, name)
            if isinstance(words, str):
                raise TypeError(f"{name} should be a set of words such as {{{words!r}}}, not the word {words!r} alone")
            if unknown := sorted(set(words) - set(known)):
                raise TypeError(f"{name} has {', '.join(unknown)}; known are {', '.join(known)}")
            object.__setattr__(self, name, frozenset(words))

    def reason_against(self, problem: ConvProblem) -> str | None:
        """Why `problem` is outside what is supported, as a sentence; None when it is inside."""
        if problem.direction not in self.directions:
            return f"does not compute direction {problem.direction}"
        if problem.dtype not in self.dtypes:
            return f"does not compute {problem.dtype}, only {', '.join(sorted(self.dtypes))}"
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


WHOLE_OF_CONV2D = Supports(dtypes=set(DTYPES), padding_modes=set(PADDING_MODES), negative_padding=True)
"""Everything that a forward `ConvProblem` can ask."""


@dataclass(frozen=True)
class Arithmetic:
    """How a backend computes, which decides the error bound that its answers are held to.

    `operand` and `accumulate` are the precisions that operands are rounded to and sums are kept in; None means the
    problem's dtype for operands, and for sums too except that half formats are summed in float32.
    `output` is a precision that results are rounded to, in some problems if not in all, before they are given in the
    problem's dtype; None means that they are not.
    "auto" says that the library picks the algorithm itself and may pick any.
    `taints` are the dtypes in which a NaN or an infinity in an image may make outputs of that image NaN which it does
    not belong to, as transforms do in every dtype: said, it is no failure.
    """

    algorithm: Algorithm = "gemm"
    operand: Precision | None = None
    accumulate: Precision | None = None
    output: Precision | None = None
    taints: tuple[Dtype, ...] = ()

    def __post_init__(self) -> None:
        if self.algorithm not in get_args(Algorithm):
            raise TypeError(f"algorithm is {self.algorithm!r}; it should be one of {', '.join(get_args(Algorithm))}")
        for name in ("operand", "accumulate", "output"):
            if getattr(self, name) not in (None, *get_args(Precision)):
                words = ", ".join(get_args(Precision))
                raise TypeError(f"{name} is {getattr(self, name)!r}; it should be None or one of {words}")
        if not isinstance(self.taints, tuple) or set(self.taints) - set(DTYPES):
            raise TypeError(f"taints is {self.taints!r}; it should be a tuple of {', '.join(DTYPES)}")

    def operand_precision(self, dtype: Dtype) -> Precision:
        """What operands of `dtype` are rounded to before they are multiplied."""
        return self.operand or dtype

    def accumulate_precision(self, dtype: Dtype) -> Precision:
        """What sums of products are kept in, for a problem of `dtype`."""
        if self.accumulate:
            return self.accumulate
        return "float64" if dtype == "float64" else "float32"


def _nothing() -> None:
    return None


def _as_array(output: Any) -> np.ndarray:
    import numpy

    return numpy.asarray(output)


@dataclass(frozen=True)
class DeviceClock:
    """A device's own clock, by which its work is timed without the host's waits.

    `mark()` puts a mark into the queue that `run` puts its work into, behind all that is there, and gives it;
    `between_s(mark, later)` is how many seconds the device took from one to the other, asked after `Ready.sync`.
    """

    mark: Callable[[], Any]
    between_s: Callable[[Any, Any], float]


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on the device that one prepared convolution holds between calls, its operands included, and the most that
    it held at once during one; None for what the library does not tell."""

    held: int | None = None
    peak: int | None = None


@dataclass(frozen=True)
class Instruments:
    """What can be read and done on the device that a backend computes on. All of it may be left out.

    Without a `clock` batches of calls are timed by the host's, from before the first until `sync` returns. `flush()`
    has the device overwrite twice its last-level cache, after the work that is queued and before what comes, and is
    done when `sync` has returned. `send()` copies the input from host memory once more, as it came to `prepare` and
    into the layout that `run` takes, and is done when `sync` has returned. `memory(run)` computes once more
    and tells what that takes.
    """

    clock: DeviceClock | None = None
    flush: Callable[[], Any] | None = None
    send: Callable[[], Any] | None = None
    memory: Callable[[Callable[[], Any]], DeviceMemory] | None = None


NO_INSTRUMENTS = Instruments()


@dataclass(frozen=True)
class Ready:
    """A convolution made ready: operands moved, converted and packed, code compiled.

    `run()` computes once and returns the library's own output, perhaps before the work is done; `sync()` waits until
    it is; `to_numpy(output)` gives it as NCHW in the problem's dtype, and is never timed.

    `on` is for those who act on a plan, and may be left out: by kind of array, a function from another input of the
    problem's shape and dtype to its output, the same weights as ever. A NumPy input is contiguous and aligned, and may
    be read-only; a tensor lies on the backend's device in any strides and asks for no gradient. Neither is written to.
    The output is of the same kind, NCHW in any strides, and the caller's own: no later call changes it. What comes in
    another layout than the backend's own is converted, in the call. Without a function the backend is prepared anew for
    each input.

    `instruments` are for backends on a device of its own, such as a GPU.
    """

    run: Callable[[], Any]
    sync: Callable[[], None] = _nothing
    to_numpy: Callable[[Any], np.ndarray] = _as_array
    on: Mapping[Arrays, Callable[[Any], Any]] = field(default_factory=dict)
    instruments: Instruments = NO_INSTRUMENTS


class Backend(ABC):
    """One way to compute conv2d. Instances, not classes, are backends: the CPU and the GPU of a library are two."""

    name: str
    requires: tuple[str, ...] = ()
    """Modules to import; a missing one makes the backend unavailable."""
    install: str | None = None
    """What to give `pip install` for `requires`, where that differs from the modules' names."""
    device: str = "cpu"
    supports: Supports = Supports()
    arithmetic: Arithmetic = Arithmetic()
    prepacks: tuple[str, ...] = ()
    """Which of "input", "weight", "output" have another layout than NCHW/OIHW/NCHW that is converted untimed."""
    thread_safe: bool = False
    """Whether what `prepare` gives may be called from several threads at once; verified where it is said."""
    stands_in_for: Arrays | None = None
    """The kind of arrays for which this backend computes what no plan has: everything, and without surprises."""
    limits_itself_alone: bool = False
    """Whether `limit_threads` changes no more than what this backend prepares from then on: then it may be called in a
    process where the library is in use already, and again."""
    summary: str = ""

    def unavailable(self) -> str | None:
        """Why the backend cannot run here, with what to do about it; None when it can."""
        missing = [module for module in self.requires if not _is_installed(module)]
        if missing:
            return f"{' and '.join(missing)} not installed: pip install {self.install or ' '.join(self.requires)}"
        if self.device == "cuda" and cuda_device_count() == 0:
            return "no CUDA device: the NVIDIA driver is not installed or shows no GPU"
        if self.device == "mps" and sys.platform != "darwin":
            return "no MPS device: Metal is on macOS only"
        return None

    def unsupported(self, problem: ConvProblem) -> str | None:
        """Why `problem` cannot be computed; None when it can. By default what `supports` says."""
        return self.supports.reason_against(problem)

    def limit_threads(self, n: int) -> None:  # noqa: B027 - optional to override, most libraries report_deviations the environment
        """Use `n` threads. Called once in the worker, before the first `prepare` and before the library is imported,
        so environment variables that it reads at import can be set here."""

    @abstractmethod
    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        """Everything that is not the call: move, convert, pack, allocate, compile. Padding belongs to the call.

        `x` (N, C, H, W), `w` (O, C/groups, kh, kw), `b` (O,) or None, in `problem.dtype` (bfloat16 from ml_dtypes),
        of any strides. They are never to be written.
        """

    def script(self, problem: ConvProblem) -> str | None:
        """Plain code that computes what this backend does, for a report to the library's makers; None without any.

        It finds NumPy arrays `x`, `w` and `b` (None without a bias), as `prepare` does, and leaves `out`, a NumPy array
        in NCHW, computed on one thread. Its last line is the call, `out = ...`; what is made ready stands before. `np`
        is imported, and `ml_dtypes` where the dtype is bfloat16; convbench is not there.
        """
        return None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that a dotted name is in
        return False


def cuda_device_count() -> int:
    """CUDA devices that the NVIDIA driver shows, asked of the driver itself: no library is imported."""
    count = ctypes.c_int()
    if (driver := cuda_driver()) is not None and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
        return count.value
    return 0


def cuda_driver() -> ctypes.CDLL | None:
    """The NVIDIA driver's library, initialised; None where there is none, or no device that it could serve."""
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(library)
        except OSError:
            continue
        if driver.cuInit(0) == 0:
            return driver
    return None
