"""`choose --for apply`: who can compute layers of a torch model in its process, timed with what handing over costs, and
what an answer says to do next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import PLUGINS

import convbench
from convbench.analysis.choice import decide
from convbench.analysis.roofline import Limits
from convbench.backend import HAS_OWN_LAYOUT, TAKES_ONE_INPUT, Ready
from convbench.errors import PlanError
from convbench.measurement.sampling.handing_over import LAYOUTS, handed_over, layout_of
from convbench.measurement.sampling.tensors import as_numpy
from convbench.plans.trial_model import ratio_of_rounds, time_interleaved
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.runner.choose.answer import Answer, Request, answer_lines, plan_of
from convbench.runner.choose.next_step import next_step
from convbench.suite import Case
from convbench.verification.operands import normal_operands

torch = pytest.importorskip("torch")

PLANNED = PLUGINS / "planned.py"
ONE = "n1c8h10w10_o8k3_p1"
IDLE_S = 2e-3  # what "idle" waits in each call with another input


def small_model() -> Any:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 16, 3, 1, 1), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3, 2, 1), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Conv2d(16, 8, 1)).eval()


def choose(subject: Any, *backends: str, **options: Any) -> Any:
    return convbench.choose(subject, backend=backends, plugin=PLANNED, budget=0.1, **options)


def test_what_is_chosen_for_apply_can_be_applied_and_makes_no_model_slower() -> None:
    model, x = small_model(), torch.randn(1, 3, 40, 40)
    names = ("torch", "torch-channels-last", "torch-packed", "bound")
    choice = choose(model, *names, for_="apply", input=(1, 3, 40, 40))
    assert choice.ok and {c.backend for c in choice.plan.choices} <= {*names} - {"bound"}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        applied = convbench.apply(model, choice.plan, x, seconds=1.0, plugins=[PLANNED])
        report = applied.report
        assert applied.model is model or report.low > 1
        assert "is slower" not in report.sentence or applied.model is model
        reasons = [left.why for left in report.layers_left]
        assert not [why for why in reasons if TAKES_ONE_INPUT in why or HAS_OWN_LAYOUT in why or "no backend" in why]
        calls = {"unchanged": lambda: model(x), "given": lambda: applied.model(x)}
        walls_s = time_interleaved(calls, 1.0, lambda: None)
    finally:
        torch.set_num_threads(threads)
    # The interval of the end-to-end ratio does not say "slower"; the margin is for what a busy machine does by chance.
    assert ratio_of_rounds(walls_s["unchanged"], walls_s["given"]).high > 0.8


def test_times_include_handing_over_and_who_cannot_be_applied_does_not_compete() -> None:
    plain = choose(ONE, "idle", "reference", "bound")
    assert {r["backend"]: r["declared"]["takes"] for r in plain.measurements.records} == {
        "idle": ["numpy"], "reference": ["numpy"], "bound": []
    }  # fmt: skip
    told = " ".join(str(plain).split())
    assert " apply " in told and " yes" in told and " no" in told
    handed = choose(ONE, "idle", "reference", "bound", for_="apply")
    records = {record["backend"]: record for record in handed.measurements.records}
    assert records["idle"]["low_s"] >= IDLE_S and records["idle"]["settings"]["handed_over"]
    assert (records["bound"]["status"], records["bound"]["reason"]) == ("unsupported", TAKES_ONE_INPUT)
    assert records["reference"]["suite"] == "problem-applied"  # no other command takes it for a run's time
    assert f"bound did not compete: it {TAKES_ONE_INPUT}." in " ".join(str(handed).split())


@pytest.mark.parametrize("word", ["", "_bf16"])
@pytest.mark.parametrize("gives", LAYOUTS)
def test_tensors_are_handed_over_in_the_layout_in_which_the_backend_answers(gives: str, word: str) -> None:
    formats = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
    seen: list[tuple[Any, ...]] = []

    def on(x: Any, r: Any) -> Any:
        seen.append((layout_of(x), layout_of(r), x.data_ptr()))
        return (x + r).contiguous(memory_format=formats[gives])

    x, r = (normal_operands(ConvProblem.parse(f"n2c8h10w10_o8k1{word}"), seed).x for seed in (0, 1))
    backend = next(row.backend for row in discover() if row.name == "torch")
    ready = handed_over(backend, Ready(lambda: None, on={"torch": on}), x, r)
    answers = [as_numpy(ready.run()) for _ in range(3)]
    assert ready.touch is not None
    ready.touch()  # writes the memory that the calls read, unchanged
    answers.append(as_numpy(ready.run()))
    assert [one[:2] for one in seen] == [("contiguous",) * 2] + [(gives, gives)] * 3
    assert len({address for *_, address in seen[1:]}) == 1  # nothing is converted between calls
    assert all(np.array_equal(answer, answers[0]) for answer in answers)


def test_a_tensor_with_one_channel_is_in_either_layout() -> None:
    assert layout_of(torch.zeros(2, 1, 4, 4)) is None and layout_of(torch.zeros(2, 3, 1, 1)) is None
    assert layout_of(torch.zeros(2, 3, 4, 4)) == "contiguous"


def test_a_plan_keeps_to_the_layout_in_which_all_layers_together_are_fastest() -> None:
    """Each of two layers is fastest in another layout; contiguous loses less where it is behind."""
    first = [laid(record("plain", 2.0), "contiguous"), laid(record("last", 1.0), "channels-last")]
    second = [laid(record("plain", 5.0), "contiguous"), laid(record("last", 9.0), "channels-last")]
    answer = answered(first, second, [laid(record("either", 1.0), None), laid(record("last", 2.0), "channels-last")])
    assert [choice.ranked[0].backend for choice in answer.choices] == ["last", "plain", "either"]
    best, other = answer.layouts
    assert (best.layout, best.pass_s, best.without) == ("contiguous", 8.0, 0)
    assert (other.layout, other.pass_s, other.without) == ("channels-last", 11.0, 0)
    plan = plan_of(answer)
    assert [(c.backend, c.call_s, c.runner_up) for c in plan.choices] == [
        ("plain", 2.0, None), ("plain", 5.0, None), ("either", 1.0, None)
    ]  # fmt: skip
    (summary,) = (line for line in answer_lines(answer) if line["type"] == "summary")
    assert [(each["layout"], each["backends"]) for each in summary["layouts"]] == [
        ("contiguous", ["plain", "either"]), ("channels-last", ["last", "either"])
    ]  # fmt: skip


def test_a_layer_without_a_backend_in_the_layout_keeps_its_fastest_one_and_counts_more() -> None:
    only = [laid(record("last", 1.0), "channels-last")]
    both = [laid(record("plain", 2.0), "contiguous"), laid(record("last", 4.0), "channels-last")]
    best, other = answered(only, both).layouts
    assert (best.layout, best.without, best.pass_s) == ("contiguous", 1, pytest.approx(1.2 + 2.0))
    assert [choice.ranked[0].backend for choice in best.choices] == ["last", "plain"]
    assert (other.layout, other.pass_s) == ("channels-last", 5.0)


def test_without_for_apply_a_plan_has_the_fastest_of_each_layer() -> None:
    first = [laid(record("plain", 2.0), "contiguous"), laid(record("last", 1.0), "channels-last")]
    second = [laid(record("plain", 5.0), "contiguous"), laid(record("last", 9.0), "channels-last")]
    answer = replace(answered(first, second), request=Request())
    assert answer.layouts == () and [choice.backend for choice in plan_of(answer).choices] == ["last", "plain"]
    assert "layouts" not in list(answer_lines(answer))[-1]


def laid(record: Any, gives: str | None) -> Any:
    return record | {"declared": {**record["declared"], "gives": gives}}


def answered(*layers: list[Any]) -> Answer:
    """An answer for `apply` with a layer for each list of records."""
    cases = [Case(ConvProblem.parse(f"n1c8h10w10_o{8 + place}k3_p1")) for place in range(len(layers))]
    choices = tuple(decide(case, records, 0.02) for case, records in zip(cases, layers, strict=True))
    return Answer(Request(purpose="apply"), choices, Limits(()), "here")


def test_for_onnx_apply_is_refused_with_what_to_type() -> None:
    with pytest.raises(PlanError, match=r"convbench choose --model m\.onnx names the fastest one, with its settings"):
        convbench.choose("m.onnx", for_="apply")


# --- the next step ----------------------------------------------------------------------------------------------------


def record(backend: str, call_s: float, takes: list[str] | None = None) -> Any:
    declared = {"prepacks": [], "takes": takes} if takes is not None else {}
    times = {"median_s": call_s, "low_s": call_s, "high_s": call_s, "interval": "interval"}
    return {"case": "c", "backend": backend, "status": "ok", "dtype": "float32", "declared": declared} | times


def steps(records: list[Any], **request: Any) -> list[str]:
    case = Case(ConvProblem.parse(ONE))
    return list(next_step(Answer(Request(**request), (decide(case, records, 0.02),), Limits(()), "here")))


def test_for_an_onnx_model_the_next_step_is_the_runtime_with_its_settings() -> None:
    told = steps([record("numba-direct", 1.0), record("onnxruntime", 2.0)], model="net.onnx", threads=3)
    assert (
        told[0]
        == "numba-direct computes convolutions and runs no ONNX model; the fastest here that does is onnxruntime."
    )
    assert told[1] == "Next: run net.onnx by onnxruntime, with the settings that were timed:"
    assert "    options.intra_op_num_threads = 3" in told and any(
        "InferenceSession('net.onnx'" in line for line in told
    )
    assert "[onnxruntime]" in steps([record("torch", 1.0)], model="net.onnx")[0]


def test_for_a_torch_model_the_next_step_says_what_apply_can_use() -> None:
    (told,) = steps([record("litert", 1.0, [])], model="timm:net")
    assert "apply can use the fastest on 0 of 1 layers" in told and "--for apply" in told
    assert steps([record("torch", 1.0, ["torch"])], model="timm:net") == []
    assert steps([record("torch", 1.0)], model="timm:net") == steps([record("torch", 1.0)], suite="s") == []
    (told,) = steps([record("torch", 1.0)], model="timm:net", purpose="apply", plan=Path("p.json"))
    assert told == "Next: convbench.apply(model, 'p.json', example_input)"


def test_the_code_for_an_onnx_model_is_python_that_names_the_file_and_the_threads() -> None:
    path = "a 'strange' name.onnx"
    codes = {entry.name: code for entry in discover() if (code := entry.backend.onnx_code(path, 7)) is not None}
    assert {"onnxruntime", "openvino", "opencv"} <= {*codes}
    for code in codes.values():
        compile(code, "next step", "exec")
        assert repr(path) in code and "7" in code
