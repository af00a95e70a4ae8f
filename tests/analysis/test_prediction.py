"""Predictions for layers never measured, on machines whose times follow a known law: do intervals cover, is the choice
good, and is nothing said where nothing is known?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from convbench.analysis.prediction.layer_features import NAMES, features
from convbench.analysis.prediction.layer_time import Predicted, Predictor, Races
from convbench.analysis.prediction.time_model import CONFIDENCE, COVERAGE, FEWEST, _rank_for_sure
from convbench.problem import ConvProblem
from convbench.stats.gaussian_process import Fit, Kernel, _cost, _kernel, fitted_kernel

pytestmark = pytest.mark.slow

# --- machines -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Library:
    """A backend whose time is known: the slower of computing and moving, and the cost of a call."""

    gflops: Mapping[str, float]
    gigabytes: float
    call_s: float
    lanes: int = 1

    def seconds(self, problem: ConvProblem) -> float:
        per_group = problem.out_channels if problem.kind == "depthwise" else problem.out_channels // problem.groups
        waste = -(-per_group // self.lanes) * self.lanes / per_group
        compute = problem.flops * waste / self.gflops[problem.kind] / 1e9
        return compute + problem.bytes / self.gigabytes / 1e9 + self.call_s


def rates(pointwise: float, dense: float, depthwise: float, grouped: float) -> dict[str, float]:
    return {"pointwise": pointwise, "dense": dense, "depthwise": depthwise, "grouped": grouped}


LIBRARIES = {
    "dense-one": Library(rates(100, 110, 4, 10), 12, 8e-6, lanes=16),
    "depthwise-one": Library(rates(60, 50, 30, 40), 12, 4e-6, lanes=8),
    "steady-one": Library(rates(70, 70, 15, 30), 15, 1e-6),
    "slow-one": Library(rates(5, 5, 3, 3), 5, 2e-5),
}
NOISE = 0.03


def layers(number: int, rng: np.random.Generator) -> list[ConvProblem]:
    """Distinct layers such as models have."""
    found: dict[ConvProblem, None] = {}
    while len(found) < number:
        size, kernel = int(rng.choice([7, 14, 28, 56])), int(rng.choice([1, 1, 3, 5]))
        channels, out = (int(rng.integers(1, 33)) * int(rng.choice([3, 8, 16])) for _ in range(2))
        shared: dict[str, Any] = {"in_channels": channels, "height": size, "width": size, "kernel_size": kernel}
        shared["padding"] = kernel // 2
        if rng.random() < 0.3:
            found[ConvProblem(**shared, out_channels=channels, groups=channels)] = None
        else:
            found[ConvProblem(**shared, out_channels=out, stride=int(rng.choice([1, 1, 2])))] = None
    return list(found)


def record(backend: str, problem: ConvProblem, seconds: float | None, status: str = "ok") -> dict[str, Any]:
    known = {"backend": backend, "case": problem.case_id, "status": status, "median_s": seconds}
    return known | {"problem": problem.as_dict()}


def records(problems: list[ConvProblem], rng: np.random.Generator, noise: float = NOISE) -> list[dict[str, Any]]:
    return [
        record(name, problem, library.seconds(problem) * math.exp(rng.normal(0, noise)))
        for problem in problems
        for name, library in LIBRARIES.items()
    ]


@pytest.fixture(scope="module")
def seen() -> tuple[list[ConvProblem], list[dict[str, Any]]]:
    rng = np.random.default_rng(1)
    problems = layers(80, rng)
    return problems, records(problems, rng)


@pytest.fixture(scope="module")
def predictor(seen: tuple[list[ConvProblem], list[dict[str, Any]]]) -> Predictor:
    return Predictor(seen[1])


# --- what is promised ---------------------------------------------------------------------------------------------


def test_intervals_cover_and_the_choice_is_good() -> None:
    covered: list[bool] = []
    regrets: list[float] = []
    of_one: dict[str, list[float]] = {name: [] for name in LIBRARIES}
    for seed in range(4):
        rng = np.random.default_rng([2, seed])
        problems = layers(140, rng)
        predictor = Predictor(records(problems[:70], rng))
        for problem in problems[70:]:
            truth = {name: library.seconds(problem) for name, library in LIBRARIES.items()}
            ranked = predictor.rank(problem)
            for predicted in ranked:
                again = truth[predicted.backend] * math.exp(rng.normal(0, NOISE))
                covered.append(predicted.low_s <= again <= predicted.high_s)
            if ranked:
                regrets.append(truth[ranked[0].backend] / min(truth.values()) - 1)
            for name, seconds in truth.items():
                of_one[name].append(seconds / min(truth.values()) - 1)
    assert len(covered) > 0.9 * 4 * 4 * 70
    assert 0.87 < np.mean(covered) < 0.97
    assert np.mean(regrets) < 0.03
    assert np.mean(regrets) < min(np.mean(regret) for regret in of_one.values()) / 4


def test_a_measured_layer_is_its_own_nearest_neighbour(seen: Any, predictor: Predictor) -> None:
    for problem in seen[0][:10]:
        for predicted in predictor.rank(problem):
            assert predicted.neighbours[0] == problem.case_id
            assert len(set(predicted.neighbours)) == 3
            assert predicted.call_s == pytest.approx(LIBRARIES[predicted.backend].seconds(problem), rel=0.15)


def test_times_in_another_unit_give_predictions_in_that_unit(seen: Any) -> None:
    problem = layers(1, np.random.default_rng(3))[0]
    one = Predictor(seen[1]).rank(problem)
    other = Predictor([r | {"median_s": r["median_s"] * 7} for r in seen[1]]).rank(problem)
    for a, b in zip(one, other, strict=True):
        assert (a.backend, a.neighbours) == (b.backend, b.neighbours)
        assert [b.low_s, b.call_s, b.high_s] == pytest.approx([7 * a.low_s, 7 * a.call_s, 7 * a.high_s], rel=1e-3)


def test_the_ranking_is_by_time_and_how_sure_it_is_and_says_what_predict_says(seen: Any, predictor: Predictor) -> None:
    for problem in layers(20, np.random.default_rng(4)):
        ranked = predictor.rank(problem)
        assert [p.call_s * p.high_s for p in ranked] == sorted(p.call_s * p.high_s for p in ranked)
        assert all(predictor.predict(p.backend, problem) == p for p in ranked)
        assert all(0 < p.low_s < p.call_s < p.high_s < math.inf for p in ranked)


def test_a_backend_measured_on_fewer_layers_has_wider_intervals_there(seen: Any) -> None:
    problems, found = seen
    few = {p.case_id for p in problems[:15]}
    thinned = [r for r in found if r["backend"] != "steady-one" or r["case"] in few]
    fewer, all_of_them = Predictor(thinned), Predictor(found)
    widths: list[float] = []
    for problem in layers(30, np.random.default_rng(5)):
        a, b = fewer.predict("steady-one", problem), all_of_them.predict("steady-one", problem)
        if a and b:
            widths.append(math.log(a.high_s / a.low_s) / math.log(b.high_s / b.low_s))
            assert set(a.neighbours) <= few
    assert len(widths) > 10 and np.median(widths) > 1.2


# --- where nothing is known ---------------------------------------------------------------------------------------


def test_what_cannot_be_known_is_not_predicted(seen: Any, predictor: Predictor) -> None:
    problem = seen[0][0]
    assert predictor.predict("unheard-of", problem) is None
    assert predictor.rank(problem.replace(dtype="float16")) == ()
    assert predictor.rank(problem.replace(direction="input_gradient")) == ()
    far = ConvProblem(in_channels=2, height=9000, width=1, out_channels=3, kernel_size=(4000, 1), dilation=(2, 1))
    assert predictor.rank(far) == ()
    assert Predictor([]).rank(problem) == () and Predictor([]).backends == ()


@pytest.mark.parametrize("number", [1, 2, FEWEST - 1])
def test_too_few_layers_give_no_interval_and_so_no_prediction(number: int, seen: Any) -> None:
    known = {p.case_id for p in seen[0][:number]}
    predictor = Predictor([r for r in seen[1] if r["case"] in known])
    assert set(predictor.backends) == set(LIBRARIES)
    assert predictor.rank(seen[0][0]) == ()


def test_a_backend_with_few_layers_is_left_out_and_the_others_are_not(seen: Any) -> None:
    known = {p.case_id for p in seen[0][: FEWEST - 1]}
    some = [r for r in seen[1] if r["backend"] == "dense-one" or r["case"] in known]
    assert [p.backend for p in Predictor(some).rank(seen[0][20])] == ["dense-one"]


def raced(found: list[dict[str, Any]], left_out: Callable[[ConvProblem, str], bool]) -> list[dict[str, Any]]:
    """The records as a race leaves them that left those out."""
    kept = [r for r in found if not left_out(ConvProblem(**r["problem"]), r["backend"])]
    return [r | {"run": "a-race", "stopped": "beaten"} for r in kept]


def test_who_was_left_out_of_large_layers_is_not_chosen_for_them(seen: Any) -> None:
    problems, found = seen
    middle = sorted(p.macs for p in problems)[len(problems) // 2]
    # Its times of small layers make it look fast on large ones, where nobody asked it.
    flattering = [r | {"median_s": 1e-9} if r["backend"] == "slow-one" else r for r in found]
    race = raced(flattering, lambda problem, backend: backend == "slow-one" and problem.macs > middle)
    large, small = max(problems, key=lambda p: p.macs), min(problems, key=lambda p: p.macs)
    assert Predictor(race).rank(small)[0].backend == "slow-one"
    assert "slow-one" not in [p.backend for p in Predictor(race).rank(large)]
    # Without a race nobody was left out: those layers were not asked of it, and nothing follows from that.
    assert Predictor([r | {"stopped": "rounds"} for r in race]).predict("slow-one", large) is not None
    # Nor from a race that it was not in.
    other = [r if r["backend"] != "slow-one" else r | {"run": "another", "stopped": "rounds"} for r in race]
    assert Predictor(other).predict("slow-one", large) is not None


def test_left_out_is_who_has_no_record_where_others_were_raced() -> None:
    one, other = layers(2, np.random.default_rng(9))
    races = Races()
    for problem, backend, status in ((one, "a", "ok"), (one, "b", "wrong"), (other, "a", "ok"), (other, "c", "ok")):
        races.note(problem, record(backend, problem, 1.0, status) | {"run": "r", "stopped": "level"})
    assert races.left_out() == {one: {"c"}, other: {"b"}}
    races.note(one, record("c", one, 1.0) | {"run": "r"})
    assert races.left_out() == {one: set(), other: {"b"}}


@given(st.integers(FEWEST, 400))
def test_the_share_that_an_interval_covers_is_enough_with_the_confidence(size: int) -> None:
    rank = _rank_for_sure(size)
    enough = [stats.binom.cdf(k - 1, size, COVERAGE) for k in (rank, rank - 1)]  # of Beta's tail, told otherwise
    assert enough[0] >= CONFIDENCE or rank == size
    assert enough[1] < CONFIDENCE


def test_only_right_and_finite_times_count(seen: Any) -> None:
    problem = seen[0][3]
    spoilt = [
        record("steady-one", problem, 1e-9, "wrong"),
        record("steady-one", problem, None),
        record("steady-one", problem, math.nan),
        record("steady-one", problem, -1.0),
        record("steady-one", problem, math.inf),
        {"backend": "steady-one", "case": "x", "status": "ok", "median_s": 1e-9},
        {"backend": "steady-one", "case": "x", "status": "ok", "median_s": 1e-9, "problem": {"in_channels": 0}},
        {"backend": "steady-one", "case": "x", "status": "ok", "median_s": 1e-9, "problem": {"surprise": []}},
    ]
    assert Predictor([*seen[1], *spoilt]).rank(problem) == Predictor(seen[1]).rank(problem)


def test_of_two_records_of_a_pair_the_later_counts(seen: Any) -> None:
    early = [r | {"median_s": 1e-6} for r in seen[1]]
    assert Predictor([*early, *seen[1]]).rank(seen[0][0]) == Predictor(seen[1]).rank(seen[0][0])


@pytest.mark.parametrize("number", [FEWEST, 40])
def test_layers_that_all_take_the_same_are_predicted_to(number: int) -> None:
    problems = [p for p in layers(2 * number, np.random.default_rng(6)) if p.groups == 1][:number]
    predictor = Predictor([record("flat", problem, 1e-3) for problem in problems])
    for problem in problems:
        predicted = predictor.predict("flat", problem)
        assert isinstance(predicted, Predicted)
        assert predicted.low_s <= 1e-3 * (1 + 1e-9) and predicted.high_s >= 1e-3 * (1 - 1e-9)
        assert predicted.call_s == pytest.approx(1e-3, rel=1e-3)


def test_layers_that_differ_in_nothing_the_features_see_are_no_trouble() -> None:
    # A bias is hardly a matter of time.
    same = [
        ConvProblem(in_channels=16, height=9, width=9, out_channels=16, kernel_size=3, bias=b) for b in (True, False)
    ]
    rng = np.random.default_rng(7)
    problems = [*same, *layers(20, rng)]
    ranked = Predictor(records(problems, rng)).rank(same[0])
    assert len(ranked) == len(LIBRARIES)


# --- the regression -----------------------------------------------------------------------------------------------


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    points = rng.normal(size=(40, 3))
    smooth = np.stack([points[:, 0] + np.sin(points[:, 1]), 3 * np.cos(points[:, 2])], axis=1)
    return points, smooth + rng.normal(0, 0.05, smooth.shape)


KERNEL = Kernel(np.array([-1.0, -2.0, 0.5]), -1.0, -4.0)


def test_leaving_a_point_out_is_fitting_without_it(data: tuple[np.ndarray, np.ndarray]) -> None:
    points, values = data
    # The scales are those of all points, so the deviations are compared by their ratio to them.
    means, deviations = Fit.of(KERNEL, points, values).left_out()
    scales = Fit.of(KERNEL, points, values).scales
    for i in (0, 7, 39):
        rest = np.arange(len(points)) != i
        without = Fit.of(KERNEL, points[rest], values[rest])
        mean, deviation = without.predict(points[i : i + 1])
        assert means[i] == pytest.approx(mean[0], abs=1e-9)
        assert deviations[i] / np.sqrt(scales) == pytest.approx(deviation[0] / np.sqrt(without.scales))


def test_the_slopes_of_the_likelihood_are_its_differences(data: tuple[np.ndarray, np.ndarray]) -> None:
    numbers = np.array([-1.0, -2.0, 0.5, -1.0, -4.0])
    step = 1e-5 * np.eye(len(numbers))
    slopes = _cost(_kernel(numbers), *data)[1]
    differences = [(_cost(_kernel(numbers + s), *data)[0] - _cost(_kernel(numbers - s), *data)[0]) / 2e-5 for s in step]
    assert slopes == pytest.approx(differences, rel=1e-4, abs=1e-4)


def test_a_difference_is_predicted_as_the_difference_of_predictions(data: tuple[np.ndarray, np.ndarray]) -> None:
    points, values = data
    both, between = Fit.of(KERNEL, points, values), Fit.of(KERNEL, points, values[:, :1] - values[:, 1:])
    new = np.random.default_rng(9).normal(size=(5, 3))
    means = both.predict(new)[0]
    assert between.predict(new)[0][:, 0] == pytest.approx(means[:, 0] - means[:, 1])


def test_the_fitted_kernel_looks_at_what_matters(data: tuple[np.ndarray, np.ndarray]) -> None:
    rng = np.random.default_rng(10)
    points, values = data
    kernel = fitted_kernel(np.column_stack([points, rng.normal(size=(40, 2))]), values)
    assert kernel.log_weights[3:].max() < kernel.log_weights[1:3].min()


def test_every_feature_has_a_name_and_is_finite(seen: Any) -> None:
    for problem in [*seen[0], ConvProblem(in_channels=1, height=1, width=1, out_channels=1, kernel_size=1)]:
        assert len(features(problem)) == len(NAMES)
        assert all(map(math.isfinite, features(problem)))
