"""What is chosen, from records made for the test: ties, leads, totals of a model, where the difference lies."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from convbench.analysis.choice import LayerChoice, decide
from convbench.analysis.explanation import explanation
from convbench.analysis.model_total import ModelChoice, add_up
from convbench.analysis.prediction.layer_time import Predicted
from convbench.analysis.roofline import Limits
from convbench.problem import ConvProblem
from convbench.reporting.choice import answer_report
from convbench.runner.choose.answer import Answer, Request
from convbench.stats.estimates import estimate_median
from convbench.stats.process_variation import ProcessVariation
from convbench.store.schema import Record
from convbench.suite import Case

TIE = 0.02


def case(size: int, count: int = 1) -> Case:
    return Case(ConvProblem(in_channels=4, height=size, width=size, out_channels=4, kernel_size=3), count=count)


ONE = case(8)


def record(backend: str, walls: Sequence[float], *, session: str = "s", **more: Any) -> Record:
    samples = [float(wall) for wall in walls]
    estimate = estimate_median(samples)
    return {
        "case": "c",
        "backend": backend,
        "status": "ok",
        "session": session,
        "median_s": estimate.median,
        "low_s": estimate.low,
        "high_s": estimate.high,
        "interval": estimate.interval,
        "dtype": "float32",
        "declared": {"algorithm": "direct"},
        "samples": {"round": list(range(len(samples))), "wall_s": samples},
        **more,
    }


def steady(backend: str, call_s: float, rounds: int = 12, **more: Any) -> Record:
    rng = np.random.default_rng(sum(map(ord, backend)))
    return record(backend, call_s * np.exp(rng.normal(0, 0.001, rounds)), **more)


# --- a layer ----------------------------------------------------------------------------------------------------------


def test_the_fastest_wins_with_a_lead_that_has_an_interval() -> None:
    choice = decide(ONE, [steady("slow", 1.2), steady("fast", 1.0), steady("slower", 3.0)], TIE)
    assert choice.winner is not None and choice.winner.backend == "fast"
    assert choice.lead is not None and choice.lead.time.backend == "slow"
    assert choice.lead.ratio.low <= 1.2 <= choice.lead.ratio.high
    assert choice.lead.ratio.covers and choice.level == ()


def test_a_tie_is_called_a_tie() -> None:
    choice = decide(ONE, [steady("a", 1.0), steady("b", 1.001), steady("c", 1.5)], TIE)
    assert {choice.ranked[0].backend, *choice.level} == {"a", "b"}
    assert choice.lead is not None and choice.lead.time.backend == "c"


def test_who_is_out_of_a_race_because_it_was_beaten_is_no_tie_for_having_few_rounds() -> None:
    few = steady("dropped", 1.15, rounds=4)
    assert decide(ONE, [steady("fast", 1.0), few], TIE).level == ("dropped",)
    assert decide(ONE, [steady("fast", 1.0), few | {"stopped": "beaten"}], TIE).level == ()
    near = steady("near", 1.005, rounds=4, stopped="beaten")
    assert decide(ONE, [steady("fast", 1.0), near], TIE).level == ("near",)


def test_of_those_that_are_level_the_one_is_chosen_that_most_rounds_have_in_front() -> None:
    swinging = record("swinging", [0.8, 1.3, 0.85, 1.25, 0.9, 1.2, 0.8, 1.3, 0.85, 1.25, 0.95, 0.97])
    assert swinging["median_s"] < 1.1
    choice = decide(ONE, [swinging, steady("steady", 1.1)], TIE)
    assert choice.winner is not None and choice.winner.backend == "swinging"
    assert choice.level == ("steady",)
    faster = record("faster", [wall / 2 for wall in swinging["samples"]["wall_s"]])
    assert decide(ONE, [faster, steady("steady", 1.1)], TIE).ranked[0].backend == "faster"


def test_how_small_a_difference_is_none_is_for_the_user_to_say() -> None:
    records = [steady("a", 1.0), steady("b", 1.05)]
    assert decide(ONE, records, 0.02).level == ()
    assert decide(ONE, records, 0.10).level == ("b",)


def test_rounds_decide_where_the_machine_drifts() -> None:
    drift = np.linspace(1.0, 3.0, 12)
    ahead, behind = record("ahead", 1.0 * drift), record("behind", 1.2 * drift[:6])
    assert behind["median_s"] < ahead["median_s"]
    choice = decide(ONE, [ahead, behind], TIE)
    assert choice.ranked[0].backend == "ahead"
    assert choice.lead is not None and choice.lead.ratio.value == pytest.approx(1.2)


def test_three_who_beat_each_other_in_a_circle_have_the_least_beaten_in_front() -> None:
    a = record("a", [1.0] * 6 + [3.0] * 6)
    b = record("b", [1.2] * 6, samples={"round": [0, 1, 2, 3, 4, 5], "wall_s": [1.2] * 6})
    c = record("c", [1.1] * 6, samples={"round": [6, 7, 8, 9, 10, 11], "wall_s": [2.9] * 6})
    choice = decide(ONE, [a, b, c], TIE)
    assert choice.ranked[0].backend == "c"
    assert min(rival.ratio.value for rival in choice.rivals) > 0.9


def test_records_of_two_sessions_are_compared_by_their_intervals() -> None:
    overlapping = [record("a", np.linspace(1.0, 1.2, 12)), record("b", np.linspace(1.1, 1.3, 12), session="t")]
    assert decide(ONE, overlapping, TIE).level == ("b",)
    apart = [steady("a", 1.0), steady("b", 1.5, session="t")]
    assert decide(ONE, apart, TIE).level == ()


def test_records_of_two_earlier_runs_hold_what_the_machine_did_between_them() -> None:
    """Samples that lie 5 % apart: 30 of them know a run's median well, and nothing of another minute."""
    rng = np.random.default_rng(3)
    walls = [scale * np.exp(rng.normal(0, 0.05, 400)) for scale in (1.0, 1.08)]
    runs = [record(name, one, session=name) for name, one in zip("ab", walls, strict=True)]
    together = [record(name, one) for name, one in zip("ab", walls, strict=True)]
    assert decide(ONE, runs, TIE, "recorded").level == ("b",)
    heats = [
        record(name, one, session=session) for name, one, session in zip("ab", walls, ("s-1", "s-1-2"), strict=True)
    ]
    assert decide(ONE, heats, TIE, "measured").level == (), "heats of one race are seconds apart"
    assert decide(ONE, together, TIE, "recorded").level == ()
    without = [one | {"samples": None} for one in runs]
    assert decide(ONE, without, TIE, "recorded").winner is not None


