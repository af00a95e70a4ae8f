"""Which backends clamp sums of two products of 8 bits to 16 bits on this CPU: the largest pairs, and pairs that fit.

    python evaluation/engines/saturating_pairs.py [--backend 'onnxruntime*' ...]
    ONEDNN_MAX_CPU_ISA=AVX2 python evaluation/engines/saturating_pairs.py --backend onednn openvino
    qemu-x86_64 -cpu Haswell python evaluation/engines/saturating_pairs.py --backend 'onnxruntime*'

Every input is the largest number of its format, and every weight 126 or 62, which are even because some libraries
halve them. The last command has a CPU without VNNI emulated, for libraries that pick their kernels by the CPU alone. It
prints the answers, and the exact numbers before they are rounded. Leaves with 1 where weights of 62 are answered wrong.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase

import numpy as np

from convbench.backend import Backend
from convbench.problem import ConvProblem, Scales
from convbench.problem.quantization import LIMITS
from convbench.registry import Entry, discover

LAYERS = (
    "n1c2h1w1_o8k1",
    "n1c16h4w4_o16k1",
    "n1c16h6w6_o16k3",
    "n1c16h6w6_o16k3_g16",
)
FORMATS = ("u8s8u8", "s8s8s8")
WEIGHTS = (126, 62)


def answer(backend: Backend, problem: ConvProblem, weight: int) -> tuple[set[int], float]:
    """The integers that all elements have, and the exact number."""
    q = problem.quantization
    assert q is not None
    largest, limit = LIMITS[q.input][1], LIMITS[q.result][1]
    exact = problem.reduction_length * largest * weight
    y_scale = 2.0 ** math.ceil(math.log2(exact / (0.8 * limit)))
    zeros = np.zeros(problem.out_channels, np.int8)
    scales = Scales(x_scale=1.0, x_zero=0, w_scale=zeros + np.float32(1), w_zero=zeros, y_scale=y_scale, y_zero=0)
    x = np.full(problem.operand_shapes["x"], largest, q.dtypes["x"])
    w = np.full(problem.operand_shapes["w"], weight, np.int8)
    ready = backend.prepare_quantized(problem, x, w, None, scales)
    return set(np.unique(ready.to_numpy(ready.run())).tolist()), exact / y_scale


def lines(backend: Backend) -> Iterator[tuple[str, bool]]:
    """A line for each layer and format, and whether weights of 62 gave a right answer."""
    for case in (f"{layer}_{formats}" for layer in LAYERS for formats in FORMATS):
        problem = ConvProblem.from_case_id(case)
        if backend.unsupported(problem) is not None:
            continue
        (large, exact), (small, exact_small) = (answer(backend, problem, weight) for weight in WEIGHTS)
        right = _nearest(large, exact)
        word = "exact" if right else "clamped"
        answers = f"{sorted(large)} of {exact:.2f}; {sorted(small)} of {exact_small:.2f}"
        yield f"{backend.name:24} {case:30} {word:8} {answers}", _nearest(small, exact_small)


def _nearest(answers: set[int], exact: float) -> bool:
    return all(abs(each - exact) <= 0.5 for each in answers)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backend", nargs="+", default=["*"])
    options = parser.parse_args()
    all_right = True
    for entry in discover():
        if not isinstance(entry, Entry) or not any(fnmatchcase(entry.name, glob) for glob in options.backend):
            continue
        if entry.backend.supports.quantized is None or entry.unavailable() is not None:
            continue
        entry.backend.limit_threads(1)
        for line, right in lines(entry.backend):
            print(line, flush=True)
            all_right &= right
    return 0 if all_right else 1


if __name__ == "__main__":
    sys.exit(main())
