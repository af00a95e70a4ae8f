"""What does asking which kernel ran cost the times? The same calls in one process, before it is asked and after.

    python evaluation/overhead/implementation_cost.py [--backend torch] [--layers 20] [--sessions 10] [--block-s 0.3]

For each layer of zoo-100 that is drawn there are two fresh processes, in turns the one and the other first. Each
prepares the backend, warms up, times a block of calls, and another block of the same calls. Between the blocks one of
them says which kernel ran, and the other does nothing. Whatever asking leaves behind in a process is in the times of
the second block; where memory lies is the same in both. Printed is by how much the second block is slower, asked over
not asked: the median over layers and sessions, with the interval that its order statistics give, which holds whatever
the distribution is.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
from statistics import median
from time import perf_counter

from convbench.backend import Ready
from convbench.measurement.machine.facts import machine_facts
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.stats.estimates import estimate_median
from convbench.suite import Case, load_suite
from convbench.verification.operands import normal_operands

MOST_FLOPS = 2e8


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--block-s", type=float, default=0.3, help="seconds of calls before and after")
    parser.add_argument("--of", nargs=2, metavar=("PROBLEM", "WHETHER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of is not None:
        problem, whether = options.of
        print(
            json.dumps(slower_after(options.backend, ConvProblem.parse(problem), whether == "asked", options.block_s))
        )
        return
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}; {options.backend}, {options.layers} layers")
    small = [case for case in load_suite("zoo-100").cases if case.problem.flops < MOST_FLOPS]
    cases = random.Random(0).sample(small, min(options.layers, len(small)))
    logs = [log for number in range(options.sessions) for log in _session(number, cases, options)]
    estimate = estimate_median(logs)
    ratio, low, high = map(math.exp, (estimate.value, estimate.low, estimate.high))
    print(f"asked over not asked, of {len(logs)} pairs: {ratio:.5f}  [{low:.5f}, {high:.5f}]")


def slower_after(backend: str, problem: ConvProblem, asked: bool, block_s: float) -> tuple[float, str | None]:
    """The logarithm of the second block's time over the first's, and what the backend said between them."""
    (entry,) = discover([]).select([backend])
    entry.backend.limit_threads(1)
    ready = normal_operands(problem, 0).prepared_by(entry.backend, problem)
    _call_s(ready, block_s)
    before = _call_s(ready, block_s)
    said = (ready.explain() if ready.explain else ready.kernel) if asked else None
    return math.log(_call_s(ready, block_s) / before), said


def _call_s(ready: Ready, block_s: float) -> float:
    """The median time of a call, with calls made for `block_s` seconds."""
    times, end = [], perf_counter() + block_s
    while (start := perf_counter()) < end:
        ready.run()
        ready.sync()
        times.append(perf_counter() - start)
    return median(times)


def _session(number: int, cases: list[Case], options: argparse.Namespace) -> list[float]:
    """By how much more the second block is slower in a process that is asked, as a logarithm, for each layer."""
    logs, named = [], 0
    for place, case in enumerate(cases):
        slower = {}
        for whether in ("asked", "silent") if (number + place) % 2 else ("silent", "asked"):
            command = [sys.executable, __file__, "--backend", options.backend, "--block-s", str(options.block_s)]
            printed = subprocess.run(
                [*command, "--of", case.problem.case_id, whether], check=True, capture_output=True, text=True
            ).stdout
            slower[whether], said = json.loads(printed.splitlines()[-1])
            named += said is not None
        logs.append(slower["asked"] - slower["silent"])
    print(f"{len(logs)} layers, a kernel named for {named}: {math.exp(median(logs)):.5f} in the median", flush=True)
    return logs


if __name__ == "__main__":
    main()
