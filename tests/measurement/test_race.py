"""A race: who is dropped when, that the fastest is not, who is not even asked, and that what was sampled stays."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_engine import Stage

from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.layer_history import log_ratio_tolerance, skip_reason
from convbench.measurement.scheduling.race import ERROR_RATE, FEWEST_ROUNDS, MARGINS, Race, is_beaten
from convbench.measurement.settings import Settings
from convbench.measurement.workers.process import WorkerError
from convbench.problem import ConvProblem
from convbench.stats.sequential import sequential_t_test, sign_test_e_value
from convbench.status import Status
from convbench.suite import Case

SMALL = Case(ConvProblem(in_channels=2, height=5, width=5, out_channels=2, kernel_size=3))
LARGER = Case(SMALL.problem.replace(height=7, width=7))
OTHER = Case(SMALL.problem.replace(kernel_size=1, stride=2, in_channels=4, groups=2))
SETTINGS = Settings(fewest_rounds=FEWEST_ROUNDS, most_rounds=24, budget_s=math.inf)
NOISE = (1.0, 1.01, 0.99, 1.005)
JITTERY = {"call_s": 1.0, "jitter": (1.0, 1.004, 0.996, 1.002, 0.998, 1.003, 0.997)}
counts = st.integers(0, 40)


def exactly(**seconds: float) -> dict[str, tuple[float, float]]:
    return {backend: (call_s, call_s) for backend, call_s in seconds.items()}


# --- the evidence -----------------------------------------------------------------------------------------------------


@given(counts, counts)
def test_evidence_is_a_fair_bet_where_both_are_level(slower: int, faster: int) -> None:
    after = (sign_test_e_value(slower + 1, faster) + sign_test_e_value(slower, faster + 1)) / 2
    assert after == pytest.approx(sign_test_e_value(slower, faster), rel=1e-12)


@given(counts, counts)
def test_evidence_grows_with_each_round_that_is_slower(slower: int, faster: int) -> None:
    assert (
        sign_test_e_value(slower + 1, faster)
        > sign_test_e_value(slower, faster)
        > sign_test_e_value(slower, faster + 1)
    )


def test_before_any_round_there_is_no_evidence() -> None:
    assert sign_test_e_value(0, 0) == 1


def test_the_mean_is_hardly_ever_misled_by_normal_noise_however_often_it_is_looked_at() -> None:
    rng = np.random.default_rng(11)
    trials, rate = 1500, 0.02
    noise = rng.normal(0, 1, (trials, 12))
    misled = sum(any(sequential_t_test(list(row[:n]), rate) for n in range(1, 13)) for row in noise)
    assert misled / trials <= rate + 3 * math.sqrt(rate / trials)
    assert all(sequential_t_test(list(10 + row[:4]), rate) for row in noise[:20])


# --- who is beaten ----------------------------------------------------------------------------------------------------


def dropped_after(ratios: list[float], by_warm_up: float = 1.0) -> int | None:
    """The number of rounds after which it is dropped, looked at after each; None when it never is."""
    return next((n for n in range(1, len(ratios) + 1) if is_beaten(ratios[:n], by_warm_up)), None)


def noisy(rng: np.random.Generator, true: float, rounds: int, spread: float) -> list[float]:
    """Ratios of a machine where one sample in twenty is up to four times too long."""
    walls = np.exp(rng.normal(0, spread, (2, rounds))) * np.where(
        rng.random((2, rounds)) < 0.05, rng.uniform(1, 4, (2, rounds)), 1
    )
    return [float(ratio) for ratio in true * walls[0] / walls[1]]


@pytest.mark.parametrize("spread", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("true", [1.0, 0.97])
def test_one_that_is_not_slower_is_hardly_ever_dropped(true: float, spread: float) -> None:
    rng = np.random.default_rng(3)
    trials = 1500
    dropped = 0
    for _ in range(trials):
        ratios = noisy(rng, true, 24, spread)
        dropped += dropped_after(ratios, float(np.exp(rng.normal(0, spread)))) is not None
    assert dropped / trials <= 2 * ERROR_RATE + 3 * math.sqrt(2 * ERROR_RATE / trials)


@pytest.mark.parametrize(("true", "rounds"), [(5.0, 2), (2.0, 3), (1.3, 5), (1.05, 9), (1.02, 16)])
def test_the_further_behind_the_sooner_dropped(true: float, rounds: int) -> None:
    rng = np.random.default_rng(5)
    after = sorted(dropped_after(noisy(rng, true, 40, 0.01), true) or 99 for _ in range(200))
    assert after[100] <= rounds


def test_a_hiccup_of_a_single_sample_drops_nobody() -> None:
    assert not is_beaten([10.0], warm_up_ratio=1.0)
    assert is_beaten([10.0], warm_up_ratio=9.0)


def test_margins_ask_for_less_the_more_rounds_agree() -> None:
    assert list(MARGINS) == sorted(MARGINS, reverse=True)
    assert min(MARGINS) > 1


# --- a race with scripted workers -------------------------------------------------------------------------------------


def test_time_goes_to_the_close_ones_and_what_was_sampled_stays() -> None:
    stage = Stage(
        SETTINGS,
        Race(),
        fast={"call_s": 1.0, "jitter": NOISE},
        near={"call_s": 1.04, "jitter": (*NOISE, 1.03, 0.97)},
        behind={"call_s": 2.0, "jitter": NOISE},
        far={"call_s": 20.0, "jitter": NOISE},
    )
    found = stage.measure(SMALL)
    taken = {name: len(outcome.samples) for name, outcome in found.items()}
    assert taken["far"] == 1 and taken["behind"] < FEWEST_ROUNDS <= taken["near"] <= taken["fast"]
    assert {name: o.stopped for name, o in found.items()} == {
        "fast": "decided", "near": "beaten", "behind": "beaten", "far": "beaten"
    }  # fmt: skip
    assert all(o.status is Status.OK and o.estimate is not None for o in found.values())


def test_the_next_best_stays_until_there_is_an_interval() -> None:
    stage = Stage(SETTINGS, Race(), fast={"call_s": 1.0}, behind={"call_s": 2.0}, third={"call_s": 2.2})
    found = stage.measure(SMALL)
    assert len(found["behind"].samples) == len(found["fast"].samples) == FEWEST_ROUNDS
    assert len(found["third"].samples) < FEWEST_ROUNDS


def test_level_ones_are_called_level() -> None:
    stage = Stage(SETTINGS, Race(tie=0.02), a=JITTERY, b=JITTERY | {"jitter": JITTERY["jitter"][::-1]}, c=JITTERY)
    found = stage.measure(SMALL)
    assert sorted(str(o.stopped) for o in found.values()) == ["decided", "level", "level"]


@pytest.mark.parametrize(("behind", "goes_on"), [(1.0, True), (1.15, False)])
def test_a_noisy_race_goes_on_only_while_more_than_the_stake_depends_on_it(behind: float, goes_on: bool) -> None:
    noisy = (0.9, 1.1, 1.0, 0.95, 1.05, 1.12, 0.88)
    ahead, other = {"call_s": 1.0, "jitter": noisy}, {"call_s": behind, "jitter": noisy[3:] + noisy[:2]}
    found = Stage(SETTINGS, Race(max_regret=0.05), ahead=ahead, other=other).measure(SMALL)
    assert found["other"].stopped == "rounds"
    assert (len(found["other"].samples) == SETTINGS.most_rounds) == goes_on and len(found["other"].samples) >= 14


def test_a_race_ends_at_the_most_rounds_and_at_the_budget() -> None:
    unsteady = {"call_s": 1.0, "jitter": (0.8, 1.2, 1.0, 0.9, 1.1)}
    rounds = Stage(SETTINGS, Race(), a=unsteady, b=unsteady | {"jitter": (1.1, 0.9, 1.0)})
    assert {len(o.samples) for o in rounds.measure(SMALL).values()} == {SETTINGS.most_rounds}
    hurried = Settings(fewest_rounds=FEWEST_ROUNDS, most_rounds=24, budget_s=3.0)
    budget = Stage(hurried, Race(), a=unsteady, b=unsteady)
    assert {o.stopped for o in budget.measure(SMALL).values()} == {"time"}


def test_one_whose_first_call_takes_forever_is_not_waited_for_again() -> None:
    stage = Stage(SETTINGS, Race(), fast={"call_s": 0.001}, hopeless={"call_s": 5.0})
    found = stage.measure(SMALL)["hopeless"]
    assert found.status is Status.TIMEOUT and found.stopped == "beaten" and not found.samples
    assert found.first_call_s == 5.0 and "5,000 times" in str(found.reason)
    assert found.verdicts
    assert [command for name, command, _ in stage.log if name == "hopeless"] == ["start", "prepare"]


def test_a_second_call_tells_a_slow_one_from_one_that_compiled() -> None:
    slow, compiled = {"call_s": 0.5}, {"call_s": 0.01, "compiles_s": 0.5}
    stage = Stage(SETTINGS, Race(), fast={"call_s": 0.001}, slow=slow, compiled=compiled)
    found = stage.measure(SMALL)
    assert found["slow"].status is Status.TIMEOUT
    assert "its second call took 0.5 s, 500 times as long" in str(found["slow"].reason)
    assert [command for name, command, _ in stage.log if name == "slow"] == ["start", "prepare", "warm_up"]
    assert found["compiled"].status is Status.OK and found["compiled"].stopped == "beaten"


def test_whose_first_calls_are_known_to_be_as_its_later_ones_is_not_called_again() -> None:
    stage = Stage(SETTINGS, Race(), fast={"call_s": 0.001}, slow={"call_s": 0.5})
    for case in (OTHER, LARGER, SMALL):
        stage.log.clear()
        assert stage.measure(case)["slow"].status is Status.TIMEOUT
        asked = [command for name, command, _ in stage.log if name == "slow" and command != "start"]
        assert asked == (["prepare"] if case is SMALL else ["prepare", "warm_up"])


def test_a_single_backend_has_an_interval() -> None:
    (found,) = Stage(SETTINGS, Race(), alone={}).measure(SMALL).values()
    assert found.stopped == "decided" and len(found.samples) == FEWEST_ROUNDS


# --- over several cases -----------------------------------------------------------------------------------------------


FAST = {"a": {"call_s": 1.0}, "b": {"call_s": 1.01}, "c": {"call_s": 1.02}}


def test_who_was_far_behind_is_left_out_of_a_layer_like_it_and_asked_on_another() -> None:
    race = Race()
    stage = Stage(SETTINGS, race, slow={"call_s": 5.0}, **FAST)
    with stage.engine as engine:
        asked = [{o.backend for o in engine.measure("s", case, stage.entries)} for case in (LARGER, SMALL, OTHER)]
    assert asked == [{"slow", *FAST}, {*FAST}, {"slow", *FAST}]
    assert "5.0 times" in race.left_out[SMALL.name, "slow"]
    assert list(race.left_out) == [(SMALL.name, "slow")]


def test_who_was_far_behind_on_less_work_is_asked_where_that_may_have_been_what_every_call_costs() -> None:
    fast = {name: {"call_s": made["call_s"] / 5e3} for name, made in FAST.items()}
    stage = Stage(SETTINGS, Race(), slow={"call_s": 1e-3}, **fast)
    with stage.engine as engine:
        asked = [{o.backend for o in engine.measure("s", case, stage.entries)} for case in (SMALL, LARGER)]
    assert asked == [{"slow", *FAST}, {"slow", *FAST}]


def test_times_from_before_order_the_field_and_leave_out_the_far_behind() -> None:
    race = Race({SMALL.problem: exactly(slow=3.5, b=1.0, c=1.1, a=1.05)})
    stage = Stage(SETTINGS, race, slow={}, new={}, **FAST)
    assert [entry.name for entry in race.screen(SMALL, stage.entries)] == ["b", "a", "c", "new"]


def test_what_is_not_known_to_be_far_behind_is_asked() -> None:
    race = Race({SMALL.problem: {"a": (1.0, 3.0), "b": (1.0, 3.0), "c": (1.0, 3.0), "slow": (3.5, 9.0)}})
    stage = Stage(SETTINGS, race, slow={}, **FAST)
    assert {entry.name for entry in race.screen(SMALL, stage.entries)} == {"slow", *FAST}


def test_a_few_are_asked_however_far_behind() -> None:
    race = Race({SMALL.problem: exactly(a=1.0, b=30.0, c=50.0, slow=40.0)})
    stage = Stage(SETTINGS, race, slow={}, **FAST)
    assert [entry.name for entry in race.screen(SMALL, stage.entries)] == ["a", "b", "slow"]


def test_one_that_gives_no_answer_is_not_asked_again() -> None:
    race = Race()
    silent = WorkerError(Status.TIMEOUT, "no answer")
    stage = Stage(SETTINGS, race, good={}, silent={"fails": {"prepare": silent}})
    with stage.engine as engine:
        list(engine.measure("s", SMALL, stage.entries))
        assert {o.backend for o in engine.measure("s", OTHER, stage.entries)} == {"good"}
    assert "no answer" in race.left_out[OTHER.name, "silent"]


def test_a_case_is_spoilt_where_the_one_that_beat_others_turns_out_wrong() -> None:
    race = Race()
    stage = Stage(SETTINGS, race, cheat={"call_s": 0.1, "wrong_at_the_end": True}, a={"call_s": 1.0}, b={"call_s": 1.1})
    with stage.engine as engine:
        found = {o.backend: o for o in engine.measure("s", SMALL, stage.entries)}
    assert found["cheat"].status is Status.WRONG and not found["cheat"].samples
    assert race.spoilt == {SMALL.name}


def test_insisting_asks_exactly_those() -> None:
    race = Race({SMALL.problem: exactly(a=9.0, b=1.0)})
    race.forced[SMALL.name] = frozenset({"a"})
    stage = Stage(SETTINGS, race, a={}, b={})
    assert [entry.name for entry in race.screen(SMALL, stage.entries)] == ["a"]


# --- who is left out --------------------------------------------------------------------------------------------------

behinds = st.lists(st.tuples(st.floats(0, 6), st.floats(0, 6)), max_size=8)


@given(behinds, st.floats(0, 6), st.floats(0, math.log(1.1)))
def test_who_was_close_on_the_likest_layer_is_always_asked(
    others: list[tuple[float, float]], unlike: float, log: float
) -> None:
    assert skip_reason([(0.0, log), *((more + 1e-6, ratio) for more, ratio in others)]) is None


def test_little_evidence_has_to_be_strong() -> None:
    assert skip_reason([]) is None
    assert skip_reason([(0.1, math.log(1.5))]) is None
    assert skip_reason([(0.1, math.log(1.5)), (0.1, math.log(1.6))]) is not None
    assert skip_reason([(0.1, math.log(4.0))]) is not None
    assert skip_reason([(3.0, math.log(4.0))]) is None


def problems() -> st.SearchStrategy[ConvProblem]:
    sizes = st.sampled_from([8, 16, 56])
    return st.builds(
        ConvProblem,
        in_channels=sizes,
        out_channels=sizes,
        height=sizes,
        width=sizes,
        kernel_size=st.sampled_from([1, 3, 7]),
        stride=st.sampled_from([1, 2]),
        groups=st.sampled_from([1, 8]),
        batch=st.sampled_from([1, 4]),
        dtype=st.sampled_from(["float32", "float16"]),
    )


@given(problems(), problems())
def test_likeness_is_mutual_and_a_problem_is_most_like_itself(one: ConvProblem, other: ConvProblem) -> None:
    assert log_ratio_tolerance(one, other) == pytest.approx(log_ratio_tolerance(other, one))
    assert log_ratio_tolerance(one, other) >= 0
    assert log_ratio_tolerance(one, one) == 0
    if one.dtype != other.dtype:
        assert log_ratio_tolerance(one, other) == math.inf


def test_losing_with_a_small_kernel_says_nothing_of_a_large_one() -> None:
    small = ConvProblem(in_channels=32, height=64, width=64, out_channels=32, kernel_size=3, padding=1)
    assert log_ratio_tolerance(small, small.replace(kernel_size=31, padding=15)) > math.log(20)


UNLIKE = [  # each other, and all of one kind
    ConvProblem(
        in_channels=3 * 2**n, height=2 ** (12 - n), width=9, out_channels=7, kernel_size=n + 1, stride=n % 3 + 1
    )
    for n in range(1, 9)
]


@pytest.mark.parametrize(
    ("ready_s", "behind", "asked"),
    [
        (0.6, (1.3,) * 5, False),
        (0.6, (1.3,) * 3, True),  # too few to tell
        (0.6, (1.05,) * 5, True),  # near enough
        (0.6, (1.1, 1.6, 1.1, 1.6, 1.1), True),  # it varies so much that it may be the fastest
        (0.6, (1.1, 1.6, 1.3, 1.3, 1.3, 1.3, 1.3), False),  # the more layers, the surer
        (0.01, (1.3,) * 5, True),  # it costs nothing to look
    ],
)
def test_who_takes_long_to_make_ready_is_asked_only_where_it_may_be_worth_it(
    ready_s: float, behind: tuple[float, ...], asked: bool
) -> None:
    known = list(zip(UNLIKE, behind, strict=False))
    race = Race({problem: exactly(a=1.0, b=1.0, c=1.0, dear=times) for problem, times in known})
    stage = Stage(SETTINGS, race, a={}, b={}, c={}, dear={})
    for problem, _ in known:
        made = Outcome(suite="s", case=Case(problem), backend="dear", status=Status.OK, settings=SETTINGS)
        race.note(replace(made, prepare_s=ready_s, first_call_s=0.0))
    case = Case(UNLIKE[-1])
    assert ("dear" in [entry.name for entry in race.screen(case, stage.entries)]) == asked
    assert race.left_out == ({} if asked else {(case.name, "dear"): race.left_out[case.name, "dear"]})
    if not asked:
        reason = f"takes 0.6 s to prepare, and on {len(behind)} layers of this kind took about 1.3 times as long"
        assert reason in race.left_out[case.name, "dear"]


@pytest.mark.parametrize(("slow_s", "asked"), [(0.0015, True), (0.3, False)])
def test_what_a_call_costs_besides_is_no_excuse_for_tenths_of_a_second(slow_s: float, asked: bool) -> None:
    race = Race({SMALL.problem: exactly(a=1e-4, b=1e-4, c=1e-4, slow=slow_s)})
    stage = Stage(SETTINGS, race, a={}, b={}, c={}, slow={})
    assert ("slow" in [entry.name for entry in race.screen(LARGER, stage.entries)]) == asked


def test_a_time_that_may_be_all_of_what_a_call_costs_puts_nobody_in_front() -> None:
    known = [SMALL.problem.replace(height=height) for height in (5, 6, 7, 8)]
    race = Race({problem: exactly(a=1.0, b=1.0, c=1.0, dear=1.3) for problem in known})
    for problem in known:
        made = Outcome(suite="s", case=Case(problem), backend="dear", status=Status.OK, settings=SETTINGS)
        race.note(replace(made, prepare_s=1.0, first_call_s=0.0))
    stage = Stage(SETTINGS, race, dear={}, a={}, b={}, c={})
    larger = Case(SMALL.problem.replace(height=9))
    assert [entry.name for entry in race.screen(larger, stage.entries)] == ["a", "b", "c"]


def test_a_dear_one_that_takes_forever_or_wins_is_no_riddle() -> None:
    never = {"a": (1.0, 1.0), "b": (1.0, 1.0), "c": (1.0, 1.0), "dear": (90.0, math.inf)}
    first = exactly(a=1.0, b=1.0, c=1.0, dear=0.5)
    for times, asked in ((never, False), (first, True)):
        race = Race(dict.fromkeys(UNLIKE[:5], times))
        for problem in UNLIKE[:5]:
            made = Outcome(suite="s", case=Case(problem), backend="dear", status=Status.OK, settings=SETTINGS)
            race.note(replace(made, prepare_s=1.0, first_call_s=0.0))
        stage = Stage(SETTINGS, race, a={}, b={}, c={}, dear={})
        assert ("dear" in [entry.name for entry in race.screen(Case(UNLIKE[-1]), stage.entries)]) == asked


@pytest.mark.parametrize(
    ("seen", "times_behind", "asked"),
    [
        # torch and ncnn on the layers of zoo-100, by an exhaustive run; on the second layer each was the fastest.
        ("n1c256h16w16_o256k1_g256", 79, "n1c256h48w48_o256k7_p3_g256_bias"),
        ("n1c147h14w14_o147k3_p1_g147", 5.2, "n1c624h13w13_o624k3_p1_g624"),
    ],
)
def test_a_layer_for_which_libraries_have_other_code_leaves_nobody_out(
    seen: str, times_behind: float, asked: str
) -> None:
    one, other = ConvProblem.parse(seen), ConvProblem.parse(asked)
    unlike, behind = log_ratio_tolerance(one, other), math.log(times_behind)
    assert skip_reason([(unlike, behind)]) is None
    assert skip_reason([(log_ratio_tolerance(one, one.replace(height=20, width=20)), behind)]) is not None
