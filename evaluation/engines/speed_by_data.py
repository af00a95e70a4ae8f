"""Does speed depend on the numbers? Every backend on normal values, denormal ones and zeros, by ratios with intervals.

python evaluation/engines/speed_by_data.py [--backend PATTERN] [--problem ID] [--budget S]

Prints a table for docs/data.md: the time on denormal values and on zeros over that on normal values, as a geometric
mean over the problems, and what each backend makes of denormal numbers. Takes some 10 minutes with all engines.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

import convbench

PROBLEMS = ("n1c64h56w56_o64k3_p1", "n1c32h112w112_o32k3_p1_g32", "n1c256h14w14_o256k1", "n1c64h28w28_o64k3_p1_bf16")
OTHERS = ("denormal", "zeros")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", action="append", help="a backend or pattern; all without")
    parser.add_argument("--problem", action="append", help="a problem; four without")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds of sampling for each pair")
    given = parser.parse_args()
    result = convbench.run(
        [convbench.ConvProblem.parse(problem) for problem in given.problem or PROBLEMS],
        backend=given.backend or (),
        data=("normal", *OTHERS),
        budget=given.budget,
        self_check=False,
        progress=True,
    )
    print(f"{'backend':28} {'denormal/normal':>24} {'zeros/normal':>24}  denormal numbers")
    for backend in dict.fromkeys(record["backend"] for record in result.records):
        own = [record for record in result.records if record["backend"] == backend]
        if any(record["status"] == "ok" for record in own):
            ratios = [_ratio(own, data) for data in OTHERS]
            print(f"{backend:28} {ratios[0]:>24} {ratios[1]:>24}  {_denormals(own)}")
    wrong = [
        (r["backend"], r["case"], r["settings"]["data"], r["reason"]) for r in result.records if r["status"] == "wrong"
    ]
    for backend, case, data, reason in wrong:
        print(f"wrong: {backend} on {case}, {data}: {reason}")


def _ratio(records: Sequence[Any], data: str) -> str:
    """`1.02x [0.98, 1.06]`: over the cases that were timed on both. The data are timed in turn, so the intervals of
    both times are in it."""
    times = {(record["settings"]["data"], record["case"]): record for record in records if record["median_s"]}
    pairs = [
        (times[data, case], other)
        for (kind, case), other in times.items()
        if kind == "normal" and (data, case) in times
    ]
    if not pairs:
        return "-"
    log = fmean(math.log(new["median_s"] / base["median_s"]) for new, base in pairs)
    width = math.sqrt(sum(_half_width(record) ** 2 for pair in pairs for record in pair)) / len(pairs)
    return f"{math.exp(log):.3g}x [{math.exp(log - width):.3g}, {math.exp(log + width):.3g}]"


def _half_width(record: Any) -> float:
    return max(math.log(record["median_s"] / record["low_s"]), math.log(record["high_s"] / record["median_s"]))


def _denormals(records: Iterable[Any]) -> str:
    by_dtype = {(record["dtype"], record["denormals"]) for record in records if record["denormals"]}
    return ", ".join(f"{what} ({dtype})" for dtype, what in sorted(by_dtype))


if __name__ == "__main__":
    main()
