"""Valid models for `edited_models.py`: ONNX files, and graphs of programs of torch.export."""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Callable
from typing import Any


@functools.cache
def onnx_models() -> tuple[bytes, ...]:
    """Models with paddings, branches, a loop, a function, quantisation, foreign operators and two inputs."""
    from onnx import helper

    block = [_node("Conv", "i k", "c1", pads=[1] * 4), _node("Conv", "c1 k", "o", pads=[1] * 4)]
    function = helper.make_function("local", "Block", ["i", "k"], ["o"], block, [helper.make_opsetid("", 19)])
    inputs = [
        helper.make_tensor_value_info("x", 1, ("N", 3, 16, 18)),
        helper.make_tensor_value_info("flag", 9, ()),
        helper.make_tensor_value_info("mask", 1, ("N", 1, 16, 18)),
    ]
    output = helper.make_tensor_value_info("y", 1, None)
    domains = ("", "local", "qonnx.custom_op.general", "com.microsoft", "my")
    opsets = [helper.make_opsetid(domain, 1 if domain else 19) for domain in domains]
    graphs = (helper.make_graph(nodes, "g", inputs, [output], _tensors()) for nodes in _chains())
    models = (helper.make_model(g, opset_imports=opsets, ir_version=9, functions=[function]) for g in graphs)
    return tuple(model.SerializeToString() for model in models)


def _node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(operator, inputs.split(), [output], name=f"n_{output}", **attributes)


def _graph_of(*nodes: Any) -> Any:
    from onnx import helper

    return helper.make_graph(nodes, "inner", [], [helper.make_tensor_value_info(nodes[-1].output[0], 1, None)])


def _tensors() -> list[Any]:
    """Weights of zeros, and small constants."""
    import numpy as np
    from onnx import numpy_helper

    shapes = {"w": (4, 3, 3, 3), "v": (4, 4, 3, 3), "d": (4, 1, 3, 3), "b": (4,)}
    weights = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in shapes.items()]
    constants: tuple[tuple[str, Any, str], ...] = (
        *(("sides", [0, 0, 1, 1, 0, 0, 1, 1], "i8"), ("scale", 1, "f4"), ("zero", 0, "u1")),
        *(("yes", True, "?"), ("three", 3, "i8"), ("target", [0, 4, -1, 3], "i8")),
    )
    return weights + [numpy_helper.from_array(np.array(value, kind), name) for name, value, kind in constants]


def _chains() -> list[list[Any]]:
    """The nodes of each model."""
    node, graph_of = _node, _graph_of
    first = node("Conv", "x w b", "a", pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3])
    taken = {"then_branch": graph_of(node("Conv", "a v", "t")), "else_branch": graph_of(node("Relu", "a", "t"))}
    open_ = {
        "then_branch": graph_of(node("Conv", "i v", "s")),
        "else_branch": graph_of(node("ConvTranspose", "i v", "u")),
    }
    body = graph_of(node("Identity", "more", "go"), node("Conv", "state v", "k", pads=[1] * 4))
    qonnx, microsoft = {"domain": "qonnx.custom_op.general"}, {"domain": "com.microsoft"}
    return [
        [
            *(first, node("Pad", "a sides", "p", mode="reflect"), node("Conv", "p v", "c", dilations=[1, 1])),
            *(node("Relu", "c", "e"), node("Conv", "e d", "y", group=4, auto_pad="SAME_UPPER")),
        ],
        [first, node("If", "yes", "i", **taken), node("If", "flag", "j", **open_), node("Conv", "a v", "y")],
        [
            *(first, node("Loop", "three yes a", "l", body=body)),
            *(node("Block", "a v", "m", domain="local"), node("Conv", "m v", "y")),
        ],
        [
            *(node("QuantizeLinear", "x scale zero", "q"), node("DequantizeLinear", "q scale zero", "r")),
            *(node("Conv", "r w", "a"), node("Quant", "a scale zero zero", "g", **qonnx)),
            *(node("FusedConv", "g v", "f", activation="Relu", **microsoft), node("Mystery", "f", "h", domain="my")),
            *(node("Conv", "h v", "o"), node("Reshape", "f target", "z"), node("Conv", "f v", "y")),
        ],
        [
            *(node("Mul", "x mask", "n"), node("Conv", "n w", "a"), node("Shape", "a", "sh")),
            *(node("Gather", "sh three", "ga"), node("Concat", "sh ga", "co", axis=0)),
            *(node("MaxPool", "a", "mp", kernel_shape=[2, 2]), node("Conv", "mp v", "y")),
        ],
    ]


@functools.cache
def programs() -> tuple[str, ...]:
    """The graphs of programs with convolutions in the top graph, under no_grad and autocast, and in loops."""
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self, inner: Callable[[Any, Any], Any]) -> None:
            super().__init__()
            self.a, self.b, self.up = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 4, 2)
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return self.inner(self, nn.functional.pad(self.a(x), (1, 1, 1, 1)))

    def plain(model: Any, y: Any) -> Any:
        return model.up(model.b(y))

    def wrapped(model: Any, y: Any) -> Any:
        with torch.no_grad():
            z = model.b(y)
            with torch.autocast("cpu", torch.bfloat16):
                return model.b(z)

    def looped(model: Any, y: Any) -> Any:
        from torch._higher_order_ops.while_loop import while_loop

        def body(i: Any, z: Any) -> Any:
            return i + 1, nn.functional.pad(model.b(z), (1, 1, 1, 1))

        return while_loop(lambda i, z: i < 3, body, (torch.tensor(0), y))

    auto = torch.export.Dim.AUTO
    texts = []
    for inner, sizes in ((plain, None), (plain, {"x": {0: auto, 2: auto}}), (wrapped, None), (looped, None)):
        program = torch.export.export(Model(inner).eval(), (torch.zeros(2, 3, 8, 9),), dynamic_shapes=sizes)
        file = io.BytesIO()
        torch.export.save(program, file)
        with zipfile.ZipFile(file) as archive:
            name = next(name for name in archive.namelist() if name.endswith("models/model.json"))
            texts.append(archive.read(name).decode())
    return tuple(texts)
