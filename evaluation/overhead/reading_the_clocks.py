"""What reading the clocks of a sample costs, right after a convolution and immediately again.

A convolution leaves little else in the caches, so the first reading after it is slow. The clock that is read last
includes the reading of the others in its time. Prints the medians.

    python evaluation/overhead/reading_the_clocks.py [--calls 500]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch.nn.functional import conv2d

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.sampling.sample import system_clock


def reading_us(read: Callable[[], object], call: Callable[[], object], calls: int) -> tuple[float, float]:
    """Microseconds of `read` right after `call`, and of the same once more; medians."""
    first, again = [], []
    for _ in range(calls):
        call()
        start = time.perf_counter()
        read()
        first.append(time.perf_counter() - start)
        start = time.perf_counter()
        read()
        again.append(time.perf_counter() - start)
    return median(first) * 1e6, median(again) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    x, w = torch.randn(1, 64, 56, 56), torch.randn(64, 64, 3, 3)
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}, torch on n1c64h56w56_o64k3_p1, 1 thread\n")
    print(f"{'':24}{'after a call us':>16}{'once more us':>14}")
    for name, read in (("the wall clock alone", time.perf_counter), ("all clocks of a sample", system_clock)):
        first, again = reading_us(read, lambda: conv2d(x, w, None, 1, 1), options.calls)
        print(f"{name:24}{first:16.1f}{again:14.1f}")


if __name__ == "__main__":
    main()
