"""Whether convbench's times of gradients agree with those of torch.utils.benchmark for the same layers.

Ten distinct layers of ResNet-50 on one thread, in both gradients, as autograd calls them: the operator
`convolution_backward` with one result asked for. In the environment of convbench's workers, in two ways:

* The same callable in the same process, with the two timers by turns. The differences come from the timing alone.
* Each timer as intended, in equally many processes of its own, half of torch's before convbench's and half after.

Prints the ratio for each layer and the medians.

    python evaluation/accuracy/gradients_against_torch_timer.py [--rounds 60] [--seconds 0.3] [--processes 4]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

from agreement_with_torch_timer import by_convbench, distinct_layers, told

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.measurement.workers.process_environment import worker_environment
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.suite import Case

_DIRECTIONS = ("input_gradient", "weight_gradient")
_CALL = """
import json, random, sys
import torch
from torch.utils.benchmark import Timer
from convbench.measurement.sampling.sample import calibrate, take_sample, warm_up
torch.set_num_threads(1)
p = json.loads(sys.stdin.readline())
x, w, g = torch.randn(p["x"]), torch.randn(p["w"]), torch.randn(p["g"])
backward, asked = torch.ops.aten.convolution_backward.default, p["asked"]
def call():
    return backward(g, x, w, None, p["stride"], p["padding"], p["dilation"], False, [0, 0], p["groups"], asked)
nothing = lambda: None
timer = Timer("call()", globals={"call": call}, num_threads=1)
"""
_BY_TURNS = (
    _CALL
    + """
plan = calibrate(warm_up(call, nothing, 0.1), 0.005)
timers = {
    "convbench": lambda: take_sample(call, nothing, plan)[0].wall_s,
    "torch": lambda: timer.timeit(plan.calls).times[0],
}
rounds = [{name: timers[name]() for name in random.sample(sorted(timers), 2)} for _ in range(p["rounds"])]
print(json.dumps(rounds))
"""
)
_AS_USED = _CALL + "print(timer.blocked_autorange(min_run_time=p['seconds']).median)\n"


def in_process(code: str, problem: ConvProblem, **more: float) -> str:
    """What the code prints about a problem, in a fresh process with the environment of a worker."""
    given = {
        "x": problem.input_shape,
        "w": problem.weight_shape,
        "g": problem.output_shape,
        "stride": problem.stride,
        "padding": [side[0] for side in problem.padding],
        "dilation": problem.dilation,
        "groups": problem.groups,
        "asked": [problem.direction == name for name in ("input_gradient", "weight_gradient", "bias_gradient")],
    }
    command, text = [sys.executable, "-c", code], json.dumps(given | more) + "\n"
    run = subprocess.run(
        command, input=text, env=worker_environment(1, "steady"), check=True, stdout=subprocess.PIPE, text=True
    )
    return run.stdout


def line(case: Case, torch_s: float, ours_s: float, ratio: float) -> None:
    print(f"{case.problem.case_id:<40}{torch_s * 1e3:15.4f}{ours_s * 1e3:14.4f}{ratio:9.4f}", flush=True)


def heading(title: str) -> None:
    print(f"\n{title}\n{'layer':<40}{'torch timer ms':>15}{'convbench ms':>14}{'ratio':>9}")


def by_turns(cases: Sequence[Case], rounds: int) -> None:
    ratios = []
    for case in cases:
        both = json.loads(in_process(_BY_TURNS, case.problem, rounds=rounds))
        ratios.append(median(each["convbench"] / each["torch"] for each in both))
        line(case, *(median(each[name] for each in both) for name in ("torch", "convbench")), ratios[-1])
    print(told(ratios))


def as_used(cases: Sequence[Case], processes: int, seconds: float) -> None:
    (entry,), half, ratios = discover().select(["torch"]), processes // 2, []
    with Engine(Settings(processes=processes)) as engine:
        for case in cases:

            def by_torch(times: int, problem: ConvProblem = case.problem) -> list[float]:
                return [float(in_process(_AS_USED, problem, seconds=seconds)) for _ in range(times)]

            before = by_torch(half)
            ours_s = by_convbench(engine, case, entry)
            torch_s = median(before + by_torch(processes - half))
            ratios.append(ours_s / torch_s)
            line(case, torch_s, ours_s, ratios[-1])
    print(told(ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="of the timers taking turns in one process; 0: no turns")
    parser.add_argument("--seconds", type=float, default=0.3, help="of torch's timer, in each process")
    parser.add_argument("--processes", type=int, default=4, help="of each timer, for each layer; 0: not in processes")
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--direction", choices=_DIRECTIONS, help="this one only; otherwise both")
    options = parser.parse_args()
    facts, layers = machine_facts(), distinct_layers(options.layers)
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}, 1 thread")
    for direction in _DIRECTIONS if options.direction is None else (options.direction,):
        cases = [Case(case.problem.replace(direction=direction)) for case in layers]
        name = direction.replace("_", " ")
        if options.rounds:
            heading(f"The {name}: the same callable in one process, {options.rounds} rounds by turns")
            by_turns(cases, options.rounds)
        if options.processes:
            heading(f"The {name}: each timer as it is used, in {options.processes} processes of its own")
            as_used(cases, options.processes, options.seconds)


if __name__ == "__main__":
    main()
