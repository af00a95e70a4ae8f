"""Whether convbench's times agree with those of torch.utils.benchmark and pyperf for the same layers.

Twenty distinct layers of ResNet-50 on one thread, in the environment of convbench's workers (same allocator settings,
same thread limits), in two ways:

* The same callable in the same process, with the three timers in turn. The differences come from the timing alone.
* Each timer as intended, in equally many processes of its own, half of torch's before convbench's and half after, so
  that a drift of the machine does not look like a difference. A process times all layers, one after the other. The
  median of the medians of its processes counts. Where a process's memory lies is part of its time, so these differ by
  more, also the other two from each other. Without pyperf, whose fresh processes take most of the time, the second way
  compares with torch's timer only.

Prints the ratio per layer and the medians.

    python evaluation/accuracy/agreement_with_torch_timer.py [--rounds 60] [--seconds 0.3] [--processes 4] [--layers 20]
                                                            [--without-pyperf]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from statistics import median

from other_timers import TorchTimer, by_turns_s, pyperf_samples_s

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.registry import Entry, discover
from convbench.suite import Case, load_suite


def distinct_layers(layers: int) -> list[Case]:
    """That many of ResNet-50's distinct layers, spread over the network."""
    cases = load_suite("resnet50").cases
    layers = min(layers, len(cases))
    return [cases[round(i * (len(cases) - 1) / max(layers - 1, 1))] for i in range(layers)]


def by_convbench(engine: Engine, case: Case, entry: Entry) -> float:
    (outcome,) = engine.measure("resnet50", case, [entry])
    assert outcome.samples, outcome.reason
    by_process: dict[int, list[float]] = {}
    for taken in outcome.samples:
        by_process.setdefault(taken.process, []).append(taken.sample.wall_s)
    return median(median(walls) for walls in by_process.values())


def by_torch(timers: Sequence[TorchTimer], case: Case, seconds: float) -> list[float]:
    return [timer.median_s(case.problem, seconds) for timer in timers]


def by_pyperf(case: Case, processes: int) -> float:
    # A value of pyperf's is of 100 ms; the first of each process warms up.
    return median(pyperf_samples_s(case.problem, "-p", str(processes), "-n", "3", "-w", "1"))


def told(ratios: Sequence[float]) -> str:
    off = [abs(ratio - 1) for ratio in ratios]
    return (
        f"median ratio {median(ratios):.4f}, |ratio - 1| {median(off):.2%} in the median of {len(ratios)} layers, "
        f"{max(off):.2%} at worst"
    )


def heading(title: str) -> None:
    print(f"\n{title}\n{'layer':<36}{'torch timer ms':>15}{'pyperf ms':>11}{'convbench ms':>14}", end="")
    print(f"{'to torch':>10}{'to pyperf':>11}{'torch to pyperf':>17}")


def line(case: Case, torch_s: float, pyperf_s: float, ours_s: float, ratios: Sequence[float]) -> None:
    print(f"{case.name:<36}{torch_s * 1e3:15.4f}{pyperf_s * 1e3:11.4f}{ours_s * 1e3:14.4f}", end="")
    print(f"{ratios[0]:10.4f}{ratios[1]:11.4f}{ratios[2]:17.4f}", flush=True)


def summary(rows: Sequence[Sequence[float]]) -> None:
    for number, label in enumerate(("to torch.utils.benchmark", "to pyperf", "torch's to pyperf's")):
        if known := [row[number] for row in rows if not math.isnan(row[number])]:
            print(f"{label}: {told(known)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60, help="of the timers taking turns in one process; 0: no turns")
    parser.add_argument("--seconds", type=float, default=0.3, help="of torch's timer, in each process")
    parser.add_argument("--processes", type=int, default=4, help="of each timer, for each layer; 0: not in processes")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--without-pyperf", action="store_true", help="in processes of its own, where it takes longest")
    options = parser.parse_args()
    (entry,), facts, cases = discover().select(["torch"]), machine_facts(), distinct_layers(options.layers)
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}, 1 thread")
    if options.rounds:
        heading(f"The same callable in one process, {options.rounds} rounds by turns")
    rows = []
    for case in cases if options.rounds else ():
        rounds = by_turns_s(case.problem, options.rounds)
        pairs = (("convbench", "torch"), ("convbench", "pyperf"), ("torch", "pyperf"))
        rows.append([median(r[one] / r[other] for r in rounds) for one, other in pairs])
        torch_s, pyperf_s, ours_s = (median(r[name] for r in rounds) for name in ("torch", "pyperf", "convbench"))
        line(case, torch_s, pyperf_s, ours_s, rows[-1])
    summary(rows)
    if not options.processes:
        return
    heading(f"Each as it is used, in {options.processes} processes of its own")
    rows = []
    timers, half = [TorchTimer() for _ in range(options.processes)], options.processes // 2
    with Engine(Settings(processes=options.processes)) as engine:
        for case in cases:
            before = by_torch(timers[:half], case, options.seconds)
            ours_s = by_convbench(engine, case, entry)
            torch_s = median(before + by_torch(timers[half:], case, options.seconds))
            pyperf_s = math.nan if options.without_pyperf else by_pyperf(case, options.processes)
            rows.append([ours_s / torch_s, ours_s / pyperf_s, torch_s / pyperf_s])
            line(case, torch_s, pyperf_s, ours_s, rows[-1])
    summary(rows)


if __name__ == "__main__":
    main()
