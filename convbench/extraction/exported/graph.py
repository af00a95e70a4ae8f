"""`FILE.pt2`: the convolutions in the graph of a program that `torch.export.save` wrote.

What runs under `torch.no_grad`, `torch.autocast` or a checkpoint lies in a graph of its own, within an operator that
always runs it, and is read like the rest. Branches and loops run or not, and their convolutions are only named.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.call_log import CallLog, Convolution, Padding, Reading, pair_of, sides_of
from convbench.extraction.deployed.data_flow import Operation
from convbench.extraction.deployed.torch_operators import TensorKind, operation_of
from convbench.extraction.exported.archive import read_program
from convbench.extraction.exported.node import (
    ALWAYS_RUN,
    BRANCHES_AND_LOOPS,
    Arguments,
    Operator,
    arguments_of_graph,
    graphs_of,
    layer_of,
    nodes_within,
    tensors_of,
)
from convbench.extraction.exported.quantized import Quantizations
from convbench.extraction.exported.symbolic_size import Sizes, UnknownSizeError
from convbench.extraction.inputs import Inputs
from convbench.extraction.transposed import TransposedConvolution
from convbench.problem.arguments import sides

_DTYPES = {6: "float16", 7: "float32", 8: "float64", 13: "bfloat16"}  # ScalarType in torch's export schema
_MODES = {"constant": "zeros", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
_PAD_OPERATORS = {
    "constant_pad_nd": "zeros",
    "reflection_pad2d": "reflect",
    "replication_pad2d": "replicate",
    "_pad_circular": "circular",
}
_SAME = {"alias", "detach", "clone", "contiguous", "dropout"}
_TRANSPOSED = {"conv_transpose2d"}
_CONV2D = {"conv2d", "convolution", "_convolution", *_TRANSPOSED}
_DEEPEST = 100

Key = tuple[int, str]
"""A tensor: the number of its graph, and its name there."""


def read_exported(path: Path, inputs: Inputs) -> Reading:
    """The convolutions of the program in `path`. `inputs` fill in shapes that it leaves open.

    Raises `ModelError`.
    """
    program = read_program(path)
    try:
        return _Program(path, program["graph_module"], inputs).reading()
    except UnknownSizeError as error:
        names = _input_names(program["graph_module"])
        texts = [f"--input {name}=1,3,224,224" for name in names] if len(names) > 1 else ["--input 1,3,224,224"]
        raise ModelError(
            f"{path}: its shapes are dynamic, and {error}; give the shapes of its inputs, such as {' '.join(texts)}."
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{path}: this is no graph as torch.export.save writes it ({type(error).__name__}: {error}); "
            "export it again with a torch of version 2.7 or later."
        ) from error


class _Program:
    """What the graphs of a program have in common: the sizes, and the calls."""

    def __init__(self, path: Path, module: Any, inputs: Inputs) -> None:
        self.path, self._graph = path, module["graph"]
        self.sizes = _sizes(path, module, inputs)
        self.calls = CallLog()
        self._graphs = 0

    def reading(self) -> Reading:
        graph = self.add(self._graph, 0)
        for output in self._graph.get("outputs", ()):
            for name in tensors_of(output):
                self.calls.read(graph.key(name))
        graph.read()
        for output in self._graph.get("outputs", ()):
            self.calls.flow.leaves(map(graph.key, tensors_of(output)))
        return self.calls.reading(self.sizes.input_shape)

    def add(self, graph: Any, depth: int) -> _Graph:
        if depth > _DEEPEST:
            raise ModelError(f"{self.path}: its graphs lie within each other, {depth} deep; at most are {_DEEPEST}.")
        self._graphs += 1
        return _Graph(self, graph, self._graphs, depth)


class _Graph:
    """Reads one graph of a program."""

    def __init__(self, program: _Program, graph: Any, number: int, depth: int) -> None:
        self._program, self._calls = program, program.calls
        self._graph, self._number, self._depth = graph, number, depth
        self._tensors: Mapping[str, Any] = graph["tensor_values"]
        self._made_by: dict[str, Operator] = {}
        self._quantizations = Quantizations(graph)

    def key(self, name: str) -> Key:
        return (self._number, name)

    def read(self) -> None:
        for node in self._graph["nodes"]:
            operator = Operator.of(str(node["target"]))
            listed = len(self._calls.convolutions)
            self._note(node, operator)
            if not graphs_of(node):
                self._note_flow(node, operator, listed=self._calls.lists_since(listed))
            for output in node["outputs"]:
                self._made_by |= dict.fromkeys(tensors_of(output), operator)

    def _note(self, node: Any, operator: Operator) -> None:
        arguments = Arguments(node)
        if operator.library == "aten" and operator.name in _CONV2D:
            self._convolution(node, operator, arguments)
        elif graphs_of(node):
            self._graphs_within(node, operator, arguments)
        elif not (operator.library == "aten" and self._keeps_image(node, operator, arguments)):
            if operator.is_convolution:
                self._calls.left_out.append((f"{operator} is no conv2d", layer_of(node)))
            elif operator.is_foreign:
                kind = f"The operator {operator}, which is not torch's own"
                self._calls.left_out.append((kind, layer_of(node)))
            self._read(arguments)

    def _note_flow(self, node: Any, operator: Operator, *, listed: bool) -> None:
        arguments, flow = Arguments(node), self._calls.flow
        operands = tuple(map(self.key, arguments.tensors))
        results = [self.key(name) for output in node["outputs"] for name in tensors_of(output)]
        result, name = results[0] if results else (self._number, ""), operator.name
        if listed:
            flow.add(Operation("convolution", operands, result, layer_of(node)))
        elif operator.library == "aten" and name in _SAME and operands:
            flow.same(result, operands[0])
        else:
            kinds = [self._kind(name) for name in arguments.tensors]
            word = name if operator.library == "aten" else ""
            flow.add(operation_of(word, arguments | arguments.single, kinds, operands, result, layer_of(node)))
            if name.endswith("_") and operands:  # what is read under the old name from now on was written to
                flow.same(operands[0], result)

    def _kind(self, name: str) -> TensorKind:
        tensor = self._tensors[name]
        return TensorKind(repr(tensor["sizes"]), len(tensor["sizes"]), tensor["dtype"], tensor["dtype"] in _DTYPES)

    def _keeps_image(self, node: Any, operator: Operator, arguments: Arguments) -> bool:
        """Whether the node pads an image or passes it on, which is noted."""
        name = operator.name
        mode = _MODES.get(arguments.get("mode", "constant")) if name == "pad" else _PAD_OPERATORS.get(name)
        source = arguments.single.get("self") or arguments.single.get("input")
        if source is None:
            return False
        if mode and (mode != "zeros" or not arguments.get("value", 0.0)):
            added = sides_of(tuple(arguments["pad"] if "pad" in arguments else arguments["padding"]))
            if added is not None and len(self._shape(source)) >= 3:
                before = pair_of(self._shape(source)[-2:])
                padding = Padding(added, mode)  # type: ignore[arg-type]
                self._calls.padded(self._result(node), self.key(source), before, padding)
                return True
        if name in _SAME:
            self._calls.same(self._result(node), self.key(source))
        return name in _SAME

    def _graphs_within(self, node: Any, operator: Operator, arguments: Arguments) -> None:
        if operator.library == "higher_order" and operator.name in ALWAYS_RUN and self._followed(node):
            return
        is_known = operator.library == "higher_order" and operator.name in BRANCHES_AND_LOOPS
        where = "a branch or loop" if is_known else "a graph that is not understood"
        if not is_known:
            self._calls.left_out.append((f"The operator {operator}, whose graph is not understood", layer_of(node)))
        for nested in nodes_within(node):
            if Operator.of(str(nested["target"])).is_convolution:
                kind = f"A convolution in {where} ({operator}), which may run or not"
                self._calls.uncertain.append((kind, layer_of(nested)))
        self._read(arguments)
        self._note_flow(node, Operator("", ""), listed=False)

    def _followed(self, node: Any) -> bool:
        """Read the one graph of a node that always runs it. Returns whether its arguments are understood."""
        graphs, operands = graphs_of(node), arguments_of_graph(node)
        if len(graphs) != 1 or len(graphs[0]["inputs"]) != len(operands):
            return False
        inner = self._program.add(graphs[0], self._depth + 1)
        for own, argument in zip(graphs[0]["inputs"], operands, strict=True):
            for name, source in zip(tensors_of(own), tensors_of(argument), strict=False):
                self._calls.same(inner.key(name), self.key(source))
                self._calls.flow.same(inner.key(name), self.key(source))
        inner.read()
        results = [name for output in node["outputs"] for name in tensors_of(output)]
        for result, own in zip(results, (n for o in graphs[0]["outputs"] for n in tensors_of(o)), strict=False):
            self._calls.same(self.key(result), inner.key(own))
            self._calls.flow.same(self.key(result), inner.key(own))
        return True

    def _read(self, arguments: Arguments) -> None:
        for name in arguments.tensors:
            if self._calls.knows(self.key(name)):
                self._calls.read(self.key(name))

    def _convolution(self, node: Any, operator: Operator, arguments: Arguments) -> None:
        image, kernel = arguments.single["input"], self._shape(arguments.single["weight"])
        transposed = operator.name in _TRANSPOSED or arguments.get("transposed", False)
        if len(kernel) != 4:
            kind = "transposed convolution" if transposed else "convolution"
            self._calls.left_out.append((f"A {kind} in {len(kernel) - 2}-D", layer_of(node)))
            return
        # Under torch.autocast the result has the dtype that is computed in, and the operands may have another one.
        dtype = self._tensors[self._result(node)[1]]["dtype"]
        if dtype not in _DTYPES:
            self._calls.left_out.append(("A convolution of integers or complex numbers", layer_of(node)))
            return
        padding = arguments.get("padding", [0, 0])
        stride, dilation = pair_of(arguments.get("stride", [1, 1])), pair_of(arguments.get("dilation", [1, 1]))
        padding = sides(
            padding if isinstance(padding, str) else pair_of(padding), pair_of(kernel[2:]), stride, dilation
        )
        words = {
            "stride": stride,
            "dilation": dilation,
            "groups": arguments.get("groups", 1),
        }
        has_bias, layer = "bias" in arguments.single, layer_of(node)
        quantization = None if transposed else self._quantizations.of(node)
        words |= {"dtype": _DTYPES[dtype]} if quantization is None else {"quantization": quantization}
        if transposed:
            more = pair_of(arguments.get("output_padding", [0, 0]))
            backwards = TransposedConvolution.of_output_padding(self._shape(image), kernel, padding, more, words)
            self._calls.transposed(layer, self.key(image), backwards, has_bias=has_bias)
        else:
            call = Convolution(self._shape(image), kernel, padding, {**words, "bias": has_bias})
            self._calls.convolutions.append((layer, self.key(image), call))
        if quantization is not None:
            return
        makers = (self._made_by.get(name) for name in (image, arguments.single["weight"]))
        if quantiser := next((maker for maker in makers if maker is not None and "quant" in maker.name), None):
            self._calls.of_integers(layer_of(node), quantiser)

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._program.sizes.value(size) for size in self._tensors[name]["sizes"])

    def _result(self, node: Any) -> Key:
        return self.key(str(node["outputs"][0]["as_tensor"]["name"]))


def _sizes(path: Path, module: Any, inputs: Inputs) -> Sizes:
    """The sizes of the program's symbols, from those of the inputs that the caller gives."""
    names = _input_names(module)
    if not names:
        raise ModelError(f"{path}: this program takes no tensor.")
    sizes = {name: module["graph"]["tensor_values"][name]["sizes"] for name in names}
    image = next((name for name in names if len(sizes[name]) == 4), names[0])
    return Sizes.of_inputs(sizes, image, inputs, f"{path}")


def _input_names(module: Any) -> list[str]:
    """The tensors that the caller gives."""
    entries = [entry["user_input"]["arg"] for entry in module["signature"]["input_specs"] if "user_input" in entry]
    return [str(argument["as_tensor"]["name"]) for argument in entries if "as_tensor" in argument]
