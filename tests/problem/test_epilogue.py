"""`Epilogue`: one spelling for each function, problems that carry it, and what is refused."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import epilogues, fused_problems

from convbench.backend import Supports
from convbench.errors import ProblemError
from convbench.problem import ACTIVATIONS, RESIDUALS, ConvProblem, Epilogue
from convbench.problem.dialects import to_benchdnn, to_miopen, to_torch
from convbench.problem.epilogue import EPILOGUES
from convbench.verification.fused.truth import result

LAYER = ConvProblem(in_channels=4, height=8, width=6, out_channels=6, kernel_size=3)


@settings(max_examples=300)
@given(epilogues())
def test_a_spelling_gives_its_epilogue_back(epilogue: Epilogue) -> None:
    assert Epilogue.parse(str(epilogue)) == epilogue
    assert str(epilogue).isascii() and "+" not in str(epilogue) and " " not in str(epilogue)
    assert eval(repr(epilogue), {"Epilogue": Epilogue}) == epilogue
    assert pickle.loads(pickle.dumps(epilogue)) == epilogue


@settings(max_examples=300)
@given(epilogues(), epilogues())
def test_no_two_epilogues_share_a_spelling(one: Epilogue, other: Epilogue) -> None:
    assert (one == other) == (str(one) == str(other))


@settings(max_examples=300)
@given(fused_problems())
def test_a_problem_carries_its_epilogue_in_every_form(p: ConvProblem) -> None:
    assert p.epilogue is not None and p.case_id.endswith(f"_{p.epilogue}")
    assert ConvProblem.parse(p.case_id) == p
    assert ConvProblem(**json.loads(json.dumps(p.as_dict()))) == p
    bare = p.replace(epilogue=None)
    assert p.case_id == f"{bare.case_id}_{p.epilogue}" and p != bare
    assert "epilogue" not in bare.as_dict() and p.as_dict() == bare.as_dict() | {"epilogue": str(p.epilogue)}
    assert ("r" in p.operand_shapes) == (p.epilogue.residual is not None)


@settings(max_examples=300)
@given(st.text(alphabet="adrelu_6cipxhsw-.0123e+٣\n", max_size=24))
def test_any_spelling_is_read_or_refused(text: str) -> None:
    try:
        assert ConvProblem.parse(f"{LAYER}_{Epilogue.parse(text)}").epilogue == Epilogue.parse(text)
    except ProblemError as error:
        assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("form", "kept"),
    [
        ({"activation": "clip", "low": 0, "high": 6}, {"activation": "relu6"}),
        ({"activation": "leaky_relu", "slope": -0.0}, {"activation": "relu"}),
        ({"residual": "after"}, {"residual": "before"}),
        ({"activation": "clip", "low": -0.0, "high": 1}, {"activation": "clip", "low": 0.0, "high": 1.0}),
    ],
)
def test_a_function_has_one_value(form: dict[str, Any], kept: dict[str, Any]) -> None:
    assert Epilogue(**form) == Epilogue(**kept) and str(Epilogue(**form)) == str(Epilogue(**kept))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "None"),
        ({"activation": "relu7"}, "Did you mean 'relu'"),
        ({"activation": "relu", "residual": "inside"}, "before, after"),
        ({"activation": "leaky_relu"}, "leaky_relu needs slope"),
        ({"activation": "relu", "slope": 0.5}, "relu is without slope"),
        ({"residual": "before", "low": 0.5}, "without an activation is without low"),
        ({"activation": "leaky_relu", "slope": 1}, "changes nothing"),
        ({"activation": "leaky_relu", "slope": float("nan")}, "finite"),
        ({"activation": "leaky_relu", "slope": True}, "finite"),
        ({"activation": "clip", "low": 1}, "clip needs high"),
        ({"activation": "clip", "low": 1, "high": 1}, "low should be below high"),
    ],
)
def test_what_is_no_function_is_refused(form: dict[str, Any], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        Epilogue(**form)


def test_it_is_frozen() -> None:
    epilogue = Epilogue(activation="relu")
    with pytest.raises(FrozenInstanceError):
        epilogue.activation = "silu"  # type: ignore[misc]
    assert replace(epilogue, residual="after") == Epilogue.parse("relu_add")


# --- dialects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epilogue", EPILOGUES, ids=str)
def test_benchdnn_and_torch_give_an_epilogue_back(epilogue: Epilogue) -> None:
    fused = LAYER.replace(epilogue=epilogue)
    assert ConvProblem.parse(to_benchdnn(fused)) == fused
    assert ConvProblem.parse(to_torch(fused)) == fused
    with pytest.raises(ProblemError, match="no epilogue"):
        to_miopen(fused)


@pytest.mark.parametrize("epilogue", EPILOGUES, ids=str)
def test_the_torch_snippet_runs_and_computes_it(epilogue: Epilogue) -> None:
    space: dict[str, Any] = {}
    exec(to_torch(LAYER.replace(epilogue=epilogue, dtype="float64")), space)
    bare, r = space["conv"](space["x"]).detach().numpy(), space["r"].numpy() if epilogue.residual else None
    assert np.allclose(space["y"].detach().numpy(), result(epilogue, bare, r))


@pytest.mark.parametrize(
    ("line", "epilogue"),
    [
        ("y = torch.nn.functional.leaky_relu(conv(x), negative_slope=0.2)", "leaky0.2"),
        ("y = torch.nn.functional.leaky_relu(conv(x))", "leaky0.01"),
        ("y = torch.clamp(conv(x), min=-1, max=1)", "clip-1x1"),
        ("y = shortcut + torch.relu(conv(x))", "relu_add"),
        ("y = torch.relu(conv(x) + shortcut)", "add_relu"),
        ("y = conv(x) + 1", None),
    ],
)
def test_a_torch_snippet_is_read(line: str, epilogue: str | None) -> None:
    text = f"x = torch.randn(1, 4, 8, 6)\nconv = torch.nn.Conv2d(4, 6, 3, bias=False)\n{line}"
    assert ConvProblem.parse(text) == LAYER.replace(epilogue=epilogue)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("y = torch.relu(torch.sigmoid(conv(x)))", "2 activations"),
        ("y = torch.clamp(conv(x), max=6)", "clip needs low"),
        ("y = torch.nn.functional.leaky_relu(conv(x), slope)", "no number"),
    ],
)
def test_a_torch_snippet_is_refused_with_reason(line: str, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        ConvProblem.parse(f"x = torch.randn(1, 4, 8, 6)\nconv = torch.nn.Conv2d(4, 6, 3)\n{line}")


# --- what a backend declares --------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("residual", [None, *RESIDUALS])
def test_a_backend_from_before_is_never_asked(activation: Any, residual: Any) -> None:
    numbers = {"leaky_relu": {"slope": 0.5}, "clip": {"low": -1, "high": 1}}.get(activation, {})
    if activation is None and residual is None:
        assert Supports().reason_against(LAYER) is None
        return
    fused = LAYER.replace(epilogue=Epilogue(activation=activation, residual=residual, **numbers))
    assert "bare convolution only" in (Supports().reason_against(fused) or "")
    assert Supports(activations=ACTIVATIONS, residuals=RESIDUALS).reason_against(fused) is None


def test_a_refusal_names_what_is_missing() -> None:
    some = Supports(activations={"relu"}, residuals={"before"})
    assert some.reason_against(LAYER.replace(epilogue="add_relu")) is None
    assert some.reason_against(LAYER.replace(epilogue="silu")) == "does not compute silu, only relu"
    assert some.reason_against(LAYER.replace(epilogue="relu_add")) == "does not add a residual after the activation"
    with pytest.raises(TypeError, match="activations has relu7"):
        Supports(activations={"relu7"})
