"""numba-direct against torch on the layers of ResNets, in interleaved rounds of one process.

    python evaluation/engines/numba_against_torch.py [--threads 1 2] [--isa avx2] [--layers 3x3] [--rounds 15]

A round times the fastest of some calls of one, then of the other; the ratio is torch's time over Numba's (above 1:
Numba is faster), as the median of the rounds with their quartiles. Ratios are what to quote: both sides met the same
disturbances. With `--isa avx2` both are held to AVX2.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator

# Without these, torch's buffers go back to the system after every call, and page faults are half of its time.
STEADY_ALLOCATOR = ":".join(
    f"glibc.malloc.{name}" for name in ("hugetlb=1", "trim_threshold=10000000000", "mmap_threshold=10000000000")
)
AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe,+popcnt,+sse4.2",
}
# in_channels, size, out_channels, kernel, stride
LAYERS = (
    (64, 56, 64, 3, 1),
    (128, 28, 128, 3, 1),
    (256, 14, 256, 3, 1),
    (512, 7, 512, 3, 1),
    (64, 56, 256, 1, 1),
    (256, 56, 64, 1, 1),
    (128, 28, 512, 1, 1),
    (1024, 14, 256, 1, 1),
    (512, 7, 2048, 1, 1),
    (2048, 7, 512, 1, 1),
    (64, 56, 128, 3, 2),
    (256, 14, 512, 3, 2),
    (256, 56, 512, 1, 2),
    (3, 224, 64, 7, 2),
)
GROUPED = ((96, 56, 96, 3, 1, 96), (96, 112, 96, 3, 2, 96), (576, 14, 576, 3, 1, 576), (128, 28, 128, 3, 1, 32))


def main() -> None:
    options = _options()
    _start_over_with(AVX2 if options.isa == "avx2" else {})
    for threads in options.threads:
        print(f"{'layer':34} {'threads':>7} {'torch ms':>9} {'numba ms':>9} {'GFLOP/s':>8}  ratio [quartiles]")
        for layer in LAYERS + GROUPED:
            if options.layers in _name(layer):
                print(_line(layer, threads, options.rounds), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--isa", choices=["native", "avx2"], default="native", help="avx2: hold both to AVX2")
    parser.add_argument("--layers", default="", metavar="WORD", help="only layers with this in their line")
    parser.add_argument("--rounds", type=int, default=15)
    return parser.parse_args()


def _start_over_with(environment: dict[str, str]) -> None:
    """Run this script anew with what has to be in the environment before Python starts."""
    wanted = {"GLIBC_TUNABLES": STEADY_ALLOCATOR, **environment}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def _name(layer: tuple[int, ...]) -> str:
    channels, size, out, kernel, stride, groups = (*layer, 1)[:6]
    group_words = f" groups {groups}" if groups > 1 else ""
    return f"{channels}->{out} {kernel}x{kernel} s{stride} at {size}x{size}{group_words}"


def _line(layer: tuple[int, ...], threads: int, rounds: int) -> str:
    torch_call, numba_call, flops = _calls(layer, threads)
    times = list(_rounds([torch_call, numba_call], rounds))
    ratios = [torch_s / numba_s for torch_s, numba_s in times]
    torch_s, numba_s = (statistics.median(column) for column in zip(*times, strict=True))
    low, ratio, high = statistics.quantiles(ratios, n=4)
    return (
        f"{_name(layer):34} {threads:7} {torch_s * 1e3:9.3f} {numba_s * 1e3:9.3f} {flops / numba_s / 1e9:8.1f}"
        f"  {ratio:.3f} [{low:.3f}, {high:.3f}]"
    )


def _calls(layer: tuple[int, ...], threads: int) -> tuple[Callable[[], object], Callable[[], object], int]:
    import numba  # noqa: F401 - or limit_threads would set what Numba reads when it is imported, once and for all
    import numpy as np
    import torch
    from convbench.backends.numba import BACKENDS

    from convbench import ConvProblem

    channels, size, out, kernel, stride, groups = (*layer, 1)[:6]
    problem = ConvProblem(
        in_channels=channels,
        height=size,
        width=size,
        out_channels=out,
        kernel_size=kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
    )
    random = np.random.default_rng(0)
    x = random.standard_normal(problem.input_shape, np.float32)
    w = random.standard_normal(problem.weight_shape, np.float32)
    BACKENDS[0].limit_threads(threads)
    ready = BACKENDS[0].prepare(problem, x, w, None)
    ready.run()
    torch.set_num_threads(threads)  # last: starting Numba's threads sets how many OpenMP uses, for torch as well
    tensors = torch.from_numpy(x), torch.from_numpy(w)

    def torch_call() -> torch.Tensor:
        with torch.inference_mode():
            return torch.nn.functional.conv2d(*tensors, stride=stride, padding=kernel // 2, groups=groups)

    error = abs(torch_call().numpy() - ready.to_numpy(ready.run())).max()
    assert error < 1e-5 * problem.reduction_length, f"the answers differ by {error}"
    return torch_call, ready.run, problem.flops


def _rounds(calls: list[Callable[[], object]], rounds: int) -> Iterator[list[float]]:
    """Per round, the least seconds of a call of each: on a shared machine the rest is what others did meanwhile."""
    for _ in range(rounds):
        least = []
        for call in calls:
            samples = []
            time.sleep(0.02)  # a library's idle threads spin for some milliseconds, on cores that the other needs
            for _ in range(20):
                start = time.perf_counter()
                call()
                samples.append(time.perf_counter() - start)
            least.append(min(samples))
        yield least


if __name__ == "__main__":
    main()
