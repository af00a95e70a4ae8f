"""Ratios are paired by round and cover the true one as often as they say; rankings follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import iqr

from convbench.analysis.backend_times import lower_precision
from convbench.analysis.paired_ratio import geometric_mean_ratio, ratio
from convbench.analysis.ranking import CaseRanking, SuiteRanking, rank
from convbench.stats.estimates import estimate_median
from convbench.stats.process_variation import EXPECTED, half_width_of_process_variation
from convbench.stats.ratio import Ratio
from convbench.status import Status
from convbench.store.schema import Record

VARIATION = half_width_of_process_variation([])
walls = st.lists(st.floats(1e-6, 10), min_size=1, max_size=20)


def timed(
    backend: str,
    wall_s: Iterable[float],
    rounds: Sequence[int] | None = None,
    *,
    case: str = "c1",
    suite: str = "s",
    **more: Any,
) -> Record:
    """A record with these samples, in rounds counted from 0."""
    samples = [float(s) for s in wall_s]
    return {
        "suite": suite,
        "case": case,
        "backend": backend,
        "status": "ok",
        "median_s": estimate_median(samples).median,
        "samples": {"round": list(range(len(samples)) if rounds is None else rounds), "wall_s": samples},
        "count": 1,
        **more,
    }


def untimed(backend: str, status: Status = Status.UNSUPPORTED, *, case: str = "c1", suite: str = "s") -> Record:
    return {
        "suite": suite, "case": case, "backend": backend, "status": str(status), "median_s": None, "samples": {}
    }  # fmt: skip


def spread_of(logs: list[float]) -> float:
    """The distance of the quartiles, in standard deviations of a normal distribution."""
    return float(iqr(logs, scale="normal"))


def drifting(rng: np.random.Generator, true: float, rounds: int, noise: float) -> tuple[Record, Record]:
    """Two backends, the first `true` times slower, on a machine that drifts by far more than their noise."""
    drift = np.exp(np.cumsum(rng.normal(0, 0.2, rounds)))
    skewed: NDArray[np.float64] = 1 + noise * rng.exponential(1, (2, rounds))
    return timed("slow", true * drift * skewed[0]), timed("fast", drift * skewed[1])


# --- the ratio of two -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("true", [1.0, 1.02, 7.0])
def test_the_interval_of_a_ratio_covers_the_true_one_whatever_drifts(true: float) -> None:
    rng = np.random.default_rng(7)
    covered, trials = 0, 1200
    for i in range(trials):
        found = ratio(*drifting(rng, true, 6 + i % 25, 0.02))
        assert found is not None
        assert found.covers
        covered += found.low <= true <= found.high
    assert covered / trials >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)


def test_pairing_by_round_takes_out_what_hits_both() -> None:
    rng = np.random.default_rng(1)
    slow, fast = drifting(rng, 1.10, 20, 0.002)
    found = ratio(slow, fast)
    assert found is not None
    assert 1.08 < found.low <= found.value <= found.high < 1.13
    spread = estimate_median(fast["samples"]["wall_s"])
    assert spread.relative_half_width > 0.05


@given(
    st.dictionaries(st.integers(0, 30), st.floats(1e-6, 1e3)), st.dictionaries(st.integers(0, 30), st.floats(1e-6, 1e3))
)
def test_only_rounds_that_both_were_sampled_in_count(one: dict[int, float], other: dict[int, float]) -> None:
    def record(by_round: dict[int, float]) -> Record:
        return {"samples": {"round": list(by_round), "wall_s": list(by_round.values())}}

    found = ratio(record(one), record(other))
    ratios = [one[r] / other[r] for r in one.keys() & other.keys()]
    if not ratios:
        assert found is None
        return
    assert found is not None
    rounds = estimate_median(ratios)
    logs = sorted(math.log(value) for value in ratios)
    expected = Ratio(rounds.median, rounds.low, rounds.high).widened(
        half_width_of_process_variation([], spread_of(logs))
    )
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert found.covers == (len(ratios) >= 6)


@given(walls, st.floats(0.1, 10))
def test_a_backend_a_times_slower_in_every_round_has_that_ratio_and_its_inverse(samples: list[float], a: float) -> None:
    slow, fast = timed("slow", (a * s for s in samples)), timed("fast", samples)
    there, back = ratio(slow, fast), ratio(fast, slow)
    assert there is not None
    assert back is not None
    off = math.exp(VARIATION)  # what one process each can differ by is all that there is of an interval
    assert (there.value, there.low, there.high) == pytest.approx((a, a / off, a * off))
    assert (back.value, back.low, back.high) == pytest.approx((1 / a, 1 / a / off, 1 / a * off))


def called_different(spread: float, of_itself: bool, trials: int = 600) -> float:
    """The share of pairs of equal backends that are called different, where processes vary so much."""
    rng = np.random.default_rng(5)
    different = 0
    for _ in range(trials):
        variation, seen = np.exp(rng.normal(0, spread, 2))
        one, other = drifting(rng, float(variation), 30, 0.002)
        found = ratio(one, other | ({"self_ratio": {"value": float(seen)}} if of_itself else {}))
        assert found is not None
        different += not found.includes_one
    return different / trials


def test_processes_that_vary_are_seldom_called_different() -> None:
    assert called_different(EXPECTED, of_itself=True) <= 0.05
    assert called_different(EXPECTED, of_itself=False) <= 0.05


def test_where_processes_differ_more_than_expected_a_backend_timed_against_itself_shows_it() -> None:
    assert called_different(4 * EXPECTED, of_itself=True) < 0.8 * called_different(4 * EXPECTED, of_itself=False)


@given(st.lists(st.floats(-0.5, 0.5), max_size=8), st.floats(0, 0.5))
def test_the_variation_that_a_run_saw_widens_its_intervals_and_seeing_little_narrows_them(
    logs: list[float], more: float
) -> None:
    seen = half_width_of_process_variation(logs)
    assert seen > 0
    assert half_width_of_process_variation([*logs, 0.0]) < seen
    if logs:
        assert half_width_of_process_variation([logs[0] + math.copysign(more, logs[0]), *logs[1:]]) >= seen


def test_several_processes_need_no_expectation_of_their_variation() -> None:
    walls, processes = [1.0, 1.001, 0.999] * 3, [0, 1, 2] * 3
    one, other = timed("a", walls), timed("b", walls)
    for record in (one, other):
        record["samples"] |= {"process": processes, "round": [n // 3 for n in range(9)]}
    found = ratio(one, other)
    assert found is not None and found.value == pytest.approx(1)
    alone = half_width_of_process_variation([])
    assert math.log(found.high) == pytest.approx(-math.log(found.low)) and math.log(found.high) < alone / 2


def test_samples_that_are_missing_or_no_time_make_no_pair() -> None:
    fast = timed("fast", [1.0, 1.0, 1.0])
    for samples in ({}, None, {"round": [], "wall_s": []}, {"round": [0, 1], "wall_s": [None, 0.0]}):
        assert ratio({"samples": samples}, fast) is None
        assert ratio(fast, {"samples": samples}) is None
    assert ratio({}, fast) is None


@pytest.mark.parametrize(
    ("low", "high", "includes"),
    [(0.9, 1.1, True), (1.0, 2.0, True), (0.5, 1.0, True), (1.01, 2, False), (0.5, 0.99, False)],
)
def test_a_ratio_whose_interval_includes_one_claims_no_difference(low: float, high: float, includes: bool) -> None:
    assert Ratio((low + high) / 2, low, high).includes_one is includes


# --- over cases -------------------------------------------------------------------------------------------------------


def test_the_interval_of_a_mean_over_cases_covers_the_true_one() -> None:
    rng = np.random.default_rng(11)
    covered, trials = 0, 150
    for i in range(trials):
        trues = [1.5, 0.8, 2.0, 1.1]
        found = geometric_mean_ratio([drifting(rng, true, 6 + i % 20, 0.05) for true in trues], seed=i)
        assert found is not None
        assert found.covers
        covered += found.low <= math.prod(trues) ** (1 / 4) <= found.high
    assert covered / trials >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)


@given(st.lists(st.tuples(walls, st.floats(0.1, 10)), min_size=1, max_size=6))
@settings(max_examples=30)
def test_the_mean_is_geometric_over_cases_each_counted_once(cases: list[tuple[list[float], float]]) -> None:
    pairs = [(timed("slow", (a * s for s in samples)), timed("fast", samples)) for samples, a in cases]
    found = geometric_mean_ratio(pairs)
    assert found is not None
    expected = math.exp(sum(math.log(a) for _, a in cases) / len(cases))
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high
    assert found.covers == all(len(samples) >= 6 for samples, _ in cases)


def test_cases_without_rounds_in_common_are_left_out_of_the_mean() -> None:
    common = (timed("slow", [3.0] * 6), timed("fast", [1.0] * 6))
    apart = (timed("slow", [9.0], [0]), timed("fast", [1.0], [1]))
    assert geometric_mean_ratio([common, apart]) == geometric_mean_ratio([common])
    assert geometric_mean_ratio([apart]) is None
    assert geometric_mean_ratio([]) is None


def test_a_mean_is_the_same_when_asked_again() -> None:
    pairs = [drifting(np.random.default_rng(i), 1.2, 10, 0.1) for i in range(3)]
    assert geometric_mean_ratio(pairs) == geometric_mean_ratio(pairs)
    assert geometric_mean_ratio(pairs) != geometric_mean_ratio(pairs, seed=1)


# --- rankings ---------------------------------------------------------------------------------------------------------


def only(records: Iterable[Record]) -> SuiteRanking:
    (ranking,) = rank(records)
    return ranking


def case_of(*records: Record) -> CaseRanking:
    (case,) = only(records).cases
    return case


def names(case: CaseRanking) -> list[str]:
    return [place.record["backend"] for place in case.places]


NOISE = (1.0, 1.01, 0.99, 1.005, 0.995, 1.002, 0.998, 1.0)


def steady(backend: str, seconds: float, **more: Any) -> Record:
    """Samples around `seconds`, each backend's noise its own."""
    offset = sum(map(ord, backend)) % len(NOISE)
    return timed(backend, (seconds * NOISE[(i + offset) % len(NOISE)] for i in range(len(NOISE))), **more)


