"""`FILE.pt2`: a program that `torch.export.save` wrote, read as the archive that it is.

`torch.export.load` unpickles sample inputs and constants, which may run any code; the graph is JSON beside them, with
all shapes, so that alone is read, and torch is not needed for it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.call_log import CallLog, sides_of
from convbench.extraction.layers import Reading
from convbench.extraction.padding import Convolution, Padding
from convbench.extraction.symbolic_size import Sizes, UnknownSizeError
from convbench.problem import Pair, Sides

_DTYPES = {6: "float16", 7: "float32", 8: "float64", 13: "bfloat16"}  # ScalarType of torch's export schema
_GRAPHS = ("models/model.json", "serialized_exported_program.json")  # in archives of torch 2.8 and later, and before
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
    """The convolutions of the program in `path`; where its shapes are open, at `input_shape` and `batch`.

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
    """The graph of a program, its sizes known."""

    def __init__(self, path: Path, module: Any, batch: int | None, input_shape: tuple[int, ...] | None) -> None:
        self._path = path
        self._graph = module["graph"]
        self._tensors: dict[str, Any] = self._graph["tensor_values"]
        sizes = self._tensors[_user_input(path, module)]["sizes"]
        self._sizes = Sizes.of_input(sizes, batch, input_shape, f"{path}")
        self._transcript = CallLog()

    def reading(self) -> Reading:
        for node in self._graph["nodes"]:
            self._write_down(node)
        return self._transcript.reading(self._sizes.input_shape)

    def _write_down(self, node: Any) -> None:
        operator = node["target"].removeprefix("torch.ops.").removeprefix("aten.").partition(".")[0]
        given = _Arguments(node)
        if operator in ("conv2d", "convolution", "_convolution"):
            self._convolution(node, given)
            return
        mode = _MODES.get(given.get("mode", "constant")) if operator == "pad" else _PAD_OPERATORS.get(operator)
        source = given.tensor("self") or given.tensor("input")
        if mode and source and (mode != "zeros" or not given.get("value", 0.0)):
            sides = sides_of(tuple(given["pad"] if "pad" in given else given["padding"]))
            if sides is not None:
                before = self._shape(source)[-2:]
                self._transcript.padded(_result(node), source, (before[0], before[1]), Padding(sides, mode))  # type: ignore[arg-type]
                return
        if operator in _SAME and source:
            self._transcript.same(_result(node), source)
            return
        if "conv" in operator and "convert" not in operator:
            self._transcript.leave_out(f"{operator} is no conv2d", _layer(node))
        for name in given.tensors():
            if self._transcript.knows(name):
                self._transcript.read(name)

    def _convolution(self, node: Any, given: _Arguments) -> None:
        image, weight = given.tensor("input"), given.tensor("weight")
        assert image is not None
        assert weight is not None
        kernel = self._shape(weight)
        if len(kernel) != 4 or given.get("transposed", False):
            kind = "transposed convolution" if given.get("transposed", False) else "convolution"
            self._transcript.leave_out(f"A {kind} in {len(kernel) - 2}-D", _layer(node))
            return
        dtype = self._tensors[image]["dtype"]
        if dtype not in _DTYPES:
            self._transcript.leave_out("A convolution of integers or complex numbers", _layer(node))
            return
        shape = self._shape(image)
        batch, channels, height, width = (1,) * (4 - len(shape)) + shape
        dilation = _pair(given.get("dilation", [1, 1]))
        call = Convolution(
            batch=batch,
            in_channels=channels,
            image=(height, width),
            out_channels=kernel[0],
            kernel_size=(kernel[2], kernel[3]),
            stride=_pair(given.get("stride", [1, 1])),
            padding=_own_padding(given.get("padding", [0, 0]), (kernel[2], kernel[3]), dilation),
            dilation=dilation,
            groups=given.get("groups", 1),
            bias=given.tensor("bias") is not None,
            dtype=_DTYPES[dtype],
        )
        self._transcript.convolution(_layer(node), image, call)

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._sizes.value(size) for size in self._tensors[name]["sizes"])


class _Arguments(dict[str, Any]):
    """The arguments of a node by name: plain values, and tensors by their names."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node = node
        for entry in node["inputs"]:
            ((kind, value),) = entry["arg"].items()
            if kind not in ("as_none", "as_tensor", "as_tensors"):
                self[entry["name"]] = value

    def tensor(self, name: str) -> str | None:
        """The name of the tensor that is the argument `name`."""
        for entry in self._node["inputs"]:
            if entry["name"] == name and "as_tensor" in entry["arg"]:
                return str(entry["arg"]["as_tensor"]["name"])
        return None

    def tensors(self) -> Iterator[str]:
        """The names of all tensors among the arguments."""
        for entry in self._node["inputs"]:
            found = entry["arg"]
            for tensor in (found.get("as_tensor"), *(found.get("as_tensors") or ())):
                if tensor:
                    yield tensor["name"]


def _user_input(path: Path, module: Any) -> str:
    """The name of the first tensor that a caller gives, one of four dimensions if there is any."""
    specified = [entry["user_input"]["arg"] for entry in module["signature"]["input_specs"] if "user_input" in entry]
    names = [str(argument["as_tensor"]["name"]) for argument in specified if "as_tensor" in argument]
    if not names:
        raise ModelError(f"{path}: this program takes no tensor.")
    tensors = module["graph"]["tensor_values"]
    return next((name for name in names if len(tensors[name]["sizes"]) == 4), names[0])


def _result(node: Any) -> str:
    return str(node["outputs"][0]["as_tensor"]["name"])


def _layer(node: Any) -> str:
    """The module that the call stands in, from the stack of modules that torch.export keeps."""
    stack = (node.get("metadata") or {}).get("nn_module_stack") or ""
    last = stack.rpartition(";")[2].split(",")
    return last[1] if len(last) > 2 and last[1] else str(node.get("name") or "")


def _own_padding(given: Any, kernel: Pair, dilation: Pair) -> Sides:
    if given == "valid":
        return ((0, 0), (0, 0))
    if given == "same":
        rows, columns = ((d * (k - 1) // 2, -(-d * (k - 1) // 2)) for k, d in zip(kernel, dilation, strict=True))
        return (rows, columns)
    top, left = _pair(given)
    return ((top, top), (left, left))


def _pair(given: Iterable[int]) -> Pair:
    values = tuple(given)
    return (values[0], values[-1])
