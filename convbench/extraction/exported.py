"""`FILE.pt2`: a program that `torch.export.save` wrote, read as an archive.

`torch.export.load` unpickles sample inputs and constants, which may run any code. The graph is JSON beside them, with
all shapes. So only the graph is read, without torch.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.call_log import CallLog, Convolution, Padding, Reading, pair_of, sides_of
from convbench.extraction.symbolic_size import Sizes, UnknownSizeError
from convbench.problem.arguments import sides

_DTYPES = {6: "float16", 7: "float32", 8: "float64", 13: "bfloat16"}  # ScalarType in torch's export schema
_GRAPHS = ("models/model.json", "serialized_exported_program.json")  # in archives of torch from 2.8 on, and before
_MOST_BYTES = 512 * 2**20  # of a graph; weights are not part of it
_MODES = {"constant": "zeros", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
_PAD_OPERATORS = {
    "constant_pad_nd": "zeros",
    "reflection_pad2d": "reflect",
    "replication_pad2d": "replicate",
    "_pad_circular": "circular",
}
_SAME = {"alias", "detach", "clone", "contiguous", "dropout"}


def read_exported(path: Path, batch: int | None, input_shape: tuple[int, ...] | None) -> Reading:
    """The convolutions of the program in `path`. `input_shape` and `batch` fill in shapes that it leaves open.

    Raises `ModelError`.
    """
    program = _program(path)
    try:
        return _Graph(path, program["graph_module"], batch, input_shape).reading()
    except UnknownSizeError as error:
        raise ModelError(
            f"{path}: its shapes are dynamic, and {error}; give the shape of its input, such as --input 1,3,224,224."
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{path}: this is no graph as torch.export.save writes it ({type(error).__name__}: {error}); "
            "export it again with a torch of version 2.7 or later."
        ) from error


def _program(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename in _GRAPHS or entry.filename.partition("/")[2] in _GRAPHS:
                    if entry.file_size > _MOST_BYTES:
                        raise ModelError(
                            f"{path}: its graph has {entry.file_size:,} bytes; at most are {_MOST_BYTES:,}."
                        )
                    return json.loads(archive.read(entry))
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file; give one that torch.export.save wrote.") from None
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, RecursionError, RuntimeError) as error:
        raise ModelError(f"{path}: this cannot be read as an archive that torch.export.save wrote: {error}.") from None
    raise ModelError(f"{path}: there is no exported program in this archive; write it with torch.export.save.")


class _Graph:
    """Reads the graph of a program with known sizes."""

    def __init__(self, path: Path, module: Any, batch: int | None, input_shape: tuple[int, ...] | None) -> None:
        self._path = path
        self._graph = module["graph"]
        self._tensors: dict[str, Any] = self._graph["tensor_values"]
        sizes = self._tensors[_user_input(path, module)]["sizes"]
        self._sizes = Sizes.of_input(sizes, batch, input_shape, f"{path}")
        self._calls = CallLog()

    def reading(self) -> Reading:
        for node in self._graph["nodes"]:
            self._note(node)
        return self._calls.reading(self._sizes.input_shape)

    def _note(self, node: Any) -> None:
        operator = node["target"].removeprefix("torch.ops.").removeprefix("aten.").partition(".")[0]
        arguments = _Arguments(node)
        if operator in ("conv2d", "convolution", "_convolution"):
            self._convolution(node, arguments)
            return
        mode = _MODES.get(arguments.get("mode", "constant")) if operator == "pad" else _PAD_OPERATORS.get(operator)
        source = arguments.single.get("self") or arguments.single.get("input")
        if mode and source and (mode != "zeros" or not arguments.get("value", 0.0)):
            added = sides_of(tuple(arguments["pad"] if "pad" in arguments else arguments["padding"]))
            if added is not None:
                before = pair_of(self._shape(source)[-2:])
                self._calls.padded(_result(node), source, before, Padding(added, mode))  # type: ignore[arg-type]
                return
        if operator in _SAME and source:
            self._calls.same(_result(node), source)
            return
        if "conv" in operator and "convert" not in operator:
            self._calls.left_out.append((f"{operator} is no conv2d", _layer(node)))
        for name in arguments.tensors:
            if self._calls.knows(name):
                self._calls.read(name)

    def _convolution(self, node: Any, arguments: _Arguments) -> None:
        image, kernel = arguments.single["input"], self._shape(arguments.single["weight"])
        if len(kernel) != 4 or arguments.get("transposed", False):
            kind = "transposed convolution" if arguments.get("transposed", False) else "convolution"
            self._calls.left_out.append((f"A {kind} in {len(kernel) - 2}-D", _layer(node)))
            return
        dtype = self._tensors[image]["dtype"]
        if dtype not in _DTYPES:
            self._calls.left_out.append(("A convolution of integers or complex numbers", _layer(node)))
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
            "bias": "bias" in arguments.single,
            "dtype": _DTYPES[dtype],
        }
        self._calls.convolutions.append((_layer(node), image, Convolution(self._shape(image), kernel, padding, words)))

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._sizes.value(size) for size in self._tensors[name]["sizes"])


class _Arguments(dict[str, Any]):
    """The plain arguments of a node by name. `single` and `tensors` are the names of its tensors."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.single: dict[str, str] = {}
        self.tensors: list[str] = []
        for entry in node["inputs"]:
            ((kind, value),) = entry["arg"].items()
            if kind == "as_tensor":
                self.single[entry["name"]] = str(value["name"])
            elif kind not in ("as_none", "as_tensors"):
                self[entry["name"]] = value
            self.tensors += [tensor["name"] for tensor in {"as_tensor": [value], "as_tensors": value}.get(kind, ())]


def _user_input(path: Path, module: Any) -> str:
    """The name of the first tensor that the caller gives; one of four dimensions if there is any."""
    inputs = [entry["user_input"]["arg"] for entry in module["signature"]["input_specs"] if "user_input" in entry]
    names = [str(argument["as_tensor"]["name"]) for argument in inputs if "as_tensor" in argument]
    if not names:
        raise ModelError(f"{path}: this program takes no tensor.")
    tensors = module["graph"]["tensor_values"]
    return next((name for name in names if len(tensors[name]["sizes"]) == 4), names[0])


def _result(node: Any) -> str:
    return str(node["outputs"][0]["as_tensor"]["name"])


def _layer(node: Any) -> str:
    """The module that makes the call, from the stack of modules that torch.export keeps."""
    stack = (node.get("metadata") or {}).get("nn_module_stack") or ""
    last = stack.rpartition(";")[2].split(",")
    return last[1] if len(last) > 2 and last[1] else str(node.get("name") or "")