def test_backends_are_ranked_by_median_with_their_share_of_the_fastests_speed() -> None:
    case = case_of(steady("b", 4), steady("a", 8), steady("c", 2))
    assert names(case) == ["c", "b", "a"]
    assert [place.share for place in case.places] == pytest.approx([1, 0.5, 0.25], rel=0.02)
    assert [place.level for place in case.places] == [True, False, False]
    assert case.outright == "c"
    assert case.untimed == ()


def test_backends_that_differ_by_less_than_their_noise_are_level_and_none_is_outright() -> None:
    case = case_of(steady("a", 1.0), steady("b", 1.0005), steady("c", 3))
    assert [place.level for place in case.places] == [True, True, False]
    assert case.outright is None


@given(walls)
@settings(max_examples=30)
def test_equal_backends_are_level(samples: list[float]) -> None:
    case = case_of(timed("a", samples), timed("b", samples))
    assert all(place.level and place.share == 1 for place in case.places)
    assert case.outright is None


def test_equal_backends_are_seldom_called_different() -> None:
    rng = np.random.default_rng(3)
    trials = 400
    level = sum(case_of(*drifting(rng, 1.0, 6 + i % 25, 0.05)).outright is None for i in range(trials))
    assert level / trials >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)


def test_a_backend_alone_is_the_fastest() -> None:
    case = case_of(steady("a", 1.0), untimed("b"))
    assert (names(case), case.outright) == (["a"], "a")
    assert [record["backend"] for record in case.untimed] == ["b"]


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_what_is_not_ok_is_never_ranked_even_if_it_was_timed(status: Status) -> None:
    case = case_of(steady("cheat", 0.001) | {"status": str(status)}, steady("honest", 1.0))
    assert names(case) == ["honest"]
    assert case.outright == "honest"
    assert [record["backend"] for record in case.untimed] == ["cheat"]


