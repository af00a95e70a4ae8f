"""Do convbench's times agree with torch.utils.benchmark's, and with pyperf's, for the same layers?

Twenty distinct layers of ResNet-50 on one thread. Both timers run in processes of their own, in the environment that
convbench gives its workers (same allocator settings, same thread limits); for each layer torch's measures before and
after convbench does, so that a drift of the machine does not look like a difference. pyperf's median is of several
processes, one after the other; it is compared with convbench's of as many. Prints the ratio per layer and the medians.

    python benchmarks/agreement_with_torch_timer.py [--seconds 0.5] [--repeats 3] [--layers 20] [--no-pyperf]
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

PROCESSES = 5


def distinct_layers(layers: int) -> list[Case]:
    """That many of ResNet-50's distinct layers, spread over the network."""
    cases = load_suite("resnet50").cases
    layers = min(layers, len(cases))
    return [cases[round(i * (len(cases) - 1) / max(layers - 1, 1))] for i in range(layers)]


def median_s(engine: Engine, case: Case, entry: Entry) -> float:
    (outcome,) = engine.measure("resnet50", case, [entry])
    assert outcome.estimate is not None, outcome.reason
    return outcome.estimate.median


def against_pyperf(case: Case, entry: Entry) -> float:
    """convbench's time over pyperf's, both of fresh processes."""
    with Engine(Settings(processes=PROCESSES)) as engine:
        ours_s = median_s(engine, case, entry)
    # A value of pyperf's is of 100 ms; the first of each process warms up.
    theirs_s = median(pyperf_samples_s(case.problem, "-p", str(PROCESSES), "-n", "3", "-w", "1"))
    return ours_s / theirs_s


def told(ratios: Sequence[float]) -> str:
    off = median(abs(ratio - 1) for ratio in ratios)
    return f"median ratio {median(ratios):.3f}; median |ratio - 1| {off:.1%} over {len(ratios)} layers"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=0.5, help="of torch's timer, before and after convbench")
    parser.add_argument("--repeats", type=int, default=3, help="of torch's timer; the median of each layer counts")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--no-pyperf", action="store_true")
    options = parser.parse_args()
    timer, (entry,) = TorchTimer(), discover().select(["torch"])
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}, 1 thread, steady allocator\n")
    headings = f"{'torch timer ms':>14} {'convbench ms':>13} {'ratio':>7} {'to pyperf':>10}"
    print(f"{'layer':36} {headings}   ratios of the repeats")
    ratios, to_pyperf = list[float](), list[float]()
    with Engine(Settings()) as engine:
        for case in distinct_layers(options.layers):
            rows = []
            for _ in range(options.repeats):
                before = timer.median_s(case.problem, options.seconds)
                ours_s = median_s(engine, case, entry)
                theirs_s = (before + timer.median_s(case.problem, options.seconds)) / 2
                rows.append((ours_s / theirs_s, theirs_s))
            rows.sort()
            ratio, timer_s = rows[len(rows) // 2]
            ratios.append(ratio)
            if not options.no_pyperf:
                to_pyperf.append(against_pyperf(case, entry))
            other = f"{to_pyperf[-1]:.3f}" if to_pyperf else ""
            spread = " ".join(f"{r:.3f}" for r, _ in rows)
            times = f"{timer_s * 1e3:14.4f} {ratio * timer_s * 1e3:13.4f} {ratio:7.3f} {other:>10}"
            print(f"{case.name:36} {times}   {spread}", flush=True)
    print(f"\ntorch.utils.benchmark: {told(ratios)}")
    if to_pyperf:
        print(f"pyperf: {told(to_pyperf)}")


if __name__ == "__main__":
    main()
