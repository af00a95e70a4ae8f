"""How well steps are found, and how often an alarm is false: convbench's change points beside asv's own detector.

    python evaluation/statistics/step_detection.py [--series 400]

All series are simulated, from fixed seeds: 40 points with 3 % noise unless the line says otherwise. Noise is normal on
the logarithm, and the line names its standard deviation. Spikes: each point is multiplied, with a chance of 10 %, by a
factor drawn evenly from the stated range. A step is found when a change is reported within 5 points of it; false counts
the series with a change that is near no step. A series is examined alone, with the settings of `convbench trend` and
without steps of less than 3 %, unless the line says otherwise. asv's detector is `asv.step_detect.detect_steps`, and
every step counts. If `ruptures` is installed, its PELT on the logarithms (normal cost, penalty 3 log n) is added. So is
Apache Otava (`apache-otava`, the former Hunter) with its own defaults (a window of 50 points, p of at most 0.001) and
the same smallest step of 3 %, as one of its users would ask it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from convbench.stats.change_points import FEWEST_IN_SEGMENT, ChangePoint, change_points_of_all
from convbench.stats.segmentation import Observed, best_cut

Floats = NDArray[np.float64]
Detector = Callable[[Floats], Sequence[int]]
NEAR = 5


def change_points(values: Floats, intervals: Floats | None = None, **options: float) -> tuple[ChangePoint, ...]:
    return change_points_of_all([values], [intervals], **options)[0]  # type: ignore[arg-type]


def p_value_of(values: Floats) -> float:
    cut = best_cut(Observed(np.log(values)), 0, len(values), FEWEST_IN_SEGMENT)
    return 1.0 if cut is None else cut[0]


THRESHOLD = 0.03


@dataclass(frozen=True)
class Kind:
    """Series of parts (points, level), with noise and more."""

    parts: tuple[tuple[int, float], ...] = ((40, 1.0),)
    noise: float = 0.03
    spikes: tuple[float, float] | None = None
    both_ways: bool = False
    drift: float = 1.0
    resemblance: float = 0.0

    @property
    def steps(self) -> list[int]:
        return np.cumsum([points for points, _ in self.parts])[:-1].tolist()

    def draw(self, rng: np.random.Generator) -> Floats:
        levels = np.log(np.concatenate([np.full(*part) for part in self.parts]))
        noise = rng.normal(0, self.noise, levels.size)
        for i in range(1, levels.size):
            noise[i] = self.resemblance * noise[i - 1] + np.sqrt(1 - self.resemblance**2) * noise[i]
        if self.spikes is not None:
            spikes = np.log(rng.uniform(*self.spikes, levels.size)) * (rng.random(levels.size) < 0.1)
            noise += spikes * (rng.choice([-1, 1], levels.size) if self.both_ways else 1)
        return np.exp(levels + noise + np.linspace(0, np.log(self.drift), levels.size))


SLOW = (1.1, 1.5)
KINDS = (
    ("flat", Kind()),
    ("flat, spikes of 1.1 to 1.5", Kind(spikes=SLOW)),
    ("flat, spikes of 1.1 to 1.5 up or down", Kind(spikes=SLOW, both_ways=True)),
    ("flat, spikes of 1.1", Kind(spikes=(1.1, 1.1))),
    ("flat, spikes of 2 to 10", Kind(spikes=(2, 10))),
    ("20+20, 5 % step", Kind(((20, 1), (20, 1.05)))),
    ("20+20, 5 % step, spikes of 1.1 to 1.5", Kind(((20, 1), (20, 1.05)), spikes=SLOW)),
    ("20+20, 10 % step", Kind(((20, 1), (20, 1.1)))),
    ("20+20, 10 % step, spikes of 1.1 to 1.5", Kind(((20, 1), (20, 1.1)), spikes=SLOW)),
    ("35+5, 10 % step", Kind(((35, 1), (5, 1.1)))),
    ("37+3, 20 % step", Kind(((37, 1), (3, 1.2)))),
    ("17+6+17, 10 % up and down", Kind(((17, 1), (6, 1.1), (17, 1)))),
    ("5 x 40, 5 % up, down, up, up", Kind(((40, 1), (40, 1.05), (40, 1), (40, 1.05), (40, 1.1025)))),
    ("drift by 10 %", Kind(drift=1.1)),
    ("flat, neighbours correlated by 0.3", Kind(resemblance=0.3)),
    ("flat, neighbours correlated by 0.5", Kind(resemblance=0.5)),
)


def by_convbench(values: Floats) -> list[int]:
    return [change.index for change in change_points(values, min_magnitude=THRESHOLD)]


def by_asv(values: Floats) -> list[int]:
    from asv.step_detect import detect_steps

    return [int(step[0]) for step in detect_steps(values.tolist())[1:]]


def by_ruptures(values: Floats) -> list[int]:
    import ruptures

    logs = np.log(values)
    noise = np.median(np.abs(np.diff(logs))) / 0.6745 / np.sqrt(2)
    ends = ruptures.Pelt(model="l2", min_size=3, jump=1).fit(logs).predict(pen=3 * np.log(logs.size) * noise**2)
    return [int(end) for end in ends[:-1]]


def by_otava(values: Floats) -> list[int]:
    from otava.analysis import compute_change_points

    found, _ = compute_change_points(values.tolist(), min_magnitude=THRESHOLD)
    return [int(change.index) for change in found]


def detection(series: int, detectors: dict[str, Detector]) -> None:
    print(f"Percent of {series} series each: steps found, and series with a false alarm\n")
    print(f"{'':40}" + "".join(f"{name:>18}" for name in detectors))
    print(f"{'':40}" + f"{'found':>10}{'false':>8}" * len(detectors))
    for number, (label, kind) in enumerate(KINDS):
        rng = np.random.default_rng([1, number])
        drawn = [kind.draw(rng) for _ in range(series)]
        line = f"{label:40}"
        for detect in detectors.values():
            told = [detect(values) for values in drawn]
            hits = [any(abs(i - step) <= NEAR for i in one) for one in told for step in kind.steps]
            false = np.mean([any(all(abs(i - step) > NEAR for step in kind.steps) for i in one) for one in told])
            line += (f"{100 * np.mean(hits):10.1f}" if hits else f"{'–':>10}") + f"{100 * false:8.1f}"
        print(line, flush=True)


def many_together(runs: int = 100, series: int = 200, stepping: int = 20) -> None:
    rng = np.random.default_rng(2)
    flat, step = Kind(), Kind(((25, 1), (15, 1.1)))
    alarmed = np.mean([any(change_points_of_all([flat.draw(rng) for _ in range(series)])) for _ in range(runs)])
    print(f"\n{series} flat series looked at together, {runs} times: an alarm in {100 * alarmed:.1f} % of the looks")
    for like in (0.3, 0.5):
        alike = Kind(resemblance=like)
        looks = [change_points_of_all([alike.draw(rng) for _ in range(series)]) for _ in range(runs // 5)]
        print(
            f"the same, neighbours correlated by {like}, {len(looks)} times: an alarm in "
            f"{100 * np.mean([any(look) for look in looks]):.1f} % of the looks"
        )
    shares, found = [], []
    for _ in range(runs):
        told = change_points_of_all([(step if i < stepping else flat).draw(rng) for i in range(series)])
        hits = [any(abs(c.index - 25) <= NEAR for c in one) for one in told[:stepping]]
        shares.append((sum(map(len, told)) - sum(hits)) / max(1, sum(map(len, told))))
        found.append(np.mean(hits))
    print(
        f"{stepping} of {series} with a 10 % step at 25+15, {runs} times: {100 * np.mean(found):.1f} % found, "
        f"{100 * np.mean(shares):.1f} % of the changes reported are false"
    )


def p_values(series: int) -> None:
    print(f"\nPercent of {series} flat series with a p value of at most")
    levels = (0.01, 0.05, 0.1, 0.2, 0.5)
    print(f"{'':40}" + "".join(f"{100 * level:8.0f} %" for level in levels))
    for label, kind in KINDS[:2]:
        for points in (20, 40, 100):
            rng = np.random.default_rng([3, points])
            drawn = [Kind(((points, 1.0),), spikes=kind.spikes).draw(rng) for _ in range(series)]
            p = np.array([p_value_of(values) for values in drawn])
            shares = "".join(f"{100 * np.mean(p <= level):8.1f}  " for level in levels)
            print(f"{f'{label}, {points} points':40}{shares}", flush=True)


def intervals(series: int) -> None:
    rng = np.random.default_rng(4)
    print(f"\n95 % intervals that contain the true ratio, of steps found in {series} series each")
    for size, noise in ((1.05, 0.03), (1.1, 0.03), (1.3, 0.03)):
        kind = Kind(((20, 1), (20, size)), noise)
        told = [c for _ in range(series) for c in change_points(kind.draw(rng)) if abs(c.index - 20) <= NEAR]
        covered = np.mean([c.ratio.low <= size <= c.ratio.high for c in told])
        print(f"{f'20+20, {size - 1:.0%} step':40}{100 * covered:8.1f}")


def uncertain_points(series: int) -> None:
    rng = np.random.default_rng(5)
    print("\n20+20, 5 % step, 2 % noise, three points in ten with 15 % and an interval that says so: percent found")
    alone = with_intervals = 0
    for _ in range(series):
        spread = np.where(rng.random(40) < 0.3, 0.15, 0.02)
        logs = rng.normal(0, spread) + np.log(1.05) * (np.arange(40) >= 20)
        ends = np.exp(np.stack([logs - 1.96 * spread, logs + 1.96 * spread], axis=1))
        alone += any(abs(c.index - 20) <= NEAR for c in change_points(np.exp(logs)))
        with_intervals += any(abs(c.index - 20) <= NEAR for c in change_points(np.exp(logs), ends))
    for label, found in (("medians alone", alone), ("with their intervals", with_intervals)):
        print(f"{label:40}{100 * found / series:8.1f}")


def speed() -> None:
    rng = np.random.default_rng(6)
    drawn = [Kind(((50, 1.0),)).draw(rng) for _ in range(5000)]
    start = time.perf_counter()
    change_points_of_all(drawn)
    print(f"\n5,000 series of 50 points: {time.perf_counter() - start:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=400, help="of each kind")
    series = parser.parse_args().series
    detectors: dict[str, Detector] = {"convbench": by_convbench, "asv": by_asv}
    if find_spec("ruptures"):
        detectors["ruptures"] = by_ruptures
    if find_spec("otava"):
        detectors["otava"] = by_otava
        print(f"Apache Otava {version('apache-otava')}\n")
    detection(series, detectors)
    many_together()
    p_values(2 * series)
    intervals(series)
    uncertain_points(series)
    speed()


if __name__ == "__main__":
    main()