@pytest.mark.parametrize("median_s", [None, 0.0])
def test_a_record_without_a_time_is_not_ranked(median_s: float | None) -> None:
    case = case_of(steady("a", 1.0) | {"median_s": median_s})
    assert (case.places, case.outright, len(case.untimed)) == ((), None, 1)


def test_the_later_of_two_records_of_a_pair_counts() -> None:
    case = case_of(steady("a", 1.0), steady("b", 2.0), untimed("c", Status.CRASHED), steady("a", 4.0), steady("c", 1.0))
    assert names(case) == ["c", "b", "a"]
    assert case.untimed == ()
    case = case_of(steady("a", 1.0), untimed("a", Status.WRONG))
    assert case.places == ()
    assert [record["status"] for record in case.untimed] == ["wrong"]


def test_suites_and_cases_keep_the_order_they_appear_in() -> None:
    records = [
        steady("a", 1.0, suite="second", case="z"), steady("a", 1.0, suite="first", case="y"),
        steady("a", 1.0, suite="second", case="x"), steady("b", 1.0, suite="second", case="z"),
    ]  # fmt: skip
    rankings = rank(records)
    assert [ranking.suite for ranking in rankings] == ["second", "first"]
    assert [case.case for case in rankings[0].cases] == ["z", "x"]
    assert [len(case.places) for case in rankings[0].cases] == [2, 1]


