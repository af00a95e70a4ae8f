"""Suites: those that come with convbench, and every mistake a file of one's own may hold."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convbench.errors import SuiteError
from convbench.problem import DTYPES, ConvProblem
from convbench.suite import Case, Suite, builtin_outlines, builtin_suites, load_suite
from convbench.suite.toml_file import MOST_CASES, read_outline

SUITES = {suite.name: suite for suite in builtin_suites()}
NAMES = (
    "batch", "channels", "dilations", "dtypes", "groups", "kernels", "mobilenet-v2", "onnx-node", "padding", "resnet50",
    "sizes", "smoke", "strides", "torch-opinfo", "tutorial", "zoo", "zoo-100", "zoo-1000",
)  # fmt: skip

HEAD = 'name = "mine"\nsummary = "Mine."\n'
CASE = "[[case]]\nin_channels = 2\nheight = 4\nwidth = 5\nout_channels = 3\nkernel_size = 3\n"
DEFAULTS = CASE.replace("[[case]]", "[defaults]")


def write(folder: Path, text: str | bytes, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(folder: Path, text: str | bytes) -> Suite:
    return load_suite(write(folder, text))


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(SuiteError) as caught:
        read(folder, text)
    assert "mine.toml" in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


# --- the suites that come with convbench --------------------------------------------------------------------------


def test_the_builtin_suites_are_these() -> None:
    assert tuple(SUITES) == NAMES == tuple(sorted(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_each_builtin_suite_is_sound(name: str) -> None:
    suite = SUITES[name]
    assert load_suite(name) == suite and load_suite(suite.path) == suite
    assert suite.path.stem == name
    assert suite.summary.endswith((".", "?")) and len(suite.summary) < 130
    assert suite.tags
    for case in suite.cases:
        assert case.problem.direction == "forward"
        if "zoo" in suite.tags:
            continue  # layers as they are
        assert case.problem.macs <= 2_000_000_000  # modest on two cores
        assert case.problem.out_height * case.problem.out_width * case.problem.batch <= 60_000  # about 1 s at 20 us
        if case.data:
            case.data.load(case.problem)


@pytest.mark.parametrize(
    ("name", "convolutions", "distinct", "macs"),
    [("resnet50", 53, 23, 4_087_136_256), ("mobilenet-v2", 52, 30, 299_494_272)],
)
def test_the_models_have_their_published_totals(name: str, convolutions: int, distinct: int, macs: int) -> None:
    cases = SUITES[name].cases
    assert (sum(case.count for case in cases), len(cases)) == (convolutions, distinct)
    assert sum(case.count * case.problem.macs for case in cases) == macs
    assert all(case.layer for case in cases)


def test_sizes_are_the_six() -> None:
    assert [c.problem.case_id for c in SUITES["sizes"].cases] == [
        f"n1c32h{size}w{size}_o32k3_p1" for size in (7, 14, 28, 56, 112, 224)
    ]


def test_smoke_is_tiny_and_of_every_kind() -> None:
    cases = SUITES["smoke"].cases
    assert {case.problem.kind for case in cases} == {"dense", "pointwise", "depthwise", "grouped"}
    assert sum(case.problem.macs for case in cases) < 1_000_000


def test_the_tutorials_answer_is_right() -> None:
    sharpen, photo = SUITES["tutorial"].cases
    assert sharpen.data and photo.data
    data = sharpen.data.load(sharpen.problem)
    assert data["expected"].tolist() == [[[[11, 12], [15, 16]]]]
    x, w, b = (torch.from_numpy(array) for array in (data["input"], data["weight"], data["bias"]))
    assert x.flatten().tolist() == list(range(1, 17)) and b.tolist() == [5]
    assert torch.nn.functional.conv2d(x, w, b).numpy().tolist() == data["expected"].tolist()
    assert photo.problem.output_shape == (1, 8, 229, 229)


def test_the_photograph_is_one() -> None:
    photo = SUITES["tutorial"].cases[1]
    assert photo.data
    image = photo.data.load(photo.problem)["input"]
    assert image.shape == (1, 3, 460, 460) and image.dtype == np.float64
    assert 0 <= image.min() < 0.1 and 0.9 < image.max() <= 1
    assert image.std() > 0.1
    assert "weight" not in photo.data.load(photo.problem)


def test_an_outline_says_what_the_whole_suite_does() -> None:
    for outline, suite in zip(builtin_outlines(), SUITES.values(), strict=True):
        assert (outline.name, outline.summary, outline.tags, outline.path) == (
            suite.name,
            suite.summary,
            suite.tags,
            suite.path,
        )
        assert outline.cases == len(suite.cases)
        assert outline.macs == sum(case.problem.macs * case.count for case in suite.cases)


def test_an_outline_with_totals_is_told_without_the_table(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + 'table = "not-there.csv"\ntotals = { cases = 7, macs = 9 }\n')
    outline = read_outline(path)
    assert (outline.name, outline.cases, outline.macs) == ("mine", 7, 9)
    with pytest.raises(SuiteError, match=r"not-there\.csv"):
        load_suite(path)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("problem,models\nn1c2h3w4_o5k1,6\n", []),
        ("problem,count\nn1c2h3w4_o5k1,6\nn1c2h3w4_o5k1_bias,\n", []),
        ("problem,stride\nn1c2h3w4_o5k1,2\n", ["problem and stride are given"]),
        ("problem\nn1c2h3w4\n", ["layers.csv line 2", "n1c2h3w4"]),
        ("problem,models\nn1c2h3w4_o5k1,0\n", ["models is 0"]),
    ],
)
def test_a_table_may_name_problems_by_their_ids(tmp_path: Path, table: str, words: list[str]) -> None:
    write(tmp_path, table, "layers.csv")
    path = write(tmp_path, HEAD + 'table = "layers.csv"\n')
    if not words:
        cases = load_suite(path).cases
        assert cases[0].problem == ConvProblem.parse("n1c2h3w4_o5k1")
        assert {case.count * case.models for case in cases} <= {1, 6}
        return
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert [word for word in words if word not in str(caught.value)] == []


def test_listing_suites_imports_nothing_heavy() -> None:
    code = (
        "import sys; from convbench.suite import builtin_outlines; builtin_outlines(); "
        "print([m for m in ('numpy', 'PIL', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# --- the values ---------------------------------------------------------------------------------------------------


def test_values_are_frozen_and_hashable() -> None:
    suite = SUITES["tutorial"]
    assert len({suite, load_suite("tutorial")}) == 1
    for value in (suite, suite.cases[0], suite.cases[0].data):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.name = "other"  # type: ignore[union-attr, misc]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_with_dtype_changes_every_case(name: str, dtype: Any) -> None:
    suite = SUITES[name]
    changed = suite.with_dtype(dtype)
    assert {case.problem.dtype for case in changed.cases} == {dtype}
    assert len({case.name for case in changed.cases}) == len(changed.cases)
    if name == "dtypes":
        assert len(changed.cases) == len(suite.cases) / 4
    else:
        assert len(changed.cases) == len(suite.cases)
        assert [case.count for case in changed.cases] == [case.count for case in suite.cases]
    if "data" in suite.tags:
        assert [case.name for case in changed.cases] == [case.name for case in suite.cases]
        assert [case.data for case in changed.cases] == [case.data for case in suite.cases]
    else:
        assert all(case.name == case.problem.case_id for case in changed.cases)


def test_with_dtype_keeps_one_of_the_cases_that_become_the_same(tmp_path: Path) -> None:
    named = CASE + 'name = "{0}"\ndtype = "{0}"\n'
    suite = read(tmp_path, HEAD + named.format("float64") + named.format("float16"))
    assert [case.name for case in suite.with_dtype("float32").cases] == ["float64"]


def test_select_matches_names_and_ids() -> None:
    suite = SUITES["tutorial"]
    assert [case.name for case in suite.select("sharpen*").cases] == ["sharpen-4x4"]
    assert [case.name for case in suite.select("n1c3*").cases] == ["photo-460x460"]
    assert suite.select("SHARPEN*").cases == ()
    assert suite.select("*") == suite


def test_a_case_is_named_by_its_id() -> None:
    case = SUITES["sizes"].cases[0]
    assert case.name == case.problem.case_id
    assert Case(case.problem, name="first").name == "first"


# --- files of one's own -------------------------------------------------------------------------------------------


def ids(suite: Suite) -> list[str]:
    return [case.problem.case_id for case in suite.cases]


def test_a_sweep_is_the_product_of_its_lists(tmp_path: Path) -> None:
    suite = read(tmp_path, HEAD + DEFAULTS + '[sweep]\nheight = [7, 9]\nwidth = "height"\nstride = [1, [1, 2]]\n')
    assert ids(suite) == ["n1c2h7w7_o3k3", "n1c2h7w7_o3k3_s1x2", "n1c2h9w9_o3k3", "n1c2h9w9_o3k3_s1x2"]


def test_in_a_sweep_over_padding_the_elements_are_the_values(tmp_path: Path) -> None:
    sweep = '[sweep]\nkernel_size = [5, [1, 2]]\npadding = [1, [1, 0], [[1, 2], [1, 0]], "same"]\nbias = true\n'
    suite = read(tmp_path, HEAD + DEFAULTS.replace("width = 5", "width = 9") + sweep)
    assert ids(suite) == [
        *(f"n1c2h4w9_o3k5_{padding}_bias" for padding in ("p1", "p1x0", "pt1b2l1r0", "p2")),
        *(f"n1c2h4w9_o3k1x2_{padding}_bias" for padding in ("p1", "p1x0", "pt1b2l1r0", "pt0b0l0r1")),
    ]


def test_padding_of_a_case_is_height_then_width(tmp_path: Path) -> None:
    assert ids(read(tmp_path, HEAD + CASE + "padding = [1, 2]\n")) == ["n1c2h4w5_o3k3_p1x2"]
    assert ids(read(tmp_path, HEAD + CASE + "padding = [[1, 0], [0, 2]]\n")) == ["n1c2h4w5_o3k3_pt1b0l0r2"]
    assert ids(read(tmp_path, HEAD + CASE + 'padding = "same"\n')) == ["n1c2h4w5_o3k3_p1"]


def test_a_case_may_follow_and_override_the_defaults(tmp_path: Path) -> None:
    text = (
        HEAD
        + DEFAULTS.replace("width = 5", 'width = "height"')
        + '[[case]]\nheight = 9\ngroups = 1\ncount = 4\nlayer = "a"\n'
    )
    (case,) = read(tmp_path, text).cases
    assert (case.problem.case_id, case.count, case.layer) == ("n1c2h9w9_o3k3", 4, "a")


def test_a_table_is_read(tmp_path: Path) -> None:
    rows = [
        "model,layer,count,in_channels,height,width,out_channels,kernel_size,padding,bias,dtype",
        "net,stem,2,3,8,8,4,3,1,true,",
        ",,,3,8,height,4,1x3,t0b1l2r-1,0,float64",
        "net,,1,3,8,8,4,3,same,1,float16",
    ]
    write(tmp_path, "\n".join(rows), "layers.csv")
    suite = read(tmp_path, HEAD + 'table = "layers.csv"\n')
    assert ids(suite) == [
        "n1c3h8w8_o4k3_p1_bias",
        "n1c3h8w8_o4k1x3_pt0b1l2r-1_f64",
        "n1c3h8w8_o4k3_p1_bias_f16",
    ]
    assert [(case.layer, case.count) for case in suite.cases] == [("net stem", 2), (None, 1), ("net", 1)]


DATA = CASE.replace("[[case]]", '[[case]]\nname = "own"\nbias = true') + "[case.data]\n"


def test_data_may_leave_out_leading_axes_of_one(tmp_path: Path) -> None:
    text = HEAD + (DATA + "input = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]\nweight = [[1]]\nbias = 2\n").replace(
        "in_channels = 2\nheight = 4\nwidth = 5\nout_channels = 3\nkernel_size = 3",
        "in_channels = 1\nheight = 3\nwidth = 3\nout_channels = 1\nkernel_size = 1",
    )
    (case,) = read(tmp_path, text).cases
    assert case.data
    data = case.data.load(case.problem)
    assert data["input"].shape == (1, 1, 3, 3) and data["input"][0, 0, 1, 2] == 6
    assert data["weight"].shape == (1, 1, 1, 1)
    assert data["bias"].tolist() == [2.0] and "expected" not in data


def test_two_cases_with_their_own_data_may_be_one_problem(tmp_path: Path) -> None:
    text = (
        HEAD
        + DATA
        + "bias = [1, 2, 3]\n"
        + DATA.replace("own", "other")
        + "bias = [0, 0, 0]\n"
        + CASE
        + "bias = true\n"
    )
    assert [case.name for case in read(tmp_path, text).cases] == ["own", "other", "n1c2h4w5_o3k3_bias"]


def test_an_image_is_rgb_from_0_to_1(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (5, 4), (255, 0, 51)).save(tmp_path / "plain.png")
    text = HEAD + DATA.replace("in_channels = 2", "in_channels = 3") + 'input_image = "plain.png"\n'
    (case,) = read(tmp_path, text).cases
    assert case.data
    image = case.data.load(case.problem)["input"]
    assert image.shape == (1, 3, 4, 5)
    assert [channel.mean() for channel in image[0]] == [1.0, 0.0, pytest.approx(0.2)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("input = [[1, 2], [3, 4]]", ["input has shape (2, 2)", "(1, 2, 4, 5)"]),
        ("input = [[1, 2], [3]]", ["input should be nested lists of equal length"]),
        ("weight = [[[[[1]]]]]", ["weight has shape (1, 1, 1, 1, 1)", "(3, 2, 3, 3)"]),
        ("bias = [1, 2]", ["bias has shape (2,)", "(3,)"]),
        ("expected = [[1]]", ["expected has shape (1, 1)", "(1, 3, 2, 3)"]),
        ("input = []", ["input has shape (0,)"]),
        ('input_image = "mine.toml"', ["cannot be read", "mine.toml"]),
        ('input_image = "small.png"', ["input_image has shape (3, 2, 6)", "(1, 2, 4, 5)"]),
    ],
)
def test_data_that_does_not_fit_says_both_shapes(tmp_path: Path, data: str, words: list[str]) -> None:
    from PIL import Image

    Image.new("RGB", (6, 2)).save(tmp_path / "small.png")
    (case,) = read(tmp_path, HEAD + DATA + data + "\n").cases
    assert case.data
    with pytest.raises(SuiteError) as caught:
        case.data.load(case.problem)
    assert [word for word in ["mine.toml: case 1", *words] if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["name is None", 'name = "..."']),
        ('name = "x"\n' + CASE, ["summary is None"]),
        ('name = "a b"\nsummary = "s"\n' + CASE, ["'a b'", "letters"]),
        ("name = 3\n", ["name is 3"]),
        ("name = \n", ["not TOML", "line 1, column 8"]),
        ("\xff".encode("latin-1"), ["UTF-8"]),
        ("a = " + "[" * 5000, ["not TOML"]),
        ("a = " + "9" * 5000, ["not TOML"]),
        (HEAD, ["there are no cases"]),
        (HEAD + "case = []\n", ["there are no cases"]),
        (HEAD + 'tags = "x"\n' + CASE, ["tags is 'x'", "list"]),
        (HEAD + "summry = 1\n", ["no key 'summry'", "Did you mean 'summary'"]),
        (HEAD + CASE + "strid = 2\n", ["case 1", "no key 'strid'", "Did you mean 'stride'"]),
        (HEAD + "[defaults]\nlayer = 'x'\n" + CASE, ["[defaults]", "no key 'layer'"]),
        (HEAD + "[sweep]\nkernel = [1]\n", ["[sweep]", "no key 'kernel'", "Did you mean 'kernel_size'"]),
        (HEAD + "[case]\nheight = 3\n", ["[[case]]"]),
        (HEAD + "case = [1]\n", ["[[case]]"]),
        (HEAD + "defaults = 3\n" + CASE, ["defaults is 3", "[defaults]"]),
        (HEAD + "[[sweep]]\nheight = 3\n", ["sweep is", "[sweep]"]),
        (HEAD + "[[case]]\nheight = 3\nwidth = 3\n", ["case 1", "in_channels, out_channels, kernel_size"]),
        (HEAD + CASE + CASE.replace("width = 5", "width = 2"), ["case 2", "width", "spans 3", "only 2"]),
        (HEAD + CASE.replace("= 4", "= 4.5"), ["case 1", "height is 4.5", "integer"]),
        (HEAD + CASE.replace("= 4", "= 1979-05-27"), ["case 1", "height", "integer"]),
        (HEAD + CASE.replace("= 4", "= [4]"), ["case 1", "height is [4]"]),
        (HEAD + CASE + "bias = 1\n", ["case 1", "bias is 1"]),
        (HEAD + CASE + 'dtype = "float31"\n', ["case 1", "Did you mean 'float32'"]),
        (HEAD + CASE + "padding = [1, 2, 3, 4]\n", ["case 1", "[1, 2, 3, 4]"]),
        (HEAD + CASE + "count = 0\n", ["case 1", "count is 0"]),
        (HEAD + CASE + "count = true\n", ["case 1", "count is True"]),
        (HEAD + CASE + "models = 1.5\n", ["case 1", "models is 1.5"]),
        (HEAD + "totals = 3\n" + CASE, ["totals is 3", "[totals]"]),
        (HEAD + "totals = { cases = 1 }\n" + CASE, ["macs is None"]),
        (HEAD + "totals = { cases = 1, mac = 1 }\n" + CASE, ["no key 'mac'", "Did you mean 'macs'"]),
        (HEAD + "totals = { cases = 1, macs = 1 }\n" + CASE, ["totals should be { cases = 1, macs = 324 }"]),
        (HEAD + CASE + "layer = 3\n", ["case 1", "layer is 3"]),
        (HEAD + CASE + 'name = " "\n', ["case 1", "name is ' '"]),
        (HEAD + CASE + "name = []\n", ["case 1", "name is []"]),
        (HEAD + CASE + "stride = 1\n" + CASE, ["case 1 and case 2 are both 'n1c2h4w5_o3k3'"]),
        (HEAD + CASE + 'name = "a"\n' + CASE, ["case 1 and case 2 are both the problem n1c2h4w5_o3k3"]),
        (HEAD + CASE + 'name = "a"\n' + CASE + 'name = "a"\nstride = 2\n', ["case 1 and case 2 are both 'a'"]),
        (HEAD + DEFAULTS + "[sweep]\nstride = [1, 2, 1]\n", ["sweep stride=1 and sweep stride=1 are both"]),
        (HEAD + DEFAULTS + "[sweep]\nstride = [1, 2]\n" + CASE, ["sweep stride=1 and case 1 are both"]),
        (HEAD + DEFAULTS + "[sweep]\nheight = [4, 2]\nwidth = 4\n", ["sweep height=2, width=4", "spans 3", "only 2"]),
        (HEAD + DEFAULTS + "[sweep]\nheight = []\n", ["height is an empty list"]),
        (HEAD + DEFAULTS + '[sweep]\nheight = [4]\nwidth = "heigth"\n', ["follows 'heigth'", "Did you mean 'height'"]),
        (HEAD + CASE + 'groups = "batch"\n', ["groups follows 'batch', which has no value"]),
        (HEAD + CASE.replace("= 4", '= "width"').replace("= 5", '= "height"'), ["height follows 'width'"]),
        (HEAD + CASE.replace("= 4", '= "height"'), ["height follows 'height'"]),
        (HEAD + DATA.replace("[case.data]", "data = 3"), ["case 1: data is 3", "[case.data]"]),
        (HEAD + DATA + "inptu = [1]\n", ["no key 'inptu'", "Did you mean 'input'"]),
        (HEAD + DATA + 'input = ["a"]\n', ["input holds 'a'"]),
        (HEAD + DATA + "input = [true]\n", ["input holds True"]),
        (HEAD + DATA + 'input = [1]\ninput_image = "x"\n', ["input and input_image"]),
        (HEAD + CASE + "[case.data]\nbias = [1]\n", ["has a bias and the problem none", "bias = true"]),
        (HEAD + DATA + 'input_image = "none.png"\n', ["'none.png'", "no such file"]),
        (HEAD + DATA + 'input_image = "../secret.png"\n', ["'../secret.png'", "inside the suite's own folder"]),
        (HEAD + DATA + 'input_image = "/etc/passwd"\n', ["'/etc/passwd'", "inside the suite's own folder"]),
        (HEAD + DATA + 'input_image = "."\n', ["'.'", "this is a folder"]),
        (HEAD + DATA + 'input_image = "a\\u0000b"\n', ["input_image"]),
        (HEAD + DATA + "input_image = 3\n", ["input_image is 3"]),
        (HEAD + 'table = "../layers.csv"\n', ["'../layers.csv'", "inside"]),
        (HEAD + 'table = "none.csv"\n', ["table is 'none.csv'", "no such file"]),
    ],
)
def test_every_mistake_is_named_with_its_place(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    message = refused(tmp_path, text)
    assert [word for word in words if word not in message] == []


def test_an_enormous_sweep_is_refused_at_once(tmp_path: Path) -> None:
    numbers = list(range(1, 101))
    sweep = f"[sweep]\nbatch = {numbers}\nheight = {numbers}\nwidth = {numbers}\ngroups = {numbers}\n"
    assert "has 100000000 cases; 100000 is the most" in refused(tmp_path, HEAD + DEFAULTS + sweep)
    assert MOST_CASES == 100_000


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("in_chanels\n1\n", ["no column 'in_chanels'", "Did you mean 'in_channels'"]),
        ("height,height\n1,2\n", ["two columns"]),
        ("height,width\n1\n", ["line 2", "2 cells"]),
        ("height,width\n1,2,3\n", ["line 2", "cells"]),
        ("height,width\n8,8\n", ["layers.csv line 2", "in_channels, out_channels, kernel_size"]),
        ("in_channels,height,width,out_channels,kernel_size\n1,8,8,1,9\n", ["layers.csv line 2", "spans 9"]),
        ("in_channels,height,width,out_channels,kernel_size\n1,8,8,1,3x3x3\n", ["layers.csv line 2", "'3x3x3'"]),
        ("in_channels,height,width,out_channels,kernel_size,count\n1,8,8,1,3,x\n", ["line 2", "count is 'x'"]),
        ("in_channels,height,width,out_channels,kernel_size,bias\n1,8,8,1,3,ja\n", ["line 2", "'ja'"]),
        ("height\n\udcff", ["UTF-8"]),
        ("", ["no cases"]),
    ],
)
def test_every_mistake_in_a_table_is_named_with_its_line(tmp_path: Path, table: str, words: list[str]) -> None:
    write(tmp_path, table.encode(errors="surrogateescape"), "layers.csv")
    path = write(tmp_path, HEAD + 'table = "layers.csv"\n')
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    write(tmp_path, "secret", "secret.png")
    (tmp_path / "inside" / "link.png").symlink_to(tmp_path / "secret.png")
    assert "inside the suite's own folder" in refused(tmp_path / "inside", HEAD + DATA + 'input_image = "link.png"\n')


def test_a_suite_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"there is no suite 'size'\. Did you mean 'sizes'\?.*resnet50"):
        load_suite("size")
    with pytest.raises(SuiteError, match="there is no suite ''"):
        load_suite("")
    with pytest.raises(SuiteError, match=r"none\.toml: there is no such file"):
        load_suite(str(tmp_path / "none.toml"))
    with pytest.raises(SuiteError, match="this is a folder"):
        load_suite(str(tmp_path) + "/")
    with pytest.raises(SuiteError, match="no file can have this name"):
        load_suite("a\0.toml")


def test_a_broken_builtin_suite_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import convbench.suite

    monkeypatch.setattr(convbench.suite, "_builtin_files", lambda: [write(tmp_path, "name = 3")])
    with pytest.raises(SuiteError, match=r"mine\.toml"):
        builtin_suites()
