"""Reports: what stands in them, and programs that really show the failure where convbench is not installed."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import forward_problems

from convbench.backend import Arithmetic, Backend, Ready
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.status import Status
from convbench.verification.causes.grouping import Cause
from convbench.verification.causes.operand_lines import layout_lines, operand_lines
from convbench.verification.causes.report import report
from convbench.verification.causes.repro_script import repro_script
from convbench.verification.causes.trait_counts import Combination
from convbench.verification.layouts import lay_out
from convbench.verification.operands import Operands
from convbench.verification.oracle import integer_magnitude, oracle_for
from convbench.verification.question import LAYOUTS, VALUES, Failure, Layout, Question, Values

BACKENDS = {entry.name: entry.backend for entry in discover(entry_points=False)}
DIRECT = Arithmetic("direct")
TEXT = "n2c4h5w6_o6k3x2_s1x2_pt1b0l2r1_d1x2_g2_bias"


class Scripted(Backend):
    """A backend that is nothing but its script."""

    name = "scripted"
    summary = "made up"
    arithmetic = DIRECT

    def __init__(self, script: str | None, arithmetic: Arithmetic = DIRECT) -> None:
        self.lines, self.arithmetic = script, arithmetic

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        raise AssertionError("a report runs nothing")

    def script(self, problem: ConvProblem) -> str | None:
        return self.lines


def wrong(question: Question | str, check: str = "exact", **fields: Any) -> Failure:
    asked = Question.parse(question) if isinstance(question, str) else question
    return Failure(asked, **({"status": Status.WRONG, "check": check, "reason": "simulated"} | fields))


def program(question: Question | str, backend: Backend, check: str = "exact", **fields: Any) -> str:
    found = repro_script(wrong(question, check, **fields), backend)
    assert found is not None
    return found


def run_all(programs: list[str], folder: Path) -> list[str]:
    """What each prints, in one interpreter in which convbench cannot be imported."""
    driver = (
        "import contextlib, io, json, sys\n"
        "sys.modules['convbench'] = None\n"
        "printed = []\n"
        "for program in json.load(sys.stdin):\n"
        "    out = io.StringIO()\n"
        "    with contextlib.redirect_stdout(out):\n"
        "        exec(compile(program, 'program', 'exec'), {'__name__': '__main__'})\n"
        "    printed.append(out.getvalue())\n"
        "print(json.dumps(printed))\n"
    )
    path = folder / "driver.py"
    path.write_text(driver, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", str(path)],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- operands ---------------------------------------------------------------------------------------------------------


def made_again(lines: list[str]) -> dict[str, Any]:
    names: dict[str, Any] = {"np": np, "ml_dtypes": ml_dtypes}
    exec("\n".join(lines), names)
    return names


def assert_same_bits(names: dict[str, Any], operands: Operands) -> None:
    for name, array in {"b": None, **operands.named()}.items():
        if name == "b" and operands.g is not None:
            continue
        if array is None:
            assert names[name] is None
            continue
        assert (names[name].dtype, names[name].shape) == (array.dtype, array.shape)
        assert names[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("values", VALUES)
@given(problem=forward_problems(), seed=st.integers(0, 5), larger=st.booleans())
@settings(max_examples=25)
def test_the_lines_make_the_operands_again_to_the_last_bit(
    values: Values, problem: ConvProblem, seed: int, larger: bool
) -> None:
    problem = problem.replace(direction="forward", bias=problem.bias)
    if larger:
        problem = problem.replace(batch=30, height=problem.height + 12)
    key = oracle_for(Question(problem=problem, values=values, seed=seed), DIRECT)
    magnitude = integer_magnitude(problem, DIRECT) if key.values == "integers" else None
    lines = operand_lines(problem, key.operands, key.values, seed, magnitude)
    assert_same_bits(made_again(lines), key.operands)
    assert any("default_rng" in line for line in lines) == (_numbers(key.operands) > 256)
    assert max(map(len, lines)) < 130


def _numbers(operands: Operands) -> int:
    return sum(array.size for array in (operands.x, operands.w, operands.b) if array is not None)


def test_numbers_are_written_as_short_as_can_be() -> None:
    problem = ConvProblem.parse("n1c1h1w3_o1k1x3")
    x = np.array([0.1, -2, np.nan], np.float32).reshape(1, 1, 1, 3)
    lines = operand_lines(problem, Operands(x, np.array([[[[1.5, math.inf, -0.0]]]], np.float32), None), "special", 0)
    assert lines == [
        "x = np.array([0.1, -2, np.nan], np.float32).reshape(1, 1, 1, 3)",
        "w = np.array([1.5, np.inf, -0.0], np.float32).reshape(1, 1, 1, 3)",
        "b = None",
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_lines_lay_arrays_out_as_the_examination_does(layout: Layout) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 3, 4, 1), (2, 3, 1, 1), (2,)))
    names = {"np": np, "x": x.copy(), "w": w.copy(), "b": b.copy()}
    exec("\n".join(layout_lines(layout, ["x", "w", "b"])), names)
    for name, array in (("x", x), ("w", w), ("b", b)):
        mine, right = names[name], lay_out(array, layout)
        assert isinstance(mine, np.ndarray)
        assert np.array_equal(mine, right)
        assert (mine.strides, mine.flags.writeable) == (right.strides, right.flags.writeable)
        if layout == "misaligned":
            assert mine.ctypes.data % 64 == right.ctypes.data % 64 == 4


# --- programs ---------------------------------------------------------------------------------------------------------

QUESTIONS = [
    TEXT,
    f"{TEXT} normal sliced seed=3",
    f"{TEXT}_bf16 one-tap",
    "n1c3h9w8_o2k3_s2_p2_reflect_f64 wide",
    "n1c3h9w8_o4k2_pt1b2l0r3_circular_f16 positive reversed",
    "n2c3h6w7_o2k2_p0x1_bias_replicate special misaligned",
    "n1c3h9w9_o5k2_pt-1b0l0r-2 channels-last many",
    "n3c5h20w20_o7k3_p1_bias read-only",
    "n1c1h4w1_o1k1 odd-strides threads",
]


@pytest.mark.parametrize("name", ["torch", "torch-channels-last", "scipy-direct", "scipy-fft", "jax"])
def test_a_right_answer_is_found_right_without_convbench(name: str, tmp_path: Path) -> None:
    backend = BACKENDS[name]
    programs = [program(question, backend) for question in QUESTIONS]
    programs += [program(TEXT, backend, check) for check in ("repeated call", "two threads")]
    assert not any("convbench" in text for text in programs)
    for question, printed in zip([*QUESTIONS, TEXT, TEXT], run_all(programs, tmp_path), strict=True):
        elements = math.prod(Question.parse(question).problem.output_shape)
        assert printed.startswith(f"0 of {elements} elements wrong\nat [0, 0, 0, 0]: got "), (question, printed)


OF_GRADIENTS = [
    "n2c4h5w6_o6k3x2_s1x2_pt1b0l2r1_d1x2_g2_dgrad",
    "n2c4h5w6_o6k3x2_s1x2_pt1b0l2r1_d1x2_g2_wgrad normal sliced seed=3",
    "n2c4h5w6_o6k3x2_s1x2_pt1b0l2r1_d1x2_g2_bf16_dgrad one-tap",
    "n1c3h9w8_o2k3_s2_p2_reflect_f64_wgrad wide",
    "n1c3h9w8_o4k2_pt1b2l0r3_circular_f16_dgrad positive reversed",
    "n1c3h9w9_o5k2_pt-1b0l0r-2_dgrad channels-last many",
    "n3c5h20w20_o7k3_p1_wgrad",
    "n3c5h20w20_o7k3_p1_f64_dgrad normal",
    "n1c3h6w7_o2k2_dgrad special",
    "n1c2h4w5_o3k2_bias_bgrad",
]


@pytest.mark.parametrize("name", ["torch", "torch-channels-last", "jax"])
def test_a_right_gradient_is_found_right_without_convbench(name: str, tmp_path: Path) -> None:
    backend = BACKENDS[name]
    programs = [program(question, backend) for question in OF_GRADIENTS]
    programs += [program(question, backend, "changed operands") for question in (OF_GRADIENTS[0], OF_GRADIENTS[-1])]
    asked = [*OF_GRADIENTS, OF_GRADIENTS[0], OF_GRADIENTS[-1]]
    for question, printed in zip(asked, run_all(programs, tmp_path), strict=True):
        elements = math.prod(Question.parse(question).problem.result_shape)
        assert printed.startswith(f"0 of {elements} elements wrong\nat [0"), (question, printed)


OF_EPILOGUES = [
    "n1c2h4w5_o3k3_p1_bias_relu",
    "n2c2h4w5_o2k2_add_relu6 normal sliced",
    "n1c2h4w5_o3k2_bias_f64_leaky0.25_add normal",
    "n1c2h4w5_o3k2_gelu normal channels-last",
    "n1c2h4w5_o3k2_gelutanh normal",
    "n1c2h4w5_o3k2_add_hswish normal",
    "n1c2h4w5_o3k2_silu positive",
    "n1c2h4w5_o3k2_clip-1.5x2.5_add",
]


@pytest.mark.parametrize("name", ["torch", "torch-channels-last", "jax"])
def test_a_problem_with_an_epilogue_has_a_program_that_shows_one_element(name: str, tmp_path: Path) -> None:
    backend, at = BACKENDS[name], (0, 1, 2, 3)
    programs = [program(question, backend, element=at) for question in OF_EPILOGUES]
    programs += [program(OF_EPILOGUES[1], backend, check, element=at) for check in ("changed operands", "two threads")]
    for question, printed in zip([*OF_EPILOGUES, *OF_EPILOGUES[1:2] * 2], run_all(programs, tmp_path), strict=True):
        match = re.fullmatch(r"at \[0, 1, 2, 3\]: got (\S+), expected (\S+)\n", printed)
        assert match, (question, printed)
        assert float(match[1]) == pytest.approx(float(match[2]), rel=1e-5, abs=1e-5)
    key = oracle_for(Question.parse(OF_EPILOGUES[0]), backend.arithmetic)
    value = float(key.exact[at])
    assert run_all(programs[:1], tmp_path) == [f"at [0, 1, 2, 3]: got {value!r}, expected {value!r}\n"]


def test_the_program_holds_the_library_to_the_instructions_that_it_was_held_to(monkeypatch: pytest.MonkeyPatch) -> None:
    question, torch = "n1c1h4w4_o1k1", BACKENDS["torch"]
    for name in {name for switches in torch.isa_switches.values() for name in switches}:
        monkeypatch.delenv(name, raising=False)
    assert "os.environ" not in program(question, torch)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    held = "import os\n\nos.environ.update({'ONEDNN_MAX_CPU_ISA': 'AVX2'})\n\nimport numpy as np\n"
    assert program(question, torch).startswith(held)
    assert "os.environ" not in program(question, Scripted("out = x"))


WRONG_GRADIENT = """\
import torch
g, x = (torch.from_numpy(a.copy()) for a in (g, x))
out = torch.nn.grad.conv2d_weight(x.flip(3), (2, 2, 3, 3), g, padding=1).numpy()"""


class ScriptedGradient(Scripted):
    def gradient_script(self, problem: ConvProblem) -> str | None:
        return self.lines


def test_a_fault_of_a_gradient_is_shown_without_convbench(tmp_path: Path) -> None:
    question = "n1c2h5w6_o2k3_p1_wgrad"
    [printed] = run_all([program(question, ScriptedGradient(WRONG_GRADIENT))], tmp_path)
    key = oracle_for(Question.parse(question), DIRECT)
    match = re.search(r"^[1-9]\d* of 36 elements wrong\nat (\[.*?\]): got (\S+), expected (\S+)", printed)
    assert match
    assert float(match[3]) == key.exact[tuple(json.loads(match[1]))] != float(match[2])


def test_a_gradient_of_many_numbers_that_cannot_be_drawn_has_no_program() -> None:
    assert repro_script(wrong("n4c16h20w20_o8k3_dgrad one-tap"), BACKENDS["torch"]) is None
    assert repro_script(wrong("n1c2h5w5_o2k3_dgrad"), Scripted("out = x")) is None, "it has a script for forward alone"


FLIPPED = """\
import torch
x, w, b = (a if a is None else torch.from_numpy(a.copy()) for a in (x, w, b))
w = w.flip(3)  # the fault
out = torch.nn.functional.conv2d(x, w, b, (1, 2), (1, 1)).numpy()"""
STATEFUL = """\
import torch
x, w, b = (a if a is None else torch.from_numpy(a.copy()) for a in (x, w, b))
calls = []
def convolve():
    calls.append(1)
    return torch.nn.functional.conv2d(x, w, b, (1, 2), (1, 1)).numpy() + (len(calls) > 1)
