"""What it saves to compute an epilogue in the store of the convolution: fused against two steps, and against none.

For each layer, by turns in one process: numba-direct with the epilogue in registers, the same convolution with NumPy's
epilogue in place after it (as numba-direct did before), and the bare convolution. One thread, the steady allocator,
operands warm in the caches. Printed are milliseconds a call, as medians over rounds, and the ratio of two steps to one
with the 95 % interval of its median.

    python evaluation/engines/fused_against_apart.py [--rounds 15]

Needs numba. Some 20 seconds. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

from convbench.backends._numpy.fused import ended
from convbench.backends.numba import NumbaDirect

from convbench.measurement.machine.affinity import cores_here, move_here
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.sampling.sample import SamplingPlan, take_apart
from convbench.measurement.workers.process_environment import worker_environment
from convbench.problem import ConvProblem
from convbench.stats.estimates import estimate_median
from convbench.verification.operands import normal_operands

LAYERS = (
    "n1c64h56w56_o64k1_bias_relu",
    "n1c64h56w56_o256k1_bias_add_relu",
    "n1c256h14w14_o1024k1_bias_add_relu",
    "n1c512h7w7_o512k3_p1_bias_relu",
    "n1c96h112w112_o96k3_s2_p1_g96_bias_relu6",
    "n1c32h112w112_o32k3_p1_g32_bias_silu",
    "n1c240h28w28_o240k3_p1_g240_bias_hswish",
    "n1c64h56w56_o64k3_p1_bias_gelutanh",
)
_CALLS = SamplingPlan(5, 1)


def calls_of(problem: ConvProblem) -> dict[str, Callable[[], Any]]:
    backend, operands, epilogue = NumbaDirect(), normal_operands(problem, 0), problem.epilogue
    assert epilogue is not None
    fused = operands.prepared_by(backend, problem).run
    bare = backend.prepare(problem.replace(epilogue=None), operands.x, operands.w, operands.b).run
    return {"fused": fused, "apart": lambda: ended(epilogue, bare(), operands.r), "bare": bare}


def measured(problem: ConvProblem, rounds: int) -> dict[str, list[float]]:
    calls, order = calls_of(problem), random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name in order.sample(list(calls), len(calls)):
            walls_s = take_apart(calls[name], lambda: None, _CALLS, lambda: None)[1][_CALLS.discarded :]
            if number:  # the first round warms everything up
                seconds[name].append(median(walls_s))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    if os.environ.get("FUSED_AGAINST_APART") is None:  # the allocator's settings are read when a process starts
        environment = worker_environment(1, "steady") | {"FUSED_AGAINST_APART": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    NumbaDirect().limit_threads(1)
    move_here(cores_here("auto", 1))
    print(f"{machine_facts()['cpu']}, one thread, {arguments.rounds} rounds; ms a call")
    print(f"{'layer':<42} {'bare':>7} {'fused':>7} {'apart':>7}   apart / fused")
    for text in LAYERS:
        seconds = measured(ConvProblem.parse(text), arguments.rounds)
        ratio = estimate_median([a / f for a, f in zip(seconds["apart"], seconds["fused"], strict=True)])
        cells = " ".join(f"{median(seconds[name]) * 1e3:7.3f}" for name in ("bare", "fused", "apart"))
        print(f"{text:<42} {cells}   {ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]", flush=True)


if __name__ == "__main__":
    main()
