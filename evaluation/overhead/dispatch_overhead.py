"""What `convbench.conv2d` and `convbench.Conv2d` add to a direct call of the chosen backend.

    python evaluation/overhead/dispatch_overhead.py

The first table is for a backend that computes nothing, so only the dispatch remains. The second is for real ones on a
small layer, called directly with the prepared input (`Ready.run`) and with another (`Ready.on`). The ways alternate in
rounds; the added time is the median of the rounds' differences, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import convbench
from convbench.backend import Backend
from convbench.measurement.machine.facts import machine_facts
from convbench.plans.plan import Choice, Plan
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.stats.estimates import estimate_median

SAMPLE_S = 2e-3
NOTHING = """
from convbench.backend import Backend, Ready, WHOLE_OF_CONV2D

class Nothing(Backend):
    name, supports, thread_safe = "nothing", WHOLE_OF_CONV2D, True

    def prepare(self, problem, x, w, b):
        import numpy as np
        out = np.zeros(problem.output_shape, x.dtype)
        return Ready(lambda: out, on={"numpy": lambda x: out})

BACKENDS = (Nothing(),)
"""


def plan_for(problem: ConvProblem, backend: str) -> Plan:
    choice = Choice(case_id=problem.case_id, backend=backend, basis="measured", call_s=1, low_s=1, high_s=1)
    cpu = machine_facts()["cpu"]
    return Plan(machine="here", cpu=cpu, threads=1, made="2026-01-01T00:00:00+00:00", choices=(choice,))


def ways(problem: ConvProblem, backend: Backend, plugins: tuple[str, ...]) -> dict[str, Callable[[], Any]]:
    """Each way of computing `problem`, the direct call first."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, np.float32) for shape in (problem.input_shape, problem.weight_shape))
    ready, on = backend.prepare(problem, x, w, None), backend.prepare(problem, x, w, None).on["numpy"]
    plan = plan_for(problem, backend.name)
    words: dict[str, Any] = {"stride": problem.stride, "padding": problem.padding, "plan": plan, "plugins": plugins}
    locked = w.copy()
    locked.flags.writeable = False
    conv, conv2d = convbench.Conv2d(w, **words), convbench.conv2d
    return {
        "directly, the input on": lambda: on(x),
        "directly, the input bound": ready.run,
        "Conv2d": lambda: conv(x),
        "conv2d, weight read-only": lambda: conv2d(x, locked, **words),
        "conv2d, weight compared": lambda: conv2d(x, w, **words),
    }


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds per call of each way, an element per round."""
    repeats = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        for _ in range(20):
            call()
        repeats[name] = max(1, round(SAMPLE_S / ((time.perf_counter() - start) / 20)))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            call, repeat = calls[name], range(repeats[name])
            start = time.perf_counter()
            for _ in repeat:
                call()
            taken[name].append((time.perf_counter() - start) / len(repeat))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--backend", action="append", help="by default torch, torch-packed, onnxruntime, numba-direct")
    options = parser.parse_args()
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"{machine_facts()['cpu']}, Python {python}, {options.rounds} rounds\n")
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder, "nothing.py")
        plugin.write_text(NOTHING, encoding="utf-8")
        print(f"{'backend':14s} {'way':27s} {'us a call':>10s}   {'added, us':>9s}   95 % interval")
        wanted = ["nothing", *(options.backend or ["torch", "torch-packed", "onnxruntime", "numba-direct"])]
        for entry in discover([plugin]):
            if entry.name in wanted and entry.unavailable() is None:
                plugins = (str(plugin),) if entry.name == "nothing" else ()
                small = "n1c1h1w1_o1k1" if entry.name == "nothing" else "n1c32h14w14_o32k3_p1"
                entry.backend.limit_threads(1)
                report(entry.name, interleaved(ways(ConvProblem.parse(small), entry.backend, plugins), options.rounds))


def report(name: str, taken: Mapping[str, list[float]]) -> None:
    direct = next(iter(taken.values()))
    for way, seconds in taken.items():
        line = f"{name:14s} {way:27s} {estimate_median(seconds).median * 1e6:10.3f}"
        if seconds is not direct:
            added = estimate_median([a - b for a, b in zip(seconds, direct, strict=True)])
            line += f"   {added.median * 1e6:+9.3f}   [{added.low * 1e6:+.3f}, {added.high * 1e6:+.3f}]"
        print(line)


if __name__ == "__main__":
    main()
