"""Does a run state the time that a steady loop takes? `convbench run` against loops in fresh processes of their own.

Layers from some 0.03 to 20 ms and working sets from 64 KB to 40 MB. The loop knows nothing of convbench's sampling: a
process that computes one backend alone calls it for a while, and then times batches of some milliseconds; the midmean
of these is the loop's time. Each backend has two such processes. One loops right before the run measures a layer and
the other right after it, and the truth is the geometric mean of their times: of the same minute, as far as that is
possible. When the run is over, the latter loop over all layers once more. How far loops lie apart some seconds and some
minutes later is printed, because no run can be nearer than that.

Printed: how far the run's times lie from the truth, and how far beside the other backends of the same layer, whose
median a ratio between backends does not see move; in how many pairs the stated 95 % interval holds it, and in how many
it holds what the loops take minutes later; what is lost by taking the run's fastest backend of each layer instead of
the loops', now and then. No run can be near to two loops that differ: so it is printed as well how far the run lies
beyond both of them, which is 0 between them, and of each pair that is off by more than 5 %, whether the run said so
itself, by its interval or by a hazard. With --sessions the run is made that many times before, which is what an
interval learns from on a machine that is in use.

    python evaluation/accuracy/steady_loop.py [--backend NAME ...] [--layers 20] [--loop-s 0.2] [--sessions 0]
                                              [--priority realtime]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.machine.priority import Priority, before_others
from convbench.measurement.workers.process_environment import worker_environment
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.runner.observer import Observer
from convbench.runner.run import Request, run_suites
from convbench.stats.plateau import midmean
from convbench.suite import Case
from convbench.verification.operands import normal_operands

LAYERS = (
    "n1c8h28w28_o8k3_p1",
    "n1c16h28w28_o16k3_p1",
    "n1c64h14w14_o64k1",
    "n1c32h28w28_o32k3_p1_g32",
    "n1c32h14w14_o32k3_p1",
    "n1c64h28w28_o64k1",
    "n1c128h7w7_o128k3_p1",
    "n1c64h28w28_o64k3_p1",
    "n1c96h56w56_o96k3_p1_g96",
    "n1c256h14w14_o256k1",
    "n1c512h7w7_o2048k1",
    "n1c64h56w56_o64k3_p1",
    "n1c256h14w14_o256k3_p1",
    "n1c3h224w224_o64k7_s2_p3",
    "n1c512h7w7_o512k3_p1",
    "n1c32h100w100_o32k3_p1",
    "n1c128h56w56_o128k3_p1",
    "n1c512h14w14_o512k3_p1",
    "n1c64h112w112_o64k3_p1",
    "n4c64h56w56_o64k3_p1",
)
BACKENDS = (
    "torch", "torch-channels-last", "torch-packed", "torch-native", "jax", "jax-nhwc", "numba-direct", "numpy-gemm",
)  # fmt: skip
BATCH_S = 0.004
FAR = 0.05
Times = dict[tuple[str, str], float]
"""Seconds per call by backend and layer."""


def answer_with_loops(backend_name: str, priority: Priority) -> None:
    """In a process of its own: for each layer and seconds that come in, the seconds of a call; 0 where it cannot."""
    (entry,) = discover().select([backend_name])
    entry.backend.limit_threads(1)
    for line in sys.stdin:
        layer, seconds = json.loads(line)
        problem = ConvProblem.parse(layer)
        supported = not entry.backend.unsupported(problem)
        with before_others(priority):
            call_s = loop_s(entry.backend, problem, seconds) if supported else 0.0
        print(call_s, flush=True)


def loop_s(backend: Any, problem: ConvProblem, seconds: float) -> float:
    operands = normal_operands(problem, 0)
    ready = backend.prepare(problem, operands.x, operands.w, operands.b)
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds / 2 or calls < 3:
        ready.run()
        ready.sync()
        calls += 1
    batch = max(1, round(BATCH_S / ((time.perf_counter() - start) / calls)))
    batches: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(batches) < 4:
        begin = time.perf_counter()
        for _ in range(batch):
            ready.run()
        ready.sync()
        batches.append((time.perf_counter() - begin) / batch)
    return midmean(batches)


@dataclass
class Loops:
    """One process for each backend, with the environment and the core of a worker. They wait while others compute."""

    backends: Sequence[str]
    seconds: float
    priority: Priority = "normal"
    times: Times = field(default_factory=dict)
    spent_s: float = 0.0

    def __post_init__(self) -> None:
        environment = worker_environment(1, "steady")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.processes = {
            backend: subprocess.Popen(
                [sys.executable, __file__, "--answer", backend, "--priority", self.priority],
                env=environment,
                preexec_fn=on_one_core,
                **pipes,
            )
            for backend in self.backends
        }

    def measure(self, layer: str) -> Times:
        """The times of all backends on a layer, one after the other; those that cannot compute it are left out."""
        start, times = time.monotonic(), {}
        for backend, process in self.processes.items():
            process.stdin.write(json.dumps([layer, self.seconds]) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                sys.exit(f"the loop of {backend} ended on {layer}")
            if seconds := float(line):
                times[backend, layer] = seconds
        self.spent_s += time.monotonic() - start
        return times

    def end(self) -> None:
        for process in self.processes.values():
            process.stdin.close()
            process.wait()


def on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


class BesideTheRun(Observer):
    """Loops before and after each layer of a run."""

    def __init__(self, before: Loops, after: Loops) -> None:
        self.before, self.after = before, after
        self._layer = ""

    def begin(self, suite: str, case: Case) -> None:
        self._layer = case.name
        print(f"{case.name} ...", file=sys.stderr, flush=True)
        self.before.times |= self.before.measure(self._layer)

    def end(self, elapsed_s: float) -> None:
        self.after.times |= self.after.measure(self._layer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", action="append", help="may be repeated; by default 8 that the tests install")
    parser.add_argument("--layers", type=int, default=len(LAYERS), help="so many of the layers, evenly spread")
    parser.add_argument("--loop-s", type=float, default=0.2, help="seconds that each loop is timed for")
    parser.add_argument("--sessions", type=int, default=0, help="runs before, which the run learns from")
    parser.add_argument("--priority", choices=("normal", "realtime"), default="normal", help="of runs and loops")
    parser.add_argument("--records", type=Path, help="where to keep what was measured, as JSON")
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer_with_loops(options.answer, options.priority)
        return
    backends = options.backend or list(BACKENDS)
    layers = [LAYERS[i * len(LAYERS) // options.layers] for i in range(options.layers)]
    with TemporaryDirectory() as results:
        request = Request(
            problems=tuple(layers),
            backends=tuple(backends),
            priority=options.priority,
            results=Path(results),
            no_asv=True,
        )
        for _ in range(options.sessions):
            run_suites(request, Observer())
        before, after = (Loops(backends, options.loop_s, options.priority) for _ in range(2))
        run = run_suites(request, BesideTheRun(before, after))
        seconds = run.elapsed_s - before.spent_s - after.spent_s
        later = {pair: each_s for layer in layers for pair, each_s in after.measure(layer).items()}
    for loops in (before, after):
        loops.end()
    if options.records:
        every = (before.times, after.times, later)
        kept = [[*pair, *(times[pair] for times in every)] for pair in before.times]
        options.records.write_text(json.dumps({"loops": kept, "records": run.records}), encoding="utf-8")
    facts = machine_facts()
    known = f" after {options.sessions} others" if options.sessions else ""
    print(f"{facts['cpu']}, {facts['os']}, 1 thread; the run took {seconds:.0f} s{known}\n")
    report(run.records, before.times, after.times, later)


def mean_of(one: Times, other: Times) -> Times:
    return {pair: math.sqrt(one[pair] * other[pair]) for pair in one.keys() & other.keys()}


def report(records: Sequence[Mapping[str, Any]], before: Times, after: Times, minutes_later: Times) -> None:
    truth = mean_of(before, after)
    rows: dict[str, list[tuple[str, float, bool, bool]]] = {}
    timed: dict[str, dict[str, float]] = {}
    for record in records:
        pair = record["backend"], record["case"]
        if record["status"] != "ok" or pair not in truth:
            continue
        low, high = record["low_s"], record["high_s"]
        holds = low <= truth[pair] <= high, low <= minutes_later[pair] <= high
        rows.setdefault(pair[0], []).append((pair[1], record["median_s"] / truth[pair], *holds))
        timed.setdefault(pair[1], {})[pair[0]] = record["median_s"]
    rows["all"] = [row for of_backend in rows.values() for row in of_backend]
    moved = {layer: median(ratio for where, ratio, *_ in rows["all"] if where == layer) for layer in timed}
    print(f"{'':<30}{'a time':^20}{'beside the others':^20}{'interval holds':^20}")
    print(
        f"{'backend':<22}{'layers':>8}{'typical':>10}{'worst':>10}{'typical':>10}{'worst':>10}{'then':>10}{'later':>10}"
    )
    for name, of_backend in rows.items():
        off = [abs(ratio - 1) for _, ratio, *_ in of_backend]
        beside = [abs(ratio / moved[layer] - 1) for layer, ratio, *_ in of_backend]
        held, held_later = (fmean(row[column] for row in of_backend) for column in (2, 3))
        print(f"{name:<22}{len(of_backend):>8}{median(off):>10.2%}{max(off):>10.1%}", end="")
        print(f"{median(beside):>10.2%}{max(beside):>10.1%}{held:>10.0%}{held_later:>10.0%}")
    print()
    report_beyond(records, before, after)
    for label, one, other in (("before and after", before, after), ("then and minutes later", truth, minutes_later)):
        apart = [abs(math.log(other[pair] / one[pair])) for pair in truth]
        print(f"loops {label} lie {median(apart):.2%} apart in the median, {max(apart):.1%} at worst")
    widths = [math.log(r["high_s"] / r["low_s"]) / 2 for r in records if r["status"] == "ok"]
    print(f"intervals reach {median(widths):.1%} to either side in the median, {max(widths):.0%} at most")
    for label, loops in (("then", truth), ("minutes later", minutes_later)):
        fastest = {layer: min(times, key=times.__getitem__) for layer, times in timed.items()}
        least = {layer: min(loops[name, layer] for name in times) for layer, times in timed.items()}
        lost = [loops[name, layer] / least[layer] - 1 for layer, name in fastest.items()]
        print(f"taking the run's fastest costs {fmean(lost):.2%} in the mean, {max(lost):.1%} at worst, ", end="")
        print(f"by the loops {label}")


def report_beyond(records: Sequence[Mapping[str, Any]], before: Times, after: Times) -> None:
    """How far the run lies outside of the two loops of each pair, and the pairs that are far from their mean."""
    pairs = [(r, (r["backend"], r["case"])) for r in records if r["status"] == "ok"]
    pairs = [(record, pair) for record, pair in pairs if pair in before and pair in after]
    beyond = [beyond_both(record["median_s"], before[pair], after[pair]) for record, pair in pairs]
    print(f"beyond both loops the run lies {median(beyond):.2%} in the median, {max(beyond):.1%} at worst")
    for (record, pair), outside in sorted(zip(pairs, beyond, strict=True), key=lambda each: -each[1]):
        truth_s = math.sqrt(before[pair] * after[pair])
        off = record["median_s"] / truth_s - 1
        if abs(off) > FAR:
            held = "holds" if record["low_s"] <= truth_s <= record["high_s"] else "misses"
            hazards = ", ".join(hazard["hazard"] for hazard in record["hazards"]) or "none"
            apart = abs(math.log(after[pair] / before[pair]))
            print(f"  {pair[0]} on {pair[1]}: {off:+.1%}, {outside:.1%} beyond loops {apart:.1%} apart; ", end="")
            print(f"its interval {held} their mean; hazards: {hazards}")


def beyond_both(seconds: float, one: float, other: float) -> float:
    """How far a time lies outside of two others, as a share; 0 between them."""
    return max(math.log(min(one, other) / seconds), math.log(seconds / max(one, other)), 0.0)


if __name__ == "__main__":
    main()
