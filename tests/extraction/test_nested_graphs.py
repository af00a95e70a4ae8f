"""Convolutions in graphs within graphs: of exported programs, and of modules in source."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.utils.checkpoint import checkpoint

from convbench.errors import ModelError
from convbench.extraction.extract import Extracted, layers_of

SHAPE = (2, 3, 8, 9)
FIRST = ("n2c3h8w9_o4k3_bias", "a")


class Nested(nn.Module):
    """A convolution, and another one that `inner` runs in a graph of its own."""

    def __init__(self, inner: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.a, self.b, self.inner = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), inner

    def forward(self, x: Any) -> Any:
        return self.inner(self.b, self.a(x))


def without_gradients(conv: Any, y: Any) -> Any:
    with torch.no_grad():
        return conv(F.pad(y, (1, 1, 1, 1)))


def padded_outside(conv: Any, y: Any) -> Any:
    padded = F.pad(y, (1, 1, 1, 1))
    with torch.no_grad():
        return conv(padded)


def padded_and_read_inside(conv: Any, y: Any) -> Any:
    padded = F.pad(y, (1, 1, 1, 1))
    with torch.no_grad():
        return conv(padded) + padded.sum()


def under_autocast(conv: Any, y: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return conv(y)


def both(conv: Any, y: Any) -> Any:
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        z = conv(y)
    return z.float() + 1


def autocast_off(conv: Any, y: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False):
        return conv(y)


def checkpointed(conv: Any, y: Any) -> Any:
    return checkpoint(conv, y, use_reentrant=False)


ALWAYS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "no_grad": (without_gradients, "n2c4h6w7_o4k3_p1_bias"),
    "padded outside": (padded_outside, "n2c4h6w7_o4k3_p1_bias"),
    "padded and read inside": (padded_and_read_inside, "n2c4h8w9_o4k3_bias"),
    "autocast": (under_autocast, "n2c4h6w7_o4k3_bias_bf16"),
    "no_grad and autocast": (both, "n2c4h6w7_o4k3_bias_f16"),
    "autocast off": (autocast_off, "n2c4h6w7_o4k3_bias"),
    "checkpoint": (checkpointed, "n2c4h6w7_o4k3_bias"),
}


def cond(conv: Any, y: Any) -> Any:
    return torch.cond(y.sum() > 0, lambda z: conv(z), lambda z: conv(z) * 2, (y,))


def while_loop(conv: Any, y: Any) -> Any:
    from torch._higher_order_ops.while_loop import while_loop as loop

    return loop(lambda i, z: i < 3, lambda i, z: (i + 1, F.pad(conv(z), (1, 1, 1, 1))), (torch.tensor(0), y))


def mapped(conv: Any, y: Any) -> Any:
    from torch._higher_order_ops.map import map as map_

    return map_(lambda z: conv(z[None])[0], y)


def scanned(conv: Any, y: Any) -> Any:
    from torch._higher_order_ops.scan import scan

    return scan(lambda carried, z: (carried + 1, conv(z[None])[0]), torch.tensor(0.0), y)


SOMETIMES = {"cond": cond, "while_loop": while_loop, "map_impl": mapped, "scan": scanned}


def exported(module: nn.Module, path: Path) -> Path:
    torch.export.save(torch.export.export(module.eval(), (torch.zeros(SHAPE),)), path)
    return path


def found_in(extracted: Extracted) -> list[tuple[str, str | None]]:
    return [(case.problem.case_id, case.layer) for case in extracted.cases]


@pytest.mark.parametrize("name", ALWAYS)
def test_what_always_runs_is_followed(name: str, tmp_path: Path) -> None:
    inner, case_id = ALWAYS[name]
    module = Nested(inner)
    for source in (str(exported(module, tmp_path / "model.pt2")), module):
        extracted = layers_of(source, input_shape=SHAPE)
        assert found_in(extracted) == [FIRST, (case_id, "b")]
        assert extracted.left_out == ()


@pytest.mark.parametrize("name", SOMETIMES)
def test_branches_and_loops_are_left_out_with_a_line(name: str, tmp_path: Path) -> None:
    module = Nested(SOMETIMES[name])
    sources: list[Any] = [module]
    if name != "cond":  # torch cannot export a convolution of a batch that it does not know
        sources.append(str(exported(module, tmp_path / "model.pt2")))
    for source in sources:
        extracted = layers_of(source, input_shape=SHAPE)
        assert found_in(extracted) == [FIRST]
        (line,) = extracted.left_out
        assert line.startswith(f"A convolution in a branch or loop ({name}), which may run or not: there ")


def test_what_follows_a_branch_is_seen() -> None:
    module = Nested(lambda conv, y: conv(cond(conv, y)))
    assert found_in(layers_of(module, input_shape=SHAPE)) == [FIRST, ("n2c4h4w5_o4k3_bias", "b")]


def test_inference_mode_hides_nothing() -> None:
    def inner(conv: Any, y: Any) -> Any:
        with torch.inference_mode():
            return conv(F.pad(y, (1, 1, 1, 1)))

    extracted = layers_of(Nested(inner), input_shape=SHAPE)
    assert found_in(extracted) == [FIRST, ("n2c4h6w7_o4k3_p1_bias", "b")] and extracted.left_out == ()


def test_a_padding_that_is_given_back_is_no_part_of_the_convolution(tmp_path: Path) -> None:
    def inner(conv: Any, y: Any) -> Any:
        padded = F.pad(y, (1, 1, 1, 1))
        return {"image": padded, "result": conv(padded)}

    module = Nested(inner)
    for source in (module, str(exported(module, tmp_path / "model.pt2"))):
        assert found_in(layers_of(source, input_shape=SHAPE))[1] == ("n2c4h8w9_o4k3_bias", "b")


# --- operators that are not understood --------------------------------------------------------------------------------


def changed(source: Path, change: Callable[[str], str]) -> Path:
    """A program with another text of its graph."""
    target = source.with_name("changed.pt2")
    with zipfile.ZipFile(source) as given, zipfile.ZipFile(target, "w") as written:
        for name in given.namelist():
            content = given.read(name)
            written.writestr(name, change(content.decode()) if name.endswith("models/model.json") else content)
    return target


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("torch.ops.mylib.fused_conv.default", "mylib.fused_conv is no conv2d: runs twice"),
        ("torch.ops.quantized.conv2d.new", "quantized.conv2d is no conv2d"),
        ("torch.ops.onednn.qconv2d_pointwise.default", "onednn.qconv2d_pointwise is no conv2d"),
        ("torch.ops.mkldnn._convolution_pointwise.default", "mkldnn._convolution_pointwise is no conv2d"),
        ("torch.ops.aten.cudnn_convolution.default", "cudnn_convolution is no conv2d"),
        ("torch.ops.mylib.attention.default", "The operator mylib.attention, which is not torch's own: runs twice"),
    ],
)
def test_operators_of_other_libraries_are_named(target: str, words: str, tmp_path: Path) -> None:
    program = exported(Nested(without_gradients), tmp_path / "model.pt2")
    other = changed(program, lambda text: text.replace("torch.ops.aten.conv2d.default", target))
    extracted = layers_of(str(other))
    assert extracted.cases == ()
    assert any(words in line for line in extracted.left_out)


def test_an_operator_that_holds_a_graph_and_is_not_understood_is_named(tmp_path: Path) -> None:
    program = exported(Nested(without_gradients), tmp_path / "model.pt2")
    other = changed(program, lambda text: text.replace("wrap_with_set_grad_enabled", "wrap_by_tomorrows_torch"))
    extracted = layers_of(str(other))
    assert found_in(extracted) == [FIRST]
    operator, convolution = extracted.left_out
    assert operator.startswith("The operator wrap_by_tomorrows_torch, whose graph is not understood: runs once")
    assert convolution.startswith(
        "A convolution in a graph that is not understood (wrap_by_tomorrows_torch), which may"
    )


def test_graphs_within_each_other_without_end_are_refused(tmp_path: Path) -> None:
    def nest(text: str) -> str:
        program = json.loads(text)
        graph = program["graph_module"]["graph"]
        node = next(one for one in graph["nodes"] if "wrap_with" in one["target"])
        inner: dict[str, Any] = json.loads(json.dumps(node["inputs"][1]["arg"]["as_graph"]["graph"]))
        for _ in range(120):
            outer = json.loads(json.dumps(inner | {"nodes": []}))
            outer["nodes"] = [
                node
                | {
                    "inputs": [
                        node["inputs"][0],
                        {"name": "", "arg": {"as_graph": {"graph": inner, "name": "g"}}, "kind": 1},
                        *node["inputs"][2:],
                    ]
                }
            ]
            inner = outer
        node["inputs"][1]["arg"]["as_graph"]["graph"] = inner
        return json.dumps(program)

    program = changed(exported(Nested(without_gradients), tmp_path / "model.pt2"), nest)
    with pytest.raises(ModelError, match="lie within each other"):
        layers_of(str(program))


def test_integers_around_a_convolution_of_a_program_are_told(tmp_path: Path) -> None:
    from torch.ao.quantization.fx import _decomposed  # noqa: F401, which defines the operators

    def inner(conv: Any, y: Any) -> Any:
        q = torch.ops.quantized_decomposed.quantize_per_tensor(y, 0.1, 0, -128, 127, torch.int8)
        return conv(torch.ops.quantized_decomposed.dequantize_per_tensor(q, 0.1, 0, -128, 127, torch.int8))

    module = Nested(inner)
    for source in (module, str(exported(module, tmp_path / "model.pt2"))):
        extracted = layers_of(source, input_shape=SHAPE)
        assert found_in(extracted) == [FIRST, ("n2c4h6w7_o4k3_bias", "b")]
        (line,) = extracted.left_out
        assert line.startswith(
            "The quantisation of a convolution that is listed in real numbers (quantized_decomposed.dequan"
        )


# --- modules in source ------------------------------------------------------------------------------------------------


class Quantised(nn.Module):
    """As `torch.ao.quantization` takes it."""

    def __init__(self) -> None:
        super().__init__()
        from torch.ao.quantization import DeQuantStub, QuantStub

        self.quant, self.conv, self.dequant = QuantStub(), nn.Conv2d(3, 4, 3), DeQuantStub()

    def forward(self, x: Any) -> Any:
        return self.dequant(self.conv(self.quant(x)))


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_module_is_said_to_be_one() -> None:
    from torch.ao.quantization import convert, get_default_qat_qconfig, get_default_qconfig, prepare, prepare_qat

    module = Quantised().eval()
    module.qconfig = get_default_qconfig("x86")
    prepared = prepare(module)
    prepared(torch.zeros(1, 3, 8, 8))
    for_training = Quantised().train()
    for_training.qconfig = get_default_qat_qconfig("x86")
    for model, words in (
        (convert(prepared), "is quantised (one of its parts is: conv, a Conv2d)"),
        (prepared, "is prepared for quantisation ("),
        (prepare_qat(for_training), "is prepared for quantisation (one of its parts is: conv, a Conv2d)"),
    ):
        with pytest.raises(ModelError) as caught:
            layers_of(model, input_shape=(1, 3, 8, 8))
        assert words in str(caught.value) and "depends on the data" not in str(caught.value)


def test_a_compiled_module_is_read_or_said_to_be_one() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert (
        found_in(layers_of(torch.compile(module, backend="eager"), input_shape=(1, 3, 8, 8)))[0][0]
        == "n1c3h8w8_o4k3_bias"
    )
    with pytest.raises(ModelError, match=r"compiled by torch\.jit; give the module as it was"):
        layers_of(torch.jit.script(module), input_shape=(1, 3, 8, 8))


class Several(nn.Module):
    """Takes two images and plain values."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 2, 3)

    def forward(self, image: Any, mask: Any, scale: float = 1.0, twice: bool = False, *, ids: Any = None) -> Any:
        if twice:
            mask = mask + self.b(F.pad(mask, (1, 1, 1, 1)))[:, :1]
        assert ids is None or ids.dtype == torch.int64
        return self.a(image * mask) * scale, self.b(mask)


