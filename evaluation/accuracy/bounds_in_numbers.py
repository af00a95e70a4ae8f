"""The bounds of docs/bounds.md in numbers: their size, what a right answer uses of them, what they let through.

    python evaluation/accuracy/bounds_in_numbers.py

Right answers come from NumPy, by matrix products in float32. One fault leaves one product out of every sum, the
smallest fault that an indexing loop can have. The other secretly rounds the operands.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from convbench.backend import Arithmetic
from convbench.problem import DTYPES, ConvProblem
from convbench.registry import discover
from convbench.verification.bounds import LARGEST_EXACT_INTEGER, UNIT_ROUNDOFF, error_bound, gamma
from convbench.verification.exact_integers import exact_magnitude
from convbench.verification.oracle import Oracle, oracle_for
from convbench.verification.question import Question

GEMM = Arithmetic("gemm")
CHANNELS = (3, 16, 64, 256, 1024)


def main() -> None:
    precisions()
    sums()
    faults()
    formats()
    algorithms()


def precisions() -> None:
    print("precision  unit roundoff u  holds every integer to")
    for precision, u in UNIT_ROUNDOFF.items():
        print(f"{precision:<9}{u:>17.3g}{LARGEST_EXACT_INTEGER[precision]:>24,}")


def sums() -> None:
    print(
        "\nfloat32, 8 filters of 3x3 on an image of 12x12, sums of K products; error/bound: the largest of an output\n"
    )
    print("    K    gamma_K  largest a  error/bound of a right answer")
    for problem in problems():
        normal = oracle_for(Question(problem=problem, values="normal"), GEMM)
        k, right = problem.reduction_length, normal.judge(GEMM, computed(normal))
        allowed = gamma(k, UNIT_ROUNDOFF["float32"])
        print(f"{k:>5}{allowed:>11.2g}{exact_magnitude(problem, GEMM):>11,}{right.error_over_bound:>31.2g}")


def faults() -> None:
    for told, fault in (("one product of every sum left out", one_product_less), ("operands rounded to tf32", in_tf32)):
        print(f"\n{told}: which checks pass\n")
        print("    K  error/bound   bound  integers  one-tap  allclose 1e-4  allclose 1e-2")
        for problem in problems():
            normal, integers, one_tap = (
                oracle_for(Question(problem=problem, values=values), GEMM)
                for values in ("normal", "integers", "one-tap")
            )
            faulty = fault(normal)
            verdict = normal.judge(GEMM, faulty)
            passed = (
                verdict.passed,
                integers.judge(GEMM, fault(integers)).passed,
                one_tap.judge(GEMM, fault(one_tap)).passed,
                *(np.allclose(faulty, normal.exact, rtol=tolerance, atol=tolerance) for tolerance in (1e-4, 1e-2)),
            )
            words = zip(("passes" if yes else "-" for yes in passed), (8, 10, 9, 15, 15), strict=True)
            cells = "".join(f"{word:>{width}}" for word, width in words)
            print(f"{problem.reduction_length:>5}{verdict.error_over_bound:>13.2g}{cells}")


def problems() -> list[ConvProblem]:
    """Of growing sums."""
    return [ConvProblem(in_channels=c, height=12, width=12, out_channels=8, kernel_size=3) for c in CHANNELS]


def formats() -> None:
    print("\nthe bound as a share of the output, where |y| = S / 4 and K = 576, and how large integers may be\n")
    print("dtype     sums in  bound / |y|  largest a")
    problem = ConvProblem(in_channels=64, height=12, width=12, out_channels=8, kernel_size=3)
    for dtype in DTYPES:
        asked = problem.replace(dtype=dtype)
        print(
            f"{dtype:<10}{GEMM.accumulate_precision(dtype):<8}{relative_bound(asked, GEMM):>12.2g}"
            f"{exact_magnitude(asked, GEMM):>11,}"
        )


def algorithms() -> None:
    print("\nthe same in float32 by what a backend declares\n")
    print("declares                                  bound / |y|  largest a")
    problem = ConvProblem(in_channels=64, height=12, width=12, out_channels=8, kernel_size=3, padding=1)
    for words, arithmetic in {
        "direct or gemm": GEMM,
        "winograd or auto": Arithmetic("winograd"),
        "fft": Arithmetic("fft"),
        "direct, operands in tf32": replace(GEMM, operand="tf32"),
        "direct, operands and results in bfloat16": replace(GEMM, operand="bfloat16", output="bfloat16"),
        "direct, sums in float16": replace(GEMM, accumulate="float16"),
    }.items():
        print(f"{words:<42}{relative_bound(problem, arithmetic):>11.2g}{exact_magnitude(problem, arithmetic):>11,}")


def computed(key: Oracle) -> np.ndarray:
    """NumPy's answer."""
    [backend] = [e.backend for e in discover(entry_points=False) if e.name == "numpy-gemm"]
    ready = backend.prepare(key.problem, key.operands.x, key.operands.w, key.operands.b)
    return ready.to_numpy(ready.run())


def one_product_less(key: Oracle) -> np.ndarray:
    """The answer without the last tap of the last channel."""
    w = key.operands.w.copy()
    w[:, -1, -1, -1] = 0
    return computed(Oracle(key.problem, replace(key.operands, w=w), key.values))


def in_tf32(key: Oracle) -> np.ndarray:
    """The answer for operands cut to the 10 bits that tensor cores keep of a float32's fraction, rounded."""
    cut = {name: _rounded_to_tf32(getattr(key.operands, name)) for name in ("x", "w")}
    return computed(Oracle(key.problem, replace(key.operands, **cut), key.values))


def _rounded_to_tf32(array: np.ndarray) -> np.ndarray:
    return ((array.view(np.uint32) + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)


def relative_bound(problem: ConvProblem, arithmetic: Arithmetic) -> float:
    """The median over the outputs of (bound / S), times 4."""
    key = oracle_for(Question(problem=problem, values="positive"), arithmetic)
    found = error_bound(problem, arithmetic, key.magnitudes / 4, key.magnitudes, key.operands.x, key.operands.w)
    return float(np.median(found / key.magnitudes)) * 4


if __name__ == "__main__":
    main()
