"""Power: is a backend that is 2 % slower called slower, and a copy that is not, not?

Each trial is fresh: several worker processes each of a convolution in NumPy, of a copy of it, and of the same that
computes 2 % of its rows twice (`slowed_backends.py`), by the rounds of `convbench run` on one thread. Processes of one
backend differ lastingly, so a difference of 2 % takes several, which `run` takes by itself for this precision. How
many, and how many rounds of each, three pilot trials decide on the machine at hand (`allocation.py`), so that a trial
takes the --seconds asked for; or --processes and --rounds do.
What is called slower: in convbench, a ratio to the first whose interval lies above 1; from the same samples, what
`asv compare` says, with its own factor of 1.1 and with a factor of 1, and pyperf's test.

    python evaluation/statistics/power.py [--trials 20] [--seconds 10] [--processes 10 --rounds 10]
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from allocation import Allocation, Components, allocation

from convbench.analysis.paired_ratio import ratio
from convbench.measurement.machine.facts import machine_facts
from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.store.locations import CheckoutState
from convbench.store.readings import walls_by_process
from convbench.store.records import record_of
from convbench.store.schema import Record
from convbench.suite import Case

PLUGIN = Path(__file__).with_name("slowed_backends.py")


def by_convbench(record: Record, base: Record) -> bool:
    found = ratio(record, base)
    return found is not None and found.covers and found.low > 1


def by_asv(factor: float) -> Callable[[Record, Record], bool]:
    def slower(record: Record, base: Record) -> bool:
        from asv._stats import is_different
        from asv_runner.statistics import compute_stats

        one, other = record["samples"]["wall_s"], base["samples"]["wall_s"]
        (middle, stats), (other_middle, other_stats) = (compute_stats(s, 1) for s in (one, other))
        return bool(is_different(one, other, stats, other_stats)) and middle > other_middle * factor

    return slower


def by_pyperf(record: Record, base: Record) -> bool:
    from pyperf._utils import is_significant

    pairs = list(zip(record["samples"]["wall_s"], base["samples"]["wall_s"], strict=False))  # it wants as many of each
    one, other = [p[0] for p in pairs], [p[1] for p in pairs]
    return bool(is_significant(one, other)[0]) and sum(one) / len(one) > sum(other) / len(other)


JUDGES: dict[str, Callable[[Record, Record], bool]] = {
    "convbench": by_convbench,
    "asv compare (factor 1.1)": by_asv(1.1),
    "asv compare -f 1": by_asv(1.0),
    "pyperf's test": by_pyperf,
}


def trial(case: Case, settings: Settings) -> dict[str, Record]:
    entries = discover([PLUGIN]).select(["conv", "conv-copy", "conv-slowed"])
    with Engine(settings) as engine:
        outcomes: Sequence[Outcome] = list(engine.measure("power", case, entries))
    return {o.backend: record_of(o, "power", "power", CheckoutState()) for o in outcomes}


def timed(case: Case, how: Allocation, seed: int) -> tuple[dict[str, Record], float]:
    """The records of a trial and the seconds that it took. Every process is sampled in as many rounds."""
    rounds = {"fewest_rounds": how.rounds, "most_rounds": how.rounds, "precision": 0.0}
    start = time.monotonic()
    records = trial(case, Settings(budget_s=math.inf, processes=how.processes, seed=seed, **rounds))
    return records, time.monotonic() - start


def piloted(case: Case, seconds: float) -> Allocation:
    """The allocation of so many seconds on this machine, from three trials that differ in processes and rounds."""
    few, many, long = Allocation(4, 6), Allocation(10, 6), Allocation(10, 18)
    trials = [timed(case, how, 10**6 + number) for number, how in enumerate((few, many, long))]
    few_s, many_s, long_s = (spent_s for _, spent_s in trials)
    round_s = max(0.001, (long_s - many_s) / (long.processes * (long.rounds - many.rounds)))
    process_s = max(0.001, (many_s - few_s) / (many.processes - few.processes) - few.rounds * round_s)
    once_s = max(0.0, few_s - few.processes * (process_s + few.rounds * round_s))
    logs = [[math.log(s) for s in walls.values()] for walls in walls_by_process(trials[-1][0]["conv"]).values()]
    found = Components.of(logs)
    how = allocation(found, once_s, process_s, round_s, seconds)
    print(f"pilot: rounds vary by {found.within:.2%}, processes by {found.between:.2%}; {once_s:.1f} s once, ", end="")
    print(f"{process_s:.2f} s for a process of each, {round_s * 1000:.0f} ms for a round of it")
    return how


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10, help="that a trial may take, where pilots decide")
    parser.add_argument("--processes", type=int, help="of each of the three, in place of what pilots say")
    parser.add_argument("--rounds", type=int, default=10, help="of each process, with --processes")
    parser.add_argument("--problem", default="n1c32h100w100_o32k3_p1")
    options = parser.parse_args()
    case, facts = Case(ConvProblem.parse(options.problem)), machine_facts()
    print(f"{facts['cpu']}, {facts['os']}, {options.problem}, 1 thread")
    how = Allocation(options.processes, options.rounds) if options.processes else piloted(case, options.seconds)
    print(f"{how.processes} processes of each, {how.rounds} rounds\n")
    called: dict[str, Counter[str]] = {name: Counter() for name in JUDGES}
    seconds, ratios, copies = [], [], []
    for number in range(options.trials):
        records, spent_s = timed(case, how, number)
        seconds.append(spent_s)
        for name, judge in JUDGES.items():
            for backend in ("conv-slowed", "conv-copy"):
                called[name][backend] += judge(records[backend], records["conv"])
        found = ratio(records["conv-slowed"], records["conv"])
        ratios.append(found.value if found else 1.0)
        copies.append(ratio(records["conv-copy"], records["conv"]))
    print(f"{'called slower':<26}{'2 % slower':>12}{'a copy':>10}")
    for name, counts in called.items():
        print(f"{name:<26}{counts['conv-slowed'] / options.trials:>12.0%}{counts['conv-copy'] / options.trials:>10.0%}")
    off = [abs(copy.value - 1) for copy in copies if copy]
    held = sum(copy.includes_one for copy in copies if copy) / len(off)
    print(
        f"\nthe slowed one's ratio is {median(ratios):.4f} in the median trial; {median(seconds):.1f} s a trial, ",
        end="",
    )
    print(f"{max(seconds):.1f} s at most")
    print(f"a copy's is {median(off):.2%} off 1, at worst {max(off):.2%}; its interval holds 1 in {held:.0%}")


if __name__ == "__main__":
    main()