@pytest.mark.parametrize("status", ["wrong", "crashed", "timeout", "error", "unsupported"])
def test_no_failure_is_ever_chosen(status: str) -> None:
    choice = decide(ONE, [steady("quick", 0.1, status=status), steady("right", 1.0)], TIE)
    assert [timed.backend for timed in choice.ranked] == ["right"]
    assert [r["backend"] for r in choice.untimed] == ["quick"]


def test_who_computes_in_less_than_was_asked_for_does_not_compete() -> None:
    rounding = steady("rounding", 0.1, declared={"algorithm": "auto", "operand": "bfloat16"})
    assert decide(ONE, [rounding, steady("right", 1.0)], TIE).ranked[0].backend == "right"


def test_of_two_records_of_a_backend_the_later_counts() -> None:
    assert decide(ONE, [steady("a", 9.0), steady("a", 1.0), steady("b", 2.0)], TIE).ranked[0].backend == "a"


def test_without_a_record_a_prediction_is_all_there_is_and_says_so() -> None:
    predicted = [Predicted("p", 1.0, 0.8, 1.3, ("n1c4h8w8_o4k3",), 1.1), Predicted("q", 0.9, 0.1, 9.0, (), 2.9)]
    choice = decide(ONE, [], TIE, predicted=predicted)
    assert choice.winner is not None and choice.winner.basis == "predicted"
    assert choice.winner.backend == "p"  # the surer one, which the prediction has first
    assert explanation(choice.winner, Limits(())) == "like n1c4h8w8_o4k3"
    assert decide(ONE, [steady("a", 5.0)], TIE, predicted=predicted).ranked[0].backend == "a"


def test_nothing_known_is_no_choice() -> None:
    assert decide(ONE, [], TIE).winner is None
    assert add_up([decide(ONE, [], TIE)]).single is None


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(1e-4, 10), min_size=1))
def test_the_winner_is_never_slower_than_a_rival(times: dict[str, float]) -> None:
    choice = decide(ONE, [record(name, [call_s] * 8) for name, call_s in times.items()], TIE)
    assert choice.ranked[0].call_s == min(times.values())
    assert all(rival.ratio.value >= 1 for rival in choice.rivals)


# --- a model ----------------------------------------------------------------------------------------------------------