out = convolve()"""
STALE = """\
import torch, builtins
builtins.kept = getattr(builtins, "kept", (x, w, b))
a, v, c = (a if a is None else torch.from_numpy(a.copy()) for a in builtins.kept)
out = torch.nn.functional.conv2d(a, v, c, (1, 2), (1, 1)).numpy()"""
SHARED = """\
import torch, builtins
builtins.latest = (x, w, b)
tensors = lambda: (a if a is None else torch.from_numpy(a.copy()) for a in builtins.latest)
out = torch.nn.functional.conv2d(*tensors(), (1, 2), (1, 1)).numpy()"""
WRITES = """\
def convolve():
    x[0, 0, 0, 0] += 1
    return x
out = convolve()"""
ASKED = "n1c2h5w6_o3k3_s1x2_p1_bias"


def test_a_fault_is_shown_without_convbench(tmp_path: Path) -> None:
    shown = {
        "exact": FLIPPED,
        "repeated call": STATEFUL,
        "changed operands": STALE,
        "call after another was prepared": SHARED,
    }
    programs = [program(ASKED, Scripted(script), check) for check, script in shown.items()]
    programs.append(program(f"{ASKED} normal", Scripted(FLIPPED), "bound"))
    for printed in run_all(programs, tmp_path):
        first, second = printed.splitlines()
        assert int(first.split(" of ")[0]) > 0
        got, expected = re.findall(r"-?[\d.]+(?:e-?\d+)?", second.split("got", 1)[1])
        assert float(got) != float(expected)


def test_the_element_that_the_program_shows_is_what_the_reference_says(tmp_path: Path) -> None:
    key = oracle_for(Question.parse(ASKED), DIRECT)
    [printed] = run_all([program(ASKED, Scripted(FLIPPED))], tmp_path)
    match = re.search(r"at (\[.*?\]): got (\S+), expected (\S+)", printed)
    assert match
    assert float(match[3]) == key.exact[tuple(json.loads(match[1]))]


def test_conduct_that_is_not_of_numbers_is_shown_too(tmp_path: Path) -> None:
    programs = [
        program(ASKED, Scripted(WRITES), "inputs"),
        program(ASKED, Scripted("out = x[0].astype(np.float64)"), "output"),
        program(ASKED, Scripted("out = np.zeros(3)"), "call", status=Status.ERROR),
    ]
    printed = run_all(programs, tmp_path)
    assert printed[0] == "inputs written to: True\n"
    assert printed[1] == "got      (2, 5, 6) float64\nexpected (1, 3, 5, 3) float32\n"
    assert printed[2] == "[0. 0. 0.]\n"


def test_an_output_left_unwritten_is_asked_for_in_dirty_memory(tmp_path: Path) -> None:
    script = "shape = (1, 3, 400, 200)\nout = np.empty(shape, np.float32)"
    question = "n1c1h400w200_o3k1"
    [text] = [program(question, Scripted(script), got=math.nan)]
    assert "np.nan" in text and "np.nan" not in program(question, Scripted(script), got=1.0)
    [printed] = run_all([text], tmp_path)
    assert not printed.startswith("0 of")


EXACT = {("direct", "one-tap")}  # and integers: nothing may be off there


def test_where_there_is_nothing_to_show_there_is_no_program() -> None:
    assert repro_script(wrong(TEXT), Scripted(None)) is None
    assert repro_script(wrong(TEXT, "relation transposed"), Scripted("out = x")) is None


@pytest.mark.parametrize(
    ("algorithm", "values"),
    [(a, v) for a in ("direct", "fft", "winograd", "auto") for v in VALUES if (a, v) not in EXACT and v != "integers"],
)
def test_the_programs_bound_is_that_of_the_examination(algorithm: Any, values: Values) -> None:
    """An answer off by half a bound is right by the program, too, and one off by three bounds is wrong."""
    arithmetic = Arithmetic(algorithm)
    question = Question(problem=ConvProblem.parse("n1c3h6w7_o2k3_p1_bias"), values=values)
    key = oracle_for(question, arithmetic)
    with np.errstate(invalid="ignore"):
        bound = key._bound(arithmetic)
    namespace = {"np": np, "x": key.operands.x, "w": key.operands.w, "b": key.operands.b}
    text = program(question, Scripted("out = answer", arithmetic), "bound").partition("out = compute(x, w, b)\n")[2]
    for share, is_right in ((0.0, True), (0.5, True), (3.0, False)):
        namespace["out"] = key.exact + share * bound
        output: list[str] = []
        exec(text, namespace | {"print": output.append})
        assert output[0].startswith("0 of") == is_right, (share, output)


# --- reports ----------------------------------------------------------------------------------------------------------

SHARED_CLASSES = (
    Combination((("groups", "depthwise"), ("stride", "unequal strides")), 41, 41, 0, 480),
    Combination((("groups", "depthwise"), ("kernel", "1xN kernel")), 41, 41, 0, 480),
)


def of(finding: Failure, backend: Backend, shared: tuple[Combination, ...] = SHARED_CLASSES) -> str:
    return report(Cause(finding, (finding,), shared), backend, {"torch": "2.13.0", "numpy": "2.4.0"})


def test_a_report_has_all_that_an_issue_needs() -> None:
    reason = "exact check: 3 of 45 elements wrong; at [0, 1, 2, 0] got 17, expected -4 (infinitely many times)"
    finding = wrong(f"{ASKED} sliced", reason=reason, element=(0, 1, 2, 0), got=17.0, expected=-4.0)
    text = of(finding, BACKENDS["torch"])
    for part in (
        "# torch: conv2d gives a wrong result in float32 (3x3 kernel, stride 1x2, padding 1)\n",
        "an image of 2 channels, 5 high and 6 wide, with 3 filters of 3x3, stride 1x2, padding 1, with a bias, in",
        "slices of larger ones",
        reason,
        "depthwise and unequal strides: in 41 of 41 failures and none of 480 passes.",
        "As telling: depthwise and 1xN kernel.",
        "| case | `n1c2h5w6_o3k3_s1x2_p1_bias sliced` |",
        "| versions | torch 2.13.0, numpy 2.4.0 |",
        "algorithm direct, operands in float32, sums in float32",
        "convbench verify --backend torch --question 'n1c2h5w6_o3k3_s1x2_p1_bias sliced'",
        "./benchdnn --conv --dir=FWD_B mb1ic2ih5iw6oc3oh5ow3kh3kw3sh1sw2ph1pw1",
        "```python\nimport numpy as np\n",
    ):
        assert part in text, part
    assert text.count("got 17") == 1, "the element is told once"


def test_what_cannot_be_said_is_left_out() -> None:
    text = of(wrong("n1c3h9w8_o2k3_p2_reflect"), Scripted(None), ())
    assert "benchdnn" not in text
    assert "```python" not in text
    assert "in common" not in text
    assert "convbench verify --backend scripted --question n1c3h9w8_o2k3_p2_reflect" in text


def test_the_element_is_told_where_the_reason_does_not() -> None:
    finding = wrong(TEXT, element=(1, 0, 2, 3), got=1.5, expected=2.0, error_over_bound=1234.5)
    assert "At [1, 0, 2, 3]: got `1.5`, expected `2.0` (1.23e+03 times the error that rounding explains)." in of(
        finding, Scripted(None)
    )


@pytest.mark.parametrize("status", [s for s in Status if s.is_failure or s in (Status.TIMEOUT, Status.OUT_OF_MEMORY)])
def test_every_failure_has_a_title_of_its_own(status: Status) -> None:
    title = of(wrong(TEXT, "call", status=status), Scripted(None)).splitlines()[0]
    assert title.startswith("# scripted: conv2d ")
    assert "conv2d fails" not in title


def test_what_a_library_says_is_data() -> None:
    hostile = "raised `x` | y\n```\n# heading\n\x1b[31mred\x1b[0m <script>alert(1)</script> [bold]"
    text = of(wrong(TEXT, "call", status=Status.ERROR, reason=hostile), Scripted(None))
    assert "\x1b" not in text
    lines = text.splitlines()
    for part in ("```", "# heading"):
        assert part not in lines[: lines.index("## Reproduce")], "it stands in an indented block"
    assert any(line.startswith("    ") and "<script>" in line for line in lines)
    assert len(of(wrong(TEXT, "call", reason="x" * 100_000), Scripted(None))) < 5000
