"""Which kernel or algorithm each library uses on the layers of a suite, and for how many pairs that is known.

    python evaluation/engines/implementations.py [--suite zoo-100] [--backend 'torch*'] [--cases 100] [--limit 60]

Nothing is timed: each worker prepares a layer, calls once and is asked (`Ready.explain`). A library is what stands
before the first "-" of a backend's name. Backends whose one call takes minutes on a large layer are left out, unless
they are named.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable

from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.scheduling.case_run import CaseRun
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import Explain
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.registry import Entry, discover
from convbench.suite import Case, load_suite
from convbench.verification.operands import normal_operands

SLOW = ("numpy-loop", "scipy-direct", "scipy-fft")
MOST_WORDS = 6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", default="zoo-100")
    parser.add_argument("--backend", action="append", default=[], help="a glob; repeatable")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one layer")
    options = parser.parse_args()
    cases = load_suite(options.suite).cases[: options.cases]
    facts = machine_facts()
    print(
        f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}; suite {options.suite}, {len(cases)} layers, one thread"
    )
    entries = [e for e in discover().select(options.backend) if isinstance(e, Entry) and e.backend.device == "cpu"]
    known: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for entry in entries:
        if entry.unavailable() is None and (options.backend or entry.name not in SLOW):
            words = implementations(entry, cases, options.limit)
            library = entry.name.partition("-")[0]
            asked[library] += len(words)
            known[library] += sum(word is not None for word in words)
            print(f"{entry.name:28} {describe(words)}", flush=True)
    print("\nlibrary           pairs  known")
    for library, pairs in asked.items():
        print(f"{library:16} {pairs:6} {known[library] / max(pairs, 1):6.1%}")
    share = sum(known.values()) / max(sum(asked.values()), 1)
    print(f"{len([1 for library in asked if known[library]])} libraries, {share:.1%} of {sum(asked.values())} pairs")


def implementations(entry: Entry, cases: Iterable[Case], limit_s: float) -> list[str | None]:
    """What the backend says of each layer that it supports; None where it says nothing, fails or takes too long."""
    settings = Settings(time_limit_s=limit_s)
    pool = WorkerPool(settings)
    runs = [CaseRun("", case, settings, pool) for case in cases if entry.backend.unsupported(case.problem) is None]
    try:
        return [_implementation(entry, run) for run in runs]
    finally:
        pool.shutdown()


def _implementation(entry: Entry, run: CaseRun) -> str | None:
    with run.shared:
        try:
            if run.pool.start([entry]):
                return None
            run.pool.request(entry, run.prepare(normal_operands(run.case.problem, 0)))
            return run.pool.request(entry, Explain()).implementation
        except WorkerError as error:
            print(f"{entry.name} on {run.case.name}: {error.reason[:100]}", flush=True)
            return None


def describe(words: list[str | None]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for word in words:
        counts[word or "not known"] += 1
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    more = [f"{len(ordered) - MOST_WORDS} more"] if len(ordered) > MOST_WORDS else []
    return ", ".join([*(f"{number} {word}" for word, number in ordered[:MOST_WORDS]), *more]) or "no layer supported"


if __name__ == "__main__":
    main()