def test_the_arguments_of_a_module_are_given_by_name_or_in_order() -> None:
    once = ["n1c3h8w9_o4k3_bias", "n1c1h8w9_o2k3_bias"]
    for shapes, batch, expected in (
        (["1,3,8,9", "1,1,8,9"], None, once),
        (["mask=1,1,8,9", "1,3,8,9"], None, once),
        ({"mask": (1, 1, 8, 9), "image": (1, 3, 8, 9)}, None, once),
        (["image=1,3,8,9", "mask=1,1,8,9", "scale=0.5", "ids=1,7:int64"], None, once),
        (["1,3,8,9", "1,1,8,9", "twice=true"], None, ["n1c1h8w9_o2k3_p1_bias", *once]),
        (["1,3,8,9", "mask=1,1,8,9"], 5, [case.replace("n1", "n5") for case in once]),
    ):
        extracted = layers_of(Several(), input_shape=shapes, batch=batch)
        assert [case.problem.case_id for case in extracted.cases] == expected


def test_missing_and_unknown_arguments_are_told() -> None:
    for shapes, words in (
        ("1,3,8,9", "its forward takes image, mask, and mask is not given; give the shapes, such as --input mask="),
        (None, "--input image=1,3,224,224 --input mask=1,3,224,224"),
        (["1,3,8,9", "msak=1,1,8,9"], "Did you mean 'mask'?"),
    ):
        with pytest.raises(ModelError) as caught:
            layers_of(Several(), input_shape=shapes)
        assert words in str(caught.value)


