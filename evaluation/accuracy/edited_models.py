"""Does `extract` read any model file, or say what it cannot read? Files with seeded edits, judged by a plain walk.

    python evaluation/accuracy/edited_models.py [--files 2000] [--first 0] [--keep DIR]

Half of the files are ONNX, half are programs of torch.export. Each is made from a valid one by one to four edits: of
attributes, lengths, types, names, domains, order and nesting, and of bytes. Each is given to the command `extract`. It
has to end in 0, 2 or 3, with a sentence, within `LIMIT_S`. Where it ends in 0 or 3, the convolutions that it lists and
those that it names as left out must be at least those that a walk over the file finds.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import io
import json
import random
import re
import signal
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_S = 60
_ODD_INTEGERS = (-1, 0, 1, 2, 3, 5, 7, 100, 2**31 - 1, 2**31, 2**62, -(2**63))
_ODD_VALUES: tuple[Any, ...] = (None, -1, 0, 1, 2**40, 1.5, "", "x", "aten.conv2d", [], [1], {}, True)
_COUNTS = {"runs once": 1, "runs twice": 2, "there is one": 1}


# --- valid files ------------------------------------------------------------------------------------------------------


@functools.cache
def onnx_models() -> tuple[bytes, ...]:
    """Models with paddings, branches, a loop, a function, quantisation, foreign operators and two inputs."""
    import numpy as np
    from onnx import helper, numpy_helper

    def tensor(name: str, array: Any, kind: str = "f4") -> Any:
        return numpy_helper.from_array(np.array(array, kind), name)

    def weight(name: str, *shape: int) -> Any:
        return tensor(name, np.zeros(shape))

    def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
        return helper.make_node(operator, inputs.split(), [output], name=f"n_{output}", **attributes)

    def graph_of(nodes: list[Any], inputs: tuple[Any, ...] = ()) -> Any:
        return helper.make_graph(
            nodes, "inner", list(inputs), [helper.make_tensor_value_info(nodes[-1].output[0], 1, None)]
        )

    weights = [weight("w", 4, 3, 3, 3), weight("v", 4, 4, 3, 3), weight("d", 4, 1, 3, 3), weight("b", 4)]
    numbers = [
        *(tensor("sides", [0, 0, 1, 1, 0, 0, 1, 1], "i8"), tensor("scale", 1), tensor("zero", 0, "u1")),
        *(tensor("yes", True, "?"), tensor("three", 3, "i8"), tensor("target", [0, 4, -1, 3], "i8")),
    ]
    first = node("Conv", "x w b", "a", pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3])
    taken = {"then_branch": graph_of([node("Conv", "a v", "t")]), "else_branch": graph_of([node("Relu", "a", "t")])}
    open_ = {
        "then_branch": graph_of([node("Conv", "i v", "s")]),
        "else_branch": graph_of([node("ConvTranspose", "i v", "u")]),
    }
    body = graph_of([node("Identity", "more", "go"), node("Conv", "state v", "k", pads=[1] * 4)])
    qonnx, microsoft = {"domain": "qonnx.custom_op.general"}, {"domain": "com.microsoft"}
    chains = [
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
    block = [node("Conv", "i k", "c1", pads=[1] * 4), node("Conv", "c1 k", "o", pads=[1] * 4)]
    opset = [helper.make_opsetid("", 19)]
    function = helper.make_function("local", "Block", ["i", "k"], ["o"], block, opset)
    models = []
    for nodes in chains:
        inputs = [helper.make_tensor_value_info("x", 1, ("N", 3, 16, 18)), helper.make_tensor_value_info("flag", 9, ())]
        inputs.append(helper.make_tensor_value_info("mask", 1, ("N", 1, 16, 18)))
        graph = helper.make_graph(
            nodes, "g", inputs, [helper.make_tensor_value_info("y", 1, None)], [*weights, *numbers]
        )
        domains = ("", "local", "qonnx.custom_op.general", "com.microsoft", "my")
        opsets = [helper.make_opsetid(domain, 1 if domain else 19) for domain in domains]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=[function])
        models.append(model.SerializeToString())
    return tuple(models)


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


# --- edits ------------------------------------------------------------------------------------------------------------


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
    return [node for node in _dicts_in(program) if "target" in node and "inputs" in node]


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


# --- the judge --------------------------------------------------------------------------------------------------------


def plain_count(path: Path) -> int:
    """At least how many convolutions a file has, by a walk over it; 0 for what is no model."""
    return _count_in_onnx(path) if path.suffix == ".onnx" else _count_in_program(path)


def _convolves(name: str) -> bool:
    return "conv" in name.lower() and "convert" not in name.lower()


def _count_in_onnx(path: Path) -> int:
    import onnx
    from onnx.numpy_helper import to_array

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception:
        return 0
    functions = {(f.domain, f.name): f for f in model.functions}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    unknown = {entry.name for entry in model.graph.input} - constants.keys()

    def of_nodes(nodes: Any, depth: int = 0) -> int:
        return sum(of_node(node, depth) for node in nodes) if depth < 60 else 0

    def of_node(node: Any, depth: int) -> int:
        graphs = {a.name: a.g for a in node.attribute if a.HasField("g")}
        inner = {name: of_nodes(graph.node, depth + 1) for name, graph in graphs.items()}
        if (node.domain, node.op_type) in functions:
            return of_nodes(functions[node.domain, node.op_type].node, depth + 1)
        if node.op_type == "If" and node.domain in ("", "ai.onnx"):
            condition = node.input[0] if node.input else ""
            if condition in unknown or not inner:
                return sum(inner.values())
            with contextlib.suppress(Exception):
                return inner["then_branch" if bool(to_array(constants[condition]).reshape(())) else "else_branch"]
            return min(inner.values()) if len(inner) > 1 else 0
        return _convolves(node.op_type) + sum(inner.values())

    return of_nodes(model.graph.node)


def _dicts_in(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield value
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _dicts_in(inner)


def _count_in_program(path: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            program = json.loads(archive.read("model/models/model.json"))
        nodes = program["graph_module"]["graph"]["nodes"]
    except Exception:
        return 0
    targets = [node["target"] for node in _dicts_in(nodes) if isinstance(node.get("target"), str)]
    return sum(_convolves(".".join(target.split(".")[-3:])) for target in targets if target.startswith("torch.ops."))


@dataclass(frozen=True)
class Outcome:
    """How the command ended on a file: its exit code, what is wrong with that (None: nothing), and the seconds."""

    number: int
    code: int | None
    fault: str | None
    wall_s: float


def judged(number: int, folder: Path) -> Outcome:
    """Give the file of that number to the command, and judge what it says."""
    path = edited(number, folder)
    started = time.perf_counter()
    code, out, err = extracted(path)
    wall_s = time.perf_counter() - started
    return Outcome(number, code, fault_of(path, code, out, err), wall_s)


def extracted(path: Path) -> tuple[int | None, str, str]:
    """Exit code and output of `convbench extract --json`, in this process; None where it hangs."""
    from convbench.cli.main import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    previous = signal.signal(signal.SIGALRM, _hanging)
    signal.alarm(LIMIT_S)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(["extract", str(path), "--json"])
        code: int | None = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0
    except TimeoutError:
        code = None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    texts = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    return code, *texts


def _hanging(*_: Any) -> None:
    raise TimeoutError


def fault_of(path: Path, code: int | None, out: str, err: str) -> str | None:
    """What is wrong with how the command ended; None when nothing is."""
    if code is None or "TimeoutError" in err:
        return f"it hangs for {LIMIT_S} s"
    if code not in (0, 2, 3) or "a bug in convbench" in err or "Traceback" in err:
        return f"exit code {code}: {err.strip()[:300]}"
    if code and not re.search(r"convbench: .+", err):
        return f"exit code {code} without a sentence"
    if "\x1b" in err + out:
        return "an escape sequence of the file reaches the terminal"
    listed = sum(json.loads(line)["count"] for line in out.splitlines())
    if code != 2 and listed + named(err) < (expected := plain_count(path)):
        return f"{expected} convolutions, and {listed} are listed and {named(err)} named"
    return None


def named(text: str) -> int:
    """How many convolutions the lines `left out: ...` name."""
    count = 0
    for line in text.splitlines():
        if "onv" not in line or "that is listed in real numbers" in line or "besides its convolution" in line:
            continue
        if match := re.search(r"(runs once|runs twice|there is one)|(?:runs|there are) (\d+)", line):
            count += _COUNTS[match[1]] if match[1] else int(match[2])
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files here")
    words = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = words.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        outcomes = []
        for number in range(words.first, words.first + words.files):
            outcome = judged(number, folder)
            outcomes.append(outcome)
            if outcome.fault:
                print(f"{edited(number, folder)}: {outcome.fault}", flush=True)
    codes = Counter(str(outcome.code) for outcome in outcomes)
    faults = sum(outcome.fault is not None for outcome in outcomes)
    print(f"{len(outcomes)} files; by exit code: {dict(sorted(codes.items()))}; {faults} with a fault.")
    print(f"slowest: {max(outcome.wall_s for outcome in outcomes):.1f} s")


if __name__ == "__main__":
    main()
