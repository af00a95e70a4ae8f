"""`FILE.onnx`: the convolutions of a graph, with the shapes that ONNX's own inference finds.

Only the graph is read, and no weights in files beside it, because the graph has their shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.call_log import CallLog, Convolution, Reading
from convbench.extraction.inputs import Inputs
from convbench.extraction.onnx.attributes import AUTO_PADS, Attributes, layer_of
from convbench.extraction.onnx.foreign import Foreign
from convbench.extraction.onnx.inference import inferred
from convbench.extraction.onnx.inputs import with_inputs
from convbench.extraction.onnx.model_file import graphs_of, load, nodes_within
from convbench.extraction.onnx.operations import Operations
from convbench.extraction.onnx.pad import padding_of
from convbench.extraction.onnx.quantized import IMAGE_AND_WEIGHT, Quantizations
from convbench.extraction.onnx.shapes import Shapes
from convbench.extraction.onnx.transposed import transposed_call
from convbench.extraction.transposed import TransposedConvolution
from convbench.problem import Sides

_DTYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}  # TensorProto.DataType
_OTHER_CONVOLUTIONS = {"DeformConv": "A deformable convolution"}
_SAME = ("Identity", "Dropout")
_BRANCHES_AND_LOOPS = ("If", "Loop", "Scan", "SequenceMap")


def read_onnx(path: Path, inputs: Inputs) -> Reading:
    """The convolutions of the model in `path`. `inputs` fill in shapes that it leaves open.

    Raises `ModelError`, also when the model refers to external data outside its own folder.
    """
    try:
        model = load(path)
        shape = with_inputs(path, model, inputs)
        graph, foreign, fault = inferred(path, model)
        return _Graph(path, graph, foreign).reading(shape, fault)
    except UnicodeDecodeError as error:  # protobuf finds it when a name is looked at
        raise ModelError(f"{path}: a name in this file is no text in UTF-8: {error.reason}.") from None


class _Graph:
    """Reads a graph with inferred shapes."""

    def __init__(self, path: Path, graph: Any, foreign: Mapping[str, Foreign]) -> None:
        self._path = path
        self._graph = graph
        self._foreign = foreign
        self._shapes = Shapes(path, graph)
        self._quantizations = Quantizations(graph, self._shapes)
        self._calls = CallLog()
        self._operations = Operations(path, self._shapes, foreign)

    def reading(self, input_shape: tuple[int, ...], fault: str | None) -> Reading:
        """What is read. `fault` is why ONNX infers no shapes: a node at fault has its own sentence, if it is read."""
        _check_order(self._path, self._graph)
        for output in self._graph.output:
            self._calls.read(output.name)
        for node in self._graph.node:
            self._note_flow(node, listed=self._note(node))
        self._calls.flow.leaves(output.name for output in self._graph.output)
        if fault is not None:
            self._calls.remarks.append(f"Shapes within this model: ONNX cannot infer them ({fault}).")
        return self._calls.reading(input_shape)

    def _note_flow(self, node: Any, *, listed: bool) -> None:
        flow, foreign = self._calls.flow, node.output and node.output[0] in self._foreign
        if node.op_type in _SAME and not node.domain and not foreign and node.input and node.output:
            flow.same(node.output[0], node.input[0])
            return
        operations = self._operations.of_convolution(node) if listed else self._operations.of(node, _reads(node))
        for operation in operations:
            flow.add(operation)

    def _note(self, node: Any) -> bool:
        """Note what a node computes. Returns whether it is a convolution that is listed."""
        listed = len(self._calls.convolutions)
        foreign = self._foreign.get(node.output[0]) if node.output else None
        if foreign is not None:
            self._note_foreign(node, foreign)
        if node.op_type in IMAGE_AND_WEIGHT and not node.domain:
            self._convolution(node)
        elif foreign is None and node.op_type == "Pad" and (padding := padding_of(self._path, node, self._shapes)):
            height, width = (self._shapes.known(node.input[0]) or ())[2:]
            self._calls.padded(node.output[0], node.input[0], (height, width), padding)
        elif foreign is None and node.op_type in _SAME and not node.domain and node.input and node.output:
            self._calls.same(node.output[0], node.input[0])
        else:
            self._other(node)
        return self._calls.lists_since(listed)

    def _note_foreign(self, node: Any, foreign: Foreign) -> None:
        if foreign.is_known:
            return
        what = f"The operator {foreign}, which ONNX does not have"
        if foreign.stand_in == "Conv":
            self._calls.only_bare.append((f"What {foreign} does besides its convolution", layer_of(node)))
            return
        if foreign.stand_in is not None:
            what += " and which is taken to keep the shape of its input"
        self._calls.left_out.append((what, layer_of(node)))

    def _other(self, node: Any) -> None:
        if _is_convolution(node) and node.output and node.output[0] not in self._foreign:
            kind = _OTHER_CONVOLUTIONS.get(node.op_type, f"{node.op_type} is no Conv")
            self._calls.left_out.append((kind, layer_of(node)))
        is_known = node.op_type in _BRANCHES_AND_LOOPS and not node.domain
        where = "a branch or loop" if is_known else "a graph that is not understood"
        for nested in nodes_within(node):
            if _is_convolution(nested):
                kind = f"A convolution in {where} ({node.op_type}), which may run or not"
                self._calls.uncertain.append((kind, layer_of(nested)))
        for name in _reads(node):
            self._calls.read(name)

    def _convolution(self, node: Any) -> None:
        layer = layer_of(node)
        image_name, weight_name, _ = _operands(node)
        if (
            not (image_name and weight_name)
            or len(node.output) != 1
            or (node.op_type in ("Conv", "ConvTranspose") and len(node.input) > 4)
        ):
            raise ModelError(
                f"{self._path}: {node.op_type} {layer} has {len(node.input)} inputs and {len(node.output)} outputs; "
                "it should have an image, a weight and perhaps a bias, and one output."
            )
        for name in node.input:
            if name not in _operands(node):
                self._calls.read(name)
        weight = self._known_shape(node, weight_name, "weight")
        if weight is None:
            return
        if len(weight) != 4:
            kind = "transposed convolution" if node.op_type == "ConvTranspose" else "convolution"
            self._calls.left_out.append((f"A {kind} in {len(weight) - 2}-D", layer))
            return
        image = self._known_shape(node, image_name, "image")
        if image is None:
            return
        if len(image) != 4:
            raise ModelError(
                f"{self._path}: {layer} reads {image_name!r}, which has {len(image)} dimensions; an image has 4."
            )
        call = self._call(node, (image[0], image[1], image[2], image[3]), weight)
        if call is not None:
            has_bias = bool(_operands(node)[2])
            if isinstance(call, TransposedConvolution):
                self._calls.transposed(layer, image_name, call, has_bias=has_bias)
            else:
                self._calls.convolutions.append((layer, image_name, call))

    def _known_shape(self, node: Any, name: str, role: str) -> tuple[int, ...] | None:
        """The shape of an operand. If it is unknown because of a node, the convolution is left out, with that node."""
        shape = self._shapes.complete(name)
        if shape is None:
            cause = self._shapes.reason_unknown(name, layer_of(node))
            operator = self._foreign.get(next(iter(cause.output)), cause.op_type)
            self._calls.left_out.append(
                (f"A convolution whose {role} has an unknown shape, after {operator}", layer_of(node))
            )
        return shape

    def _call(
        self, node: Any, image: tuple[int, int, int, int], weight: tuple[int, ...]
    ) -> Convolution | TransposedConvolution | None:
        attributes = Attributes(self._path, node)
        groups = attributes.integer("group", 1, least=1)
        stride = attributes.integers("strides", 2, "for height and width", least=1) or (1, 1)
        dilation = attributes.integers("dilations", 2, "for height and width", least=1) or (1, 1)
        kernel = attributes.integers("kernel_shape", 2, "height and width", least=1)
        if kernel is not None and kernel != weight[2:]:
            raise attributes.refused("kernel_shape", f"{list(weight[2:])}, as its weight {_operands(node)[1]!r} has it")
        channels = weight[0] if node.op_type == "ConvTranspose" else weight[1] * groups
        if channels != image[1]:
            raise ModelError(
                f"{self._path}: {layer_of(node)} has weights for {channels} channels, and its image has {image[1]}."
            )
        numbers = self._numbers(node)
        if numbers is None:
            kind = "A convolution of another format than float64, 32, 16, bfloat16 or int8"
            self._calls.left_out.append((kind, layer_of(node)))
            return None
        words = {"stride": stride, "dilation": dilation, "groups": groups, **numbers}
        if node.op_type == "ConvTranspose":
            return transposed_call(attributes, image, weight, words)
        sides = _sides(attributes, image[2:], weight[2:], stride, dilation)
        return Convolution(image, weight, sides, {**words, "bias": bool(_operands(node)[2])})

    def _numbers(self, node: Any) -> dict[str, Any] | None:
        """The dtype or the quantization of a convolution, as an argument of `ConvProblem`."""
        quantization = None if node.op_type == "ConvTranspose" else self._quantizations.of(node)
        if quantization is not None:
            return {"quantization": quantization}
        types = map(self._shapes.element_type, _operands(node)[:2])
        dtype = _DTYPES.get(next(filter(None, types), 0))
        if dtype is not None:
            self._note_quantisation(node)
        return None if dtype is None else {"dtype": dtype}

    def _note_quantisation(self, node: Any) -> None:
        """Say where a convolution in real numbers is written around integers: a runtime may compute in these."""
        for name in node.input[:2]:
            maker = self._shapes.maker(name)
            operator = self._foreign.get(name, maker.op_type if maker is not None else "")
            if "quant" in str(operator).lower():
                self._calls.of_integers(layer_of(node), operator)
                return


def _operands(node: Any) -> tuple[str, str, str]:
    """The names of image, weight and bias; empty without one."""
    names = [*node.input, *[""] * 9]
    image, weight, bias = IMAGE_AND_WEIGHT[node.op_type]
    return names[image], names[weight], names[bias]


def _check_order(path: Path, graph: Any) -> None:
    """Raise `ModelError` where a tensor is made twice, or read before it is made: such graphs may go in circles."""
    made = {entry.name for entry in (*graph.input, *graph.initializer)}
    later = {name for node in graph.node for name in node.output if name}
    for node in graph.node:
        if early := [name for name in node.input if name in later and name not in made]:
            raise ModelError(
                f"{path}: {layer_of(node)} reads {early[0]!r} before it is made; its nodes should be sorted."
            )
        for name in filter(None, node.output):
            if name in made:
                raise ModelError(f"{path}: {layer_of(node)} makes {name!r}, which is there already.")
            made.add(name)


def _is_convolution(node: Any) -> bool:
    """Whether the name of an operator says so, whichever domain it is of."""
    name = node.op_type.lower()
    return "conv" in name and "convert" not in name


def _reads(node: Any) -> list[str]:
    """The names that a node and the graphs within it read; those of tensors within these are harmless."""
    outputs = [output.name for graph in graphs_of(node) for output in graph.output]
    return [*node.input, *outputs, *(name for nested in nodes_within(node) for name in nested.input)]


def _sides(attributes: Attributes, *axes: tuple[int, ...]) -> Sides:
    """The padding of a Conv node, from the sizes of image, kernel, stride and dilation along its `axes`.

    SAME_UPPER and SAME_LOWER give ceil(size / stride) outputs, and put an odd row or column at the end or at the
    beginning (ONNX's Conv, `auto_pad`)."""
    auto = attributes.word("auto_pad", "NOTSET", AUTO_PADS)
    pads = attributes.integers("pads", 4, "the beginnings of height and width and then their ends")
    if auto == "VALID":
        return ((0, 0), (0, 0))
    if auto == "NOTSET":
        top, left, bottom, right = pads or (0, 0, 0, 0)
        return ((top, bottom), (left, right))
    sides = []
    for size, taps, step, spacing in zip(*axes, strict=True):
        total = max(0, (-(-size // step) - 1) * step + spacing * (taps - 1) + 1 - size)
        less, more = total // 2, total - total // 2
        sides.append((more, less) if auto == "SAME_LOWER" else (less, more))
    return (sides[0], sides[1])