def test_open_sizes_of_a_program_follow_each_other(tmp_path: Path) -> None:
    auto = torch.export.Dim.AUTO
    sizes = {0: auto, 2: auto, 3: auto}
    program = torch.export.export(
        Several().eval(),
        (torch.zeros(2, 3, 8, 9), torch.zeros(2, 1, 8, 9)),
        dynamic_shapes={"image": sizes, "mask": sizes},
    )
    path = tmp_path / "two.pt2"
    torch.export.save(program, path)
    expected = ["n3c3h7w6_o4k3_bias", "n3c1h7w6_o2k3_bias"]
    for shapes in (["image=3,3,7,6", "mask=3,1,7,6"], ["mask=3,1,7,6"], "3,3,7,6"):
        assert [case.problem.case_id for case in layers_of(str(path), input_shape=shapes).cases] == expected
    with pytest.raises(ModelError, match="as an equal size of another input is"):
        layers_of(str(path), input_shape=["image=3,3,7,6", "mask=3,1,5,6"])
    with pytest.raises(ModelError, match="--input image=1,3,224,224 --input mask=1,3,224,224"):
        layers_of(str(path))


# --- files of Python --------------------------------------------------------------------------------------------------

MODEL = """
from torch import nn
from {beside} import WIDTH
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 3)
    def forward(self, x):
        return self.conv(x)
"""


