"""Do convbench's times agree with torch.utils.benchmark's, and with pyperf's, for the same layers?

Twenty distinct layers of ResNet-50 on one thread. All three measure in as many fresh processes, in the environment that
convbench gives its workers (same allocator settings, same thread limits), since where a process's memory lies is part
of its time; half of torch's before convbench's and half after, so that a drift of the machine does not look like a
difference. Of each the median of its processes' medians counts. Prints the ratio per layer and the medians.

    python benchmarks/agreement_with_torch_timer.py [--seconds 0.3] [--processes 4] [--layers 20] [--no-pyperf]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import median

from other_timers import TorchTimer, pyperf_samples_s

from convbench.measurement.engine import Engine
from convbench.measurement.machine import machine_facts
from convbench.measurement.outcome import Settings
from convbench.registry import Entry, discover
from convbench.suite import Case, load_suite


def distinct_layers(layers: int) -> list[Case]:
    """That many of ResNet-50's distinct layers, spread over the network."""
    cases = load_suite("resnet50").cases
    layers = min(layers, len(cases))
    return [cases[round(i * (len(cases) - 1) / max(layers - 1, 1))] for i in range(layers)]


def by_convbench(case: Case, entry: Entry, processes: int) -> float:
    with Engine(Settings(processes=processes)) as engine:
        (outcome,) = engine.measure("resnet50", case, [entry])
    assert outcome.samples, outcome.reason
    by_process: dict[int, list[float]] = {}
    for taken in outcome.samples:
        by_process.setdefault(taken.process, []).append(taken.sample.wall_s)
    return median(median(walls) for walls in by_process.values())


def by_torch(case: Case, seconds: float, processes: int) -> list[float]:
    return [TorchTimer().median_s(case.problem, seconds) for _ in range(processes)]


def by_pyperf(case: Case, processes: int) -> float:
    # A value of pyperf's is of 100 ms; the first of each process warms up.
    return median(pyperf_samples_s(case.problem, "-p", str(processes), "-n", "3", "-w", "1"))


def told(ratios: Sequence[float]) -> str:
    off = median(abs(ratio - 1) for ratio in ratios)
    return f"median ratio {median(ratios):.4f}, median |ratio - 1| {off:.2%} over {len(ratios)} layers"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0.3, help="of torch's timer, in each process")
    parser.add_argument("--processes", type=int, default=4, help="of each timer, for each layer")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--no-pyperf", action="store_true")
    options = parser.parse_args()
    (entry,), facts = discover().select(["torch"]), machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}, 1 thread, {options.processes} processes each\n")
    print(f"{'layer':<36}{'torch timer ms':>15}{'pyperf ms':>11}{'convbench ms':>14}{'to torch':>10}{'to pyperf':>11}")
    to_torch, to_pyperf = list[float](), list[float]()
    for case in distinct_layers(options.layers):
        half = options.processes // 2
        theirs = by_torch(case, options.seconds, half)
        ours_s = by_convbench(case, entry, options.processes)
        torch_s = median(theirs + by_torch(case, options.seconds, options.processes - half))
        to_torch.append(ours_s / torch_s)
        times, ratios = f"{torch_s * 1e3:15.4f}{'':>11}{ours_s * 1e3:14.4f}", f"{to_torch[-1]:10.4f}"
        if not options.no_pyperf:
            pyperf_s = by_pyperf(case, options.processes)
            to_pyperf.append(ours_s / pyperf_s)
            times = f"{torch_s * 1e3:15.4f}{pyperf_s * 1e3:11.4f}{ours_s * 1e3:14.4f}"
            ratios += f"{to_pyperf[-1]:11.4f}"
        print(f"{case.name:<36}{times}{ratios}", flush=True)
    print(f"\nto torch.utils.benchmark: {told(to_torch)}")
    if to_pyperf:
        print(f"to pyperf: {told(to_pyperf)}")


if __name__ == "__main__":
    main()
