"""The convolutions of models: the ones that run, as the problem that they are."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SUPPORT
from strategies import problems

from convbench.cli.main import main
from convbench.errors import ModelError, ProblemError, SuiteError
from convbench.extraction.call_log import Padding
from convbench.extraction.exported.symbolic_size import Sizes, UnknownSizeError
from convbench.extraction.extract import Extracted, layers_of
from convbench.extraction.suite_text import suite_text
from convbench.extraction.tracing import traced
from convbench.problem import PADDING_MODES
from convbench.suite import Case, Suite, load_suite
from convbench.suite.toml_file import read_suite
from convbench.verification.reference import convolve

SHAPE = (2, 3, 12, 14)
EXPECTED = {
    "Plain": [
        ("n2c3h12w14_o8k3_s2_p1", 1, "first"),
        ("n2c8h6w7_o8k3_p1_g8_bias", 2, "again"),
        ("n2c8h6w7_o4k1", 1, None),
    ],
    "Paddings": [
        ("n2c3h12w14_o3k3_pt2b3l0r1_bias", 1, "zeros.1"),
        ("n2c3h15w13_o3k3_p1_bias_reflect", 1, "reflect"),
        ("n2c3h15w13_o3k3_p1x2_bias_circular", 1, "circular"),
        ("n2c3h15w15_o3k2x3_pt1b2l3r3_d3_bias", 1, "same"),
        ("n2c3h15w15_o3k3_pt2b1l2r1_bias", 1, "both.2"),
        ("n2c3h16w16_o3k3_p2x1_replicate", 1, None),
        ("n2c3h18w16_o3k3_s2_pt0b2l-1r0", 1, None),
    ],
    "NotOnePadding": [("n2c3h14w16_o3k3", 3, None), ("n2c3h14w16_o3k3_p1", 1, None), ("n2c3h14w14_o3k3_p1", 1, None)],
    "Others": [("n2c3h13w15_o3k2_dgrad", 1, "up"), ("n2c3h13w15_o4k3_bias", 1, "two")],
    "half": [
        ("n2c3h12w14_o8k3_s2_p1_f16", 1, "first"),
        ("n2c8h6w7_o8k3_p1_g8_bias_f16", 2, "again"),
        ("n2c8h6w7_o4k1_f16", 1, None),
    ],
}
EXPECTED["ready"] = EXPECTED["Plain"]


def found_in(extracted: Extracted) -> list[tuple[str, int, str | None]]:
    return [(case.problem.case_id, case.count, case.layer) for case in extracted.cases]


def refused(source: str, **given: Any) -> str:
    with pytest.raises(ModelError) as caught:
        layers_of(source, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- torch modules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPECTED)
def test_the_convolutions_that_run_are_found(name: str) -> None:
    extracted = layers_of(f"models_to_read:{name}", input_shape=SHAPE)
    assert found_in(extracted) == EXPECTED[name]
    assert extracted.name == name
    assert extracted.input_shape == SHAPE
    assert extracted.runs == sum(count for _, count, _ in EXPECTED[name])


def test_what_is_no_conv2d_is_told() -> None:
    assert layers_of("models_to_read:Others", input_shape=SHAPE).left_out == (
        "A convolution in 1-D: runs once, first in one.",
        "A convolution in 3-D: runs once, first in three.",
        "The bias of a transposed convolution, which the gradient of an input does not have: runs once, first in up.",
    )
    assert layers_of("models_to_read:Plain", input_shape=SHAPE).left_out == ()


def test_what_depends_on_data_is_told_and_what_ran_before_is_kept() -> None:
    extracted = layers_of("models_to_read:DependsOnDataLater", input_shape=SHAPE)
    assert found_in(extracted) == EXPECTED["Plain"]
    assert len(extracted.left_out) == 1 and "depends on the data" in extracted.left_out[0]


def test_an_image_without_a_batch_is_a_batch_of_one() -> None:
    assert found_in(layers_of("models_to_read:WithoutBatch")) == [("n1c3h6w7_o2k3_p0x1_bias_reflect", 1, "conv")]


def test_batch_and_dtype_are_as_asked() -> None:
    extracted = layers_of("models_to_read:Plain", input_shape=SHAPE, batch=5, dtype="bfloat16")
    assert {(case.problem.batch, case.problem.dtype) for case in extracted.cases} == {(5, "bfloat16")}
    assert extracted.input_shape == (5, 3, 12, 14)


def test_a_module_that_is_given_keeps_its_weights() -> None:
    import models_to_read

    layers_of("models_to_read:ready", input_shape=SHAPE)
    assert not any(parameter.is_meta for parameter in models_to_read.ready.parameters())


class _PadAndConvolve(torch.nn.Module):
    """Padding of its own, twice perhaps, then a convolution that may pad too."""

    def __init__(self, pads: list[tuple[tuple[int, ...], str]], conv: torch.nn.Conv2d) -> None:
        super().__init__()
        self.pads, self.conv = pads, conv

    def forward(self, x: Any) -> Any:
        for sides, mode in self.pads:
            x = torch.nn.functional.pad(x, sides, mode)
        return self.conv(x)


@st.composite
def padded_convolutions(draw: st.DrawFn) -> tuple[_PadAndConvolve, tuple[int, ...]]:
    groups = draw(st.sampled_from([1, 2]))
    side = st.integers(-1, 3)
    pads: list[tuple[tuple[int, ...], str]] = []
    for _ in range(draw(st.integers(0, 2))):
        mode = draw(st.sampled_from(["constant", "constant", "reflect", "replicate", "circular"]))
        sides = st.integers(0, 2) if mode != "constant" else side
        pads.append((tuple(draw(sides) for _ in range(4)), mode))
    stride = draw(st.sampled_from([1, 1, 2]))
    padding: Any = draw(st.sampled_from([0, 1, (2, 1), "same", "valid"]))
    conv = torch.nn.Conv2d(
        groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        stride=1 if padding == "same" else stride,
        padding=padding,
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(PADDING_MODES)),
    )
    shape = (draw(st.integers(1, 2)), conv.in_channels, draw(st.integers(9, 11)), draw(st.integers(9, 11)))
    return _PadAndConvolve(pads, conv.double()), shape


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@settings(max_examples=100)
@given(padded_convolutions(), st.integers(0, 2**31))
def test_the_problem_computes_what_the_model_does(model: tuple[_PadAndConvolve, tuple[int, ...]], seed: int) -> None:
    module, shape = model
    with torch.no_grad():
        (layer,) = traced(module, (torch.empty(shape, device="meta", dtype=torch.float64),)).layers
        problem = layer.problem
        x = torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))
        expected = module(x).numpy()
        # Where there is no one padding for all, the image is what the first of them made of it.
        pads = [*module.pads, (module.conv._reversed_padding_repeated_twice, module.conv.padding_mode)]
        images = [x]
        for sides, mode in pads[: None if module.conv.padding_mode != "zeros" else -1]:
            images.append(torch.nn.functional.pad(images[-1], sides, mode))
    bias = None if module.conv.bias is None else module.conv.bias.detach().numpy()
    assert problem.bias == (bias is not None)
    weight = module.conv.weight.detach().numpy()
    candidates = [image.numpy() for image in images if problem.input_shape == tuple(image.shape)]
    answers = [convolve(problem, image, weight, bias) for image in candidates]
    assert any(answer.shape == expected.shape and np.allclose(answer, expected, 1e-12, 1e-12) for answer in answers)
    if not module.pads:
        assert problem.input_shape == shape


def test_paddings_join_or_do_not() -> None:
    ones, crop = Padding(((1, 1), (1, 1))), Padding(((-1, 0), (0, 0)))
    assert ones.then(crop) == Padding(((0, 1), (1, 1)))
    assert crop.then(ones) is None
    assert crop.then(crop) == Padding(((-2, 0), (0, 0)))
    reflect = Padding(((1, 1), (1, 1)), "reflect")
    assert reflect.then(Padding()) == Padding().then(reflect) == reflect
    assert reflect.then(ones) is ones.then(reflect) is None


@pytest.mark.parametrize(
    ("source", "given", "words"),
    [
        ("models_to_read:Plain", {}, ["does not say", "--input 1,3,224,224"]),
        ("models_to_read:Plain", {"input_shape": (1, 4, 9, 9)}, ["1x4x9x9", "--input"]),
        ("models_to_read:Plain", {"input_shape": (3,)}, ["input shape is 3", "1,3,224,224"]),
        ("models_to_read:Plain", {"input_shape": SHAPE, "batch": 0}, ["batch is 0"]),
        ("models_to_read:Plian", {}, ["no 'Plian'", "Did you mean 'Plain'?"]),
        ("models_to_read:number", {}, ["of type int", "torch.nn.Module"]),
        ("models_to_read:Any", {}, ["cannot be called", "TypeError"]),
        ("models_to_read:Broken", {}, ["ValueError: no"]),
        ("models_to_read:DependsOnData", {"input_shape": SHAPE}, ["depends on the data"]),
        ("no_such_module:Net", {}, ["no module 'no_such_module'"]),
        ("models_to_read", {}, ["'models_to_read' is no model", "module:callable"]),
        ("os;system:x", {}, ["is no model"]),
        ("", {}, ["is no model"]),
        ("weights.pth", {}, ["hold weights", "FILE.onnx"]),
        ("nowhere.onnx", {}, ["nowhere.onnx: there is no such file"]),
        ("nowhere.pt2", {}, ["nowhere.pt2: there is no such file"]),
    ],
)
def test_what_cannot_be_read_is_told_in_one_sentence(source: str, given: dict[str, Any], words: list[str]) -> None:
    if source.endswith(".onnx"):
        pytest.importorskip("onnx")
    message = refused(source, **given)
    assert [word for word in words if word not in message] == []


def test_an_unknown_dtype_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ProblemError, match="float31"):
        layers_of("models_to_read:Broken", dtype="float31")  # type: ignore[arg-type]


# --- exported programs ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models as torch.export writes them, one of them with open sizes."""
    import models_to_read

    folder = tmp_path_factory.mktemp("programs")
    auto = torch.export.Dim.AUTO
    for name in ("Plain", "Paddings", "NotOnePadding", "Others"):
        module = getattr(models_to_read, name)().eval()
        torch.export.save(torch.export.export(module, (torch.zeros(SHAPE),)), folder / f"{name}.pt2")
    open_ = torch.export.export(
        models_to_read.Plain().eval(), (torch.zeros(2, 3, 9, 14),), dynamic_shapes=({0: auto, 2: auto},)
    )
    torch.export.save(open_, folder / "open.pt2")
    return folder


