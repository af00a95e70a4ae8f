"""What does asking which kernel ran cost the times? Two processes by turns, before one of them is asked and after.

    python evaluation/overhead/implementation_cost.py [--backend torch] [--layers 20] [--sessions 10] [--rounds 12]

For each layer of zoo-100 that is drawn there are two fresh processes, forked from one that has imported the library
and computed nothing. They time the layer by turns on the same core, in visits of 30 ms whose first third is left out.
Then one of them says which kernel ran, the other does nothing, and both go on as before. What a neighbour or the clock
of the core does to the one, it does to the other. What a process draws once, such as where its memory lies, is in it
before and after. Printed is by how much the ratio of the two changes: the median over layers and sessions, with the
interval that its order statistics give, which holds whatever the distribution is.
"""

from __future__ import annotations

import argparse
import math
import os
import random
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from time import perf_counter

from convbench.backend import Backend, Ready
from convbench.measurement.machine.facts import machine_facts
from convbench.problem import ConvProblem
from convbench.registry import Entry, discover
from convbench.stats.estimates import estimate_median
from convbench.suite import Case, load_suite
from convbench.verification.operands import normal_operands

MOST_FLOPS = 2e8
VISIT_S = 0.03
ASK, TIME, END = "ask", "time", "end"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=12, help="visits to each process before and after")
    options = parser.parse_args()
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}; {options.backend}, {options.layers} layers")
    small = [case for case in load_suite("zoo-100").cases if case.problem.flops < MOST_FLOPS]
    cases = random.Random(0).sample(small, min(options.layers, len(small)))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    (entry,) = discover([]).select([options.backend])
    assert isinstance(entry, Entry)
    entry.backend.limit_threads(1)
    logs = [log for _ in range(options.sessions) for log in _session(entry.backend, cases, options.rounds)]
    estimate = estimate_median(logs)
    ratio, low, high = map(math.exp, (estimate.median, estimate.low, estimate.high))
    print(f"asked over not asked, of {len(logs)} pairs: {ratio:.5f}  [{low:.5f}, {high:.5f}]")


class Child:
    """One process of a pair: it answers with seconds to `time`, and with the kernel, or None, to `ask`."""

    def __init__(self, backend: Backend, problem: ConvProblem) -> None:
        context = get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, backend, problem), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def time_s(self) -> float:
        self._pipe.send(TIME)
        return float(self._pipe.recv())

    def kernel(self) -> str | None:
        self._pipe.send(ASK)
        said: str | None = self._pipe.recv()
        return said

    def end(self) -> None:
        self._pipe.send(END)
        self._process.join()


def _serve(pipe: Connection, backend: Backend, problem: ConvProblem) -> None:
    ready = normal_operands(problem, 0).prepared_by(backend, problem)
    _visit_s(ready)
    pipe.send("ready")
    while (word := pipe.recv()) != END:
        if word == ASK:
            pipe.send(ready.explain() if ready.explain else ready.kernel)
        else:
            pipe.send(_visit_s(ready))


def _visit_s(ready: Ready) -> float:
    """The median time of the calls in the last two thirds of a visit, or of its last call where that is all."""
    times, start = [], perf_counter()
    before = start
    while before < start + VISIT_S:
        ready.run()
        ready.sync()
        now = perf_counter()
        if now > start + VISIT_S / 3:
            times.append(now - before)
        before = perf_counter()
    return median(times)


def _session(backend: Backend, cases: list[Case], rounds: int) -> list[float]:
    """By how much the ratio of asked to silent changes when it is asked, as a logarithm, for each layer."""
    logs, named = [], 0
    for case in cases:
        asked, silent = Child(backend, case.problem), Child(backend, case.problem)
        before = _ratio_log(asked, silent, rounds)
        named += asked.kernel() is not None
        logs.append(_ratio_log(asked, silent, rounds) - before)
        asked.end()
        silent.end()
    print(f"{len(logs)} layers, a kernel named for {named}: {math.exp(median(logs)):.5f} in the median", flush=True)
    return logs


def _ratio_log(asked: Child, silent: Child, rounds: int) -> float:
    """The logarithm of the one's time over the other's, in the median of rounds; who is first changes each round."""
    logs = []
    for number in range(rounds):
        times = {child: child.time_s() for child in ((asked, silent) if number % 2 else (silent, asked))}
        logs.append(math.log(times[asked] / times[silent]))
    return median(logs)


if __name__ == "__main__":
    main()
