"""Do convbench's times agree with torch.utils.benchmark's for the same layers?

Ten distinct layers of ResNet-50 on one thread. torch's timer runs in a process of its own, in the environment that
convbench gives its workers (same allocator settings, same thread limits); for each layer it measures before and after
convbench does, so that a drift of the machine does not look like a difference. Prints the ratio per layer and its
median.

    python benchmarks/agreement_with_torch_timer.py [--seconds 0.5] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from statistics import median

from convbench.measurement.engine import Engine
from convbench.measurement.environment import worker_environment
from convbench.measurement.machine import machine_facts
from convbench.measurement.outcome import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.suite import Case, load_suite

LAYERS = 10
TIMER = """
import json, sys
import torch
from torch.nn.functional import conv2d
from torch.utils.benchmark import Timer
torch.set_num_threads(1)
for line in sys.stdin:
    p = json.loads(line)
    x, w = torch.randn(p["x"]), torch.randn(p["w"])
    names = {"conv2d": conv2d, "x": x, "w": w, "s": p["stride"], "p": p["padding"]}
    found = Timer("conv2d(x, w, None, s, p)", globals=names, num_threads=1).blocked_autorange(min_run_time=p["seconds"])
    print(found.median, flush=True)
"""


def distinct_layers() -> list[Case]:
    """Ten of ResNet-50's distinct layers, spread over the network."""
    cases = load_suite("resnet50").cases
    return [cases[round(i * (len(cases) - 1) / (LAYERS - 1))] for i in range(LAYERS)]


class TorchTimer:
    """torch.utils.benchmark in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", TIMER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=worker_environment(1, "steady"),
        )

    def median_s(self, problem: ConvProblem, seconds: float) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        asked = {
            "x": problem.input_shape,
            "w": problem.weight_shape,
            "stride": problem.stride,
            "padding": [side[0] for side in problem.padding],
            "seconds": seconds,
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0.5, help="of torch's timer, before and after convbench")
    parser.add_argument("--repeats", type=int, default=3, help="of it all; the median of each layer counts")
    options = parser.parse_args()
    timer, (entry,) = TorchTimer(), discover().select(["torch"])
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}, 1 thread, steady allocator\n")
    print(f"{'layer':36} {'torch timer ms':>14} {'convbench ms':>13} {'ratio':>7}   ratios of the repeats")
    ratios = []
    with Engine(Settings()) as engine:
        for case in distinct_layers():
            rows = []
            for _ in range(options.repeats):
                before = timer.median_s(case.problem, options.seconds)
                (outcome,) = engine.measure("resnet50", case, [entry])
                after = timer.median_s(case.problem, options.seconds)
                assert outcome.estimate is not None, outcome.reason
                rows.append((outcome.estimate.median / ((before + after) / 2), (before + after) / 2))
            rows.sort()
            ratio, timer_s = rows[len(rows) // 2]
            ratios.append(ratio)
            spread = " ".join(f"{r:.3f}" for r, _ in rows)
            print(f"{case.name:36} {timer_s * 1e3:14.4f} {ratio * timer_s * 1e3:13.4f} {ratio:7.3f}   {spread}")
    off = median(abs(ratio - 1) for ratio in ratios)
    print(f"\nmedian ratio {median(ratios):.3f}; median |ratio - 1| {off:.1%} over {len(ratios)} layers")


if __name__ == "__main__":
    main()