def test_of_nothing_there_is_no_ranking() -> None:
    assert rank([]) == []
    empty = only([untimed("a"), untimed("b", Status.WRONG)])
    assert empty.standings == ()
    assert empty.lead("a", "b") is None


def suite_of_three() -> SuiteRanking:
    return only(
        [
            steady("a", 1.0, case="c1", count=3), steady("b", 2.0, case="c1", count=3), steady("c", 8.0, case="c1"),
            steady("a", 4.0, case="c2"), steady("b", 1.0, case="c2"), untimed("c", case="c2"),
            steady("a", 1.0, case="c3", count=2), steady("b", 1.0001, case="c3", count=2), steady("c", 2.0, case="c3"),
        ]
    )  # fmt: skip


def test_standings_count_cases_and_wins_and_take_the_mean_of_shares() -> None:
    standings = {s.backend: s for s in suite_of_three().standings}
    a, b, c = standings["a"], standings["b"], standings["c"]
    assert [(s.cases, s.outright, s.level) for s in (a, b, c)] == [(3, 1, 1), (3, 1, 1), (2, 0, 0)]
    assert a.mean_share == pytest.approx((1 * 0.25 * 1) ** (1 / 3), rel=0.02)
    assert b.mean_share == pytest.approx((0.5 * 1 * 1) ** (1 / 3), rel=0.02)
    assert c.mean_share == pytest.approx((0.125 * 0.5) ** (1 / 2), rel=0.02)


def test_standings_have_the_best_first_by_wins_and_then_by_mean_share() -> None:
    assert [s.backend for s in suite_of_three().standings] == ["b", "a", "c"]


def test_the_total_is_of_medians_each_as_often_as_the_model_has_the_case() -> None:
    standings = {s.backend: s.total_s for s in suite_of_three().standings}
    assert standings == pytest.approx({"a": 3 * 1 + 4 + 2 * 1, "b": 3 * 2 + 1 + 2 * 1, "c": 8 + 2}, rel=0.02)


def test_the_lead_is_over_the_cases_that_both_ran_and_inverse_the_other_way() -> None:
    ranking = suite_of_three()
    lead, behind = ranking.lead("b", "c"), ranking.lead("c", "b")
    assert lead is not None
    assert behind is not None
    assert lead.value == pytest.approx((4 * 2) ** (1 / 2), rel=0.02)
    assert lead.value * behind.value == pytest.approx(1, rel=1e-6)
    assert ranking.lead("b", "nobody") is None
    itself = ranking.lead("a", "a")
    assert itself is not None
    assert itself.value == 1 and itself.includes_one


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from(list(Status)), st.floats(1e-6, 1)),
        max_size=12,
    )
)
@settings(max_examples=60)
def test_every_pairs_last_record_is_in_one_place_and_shares_fall_from_one(
    given_records: list[tuple[str, str, Status, float]],
) -> None:
    records = [
        steady(b, s, case=c) if status is Status.OK else untimed(b, status, case=c) for b, c, status, s in given_records
    ]
    last = {(r["case"], r["backend"]): r for r in records}
    shown = [
        record
        for ranking in rank(records)
        for case in ranking.cases
        for record in (*(place.record for place in case.places), *case.untimed)
    ]
    assert sorted(map(id, shown)) == sorted(map(id, last.values()))
    for case in (case for ranking in rank(records) for case in ranking.cases):
        shares = [place.share for place in case.places]
        assert shares == sorted(shares, reverse=True)
        assert not shares or (shares[0] == 1 and case.places[0].level)
        assert all(place.record["status"] == "ok" for place in case.places)


