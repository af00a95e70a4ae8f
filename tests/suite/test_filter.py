"""`--where`: conditions mean what Python means by them, and a text that is none is refused in a sentence, never run."""

from __future__ import annotations

import ast
import json
import operator
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems

from convbench.errors import SuiteError
from convbench.problem import ConvProblem
from convbench.suite import Case, load_suite
from convbench.suite.filter import MOST_CHARACTERS, filtered, parse
from convbench.suite.properties import NAMES, Kind

CASE = Case(
    ConvProblem(in_channels=32, height=56, width=14, out_channels=64, kernel_size=(3, 1), padding=(1, 0), groups=32),
    count=4,
    layer="features.1.conv",
)


def refused(text: str) -> str:
    with pytest.raises(SuiteError) as caught:
        parse(text)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


# --- what conditions mean -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("groups > 1 and height >= 56", True),
        ("height >= 56 > width", True),
        ("14 < width < 56", False),
        ("kernel_height == 3 and kernel_width == 1", True),
        ("kernel_size == 3", False),
        ("kernel_size > 1", False),
        ("kernel_size >= 1", True),
        ("kernel_size != 3", True),
        ("kernel_size == stride", False),
        ("stride == dilation", True),
        ("padding == 0", False),
        ("padding_top + padding_bottom == 2 and padding_left == 0", True),
        ("kind in ('grouped', 'depthwise')", True),
        ("kind not in {'grouped', 'depthwise'}", False),
        ("height in [7, 14, out_height]", True),
        ("'conv' in layer and 'bn' not in layer", True),
        ("layer == 'features.1.conv'", True),
        ("not bias", True),
        ("bias == True or count == 4", True),
        ("dtype == 'float32'", True),
        ("macs / 1e6 < 0.5", True),
        ("-in_channels % 5 == 3", True),
        ("(in_channels + 31) // 32 * 32 == in_channels", True),
        ("height == 56 or height / (width - width) > 1", True),
        ("  height == 56  ", True),
    ],
)
def test_a_condition_means_what_it_says(text: str, holds: bool) -> None:
    assert parse(text)(CASE) is holds


def test_a_case_without_a_layer_has_an_empty_one() -> None:
    assert parse("layer == ''")(Case(CASE.problem))


def test_every_name_can_be_asked_for() -> None:
    for name, (kind, of) in NAMES.items():
        text = name if kind is Kind.TRUTH else f"{name} == {name}"
        assert parse(text)(CASE) is bool(of(CASE) if kind is Kind.TRUTH else True)


def test_a_suite_keeps_its_cases_in_order() -> None:
    suite = load_suite("mobilenet-v2")
    kept = filtered(suite, "groups > 1 and height >= 56")
    assert [c for c in suite.cases if c.problem.groups > 1 and c.problem.height >= 56] == list(kept.cases)
    assert 0 < len(kept.cases) < len(suite.cases)


# --- as Python ----------------------------------------------------------------------------------------------------

NUMBERS = sorted(name for name, (kind, _) in NAMES.items() if kind is Kind.NUMBER)
PAIRS = sorted(name for name, (kind, _) in NAMES.items() if kind is Kind.PAIR)
TEXTS = sorted(name for name, (kind, _) in NAMES.items() if kind is Kind.TEXT)
ORDERS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])

numbers = st.recursive(
    st.sampled_from(NUMBERS) | st.integers(0, 70).map(str) | st.sampled_from(["0.5", "1e3"]),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from("+ - * / // %".split()), inner)
        | inner.map("(-{})".format)
    ),
    max_leaves=4,
)
texts = st.sampled_from(TEXTS) | st.sampled_from(["depthwise", "float32", "n1", ""]).map(repr)
comparisons = (
    st.builds("{} {} {}".format, numbers, ORDERS, numbers)
    | st.builds("{} {} {} {} {}".format, numbers, ORDERS, numbers, ORDERS, numbers)
    | st.builds("{} {} {}".format, st.sampled_from(PAIRS), ORDERS, st.sampled_from(PAIRS) | st.integers(0, 4).map(str))
    | st.builds("{} {} {}".format, texts, st.sampled_from(["==", "!=", "in", "not in"]), texts)
    | st.builds("{} {} ({}, {})".format, numbers, st.sampled_from(["in", "not in"]), numbers, numbers)
)
conditions = st.recursive(
    comparisons | st.sampled_from(["bias", "True", "False"]),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner) | inner.map("(not {})".format)
    ),
    max_leaves=5,
)


@given(conditions, problems(), st.integers(1, 9), st.none() | st.just("conv1"))
@settings(max_examples=150, deadline=None)
def test_a_condition_agrees_with_pythons_own_evaluation(
    text: str, problem: ConvProblem, count: int, layer: str | None
) -> None:
    case = Case(problem, count=count, layer=layer)
    if len(text) > MOST_CHARACTERS or sum(1 for _ in ast.walk(ast.parse(text))) > 200:
        return
    condition = parse(text)
    try:
        expected = eval(text, {"__builtins__": {}}, {name: of(case) for name, (_, of) in NAMES.items()})
    except ZeroDivisionError:
        with pytest.raises(SuiteError, match="cannot be computed"):
            condition(case)
    else:
        assert condition(case) is bool(expected)


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(0, 5), st.sampled_from(["<", "<=", ">", ">=", "=="])
)
def test_a_size_compares_as_both_of_its_axes_do(kernel: tuple[int, int], size: int, order: str) -> None:
    case = Case(ConvProblem(in_channels=1, height=9, width=9, out_channels=1, kernel_size=kernel))
    both = f"kernel_height {order} {size} and kernel_width {order} {size}"
    assert parse(f"kernel_size {order} {size}")(case) is parse(both)(case)


