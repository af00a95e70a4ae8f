"""Is a process of torch slow because of where its data lie, or because of where its compiled kernel lies?

Fresh processes compute one layer by turns, each on the core and with the allocator of a worker. Those that stay slower
than the median of all by more than 5 % try again: with the input, the weights and both copied to other memory, with the
output displaced, and on a layer of one more row, for which oneDNN compiles another kernel.

    python evaluation/accuracy/process_luck.py [--processes 20] [--repeats 3] [--problem CASE_ID]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from steady_loop import on_one_core

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.workers.process_environment import worker_environment
from convbench.problem import ConvProblem

SLOW, TURNS, TURN_S = 1.05, 4, 0.06
CHANGES = ("nothing", "input moved", "weights moved", "both moved", "output moved", "another kernel")


def answer(case_id: str) -> None:
    """In a process of its own: for each name of a change that comes in, the seconds of a call after it."""
    import torch

    torch.set_num_threads(1)
    problem = ConvProblem.parse(case_id)
    x, w = torch.randn(problem.input_shape), torch.randn(problem.weight_shape)
    options: dict[str, Any] = {"stride": problem.stride, "padding": [sides[0] for sides in problem.padding]}
    kept: list[Any] = []

    def call_s(x: Any, w: Any) -> float:
        conv: Callable[[], Any] = lambda: torch.nn.functional.conv2d(x, w, **options, groups=problem.groups)  # noqa: E731
        times: list[float] = []
        start = time.perf_counter()
        with torch.inference_mode():
            while time.perf_counter() - start < TURN_S:
                begin = time.perf_counter()
                conv()
                times.append(time.perf_counter() - begin)
        return float(np.quantile(times[len(times) // 3 :], 0.2))  # a busy neighbour moves a low quantile least

    for line in sys.stdin:
        change = line.strip()
        if change == "output moved":
            kept += [torch.empty(problem.output_shape) for _ in range(3)]
        copied_x = x.clone() if change in ("input moved", "both moved") else x
        copied_w = w.clone() if change in ("weights moved", "both moved") else w
        if change == "another kernel":
            copied_x = torch.randn(problem.batch, problem.in_channels, problem.height + 1, problem.width)
        print(json.dumps(call_s(copied_x, copied_w)), flush=True)


def ask(process: subprocess.Popen[str], change: str) -> float:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(change + "\n")
    process.stdin.flush()
    return float(json.loads(process.stdout.readline()))


def slow_ones(case_id: str, count: int) -> list[Mapping[str, float]]:
    """For each of `count` fresh processes that is slow, its time after each change over the median of all."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--answer", "--problem", case_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=worker_environment(1, "steady"),
            preexec_fn=on_one_core,
        )
        for _ in range(count)
    ]
    turns = [[ask(process, "nothing") for process in processes] for _ in range(TURNS)]
    medians = np.median(turns[1:], axis=0)
    level = float(np.median(medians))
    slow = [process for process, own in zip(processes, medians, strict=True) if own > SLOW * level]
    found = [{change: ask(process, change) / level for change in CHANGES} for process in slow]
    for process in processes:
        process.kill()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=20, help="that are alive together")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--problem", default="n1c32h100w100_o32k3_p1")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer(options.problem)
        return
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['os']}, torch on {options.problem}, 1 thread; over the median of all processes\n")
    print("".join(f"{change:>16}" for change in CHANGES))
    slow = 0
    for _ in range(options.repeats):
        for times in slow_ones(options.problem, options.processes):
            slow += 1
            print("".join(f"{times[change]:>16.3f}" for change in CHANGES), flush=True)
    print(f"\n{slow} of {options.repeats * options.processes} processes stay slower than the median by more than 5 %")


if __name__ == "__main__":
    main()
