"""How large a difference has to be before it is claimed from 1 to 5 rounds, which are too few for an interval.

The paired ratio of two backends then has only the range of its rounds, and is called a difference if all of the range
lies above a factor. Simulated are tables of equally fast backends, so that every claim is false, and one backend that
really is slower. The noise of a sample is that of the noisy machine of docs/measured.md, whose samples' middle half
spreads over 15 %, and stalls: one sample in 50 takes 1.5 to 5 times as long.

    python evaluation/statistics/level_without_interval.py [--tables 4000]
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from convbench.stats.process_variation import half_width_of_process_variation
from convbench.stats.ragged import normal_spread

FACTORS = (1.1, 1.2, 1.5, 2.0)
ROUNDS = (1, 2, 3, 4, 5)
BACKENDS = 12
SLOWER = (1.5, 2.0, 3.0)
SAMPLE_SPREAD = 0.15 / 1.349
STALLS, LONGEST_STALL = 0.02, (1.5, 5.0)


def samples(rng: np.random.Generator, rounds: int) -> NDArray[np.float64]:
    """(backends, rounds): the logarithms of what calls take that are equally fast."""
    logs = rng.normal(0, SAMPLE_SPREAD, (BACKENDS, rounds))
    stalls = np.log(rng.uniform(*LONGEST_STALL, logs.shape))
    return np.where(rng.random(logs.shape) < STALLS, logs + stalls, logs)


def lows(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """(backends - 1,): the low ends of the ratios to the fastest, as `analysis.paired_ratio` gives them."""
    ordered = logs[np.argsort(np.median(logs, axis=1))]
    ratios = ordered[1:] - ordered[0]
    centres = np.median(ratios, axis=1)
    half_widths = [half_width_of_process_variation([], float(spread)) for spread in normal_spread(ratios)]
    return np.asarray(centres - np.hypot(centres - ratios.min(axis=1), half_widths))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=4000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    slower_heads = "".join(f"{f'{times}x slower':>14}" for times in SLOWER)
    print(f"{'rounds':>6}{'factor':>8}{'false claims':>14}{'any in a table':>16}{slower_heads}")
    for rounds in ROUNDS:
        equal = np.array([lows(samples(rng, rounds)) for _ in range(options.tables)])
        found = np.zeros((len(SLOWER), len(FACTORS)))
        for _ in range(options.tables):
            pair = samples(rng, rounds)[:2]
            for row, times in enumerate(SLOWER):
                (low,) = lows(pair + np.array([[0.0], [np.log(times)]]))
                found[row] += low > np.log(FACTORS)
        for place, factor in enumerate(FACTORS):
            claimed = equal > np.log(factor)
            shares = "".join(f"{share / options.tables:>14.1%}" for share in found[:, place])
            print(f"{rounds:>6}{factor:>8}{claimed.mean():>14.2%}{claimed.any(axis=1).mean():>16.1%}{shares}")


if __name__ == "__main__":
    main()
