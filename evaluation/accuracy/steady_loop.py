"""Does a run state the time that a steady loop takes? `convbench run` against loops in fresh processes of their own.

Layers from some 0.03 to 20 ms and working sets from 64 KB to 40 MB. The loop knows nothing of convbench's sampling: a
process that computes one backend alone calls it for a while, and then times batches of some milliseconds; the midmean
of these is the loop's time. Each backend has two such processes, one before the run and one after it, and the truth is
the geometric mean of their times. How far the two lie apart is printed, too, because no run can be nearer than that.

Printed: how far a run's times lie from the loops', in how many pairs the stated 95 % interval holds the loops' time,
and what is lost by taking the run's fastest backend of each layer instead of the loops'.

    python evaluation/accuracy/steady_loop.py [--backend NAME ...] [--layers 20] [--loop-s 0.4] [--python PATH]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

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


def loop(backend_name: str, cases: Sequence[str], seconds: float) -> None:
    """In a process of its own: print the seconds of a call of each case, null where the backend cannot compute it."""
    from convbench.problem import ConvProblem
    from convbench.registry import discover
    from convbench.stats.plateau import midmean
    from convbench.verification.operands import normal_operands

    (entry,) = discover().select([backend_name])
    backend = entry.backend
    backend.limit_threads(1)
    times: dict[str, float | None] = {}
    for text in cases:
        problem = ConvProblem.parse(text)
        times[text] = None
        if backend.unsupported(problem):
            continue
        operands = normal_operands(problem, 0)
        ready = backend.prepare(problem, operands.x, operands.w, operands.b)
        start = time.perf_counter()
        calls = 0
        while time.perf_counter() - start < seconds / 2 or calls < 3:
            ready.run()
            ready.sync()
            calls += 1
        batch = max(1, round(BATCH_S / ((time.perf_counter() - start) / calls)))
        batches = []
        start = time.perf_counter()
        while time.perf_counter() - start < seconds or len(batches) < 4:
            begin = time.perf_counter()
            for _ in range(batch):
                ready.run()
            ready.sync()
            batches.append((time.perf_counter() - begin) / batch)
        times[text] = midmean(batches)
    print(json.dumps(times))


def loops(backends: Sequence[str], cases: Sequence[str], seconds: float) -> dict[tuple[str, str], float]:
    """The loops' seconds by backend and case, each backend in a fresh process with the environment of a worker."""
    from convbench.measurement.workers.process_environment import worker_environment

    times = {}
    for backend in backends:
        words = [sys.executable, __file__, "--loop-s", str(seconds), "--loop", backend, *cases]
        environment = worker_environment(1, "steady")
        done = subprocess.run(words, env=environment, capture_output=True, text=True, preexec_fn=_on_one_core)
        if done.returncode:
            sys.exit(f"the loop of {backend} failed:\n{done.stderr}")
        found = json.loads(done.stdout.splitlines()[-1])
        times |= {(backend, case): value for case, value in found.items() if value is not None}
    return times


def _on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measured(
    python: str, backends: Sequence[str], cases: Sequence[str], options: Sequence[str]
) -> list[dict[str, object]]:
    """The records of `convbench run` over the cases."""
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "layers.toml"
        suite.write_text('name = "steady-loop"\nsummary = "0.03 to 20 ms"\ntable = "layers.csv"\n', encoding="utf-8")
        suite.with_name("layers.csv").write_text("problem\n" + "\n".join(cases) + "\n", encoding="utf-8")
        chosen = [word for name in backends for word in ("--backend", name)]
        words = [python, *"-m convbench run --results results --json --no-asv --suite".split(), f"./{suite.name}"]
        done = subprocess.run([*words, *chosen, *options], cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
        return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", action="append", help="may be repeated; by default 8 that the tests install")
    parser.add_argument("--layers", type=int, default=len(LAYERS), help="so many of the layers, evenly spread")
    parser.add_argument("--loop-s", type=float, default=0.4, help="seconds that each loop is timed for")
    parser.add_argument("--option", action="append", default=[], help="further words for `convbench run`")
    parser.add_argument("--python", default=sys.executable, help="whose convbench runs, such as an earlier commit's")
    parser.add_argument("--records", type=Path, help="where to keep what was measured, as JSON")
    parser.add_argument("--loop", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        loop(options.loop[0], options.loop[1:], options.loop_s)
        return
    from convbench.measurement.machine.facts import machine_facts

    backends = options.backend or list(BACKENDS)
    cases = [LAYERS[i * len(LAYERS) // options.layers] for i in range(options.layers)]
    before = loops(backends, cases, options.loop_s)
    start = time.monotonic()
    records = measured(options.python, backends, cases, options.option)
    seconds = time.monotonic() - start
    after = loops(backends, cases, options.loop_s)
    if options.records:
        loops_s = [[*pair, before[pair], after.get(pair)] for pair in before]
        options.records.write_text(json.dumps({"loops": loops_s, "records": records}), encoding="utf-8")
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['os']}, 1 thread; the run took {seconds:.0f} s\n")
    report(records, before, after)


def report(
    records: Sequence[dict[str, object]], before: dict[tuple[str, str], float], after: dict[tuple[str, str], float]
) -> None:
    truth = {pair: math.sqrt(before[pair] * after[pair]) for pair in before.keys() & after.keys()}
    apart = [abs(math.log(after[pair] / before[pair])) for pair in truth]
    rows: dict[str, list[tuple[float, bool]]] = {}
    timed: dict[str, dict[str, float]] = {}
    for record in records:
        name, problem = str(record["backend"]), str(record["case"])
        if record["status"] != "ok" or (name, problem) not in truth:
            continue
        value, low, high = (float(str(record[key])) for key in ("median_s", "low_s", "high_s"))
        loop_s = truth[name, problem]
        rows.setdefault(name, []).append((value / loop_s, low <= loop_s <= high))
        timed.setdefault(problem, {})[name] = value
    print(f"{'backend':<22}{'layers':>8}{'typical':>10}{'worst':>10}{'interval holds it':>20}")
    rows["all"] = [pair for pairs in rows.values() for pair in pairs]
    for name, found in rows.items():
        off = [abs(ratio - 1) for ratio, _ in found]
        held = sum(holds for _, holds in found) / len(found)
        print(f"{name:<22}{len(found):>8}{median(off):>10.2%}{max(off):>10.1%}{held:>20.0%}")
    lost = []
    for problem, times in timed.items():
        by_loops = {name: truth[name, problem] for name in times}
        lost.append(by_loops[min(times, key=lambda name: times[name])] / min(by_loops.values()) - 1)
    print(f"\nthe two loops of a pair lie {median(apart):.2%} apart in the median, {max(apart):.1%} at worst")
    print(f"taking the run's fastest costs {sum(lost) / len(lost):.2%} in the mean, {max(lost):.1%} at worst")


if __name__ == "__main__":
    main()