def model(**times: Sequence[float | None]) -> ModelChoice:
    """Of layers that are there once, twice, three times and so on: seconds a call by backend; None was left out."""
    layers = len(next(iter(times.values())))
    choices: list[LayerChoice] = []
    for index in range(layers):
        records = [steady(b, call_s) for b, found in times.items() if (call_s := found[index]) is not None]
        out = {b: "far behind" for b, found in times.items() if found[index] is None}
        choices.append(decide(case(8 + index, index + 1), records, TIE, left_out=out))
    return add_up(choices)


def test_totals_are_weighted_by_how_often_a_layer_is_there() -> None:
    found = model(a=[1.0, 3.0], b=[4.0, 2.0])
    assert {total.backend: round(total.known_s, 1) for total in found.totals} == {"a": 7.0, "b": 8.0}
    assert found.best_s == pytest.approx(1.0 + 2 * 2.0, rel=0.01)
    assert found.single is not None and found.single.backend == "a"


def test_a_lead_of_totals_has_an_interval_that_holds_the_true_one() -> None:
    found = model(a=[1.0, 3.0], b=[4.0, 2.0])
    lead, bound = found.lead("b", "a"), found.lead("a")
    assert lead is not None and lead.low < 8 / 7 < lead.high and lead.low > 1
    assert bound is not None and bound.low < 7 / 5 < bound.high


def test_a_lead_of_totals_includes_what_processes_differ_by_once() -> None:
    variation = {"scale": 0.01, "pairs": 40}
    expected = ProcessVariation(0.01, 40).half_width_of_ratio
    for layers in (1, 4, 16):
        choices = []
        for index in range(layers):
            pair = [steady(b, s, process_variation=variation, processes=1) for b, s in (("a", 1.0), ("b", 1.3))]
            choices.append(decide(case(8 + index), pair, TIE))
        lead = add_up(choices).lead("b", "a")
        assert lead is not None
        half_width = math.log(lead.high / lead.low) / 2
        assert expected <= half_width < 1.05 * expected


def test_who_lacks_a_layer_is_never_the_single_best() -> None:
    found = model(whole=[2.0, 2.0], quick=[0.5, None])
    assert found.single is not None and found.single.backend == "whole"
    assert found.lead("quick", "whole") is None


def test_who_might_be_the_single_best_is_asked_for_what_it_lacks() -> None:
    found = model(whole=[2.0, 2.0], quick=[0.5, None], slow=[9.0, None]).contender()
    assert found is not None
    assert (found[0], [c.case.name for c in found[1]]) == ("quick", [case(9).name])


def test_the_next_best_is_made_whole_too_so_that_there_is_a_lead_and_nobody_else() -> None:
    found = model(whole=[2.0, 2.0], next=[2.5, None], slow=[9.0, None])
    assert (found.contender() or ("nobody",))[0] == "next"
    assert model(whole=[2.0, 2.0], next=[2.5, 2.5], slow=[9.0, None]).contender() is None


def test_without_any_whole_backend_the_likeliest_one_is_asked() -> None:
    found = model(a=[1.0, None, 1.0], b=[2.0, 1.0, None]).contender()
    assert found is not None and found[0] == "a"


def test_who_cannot_compute_a_layer_is_no_contender() -> None:
    both, one = [steady("a", 2.0), steady("b", 1.0)], [steady("a", 2.0), steady("b", 1.0, status="unsupported")]
    found = add_up([decide(case(8), both, TIE), decide(case(9), one, TIE)])
    assert found.contender() is None


def test_the_difference_lies_where_the_single_best_is_behind() -> None:
    found = model(a=[1.0, 1.0, 1.0], b=[2.0, 0.9, 0.5])
    assert found.single is not None and found.single.backend == "b"
    assert [(d.choice.case.name, round(d.saved_s, 1)) for d in found.differences()] == [(case(8).name, 1.0)]


def test_the_first_answers_and_memory_are_told_where_they_are_known() -> None:
    more = {"prepare_s": 0.5, "first_call_s": 0.25, "peak_bytes": 7}
    whole = [decide(case(8), [steady("a", 1.0, **more)], TIE), decide(case(9), [steady("a", 1.0, **more)], TIE)]
    (total,) = add_up(whole).totals
    assert (total.first_s, total.peak_bytes) == (1.5, 7)
    (total,) = add_up([*whole, decide(case(10), [steady("a", 1.0, first_call_s=None)], TIE)]).totals
    assert total.first_s is None


# --- what a person sees -----------------------------------------------------------------------------------------------