# --- what is none -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "cannot be read"),
        ("height >", "cannot be read"),
        ("height = 5", "cannot be read"),
        ("height > 5; 1", "cannot be read"),
        ("a\0b", "cannot be read"),
        ("\ud800 > 1", "cannot be read"),
        ("(" * 500 + ")" * 500, "cannot be read"),
        ("-" * 900 + "1 > 0", "parts; 200 is the most"),
        ("heigth > 5", "Did you mean 'height'?"),
        ("not bia", "Did you mean 'bias'?"),
        ("bias and true", "Did you mean 'True'?"),
        ("groups", "'groups', a number, where a condition should be"),
        ("groups and bias", "'groups', a number, where a condition should be"),
        ("height > '5'", "compares 'height', a number, with \"'5'\", a text"),
        ("bias > False", "which are not numbers"),
        ("dtype < 'g'", "which are not numbers"),
        ("kernel_size * 2 > 3", "take its height or width"),
        ("kernel_size == padding", "compares"),
        ("height in width", "holds nothing"),
        ("height is 5", "write == or !="),
        ("height ** 2 > 1", "'height ** 2', which a condition may not have"),
        ("height << 900 > 1", "may not have"),
        ("'%99999999999d' % height == ''", "is a text, no number"),
        ("'a' * 99999999999 == ''", "is a text, no number"),
        ("9" * 300 + " > height", "a number larger than"),
        ("1e999 > height", "a number larger than"),
        ("height.bit_length() > 3", "may not have"),
        ("height.real > 3", "may not have"),
        ("[h for h in (1, 2)] == 1", "may not have"),
        ("(lambda: 1) == 1", "may not have"),
        ("height if bias else width", "may not have"),
        ("f'{height}' == '5'", "may not have"),
        ("(height := 5) == 5", "may not have"),
        ("height[0] == 1", "may not have"),
        ("layer == None", "may not have"),
        ("b'a' == b'a'", "may not have"),
        ("bias == ...", "may not have"),
        ("height > 1j", "may not have"),
    ],
)
def test_what_is_no_condition_is_refused_in_a_sentence(text: str, told: str) -> None:
    assert told in refused(text)


def test_a_long_text_is_refused_unread() -> None:
    assert "1001 characters" in refused(" " * (MOST_CHARACTERS + 1))


def test_the_names_are_told_where_one_is_unknown() -> None:
    assert all(name in refused("x > 1") for name in NAMES)


@pytest.mark.parametrize(
    "code",
    [
        "open({path!r}, 'w') and bias",
        "__import__('pathlib').Path({path!r}).touch() == 1",
        "().__class__.__base__.__subclasses__() == 1",
        "[open(p, 'w') for p in ({path!r},)] == 1",
        "(lambda: open({path!r}, 'w'))() == 1",
        "height in {{open({path!r}, 'w')}}",
        "name == f'{{open({path!r}, chr(119))}}'",
    ],
)
def test_nothing_in_a_text_is_ever_run(code: str, tmp_path: Path) -> None:
    path = tmp_path / "made"
    refused(code.format(path=str(path)))
    assert not path.exists()


@given(
    st.text(max_size=40) | st.text(st.sampled_from("height><=()'\"_.[]{}*%,:lambda not and or in 0123"), max_size=60)
)
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_condition_or_is_refused(text: str) -> None:
    try:
        condition = parse(text)
    except SuiteError:
        return
    assert condition(CASE) in (True, False)


def test_a_number_too_large_for_a_float_is_said_of_its_case() -> None:
    huge = "(9223372036854775807" + " * 9223372036854775807" * 40 + ")"
    with pytest.raises(SuiteError, match="cannot be computed for n1c32"):
        parse(f"{huge} / 3 > 1")(CASE)


# --- on the command line ------------------------------------------------------------------------------------------


def convbench(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convbench", *words, "--results", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["run", "verify"])
@pytest.mark.parametrize(
    ("where", "told"),
    [("height > 10 **", "cannot be read"), ("height > 10 ** 9", "may not have"), ("height > 9e9", "holds for none of")],
)
def test_a_command_refuses_what_is_no_filter(command: str, where: str, told: str, tmp_path: Path) -> None:
    done = convbench(command, "--suite", "smoke", "--where", where, folder=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr and len(done.stderr.splitlines()) == 1
    assert done.stdout == "" and list(tmp_path.iterdir()) == []


def test_run_measures_the_cases_for_which_it_holds(tmp_path: Path) -> None:
    where = "kind == 'depthwise' and kernel_size == 3"
    words = ["--suite", "smoke", "--backend", "numpy-gemm", "--where", where, "--quick", "--no-asv", "--json"]
    done = convbench("run", *words, folder=tmp_path)
    records: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = filtered(load_suite("smoke"), where)
    assert done.returncode == 0, done.stderr
    assert [r["case"] for r in records] == list(map(operator.attrgetter("name"), wanted.cases)) != []
