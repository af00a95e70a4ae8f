"""Brings the caches, before each timed call, into the state that is asked for: cold, or as in a pass through a model.

In a pass the layer's input was written by the layer before, so that as much of it as fits is in the caches. The memory
of its output was in use a few layers ago, because allocators and engines use the same memory over and over. The
library's own code ran just now. The weights, and whatever the library made of them, were last read one pass ago: since
then all other weights went through the caches. So before each call

1. as much other memory as a pass touches is read,
2. the library computes a small layer, which brings back its code and its scratch memory,
3. memory of the output's size is allocated, written and given back,
4. the input is written again (`Ready.touch`),
5. the library computes a layer that is too small to displace the input.

In convolutions of ResNet-50 and MobileNet v2 within real passes, each step brings the sum over layers closer to them
(`evaluation/accuracy/pass_adds_up.py`). Memory is read and not written, because most of it is weights; what is written
would have to leave the caches during the timed call.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Backend, Ready, touching
from convbench.problem import ConvProblem, Dtype, Quantization
from convbench.verification.quantized.data import typical_operands

_NEIGHBOURS = (
    ConvProblem(batch=1, in_channels=64, height=28, width=28, out_channels=64, kernel_size=3, padding=1),
    ConvProblem(batch=1, in_channels=16, height=8, width=8, out_channels=16, kernel_size=3, padding=1),
)
"""The small layers: the first moves half a megabyte, the second fits into a first-level cache."""


class CacheState:
    """The buffer that evicts, and the small layers of one backend; both are made when first needed and kept."""

    def __init__(self) -> None:
        self._buffer: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._neighbours: dict[tuple[Dtype, Quantization | None], tuple[Ready, ...]] = {}

    def reserve(self, size: int) -> None:
        """Allocate the buffer of `size` bytes now, or give it back if that is 0."""
        self._of_size(size)

    def cold(self, size: int) -> Callable[[], None]:
        """A function that writes a buffer of `size` bytes, which drives everything else out of the caches."""
        buffer = self._of_size(size)

        def empty() -> None:
            np.add(buffer, 1, out=buffer)

        return empty

    def as_in_pass(
        self, backend: Backend, problem: ConvProblem, ready: Ready, x: NDArray[Any], size: int
    ) -> Callable[[], None]:
        """A function that leaves the caches as a pass does that touches `size` bytes before it comes to `problem`,
        which is `ready` for the input `x`."""
        read = self._of_size(size)[: size // 8 * 8].view(np.uint64)
        touch = ready.touch or touching(x)
        neighbours = self._neighbours_of(backend, problem, x.dtype)
        before, after = neighbours[:1], neighbours[1:]
        itemsize = x.itemsize if problem.quantization is None else problem.quantization.itemsizes_bytes["y"]
        output_bytes = prod(problem.result_shape) * itemsize

        def pass_by() -> None:
            if read.size:
                read.max()
            _call(before)
            np.empty(output_bytes, np.uint8).fill(0)
            touch()
            _call(after)

        return pass_by

    def _of_size(self, size: int) -> NDArray[np.uint8]:
        if self._buffer.nbytes != size:
            self._buffer = np.ones(size, np.uint8)  # not zeros: memory that was never written is one page for all
        return self._buffer

    def _neighbours_of(self, backend: Backend, problem: ConvProblem, in_numpy: np.dtype[Any]) -> tuple[Ready, ...]:
        numbers = problem.dtype, problem.quantization
        if numbers not in self._neighbours:
            self._neighbours[numbers] = _prepared(backend, *numbers, in_numpy)
        return self._neighbours[numbers]


def _prepared(
    backend: Backend, dtype: Dtype, quantization: Quantization | None, in_numpy: np.dtype[Any]
) -> tuple[Ready, ...]:
    """The small layers in these numbers, called once; none for a backend that does not compute them."""
    ready: list[Ready] = []
    try:
        for problem in (n.replace(dtype=dtype, quantization=quantization) for n in _NEIGHBOURS):
            if backend.unsupported(problem) is not None:
                return ()
            if quantization is not None:
                ready.append(typical_operands(problem, seed=0).prepared_by(backend, problem))
            else:
                x, w = (np.ones(shape, in_numpy) for shape in (problem.input_shape, problem.weight_shape))
                ready.append(backend.prepare(problem, x, w, None))
            _call(ready)
    except Exception:  # the layer in question is prepared already, and is not to fail for another one
        return ()
    return tuple(ready)


def _call(layers: tuple[Ready, ...] | list[Ready]) -> None:
    for layer in layers:
        layer.run()
        layer.sync()