def test_rounds_of_two_sessions_are_not_paired_though_they_have_the_same_numbers() -> None:
    one, other = timed("a", [1.0] * 8), timed("b", [2.0] * 8)
    assert ratio(other | {"session": "x"}, one | {"session": "x"}) is not None
    assert ratio(other | {"session": "x"}, one | {"session": "y"}) is None


def test_without_shared_rounds_two_are_level_where_their_intervals_meet() -> None:
    fast = timed("a", [1.0] * 8) | {"session": "x", "low_s": 0.9, "high_s": 1.1}
    near = timed("b", [1.05] * 8) | {"session": "y", "low_s": 1.0, "high_s": 1.2}
    far = timed("c", [2.0] * 8) | {"session": "y", "low_s": 1.9, "high_s": 2.1}
    (suite,) = rank([fast, near, far])
    assert [(place.record["backend"], place.level) for place in suite.cases[0].places] == [
        ("a", True),
        ("b", True),
        ("c", False),
    ]


def test_too_few_samples_claim_a_difference_only_where_it_is_large_in_every_round() -> None:
    (suite,) = rank([timed("a", [1.0] * 2), timed("b", [1.5] * 2), timed("c", [9.0] * 2)])
    assert [place.level for place in suite.cases[0].places] == [True, True, False]


@pytest.mark.parametrize(
    ("dtype", "declared", "told"),
    [
        ("float32", {"operand": "bfloat16", "accumulate": "float32"}, "bfloat16"),
        ("float32", {"operand": "tf32"}, "tf32"),
        ("float64", {"operand": "float32", "accumulate": "float32"}, "float32"),
        ("float32", {"operand": None, "accumulate": None}, None),
        ("bfloat16", {"operand": "bfloat16", "accumulate": "float32"}, None),
        ("float32", {}, None),
    ],
)
def test_a_backend_that_computes_in_less_than_was_asked_is_named_so(
    dtype: str, declared: dict[str, Any], told: str | None
) -> None:
    one = timed("a", [1.0] * 8) | {"dtype": dtype, "declared": declared}
    assert lower_precision(one) == told
    (suite,) = rank([one])
    assert suite.apart == ({"a": told} if told else {})
    assert [place.precision for place in suite.cases[0].timed] == [told]
    (suite,) = rank([one], lower=True)
    assert suite.standings[0].precision == told and not suite.apart


def in_bfloat16(backend: str, seconds: float, **more: Any) -> Record:
    return steady(backend, seconds, **more) | {"dtype": "float32", "declared": {"operand": "bfloat16"}}


def test_what_computes_in_less_than_was_asked_competes_only_where_it_is_asked_to() -> None:
    found = [in_bfloat16("cheap", 1.0), steady("exact", 2.0), steady("slow", 4.0)]
    (suite,) = rank(found)
    (case,) = suite.cases
    assert (names(case), case.outright) == (["exact", "slow"], "exact")
    assert [(p.record["backend"], p.level) for p in case.apart] == [("cheap", False)]
    assert case.apart[0].share == pytest.approx(2, rel=0.02)
    assert [standing.backend for standing in suite.standings] == ["exact", "slow"]
    (suite,) = rank(found, lower=True)
    assert (names(suite.cases[0]), suite.cases[0].outright) == (["cheap", "exact", "slow"], "cheap")


def test_where_nothing_computes_as_asked_nothing_is_ranked() -> None:
    (suite,) = rank([in_bfloat16("cheap", 1.0)])
    assert suite.standings == () and suite.timed_cases == 0
    assert math.isnan(suite.cases[0].apart[0].share)


def test_shares_are_those_of_the_paired_ratio_that_decided() -> None:
    # The machine became slow when "late" had left, so its median is the lower one.
    early = timed("early", [1.0] * 8 + [4.0] * 8) | {"session": "x"}
    late = timed("late", [2.0] * 8) | {"session": "x"}
    case = case_of(early, late)
    assert names(case) == ["early", "late"] and late["median_s"] < early["median_s"]  # type: ignore[operator]
    assert case.places[1].share == pytest.approx(0.5)
