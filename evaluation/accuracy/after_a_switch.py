"""How slow is a call so long after another process had the core? The start-up transient of each backend.

Each backend loops on a layer in a process of its own, with the environment and the core of a worker. They are visited
in turn, in an order shuffled anew, for 128 ms each. Printed is the median time of the calls in each span after the
switch, over the median of the last half of the visit.

    python evaluation/accuracy/after_a_switch.py [--backend NAME ...] [--layer CASE_ID ...] [--visits 14]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import warnings
from itertools import pairwise

import numpy as np
from steady_loop import on_one_core

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.workers.process_environment import worker_environment
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.verification.operands import normal_operands

BACKENDS = ("torch", "torch-channels-last", "jax", "numba-direct", "numpy-gemm")
LAYERS = ("n1c8h28w28_o8k3_p1", "n1c128h7w7_o128k3_p1", "n1c64h28w28_o64k1", "n1c64h56w56_o64k3_p1")
VISIT_S = 0.128
SPANS_S = (0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, VISIT_S / 2)


def answer(backend_name: str, layer: str) -> None:
    """In a process of its own: for each line that comes in, when each call of a visit ended and how long it took."""
    (entry,) = discover().select([backend_name])
    entry.backend.limit_threads(1)
    problem = ConvProblem.parse(layer)
    operands = normal_operands(problem, 0)
    ready = entry.backend.prepare(problem, operands.x, operands.w, operands.b)
    for _ in sys.stdin:
        calls: list[tuple[float, float]] = []
        start = now = time.perf_counter()
        while now - start < VISIT_S:
            ready.run()
            ready.sync()
            before, now = now, time.perf_counter()
            calls.append((now - start, now - before))
        print(json.dumps(calls), flush=True)


def over_the_last_half(calls: list[tuple[float, float]]) -> list[float]:
    """The median call of each span over that of the last half; NaN for a span in which no call ended."""
    ends, times = np.array(calls).T
    level = np.median(times[ends > VISIT_S / 2])
    spans = [times[(low < ends) & (ends <= high)] for low, high in pairwise(SPANS_S)]
    return [float(np.median(span) / level) if span.size else float("nan") for span in spans]


def curves(backends: list[str], layer: str, visits: int) -> dict[str, np.ndarray]:
    processes = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--answer", name, "--layer", layer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=worker_environment(1, "steady"),
            preexec_fn=on_one_core,
        )
        for name in backends
    }
    seen: dict[str, list[list[float]]] = {name: [] for name in backends}
    for visit in range(visits + 1):  # the first compiles
        for name in random.sample(backends, len(backends)):
            process = processes[name]
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            calls = json.loads(process.stdout.readline())
            if visit:
                seen[name].append(over_the_last_half(calls))
    for process in processes.values():
        process.kill()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # spans in which no call of any visit ended
        return {name: np.nanmedian(np.array(found), axis=0) for name, found in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", action="append", help="may be repeated")
    parser.add_argument("--layer", action="append", help="may be repeated")
    parser.add_argument("--visits", type=int, default=14)
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer(options.answer, options.layer[0])
        return
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['os']}, 1 thread; a call over the last half of visits of {VISIT_S * 1e3:.0f} ms\n")
    print(f"{'up to ms after the switch':<30}" + "".join(f"{span * 1e3:>8g}" for span in SPANS_S[1:]))
    for layer in options.layer or LAYERS:
        print(layer)
        for name, curve in curves(options.backend or list(BACKENDS), layer, options.visits).items():
            print(f"  {name:<28}" + "".join("       -" if np.isnan(v) else f"{v:>8.3f}" for v in curve))


if __name__ == "__main__":
    main()
