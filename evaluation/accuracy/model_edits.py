"""Seeded edits of valid models: of attributes, lengths, types, names, domains, order and nesting, and of bytes."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from valid_models import onnx_models, programs

_ODD_INTEGERS = (-1, 0, 1, 2, 3, 5, 7, 100, 2**31 - 1, 2**31, 2**62, -(2**63))
_ODD_VALUES: tuple[Any, ...] = (None, -1, 0, 1, 2**40, 1.5, "", "x", "aten.conv2d", [], [1], {}, True)


def edited(number: int, folder: Path) -> Path:
    """The file of that number: ONNX if it is even, a program if it is odd. The number is the seed."""
    rng = random.Random(number)
    if number % 2:
        path = folder / f"{number}.pt2"
        content = _edited_program(rng, rng.choice(programs()))
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model/models/model.json", content)
        if rng.random() < 0.05:
            path.write_bytes(_with_odd_bytes(rng, path.read_bytes()))
        return path
    path = folder / f"{number}.onnx"
    path.write_bytes(_edited_onnx(rng, rng.choice(onnx_models())))
    return path


def _with_odd_bytes(rng: random.Random, content: bytes) -> bytes:
    array = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(array))
        edit = rng.randrange(4)
        if edit == 0:
            array[at] = rng.randrange(256)
        elif edit == 1:
            del array[at : at + rng.randint(1, 20)]
        elif edit == 2:
            array[at:at] = rng.randbytes(rng.randint(1, 20))
        else:
            array[at:at] = array[at : at + rng.randint(1, 200)]
    return bytes(array)


def _edited_onnx(rng: random.Random, content: bytes) -> bytes:
    import onnx

    model = onnx.load_model_from_string(content)
    for _ in range(rng.randint(1, 4)):
        with contextlib.suppress(Exception):  # an edit of what an earlier one took away, or made too deep
            rng.choice(_ONNX_EDITS)(rng, model)
    content = model.SerializeToString()
    return _with_odd_bytes(rng, content) if rng.random() < 0.1 else content


def _any_graph(rng: random.Random, model: Any) -> Any:
    graphs = [model.graph]
    for graph in graphs:
        graphs += [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return rng.choice(graphs)


def _edit_attribute(rng: random.Random, model: Any) -> None:
    from onnx.helper import make_attribute

    node = rng.choice(_any_graph(rng, model).node)
    names = ("pads", "strides", "dilations", "kernel_shape", "group", "auto_pad", "mode", "perm", "axis", "value")
    name = rng.choice([a.name for a in node.attribute] or names) if rng.random() < 0.7 else rng.choice(names)
    kept = [a for a in node.attribute if a.name != name]
    values: list[Any] = [
        rng.choice(_ODD_INTEGERS),
        [rng.choice(_ODD_INTEGERS) for _ in range(rng.randint(1, 9))],
        [rng.randint(0, 3) for _ in range(rng.choice((2, 4, 4, 8)))],
        rng.choice(("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "SAME", "reflect", "wrap", "\x1b[31m")),
        1.5,
        [1.0, 2.0],
    ]
    del node.attribute[:]
    node.attribute.extend(kept)
    if rng.random() < 0.85:
        node.attribute.append(make_attribute(name, rng.choice(values)))


def _edit_node(rng: random.Random, model: Any) -> None:
    nodes = _any_graph(rng, model).node
    at = rng.randrange(len(nodes))
    edit = rng.randrange(7)
    if edit == 0:
        nodes[at].op_type = rng.choice(
            (
                "Conv",
                "FusedConv",
                "ConvTranspose",
                "ConvInteger",
                "QLinearConv",
                "Foo",
                "Relu",
                "If",
                "Pad",
                "Gelu",
                "MyConv",
                "Loop",
            )
        )
    elif edit == 1:
        nodes[at].domain = rng.choice(
            ("", "ai.onnx", "com.microsoft", "com.microsoft.nchwc", "x" * 300, "local", "\x1b]0;own\x07")
        )
    elif edit == 2:
        del nodes[at]
    elif edit == 3:
        nodes.add().CopyFrom(nodes[at])
    elif edit == 4:
        other = rng.randrange(len(nodes))
        one = copy.deepcopy(nodes[at])
        nodes[at].CopyFrom(nodes[other])
        nodes[other].CopyFrom(one)
    elif edit == 5:
        names = [name for node in nodes for name in (*node.input, *node.output)] + ["", "nowhere"]
        tensors = rng.choice((nodes[at].input, nodes[at].output))
        tensors[rng.randrange(len(tensors))] = rng.choice(names)
    else:
        del rng.choice((nodes[at].input, nodes[at].output))[rng.randrange(3) :]


def _edit_tensor(rng: random.Random, model: Any) -> None:
    tensors = model.graph.initializer
    at = rng.randrange(len(tensors))
    edit = rng.randrange(6)
    if edit == 0:
        tensors[at].dims[rng.randrange(len(tensors[at].dims))] = rng.choice(_ODD_INTEGERS)
    elif edit == 1:
        del tensors[at].dims[rng.randrange(4) :]
    elif edit == 2:
        tensors[at].data_type = rng.choice((0, 1, 2, 7, 8, 10, 11, 14, 16, 17, 99))
    elif edit == 3:
        tensors[at].raw_data = rng.randbytes(rng.randint(0, 9))
    elif edit == 4:
        del tensors[at]
    else:
        sparse = model.graph.sparse_initializer.add(dims=tensors[at].dims)
        sparse.values.CopyFrom(tensors[at])
        del tensors[at]


def _edit_input(rng: random.Random, model: Any) -> None:
    entry = rng.choice((*model.graph.input, *model.graph.output))
    edit = rng.randrange(4)
    if edit == 0:
        rng.choice(entry.type.tensor_type.shape.dim).dim_value = rng.choice(_ODD_INTEGERS)
    elif edit == 1:
        entry.type.tensor_type.ClearField("shape")
    elif edit == 2:
        entry.type.tensor_type.elem_type = rng.choice((0, 1, 7, 10, 16, 99))
    else:
        entry.type.tensor_type.shape.dim.add(dim_param="N")


def _edit_nesting(rng: random.Random, model: Any) -> None:
    """Move a node into a branch, a loop, a function or a graph that only a foreign operator understands."""
    from onnx import helper

    graph = _any_graph(rng, model)
    at = rng.randrange(len(graph.node))
    inner = copy.deepcopy(graph.node[at])
    result = inner.output[0]
    for _ in range(rng.choice((1, 1, 2, 30))):
        outputs = [helper.make_tensor_value_info(inner.output[0], 1, None)]
        body = helper.make_graph([inner], "moved", [], outputs)
        passed = helper.make_node("Identity", [inner.input[0] if inner.input else "x"], ["else"])
        other = helper.make_graph([passed], "other", [], [helper.make_tensor_value_info("else", 1, None)])
        kind = rng.randrange(4)
        if kind < 2:
            condition = ("yes", "flag")[kind]
            inner = helper.make_node("If", [condition], [result], then_branch=body, else_branch=other)
        elif kind == 2:
            inner = helper.make_node("Loop", ["three", "yes"], [result], body=body)
        else:
            inner = helper.make_node("Wrap", ["x"], [result], domain="my.domain", graph=body)
    graph.node[at].CopyFrom(inner)


def _edit_functions(rng: random.Random, model: Any) -> None:
    edit = rng.randrange(4)
    function = model.functions[0]
    if edit == 0:
        function.node.add().CopyFrom(rng.choice(model.graph.node))
    elif edit == 1:
        del model.opset_import[rng.randrange(len(model.opset_import))]
    elif edit == 2:
        rng.choice(model.opset_import).version = rng.choice((0, 1, 9, 13, 99, -1))
    else:
        function.name = rng.choice(("Conv", "Mystery", "Block2"))


_ONNX_EDITS = (_edit_attribute, _edit_attribute, _edit_node, _edit_tensor, _edit_input, _edit_nesting, _edit_functions)


def _edited_program(rng: random.Random, text: str) -> str:
    program = json.loads(text)
    for _ in range(rng.randint(1, 4)):
        with contextlib.suppress(Exception):
            rng.choice((_edit_value, _edit_value, _edit_target, _edit_program_nesting))(rng, program)
    text = json.dumps(program)
    if rng.random() < 0.1:
        text = _with_odd_bytes(rng, text.encode()).decode(errors="replace")
    return text


def _edit_value(rng: random.Random, program: Any) -> None:
    """Change anything, anywhere below a randomly chosen part."""
    value: Any = program["graph_module"]
    if rng.random() < 0.7:
        value = value["graph"][rng.choice(("nodes", "tensor_values"))]
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = rng.choice(list(keys))
        if isinstance(value[key], (dict, list)) and value[key] and rng.random() < 0.85:
            value = value[key]
            continue
        edit = rng.randrange(4)
        if edit == 0:
            del value[key]
        elif edit == 1 and isinstance(value, list):
            value.append(copy.deepcopy(value[key]))
        elif edit == 2 and isinstance(value[key], int):
            value[key] = rng.choice(_ODD_INTEGERS)
        else:
            value[key] = copy.deepcopy(rng.choice(_ODD_VALUES))
        return


def _nodes_of(program: Any) -> list[Any]:
    return [node for node in dicts_in(program) if "target" in node and "inputs" in node]


def _edit_target(rng: random.Random, program: Any) -> None:
    rng.choice(_nodes_of(program))["target"] = rng.choice(
        (
            *("torch.ops.aten.conv2d.default", "torch.ops.aten.conv2d.padding", "torch.ops.mylib.my_conv.default"),
            *("torch.ops.aten.conv_transpose2d.input", "torch.ops.quantized.conv2d.new", "torch.ops.aten.relu.default"),
            *("torch.ops.higher_order.cond", "torch.ops.higher_order.wrap", "torch.ops.higher_order.tomorrow", "x", ""),
            *("torch.ops.aten.pad.default", "torch.ops.aten.clone.default", "_operator.getitem"),
        )
    )


def _edit_program_nesting(rng: random.Random, program: Any) -> None:
    """Move a node into a graph of its own, as no_grad, a branch or an unknown operator holds one."""
    graph = program["graph_module"]["graph"]
    at = rng.randrange(len(graph["nodes"]))
    inner = graph["nodes"][at]
    for _ in range(rng.choice((1, 1, 2, 40))):
        names = [entry["arg"] for entry in inner["inputs"] if "as_tensor" in entry["arg"]]
        outputs = copy.deepcopy(inner["outputs"])
        body = {"inputs": names, "outputs": outputs, "nodes": [inner], "tensor_values": graph["tensor_values"]}
        given = [{"name": "", "arg": name, "kind": 1} for name in names]
        holder = {
            "name": "",
            "arg": {rng.choice(("as_graph", "as_graph", "as_other")): {"name": "g", "graph": body}},
            "kind": 1,
        }
        inner = {
            "target": "torch.ops.higher_order." + rng.choice(("wrap_with_set_grad_enabled", "wrap", "cond", "other")),
            "inputs": [holder, *given],
            "outputs": outputs,
            "metadata": {},
        }
    # Tensors are shared by reference: json.dumps writes them anew in each graph.
    graph["nodes"][at] = inner


def dicts_in(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield value
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from dicts_in(inner)
