"""What the memory allocator does to a convolution's time: fresh workers, with and without a steady allocator.

The same torch convolution (1x64x56x56, 3x3, one thread) runs in several fresh workers of either kind, alternating. By
default glibc returns the output's memory to the system after a call and faults it in again at the next; whether it does
differs from process to process. Prints each worker's median, page faults per call and the system's share of CPU time.

    python evaluation/accuracy/allocator_effect.py [--workers 8]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from statistics import median

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.measurement.workers.process_environment import Allocator
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.suite import Case

CASE = Case(ConvProblem.parse("n1c64h56w56_o64k3_p1"))
KINDS: tuple[Allocator, ...] = ("steady", "system")


def fresh_worker(allocator: Allocator) -> tuple[float, float, float]:
    """Median seconds, page faults and the system's share of CPU time, per call, in one new worker."""
    entries = discover().select(["torch"])
    with Engine(replace(Settings(), allocator=allocator)) as engine:
        (outcome,) = engine.measure("allocator", CASE, entries)
    assert outcome.estimate is not None, outcome.reason
    samples = [s.sample for s in outcome.samples]
    calls = sum(s.calls for s in samples)
    faults = sum(s.minor_faults for s in samples) / calls
    system = sum(s.system_s for s in samples) / sum(s.cpu_s for s in samples)
    return outcome.estimate.median, faults, system


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=8, help="fresh workers of each kind")
    options = parser.parse_args()
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}, {facts['libc']}, 1 thread\n")
    print(f"{'allocator':10} {'median ms':>10} {'faults/call':>12} {'system':>8}")
    seen: dict[Allocator, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(options.workers):
        for kind in KINDS:
            median_s, faults, system = fresh_worker(kind)
            seen[kind].append(median_s)
            print(f"{kind:10} {median_s * 1e3:10.3f} {faults:12.1f} {system:8.1%}")
    print()
    for kind in KINDS:
        low, high = min(seen[kind]) * 1e3, max(seen[kind]) * 1e3
        print(f"{kind}: medians of {options.workers} workers from {low:.3f} to {high:.3f} ms ({high / low:.2f}x)")
    print(f"system over steady, median of workers: {median(seen['system']) / median(seen['steady']):.2f}x")


if __name__ == "__main__":
    main()