def test_a_file_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the module beside it, from any folder; and as a part of its package."""
    package = tmp_path / "pkg_of_models" / "inner"
    package.mkdir(parents=True)
    for folder, beside in ((tmp_path / "a b", "width_beside"), (package, ".width_beside")):
        folder.mkdir(exist_ok=True)
        (folder / "width_beside.py").write_text("WIDTH = 5\n")
        (folder / "model.py").write_text(MODEL.format(beside=beside))
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    monkeypatch.chdir(tmp_path / "a b")
    for source in ("model.py:Net", "./model.py:Net", str(package / "model.py:Net")):
        assert found_in(layers_of(source, input_shape=(1, 3, 8, 8))) == [("n1c3h8w8_o5k3_bias", "conv")]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("model.py", "which model in this file? Give its name, too: model.py:Net or model.py:make."),
        ("model.py:Nett", "Did you mean 'Net'?"),
        ("none.py:Net", "none.py: there is no such file"),
        ("broken.py:Net", "broken.py cannot be imported: SyntaxError"),
        ("leaves.py:Net", "leaves.py cannot be imported: SystemExit"),
        ("folder.py:Net", "this is a folder"),
    ],
)
def test_a_file_that_gives_no_model_is_told(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text("class Net: pass\ndef make(): pass\ndef _own(): pass\n")
    (tmp_path / "broken.py").write_text("class Net(:\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(ModelError) as caught:
        layers_of(source, input_shape=(1, 3, 8, 8))
    assert words in str(caught.value)