def shown(choices: Sequence[LayerChoice], **more: Any) -> str:
    machine = more.pop("machine", "here")
    answer = Answer(Request(suite="asked", tie=TIE, **more), tuple(choices), Limits(()), machine)
    console = Console(file=io.StringIO(), width=132, highlight=False)
    console.print(answer_report(answer))
    return cast(io.StringIO, console.file).getvalue()


def test_the_report_begins_with_the_answer_for_all_layers() -> None:
    text = shown(model(a=[1.0, 3.0], b=[4.0, 2.0], c=[9.0, 9.0]).choices)
    assert text.startswith("a for all layers: 7.0")
    first = text.splitlines()[0]
    assert "1.14x over b [1.1" in first
    assert "2 of 2 layers have a clear fastest backend, 0 a tie" in text


def test_every_layer_that_counts_as_a_tie_says_so_with_the_ratio_that_made_it_one() -> None:
    # "near" comes next and is slower beyond doubt; "wide" is behind it and may be as fast as the first.
    near = record("near", [1.03] * 12)
    wide = record("wide", [*[0.8] * 6, *[1.6] * 6])
    choice = decide(ONE, [record("first", [1.0] * 12), near, wide], TIE)
    assert choice.runner_up is not None and not choice.runner_up.level and choice.level == ("wide",)
    text = shown([choice, decide(case(9), [steady("first", 1.0), steady("near", 2.0)], TIE)])
    rows = [line.split() for line in text.splitlines() if line.startswith("n1c4h")]
    assert [("wide" in row, "tie" in row) for row in rows] == [(True, True), (False, False)]
    assert "1 of 2 layers have a clear fastest backend, 1 a tie" in text


def test_a_ratio_below_one_is_explained() -> None:
    a = record("a", [1.0] * 6 + [3.0] * 6)
    b = record("b", [1.2] * 6, samples={"round": [0, 1, 2, 3, 4, 5], "wall_s": [1.2] * 6})
    c = record("c", [1.25] * 6, samples={"round": [6, 7, 8, 9, 10, 11], "wall_s": [2.9] * 6})
    choice = decide(ONE, [a, b, c], TIE)
    assert choice.is_circle and choice.nearest is not None and choice.nearest.level
    assert "A ratio below 1: backends beat each other in a circle" in shown([choice])
    assert "A ratio below 1" not in shown([decide(ONE, [a, b], TIE)])


def test_for_one_problem_it_says_who_was_left_out_by_earlier_records_and_why() -> None:
    reasons = {"behind": "took 9.1 times as long as the fastest on a similar layer", "cheap": "computes in bfloat16"}
    text = " ".join(shown([decide(ONE, [steady("a", 1.0)], TIE, left_out=reasons)]).split())
    assert f"Not run, because of earlier records of this machine: behind ({reasons['behind']})." in text
    assert "cheap did not compete: it computes in bfloat16." in text and "--backend" in text


def test_a_part_of_a_model_is_not_called_all_layers() -> None:
    assert shown(model(a=[1.0, 3.0]).choices, where="height > 2").startswith("a for the 2 layers that --where selects:")


def test_what_is_predicted_is_marked_everywhere_and_explained() -> None:
    predicted = [Predicted("p", 1.0, 0.8, 1.3, ("n1c4h8w8_o4k3",), 1.1)]
    text = shown([decide(case(8), [], TIE, predicted=predicted), decide(case(9), [steady("p", 2.0)], TIE)])
    assert "~3.00 s a pass" in text and "~1,000" in text
    assert "~ 1 layer was never measured" in text
    alone = shown([decide(case(8), [], TIE, predicted=predicted)])
    assert alone.startswith("p, ~1.00 s a call")


def test_records_are_named_as_what_the_answer_rests_on() -> None:
    choice = decide(ONE, [steady("a", 1.0, time="2026-01-02T03:04:05+00:00")], TIE, "recorded")
    assert "From records of there of 2026-01-02, 1 thread" in shown([choice], from_results=True, machine="there")


def test_reasons_are_text_however_they_look() -> None:
    hostile = steady("bad", 1.0, status="wrong", reason="[bold]markup[/bold] [/]")
    text = shown([decide(ONE, [hostile, steady("good", 1.0)], TIE)])
    assert "bad wrong: [bold]markup[/bold] [/]" in text


def test_a_bound_stands_for_who_was_not_asked_everywhere() -> None:
    text = shown(model(whole=[2.0, 2.0], slow=[9.0, None]).choices)
    assert "≥" in text and "Of 2 layers, not run" in text
