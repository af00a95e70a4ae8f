"""What a backend returns when it is prepared: `Ready`, and the `Instruments` that devices such as GPUs have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Arrays = Literal["numpy", "torch"]


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
    """A training step that calls its prepared parts one after the other, which share nothing. A part that computes
    several results gives them as a tuple, in their order."""
    runs, syncs = [part.run for part in parts], [part.sync for part in parts]
    touches = [part.touch for part in reversed(parts) if part.touch is not None]  # the input last, as it is read first

    def each(actions: Iterable[Callable[[], Any]]) -> None:
        for act in actions:
            act()

    def to_numpy(outputs: list[Any]) -> tuple[Any, ...]:
        answers = [part.to_numpy(output) for part, output in zip(parts, outputs, strict=True)]
        return tuple(chain.from_iterable(each if isinstance(each, tuple) else (each,) for each in answers))

    return Ready(
        lambda: [run() for run in runs],
        lambda: each(syncs),
        to_numpy,
        instruments=parts[0].instruments,
        touch=(lambda: each(touches)) if touches else None,
    )
