"""`convbench picture`: a photograph is filtered by each backend in a worker of its own, and each answer is judged."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convbench.errors import BackendError, PictureError
from convbench.files.user_file import FileKind, read_bytes
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import Check
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.problem import DTYPES, ConvProblem, PaddingMode
from convbench.registry import Entry, discover
from convbench.runner.picture.kernels import kernel_of
from convbench.runner.selection import dtypes_named
from convbench.status import Status
from convbench.verification.bounds import LARGEST_EXACT_INTEGER
from convbench.verification.operands import Operands, rounded
from convbench.verification.oracle import Oracle
from convbench.verification.verdict import Verdict

_PHOTO = FileKind("a photograph", 64 * 2**20, "give the path of an image", PictureError)
_MOST_PIXELS = 40_000_000

Pixels = NDArray[np.float64]
"""(height, width, 3), with values of 0 to 255 where it is an image, and any where it is a filter's answer."""


@dataclass(frozen=True)
class Request:
    """`padding` None keeps the picture's size at stride 1; `photo` None is the photograph of the tutorial suite."""

    photo: Path | None = None
    kernels: Sequence[str] = ("sharpen",)
    seed: int = 0
    """Of the kernel `random`."""
    stride: int = 1
    dilation: int = 1
    padding: int | None = None
    padding_modes: Sequence[PaddingMode] = ("zeros",)
    dtype: str = "float32"
    backends: Sequence[str] = ()
    plugins: Sequence[Path] = ()
    threads: int = 1
    time_limit_s: float = 60.0


@dataclass(frozen=True)
class Filtered:
    """One backend's answer: the output and its distance from the exact one, or why there is none."""

    backend: str
    status: Status
    reason: str | None
    output: Pixels | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Picture:
    """A photograph filtered with one kernel and padding mode: the exact answer and those of the backends."""

    kernel: str
    """As it was given: a name, rows or a path."""
    problem: ConvProblem
    exact: Pixels
    filtered: tuple[Filtered, ...]


@dataclass(frozen=True)
class Pictures:
    """The photograph, and a picture for each kernel and padding mode."""

    photo: Pixels
    pictures: tuple[Picture, ...]

    @property
    def failures(self) -> list[Filtered]:
        return [f for picture in self.pictures for f in picture.filtered if f.status.is_failure]


def apply_kernel(request: Request) -> Pictures:
    """Filter the photograph. Each channel is filtered alone, with the same kernel.

    Raises `PictureError` for a photograph or a kernel that cannot be read, `ProblemError` for arguments that make no
    convolution, and `BackendError` for a pattern that matches no backend.
    """
    kernels = {name: kernel_of(name, request.seed) for name in request.kernels}
    photo = read_photo(request.photo)
    registry = discover(request.plugins)
    entries = [row for row in registry.select(request.backends) if isinstance(row, Entry)]
    available = [entry for entry in entries if entry.unavailable() is None]
    if not available:
        raise BackendError("none of these backends can run here; convbench backends says why.")
    pool = WorkerPool(Settings(threads=request.threads, time_limit_s=request.time_limit_s))
    try:
        problems = [
            (name, kernel, _problem(request, photo, kernel, mode))
            for name, kernel in kernels.items()
            for mode in dict.fromkeys(request.padding_modes)
        ]
        pictures = tuple(
            Picture(name, problem, *_answers(problem, photo, kernel, available, pool))
            for name, kernel, problem in problems
        )
    finally:
        pool.shutdown()
    return Pictures(photo, pictures)


def read_photo(path: Path | None) -> Pixels:
    """The pixels of an image file, or of the photograph of the tutorial suite. Raises `PictureError`."""
    from PIL import Image

    place = files("convbench.suites").joinpath("photo.jpg") if path is None else path
    content = io.BytesIO(read_bytes(str(place), _PHOTO))
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(content) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise PictureError(f"{place} has {image.width}x{image.height} pixels; {_MOST_PIXELS:,} are the most.")
            return np.asarray(image.convert("RGB"), dtype=np.float64)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"{place} cannot be read as an image: {error}.") from None


def _problem(request: Request, photo: Pixels, kernel: NDArray[np.float64], padding_mode: PaddingMode) -> ConvProblem:
    height, width, channels = photo.shape
    reach = [(size - 1) * request.dilation // 2 for size in kernel.shape]
    return ConvProblem(
        in_channels=channels,
        height=height,
        width=width,
        out_channels=channels,
        groups=channels,
        kernel_size=(kernel.shape[0], kernel.shape[1]),
        stride=request.stride,
        dilation=request.dilation,
        padding=(reach[0], reach[1]) if request.padding is None else request.padding,
        padding_mode=padding_mode,
        dtype=dtypes_named(request.dtype, several=False, known_dtypes=DTYPES)[0],
    )


def _answers(
    problem: ConvProblem, photo: Pixels, kernel: NDArray[np.float64], entries: Sequence[Entry], pool: WorkerPool
) -> tuple[Pixels, tuple[Filtered, ...]]:
    """The exact answer and those of the backends."""
    weight = np.broadcast_to(kernel, problem.weight_shape)
    operands = rounded(problem, photo.transpose(2, 0, 1)[None], weight)
    largest = 255 * float(np.abs(operands.w[0].astype(np.float64)).sum())
    is_exact = bool((kernel % 1 == 0).all()) and largest <= LARGEST_EXACT_INTEGER[problem.dtype]
    oracle = Oracle(problem, operands, "integers" if is_exact else "normal")
    return _as_pixels(oracle.exact), tuple(_filtered(problem, operands, oracle, entries, pool))


def _filtered(
    problem: ConvProblem, operands: Operands, oracle: Oracle, entries: Sequence[Entry], pool: WorkerPool
) -> Iterator[Filtered]:
    for entry in entries:
        if (reason := entry.backend.unsupported(problem)) is not None:
            yield Filtered(entry.name, Status.UNSUPPORTED, reason)
            continue
        try:
            if error := pool.start([entry]).get(entry.name):
                raise error
            output = pool.request(entry, Check(problem=problem, operands=operands.named())).output
        except WorkerError as error:
            yield Filtered(entry.name, error.status, error.reason)
            continue
        verdict = oracle.judge(entry.backend.arithmetic, output)
        status = Status.OK if verdict.passed else Status.WRONG
        is_shaped = isinstance(output, np.ndarray) and output.shape == problem.output_shape
        pixels = _as_pixels(np.asarray(output, np.float64)) if is_shaped else None
        yield Filtered(entry.name, status, verdict.reason, pixels, verdict)


def _as_pixels(output: NDArray[np.float64]) -> Pixels:
    return np.ascontiguousarray(output[0].transpose(1, 2, 0))
