"""Two runs of the same code: how many pairs does a comparison call changed, and how many that were made slower?

Takes two journals of the same backends and cases on one machine, or makes some with `convbench run`, one after the
other, and compares each with the next. Of records of several processes the first counts. The judges:

* the samples alone: the rank test and the interval with which `convbench compare` begins;
* `convbench compare`, which also knows what a machine may do from one run to another; and the same with one backend's
  records alone, so that no other library tells what the machine did;
* `asv compare`, with its own factor of 1.1.

Where there are many cases, tables of 6 of them are drawn at random. Counted are the pairs called changed, though
nothing was; the tables with any such; and, once one library (drawn at random for each table) is made slower in the
second run, how many of its pairs are called slower.

    python evaluation/statistics/two_runs.py BASE.jsonl NEW.jsonl
    python evaluation/statistics/two_runs.py [--runs 3] [--suite sizes] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from power import by_asv

from convbench.analysis.comparison import compare
from convbench.analysis.drift import library_of
from convbench.stats.change_points import FALSE_DISCOVERY_RATE
from convbench.stats.rank_sum import q_values
from convbench.stats.two_sample import independent
from convbench.store.readings import ragged_walls
from convbench.store.schema import Record

SLOWER_BY = (0.05, 0.1, 0.2, 0.5)
_CASES, _TABLES = 6, 100
_THRESHOLD = 0.05

Judge = Callable[[Sequence[Record], Sequence[Record]], list[float]]
"""The ratios of the pairs that are called changed, 0 for the others, in their order."""


def by_samples(base: Sequence[Record], new: Sequence[Record]) -> list[float]:
    results = independent(ragged_walls(base), ragged_walls(new))
    rates = q_values([result.p_value for result in results])
    return [
        r.ratio.value if rate < FALSE_DISCOVERY_RATE and not r.ratio.includes_one else 0.0
        for r, rate in zip(results, rates, strict=True)
    ]


def by_convbench(base: Sequence[Record], new: Sequence[Record]) -> list[float]:
    found = compare(base, new, _THRESHOLD).changes
    changed = {(change.case, change.backend): change.ratio.value for change in found if change.changed}
    return [changed.get((record["case"], record["backend"]), 0.0) for record in base]


def by_convbench_alone(base: Sequence[Record], new: Sequence[Record]) -> list[float]:
    """Each backend as if it were the only one in the two runs."""
    found = [0.0] * len(base)
    for name in {record["backend"] for record in base}:
        places = [place for place, record in enumerate(base) if record["backend"] == name]
        values = by_convbench([base[place] for place in places], [new[place] for place in places])
        for place, value in zip(places, values, strict=True):
            found[place] = value
    return found


def by_asv_compare(base: Sequence[Record], new: Sequence[Record]) -> list[float]:
    differs, values = by_asv(1.1), []
    for one, other in zip(base, new, strict=True):
        changed = differs(other, one) or differs(one, other)
        values.append(median(other["samples"]["wall_s"]) / median(one["samples"]["wall_s"]) if changed else 0.0)
    return values


JUDGES: dict[str, Judge] = {
    "the samples alone": by_samples,
    "convbench compare": by_convbench,
    "of one backend": by_convbench_alone,
    "asv compare": by_asv_compare,
}


def of_one_process(record: Record) -> Record:
    samples = record["samples"]
    if not samples.get("process"):
        return record
    first = [place for place, process in enumerate(samples["process"]) if process == samples["process"][0]]
    kept = {name: [column[place] for place in first] for name, column in samples.items() if column is not None}
    return record | {"samples": {name: column for name, column in kept.items() if name != "process"}}


def timed(journal: Path) -> dict[tuple[str, str, str], Record]:
    records = map(json.loads, journal.read_text().splitlines())
    return {
        (r["suite"], r["case"], r["backend"]): of_one_process(r)
        for r in records
        if r["status"] == "ok" and r["samples"]
    }


def made(runs: int, suite: str, folder: Path) -> list[Path]:
    journals = []
    for number in range(runs):
        journal = folder / f"{number}.jsonl"
        run = [sys.executable, "-m", "convbench", "run", "--suite", suite, "--no-asv", "--json"]
        with journal.open("w") as out:
            subprocess.run([*run, "--results", folder / str(number)], stdout=out, stderr=subprocess.DEVNULL, check=True)
        journals.append(journal)
    return journals


def slowed(record: Record, by: float) -> Record:
    samples = record["samples"]
    return record | {"samples": samples | {"wall_s": [wall_s * (1 + by) for wall_s in samples["wall_s"]]}}


def judged(base: list[Record], new: list[Record]) -> None:
    off = sorted(abs(math.log(by)) for by in _ratios(base, new))
    usual, far = (f"{math.expm1(off[int(share * len(off))]):.1%}" for share in (0.5, 0.95))
    cpu = base[0]["machine"]["cpu"]
    print(f"{cpu}: {len(base):,} pairs; half of them are within {usual} of each other, 95 % within {far}\n")
    head = "".join(f"{f'{by:.0%} slower':>13}" for by in SLOWER_BY)
    print(f"{'called changed':<20}{'nothing changed':>17}{'any in a table':>16}{head}")
    tables = list(_tables(base))
    for name, judge in JUDGES.items():
        of_all = sum(map(bool, judge(base, new)))
        alarms, found, of_slowed = 0, Counter[float](), 0
        for places, library in tables:
            before, after = [base[place] for place in places], [new[place] for place in places]
            alarms += any(judge(before, after))
            chosen = [number for number, record in enumerate(before) if library_of(record) == library]
            of_slowed += len(chosen)
            for by in SLOWER_BY:
                changed = [slowed(r, by) if number in chosen else r for number, r in enumerate(after)]
                values = judge(before, changed)
                found[by] += sum(values[number] > 1 for number in chosen)
        shares = "".join(f"{found[by] / of_slowed:>13.0%}" for by in SLOWER_BY)
        print(f"{name:<20}{of_all / len(base):>17.1%}{alarms / len(tables):>16.0%}{shares}", flush=True)
    names = {record["backend"] for record in base}
    sides = [[[r for r in side if r["backend"] == name] for name in names] for side in (base, new)]
    together = compare(base, new, _THRESHOLD).changes
    alone = [change for one, other in zip(*sides, strict=True) for change in compare(one, other, _THRESHOLD).changes]
    held, held_alone = (sum(c.ratio.includes_one for c in found) / len(found) for found in (together, alone))
    print(f"\nthe interval of the ratio holds 1 in {held:.1%}, of one backend's records alone in {held_alone:.1%}")


def _tables(records: Sequence[Record]) -> Iterator[tuple[list[int], str]]:
    """The places of the records of 6 cases, and a library: of many cases some at random, of few all with each one."""
    cases = sorted({record["case"] for record in records})
    libraries = sorted({library_of(record) for record in records})
    drawn = random.Random(0)
    if len(cases) <= 2 * _CASES:
        yield from ((list(range(len(records))), library) for library in libraries)
        return
    for _ in range(_TABLES):
        some = drawn.sample(cases, _CASES)
        places = [place for place, record in enumerate(records) if record["case"] in some]
        yield places, drawn.choice(libraries)


def _ratios(base: Sequence[Record], new: Sequence[Record]) -> list[float]:
    return [median(n["samples"]["wall_s"]) / median(b["samples"]["wall_s"]) for b, n in zip(base, new, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("journals", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--suite", default="sizes")
    parser.add_argument("--keep", type=Path, help="where to leave the journals that it makes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        journals = options.journals or made(options.runs, options.suite, folder)
        for before, after in pairwise(journals):
            base, new = timed(before), timed(after)
            pairs = [pair for pair in base if pair in new]
            judged([base[pair] for pair in pairs], [new[pair] for pair in pairs])
            print()


if __name__ == "__main__":
    main()
