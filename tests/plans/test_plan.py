"""The plan file: what is written is read back, whole or not at all, and what is no plan is refused in one sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems

import convbench
from convbench.errors import PlanError
from convbench.plans import plan as plan_module
from convbench.plans.plan import Choice, Lead, Plan, read_plan
from convbench.problem import DTYPES, ConvProblem

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ORDERED = st.lists(st.floats(1e-9, 1e6), min_size=3, max_size=3).map(sorted)


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    low, call, high = draw(ORDERED)
    lead = draw(st.none() | ORDERED.map(lambda r: Lead(ratio=r[1], low=r[0], high=r[2])))
    return Choice(
        case_id=draw(problems()).case_id,
        backend=draw(NAMES),
        basis=draw(st.sampled_from(["measured", "recorded", "predicted"])),
        call_s=call,
        low_s=low,
        high_s=high,
        runner_up=draw(st.none() | NAMES),
        lead=lead,
        count=draw(st.integers(1, 10**6)),
        layer=draw(st.none() | TEXTS),
        reason=draw(TEXTS),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    return Plan(
        machine=draw(TEXTS),
        cpu=draw(TEXTS),
        threads=draw(st.integers(1, 1024)),
        made=draw(TEXTS),
        choices=tuple({one.case_id: one for one in draw(st.lists(choices(), max_size=4))}.values()),
        dtype=draw(st.none() | st.sampled_from(DTYPES)),
        versions=draw(st.dictionaries(TEXTS, TEXTS, max_size=3)),
        allocator=draw(st.none() | TEXTS),
        default=draw(st.none() | NAMES),
    )


@settings(max_examples=60)
@given(plans())
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> None:
    path = tmp_path_factory.mktemp("plans") / "plan.json"
    plan.write(path)
    again = read_plan(path)
    assert again == plan
    assert hash(again) == hash(plan)
    assert [one.name for one in path.parent.iterdir()] == ["plan.json"]
    for choice in plan.choices:
        assert again.choice(ConvProblem.parse(choice.case_id)) == choice


def a_choice(case_id: str = "n1c64h56w56_o64k3_p1", backend: str = "numba-direct") -> Choice:
    lead = Lead(1.12, 1.09, 1.15)
    seconds = {"call_s": 1e-3, "low_s": 9e-4, "high_s": 1.1e-3}
    return Choice(case_id=case_id, backend=backend, basis="measured", **seconds, runner_up="torch", lead=lead)


def a_plan(*choices: Choice) -> Plan:
    return Plan(machine="bench-1", cpu="a CPU", threads=2, made="2026-11-22T12:00:00+00:00", choices=choices)


def test_the_file_is_json_that_says_what_it_is(tmp_path: Path) -> None:
    a_plan(a_choice()).write(tmp_path / "plan.json")
    decoded = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert (decoded["format"], decoded["version"], decoded["threads"]) == ("convbench-plan", 1, 2)
    assert decoded["choices"][0]["lead"] == {"ratio": 1.12, "low": 1.09, "high": 1.15}
    assert convbench.read_plan(tmp_path / "plan.json").choices[0].backend == "numba-direct"


def test_a_choice_is_for_exactly_its_convolution_and_the_closest_is_named() -> None:
    plan = a_plan(a_choice())
    problem = ConvProblem.parse("n1c64h56w56_o64k3_p1")
    assert plan.choice(problem) == plan.choices[0]
    assert plan.choice(problem.replace(batch=2)) is None
    closest = plan.closest(problem.replace(batch=2))
    assert closest is not None
    assert closest == (plan.choices[0], "batch")
    assert plan.closest(problem.replace(batch=2, bias=True)) is None


# --- hostile files ----------------------------------------------------------------------------------------------------

Spoil = Callable[[dict[str, Any]], Any]


def of_choice(**changes: Any) -> Spoil:
    return lambda plan: plan["choices"][0].update(changes)


SPOILT: dict[str, tuple[Spoil, str]] = {
    "another format": (lambda p: p.update(format="onnx"), '"format": "convbench-plan"'),
    "a later version": (lambda p: p.update(version=2), "written by a newer convbench"),
    "a version in words": (lambda p: p.update(version="1"), "its \"version\" is '1'"),
    "a true version": (lambda p: p.update(version=True), "version"),
    "a misspelt field": (
        lambda p: p.update(machin="x"),
        "'machin', which version 1 does not know. Did you mean 'machine'?",
    ),
    "a field of a choice": (of_choice(path="elsewhere/x.py"), "'path'"),
    "a field of a lead": (lambda p: p["choices"][0]["lead"].update(median=1), "'median'"),
    "no machine": (lambda p: p.pop("machine") and None, "no machine"),
    "no seconds": (lambda p: p["choices"][0].pop("call_s") and None, "choice 1 has no call_s"),
    "seconds in words": (of_choice(call_s="1 ms"), "$.choices[0].call_s"),
    "negative seconds": (of_choice(low_s=-1.0), "in order"),
    "seconds in no order": (of_choice(low_s=1.0), "in order"),
    "no case id": (of_choice(case_id="../../etc/passwd"), "case id"),
    "an impossible case": (of_choice(case_id="n1c3h2w2_o1k5"), "kernel"),
    "another spelling": (of_choice(case_id="n1c64h56w56_o64k3x3_p1"), "n1c64h56w56_o64k3_p1"),
    "a path for a backend": (of_choice(backend="../evil.py"), "letters, digits"),
    "a path for a runner-up": (of_choice(runner_up="/elsewhere/evil"), "letters, digits"),
    "an unknown basis": (of_choice(basis="guessed"), "guessed"),
    "a count of none": (of_choice(count=0), "at least 1"),
    "a count that is true": (of_choice(count=True), "bool"),
    "no threads": (lambda p: p.update(threads=0), "at least 1"),
    "an unknown dtype": (lambda p: p.update(dtype="int3"), "int3"),
    "choices by name": (lambda p: p.update(choices={}), "array"),
    "a choice that is a number": (lambda p: p["choices"].append(3), "$.choices[1]"),
    "two choices for one": (lambda p: p["choices"].append(p["choices"][0]), "two choices"),
    "versions of numbers": (lambda p: p.update(versions={"torch": 2}), "versions"),
    "escape codes": (lambda p: p.update({"\x1b[2J" * 100: 1}), r"\x1b[2J"),
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_what_is_not_as_it_should_be_is_said_in_one_sentence(spoilt: tuple[Spoil, str], tmp_path: Path) -> None:
    spoil, said = spoilt
    path = tmp_path / "plan.json"
    a_plan(a_choice()).write(path)
    decoded = json.loads(path.read_text(encoding="utf-8"))
    spoil(decoded)
    path.write_text(json.dumps(decoded), encoding="utf-8")
    with pytest.raises(PlanError) as refused:
        read_plan(path)
    told = str(refused.value)
    assert said in told
    assert "plan.json" in told
    assert told.isprintable()
    assert len(told) < 600
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b"null",
        b"[]",
        b'{"format": "convbench-plan", "version": 1e999}',
    ],
    ids=["nothing", "nonsense", "no text", "deep", "null", "a list", "infinite"],
)
def test_what_is_no_plan_at_all_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(PlanError, match="is no plan"):
        read_plan(tmp_path / "plan.json")


@settings(max_examples=200)
@given(st.data())
def test_a_torn_or_scrambled_file_is_refused_or_read_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("plans") / "plan.json"
    a_plan(a_choice()).write(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert isinstance(read_plan(path), Plan)
    except PlanError as refused:
        assert str(refused).isprintable()


def test_a_file_too_large_for_a_plan_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "_KIND", replace(plan_module._KIND, most_bytes=1000))
    a_plan(*(a_choice(f"n1c64h{size}w56_o64k3_p1") for size in range(10, 20))).write(tmp_path / "plan.json")
    with pytest.raises(PlanError, match="at most"):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("path", "words"), [("none.json", "no such file"), (".", "a folder"), ("a\0b", "no file can have this name")]
)
def test_a_file_that_cannot_be_read_is_named(path: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=words):
        read_plan(os.path.join(tmp_path, path))  # noqa: PTH118 - a path that is none


def test_a_plan_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    a_plan(a_choice()).write(path)
    before = path.read_bytes()
    hopeless = a_plan(Choice(**{**vars_of(a_choice()), "reason": "\ud800"}))
    with pytest.raises(PlanError, match="cannot be written"):
        hopeless.write(path)
    with pytest.raises(PlanError, match="cannot be written"):
        a_plan().write(tmp_path / "no folder" / "plan.json")
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["plan.json"]


def vars_of(choice: Choice) -> dict[str, Any]:
    return {name: getattr(choice, name) for name in Choice.__dataclass_fields__}