@pytest.mark.parametrize("name", ["Plain", "Paddings", "NotOnePadding", "Others"])
def test_an_exported_program_has_the_same_convolutions(name: str, programs: Path) -> None:
    extracted = layers_of(str(programs / f"{name}.pt2"))
    assert [found[:2] for found in found_in(extracted)] == [found[:2] for found in EXPECTED[name]]
    named = [(own, given) for (*_, own), (*_, given) in zip(found_in(extracted), EXPECTED[name], strict=True) if given]
    assert all(own == given for own, given in named)
    assert len(extracted.left_out) == (3 if name == "Others" else 0)


def test_open_sizes_are_those_of_the_input_that_is_given(programs: Path) -> None:
    source = str(programs / "open.pt2")
    assert found_in(layers_of(source, input_shape=SHAPE))[:2] == EXPECTED["Plain"][:2]
    assert "dynamic" in refused(source) and "--input 1,3,224,224" in refused(source, batch=3)
    assert "has 3" in refused(source, input_shape=(3, 12, 14))
    assert "exported with 14" in refused(source, input_shape=(1, 3, 12, 15))
    assert "exported with 2" in refused(str(programs / "Plain.pt2"), batch=1)


class _Trap:
    """Unpickling this leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


def test_nothing_in_a_program_is_unpickled(programs: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    pickled = pickle.dumps(_Trap(sprung))
    trapped = tmp_path / "trapped.pt2"
    with zipfile.ZipFile(programs / "Plain.pt2") as given, zipfile.ZipFile(trapped, "w") as written:
        for name in given.namelist():
            is_data = "/data/" in name and not name.endswith(".json")
            written.writestr(name, pickled if is_data else given.read(name))
    assert found_in(layers_of(str(trapped)))[:2] == EXPECTED["Plain"][:2]
    assert not sprung.exists()
    pickle.loads(pickled)
    assert sprung.exists()


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (None, ["no exported program"]),
        ("{", ["cannot be read"]),
        ("[" * 100_000, ["cannot be read"]),
        ("[]", ["no graph as torch.export.save writes it"]),
        ('{"graph_module": {"graph": {"tensor_values": {}}, "signature": {"input_specs": []}}}', ["takes no tensor"]),
        ('{"graph_module": {"graph": 3, "signature": 4}}', ["no graph"]),
    ],
)
def test_a_broken_program_is_told(graph: str | None, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "broken.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("broken/models/model.json" if graph is not None else "broken/other", graph or "")
    message = refused(str(path))
    assert [word for word in ["broken.pt2", *words] if word not in message] == []


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.pt2").write_bytes(b"PK\x03\x04 and no more")
    assert "cannot be read as an archive" in refused(str(tmp_path / "x.pt2"))
    (tmp_path / "folder.pt2").mkdir()
    assert "this is a folder" in refused(str(tmp_path / "folder.pt2"))


def size(term: str) -> dict[str, Any]:
    return {"as_expr": {"expr_str": term}}


@given(st.integers(1, 10_000), st.integers(1, 50))
def test_terms_of_sizes_are_computed_as_sympy_means_them(value: int, divisor: int) -> None:
    sizes = Sizes({"s0": value}, (value,))
    symbol = "Symbol('s0', positive=True, integer=True)"
    less = f"Add({symbol}, Integer(-3))"
    assert sizes.value(size(f"Add(FloorDiv({less}, Integer({divisor})), Integer(1))")) == (value - 3) // divisor + 1
    assert sizes.value(size(f"Mul(Integer(2), Pow({symbol}, Integer(2)))")) == 2 * value**2
    assert sizes.value(size(f"Mod({symbol}, Integer({divisor}))")) == value % divisor
    assert sizes.value(size(f"Max(Integer(7), Min({symbol}, Integer(9)))")) == max(7, min(value, 9))


@pytest.mark.parametrize(
    "term",
    [
        "__import__('os').mkdir('sprung')",
        "Symbol('s1')",
        "Integer(1) + Integer(2)",
        "FloorDiv(Integer(1), Integer(0))",
        "Pow(Integer(9), Pow(Integer(9), Integer(9)))",
        "eval(Integer(3))",
        "1 +",
        "",
        "Add(Integer(1.5))",
        "(" * 5000,
    ],
)
def test_a_term_that_is_none_is_refused_and_not_run(term: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownSizeError):
        Sizes({"s0": 3}, (3,)).value(size(term))
    assert list(tmp_path.iterdir()) == []


# --- the suite's text -------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    st.lists(problems(), min_size=1, max_size=5, unique=True),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.integers(1, 99),
)
def test_a_suite_is_read_back_from_its_text(
    tmp_path_factory: pytest.TempPathFactory, given_problems: list[Any], text: str, count: int
) -> None:
    cases = tuple(
        Case(problem, count=count + i, layer=text if i else None, models=1 + i)
        for i, problem in enumerate(given_problems)
    )
    path = tmp_path_factory.mktemp("suite") / "mine.toml"
    suite = Suite("mine", f"{text} x", ("model", text), cases, path)
    path.write_text(suite_text(suite), encoding="utf-8", newline="\n")
    assert read_suite(path) == suite


def test_a_suite_with_data_is_not_written_without_them() -> None:
    with pytest.raises(SuiteError, match="sharpen-4x4"):
        suite_text(load_suite("tutorial"))


# --- the command ------------------------------------------------------------------------------------------------------


def extract(*words: str, folder: Path = SUPPORT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "convbench", "extract", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": str(SUPPORT)},
    )


def test_the_command_writes_a_suite_that_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    done = extract("models_to_read:Plain", "--input", "2,3,12,14", "--output", str(path))
    assert done.returncode == 0, done.stderr
    assert "n2c8h6w7_o8k3_p1_g8_bias" in done.stdout and "2 depthwise" in done.stdout and str(path) in done.stdout
    assert [(case.problem.case_id, case.count, case.layer) for case in load_suite(path).cases] == EXPECTED["Plain"]


def test_json_is_all_there_is_on_standard_output() -> None:
    done = extract("models_to_read:Chatty", "--json", "--where", "groups == 1")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["case_id"] for row in rows] == ["n2c3h8w8_o8k3_s2_p1", "n2c8h4w4_o4k1"]
    assert "made 3.0" in done.stderr and "run" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["models_to_read:Broken"], 2, "ValueError: no"),
        (["models_to_read:WithoutConvolutions"], 3, "runs no conv2d"),
        (
            ["models_to_read:Plain", "--input", "1,3,8,8", "--where", "groups > 100"],
            3,
            "for which 'groups > 100' holds",
        ),
        (["models_to_read:Plain", "--input", "1,3,8,8", "--where", "__import__('os')"], 2, "convbench:"),
        (["models_to_read:Plain", "--input", "1x3"], 2, "'1x3'; it should be whole numbers"),
        (["models_to_read:Plain", "--output", "x.csv"], 2, "should end in .toml"),
        (["models_to_read:Plain", "--output", "nowhere/x.toml"], 2, "no folder"),
        (["nonsense"], 2, "is no model"),
    ],
)
def test_the_command_fails_with_a_sentence(
    words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(SUPPORT)
    with pytest.raises(SystemExit) as left:
        main(["extract", *words])
    printed = capsys.readouterr()
    assert left.value.code == code
    assert told in printed.err and "Traceback" not in printed.err
    assert printed.out == ""


def test_a_missing_library_is_told_with_what_to_type() -> None:
    code = """
import sys
from convbench.cli.main import main
for library, source in (("timm", "timm:resnet18"), ("torchvision", "torchvision:resnet18"), ("onnx", "x.onnx")):
    sys.modules[library] = None
    try:
        main(["extract", source])
    except SystemExit as left:
        assert left.code == 2
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert [line.rpartition("; type: ")[2] for line in done.stderr.splitlines()] == [
        "pip install timm",
        "pip install torchvision",
        "pip install onnx",
    ]
