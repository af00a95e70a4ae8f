"""A node of an exported program: its operator, its arguments, and the graphs among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ALWAYS_RUN = frozenset(
    (
        *("wrap_with_set_grad_enabled", "wrap_with_autocast", "wrap", "strict_mode", "hints_wrapper"),
        *("wrap_activation_checkpoint", "tag_activation_checkpoint", "dynamo_bypassing_wrapper", "local_map_hop"),
        *("invoke_subgraph", "invoke_quant", "invoke_quant_packed", "run_const_graph"),
    )
)
"""Operators that run their one graph once, on the arguments behind it."""
BRANCHES_AND_LOOPS = frozenset(
    (
        *("cond", "switch", "while_loop", "while_loop_stack_output", "map", "map_impl", "scan", "associative_scan"),
        *("foreach_map", "flex_attention"),
    )
)
_LIBRARIES = ("aten", "prims", "prim", "higher_order", "quantized_decomposed", "torchvision", "profiler", "inductor")


@dataclass(frozen=True)
class Operator:
    """`torch.ops.LIBRARY.NAME.OVERLOAD`; the library is empty for functions of Python, such as `_operator.getitem`."""

    library: str
    name: str

    @classmethod
    def of(cls, target: str) -> Operator:
        words = target.removeprefix("torch.ops.").split(".") if target.startswith("torch.ops.") else []
        if len(words) > 1:
            return cls(words[0], words[1])
        # Also what a program may have written in another way, such as `aten.conv2d.default`.
        words = target.split(".")
        return cls("aten", words[1]) if words[0] == "aten" and len(words) > 1 else cls("", words[-1])

    @property
    def is_convolution(self) -> bool:
        """Whether its name says so, whichever library it is of."""
        name = self.name.lower()
        return "conv" in name and "convert" not in name

    @property
    def is_foreign(self) -> bool:
        """Whether it is of a library that is not torch's own, so that nothing is known of what it does."""
        return bool(self.library) and self.library not in _LIBRARIES

    def __str__(self) -> str:
        return self.name if self.library in ("", "aten", "higher_order") else f"{self.library}.{self.name}"


class Arguments(dict[str, Any]):
    """The plain arguments of a node by name. `single` and `tensors` are the names of its tensors."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.single: dict[str, str] = {}
        self.tensors: list[str] = []
        for entry in node["inputs"]:
            ((kind, value),) = entry["arg"].items()
            if kind == "as_tensor":
                self.single[entry["name"]] = str(value["name"])
            elif kind not in ("as_none", "as_tensors", "as_optional_tensors", "as_graph"):
                self[entry["name"]] = value
            self.tensors += tensors_of(entry["arg"])


def tensors_of(argument: Any) -> list[str]:
    """The names of the tensors in an argument."""
    ((kind, value),) = argument.items()
    if kind == "as_tensor":
        return [str(value["name"])]
    if kind == "as_tensors":
        return [str(tensor["name"]) for tensor in value]
    if kind == "as_optional_tensors":
        return [name for tensor in value for name in tensors_of(tensor)]
    return tensors_of(value) if kind == "as_optional_tensor" else []


def graphs_of(node: Any) -> list[Any]:
    """The graphs among the arguments of a node, in whatever way they are written."""
    return [graph for entry in node["inputs"] for graph in _graphs_in(entry["arg"])]


def _graphs_in(value: Any) -> Iterator[Any]:
    if isinstance(value, dict) and "nodes" in value:
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _graphs_in(inner)


def nodes_within(node: Any) -> Iterator[Any]:
    """All nodes of the graphs of a node, at any depth."""
    for graph in graphs_of(node):
        for inner in graph["nodes"]:
            yield inner
            yield from nodes_within(inner)


def arguments_of_graph(node: Any) -> list[Any]:
    """The arguments behind the one graph of an operator that always runs it: they are the graph's inputs."""
    arguments = [entry["arg"] for entry in node["inputs"]]
    places = [place for place, argument in enumerate(arguments) if "as_graph" in argument]
    flat: list[Any] = []
    for argument in arguments[places[0] + 1 :]:
        if "as_tensors" in argument:
            flat += [{"as_tensor": tensor} for tensor in argument["as_tensors"]]
        elif "as_string" not in argument:  # `invoke_subgraph` has the name of the graph there
            flat.append(argument)
    return flat


def layer_of(node: Any) -> str:
    """The module that makes the call, from the stack of modules that torch.export keeps."""
    stack = (node.get("metadata") or {}).get("nn_module_stack") or ""
    last = stack.rpartition(";")[2].split(",")
    return last[1] if len(last) > 2 and last[1] else str(node.get("name") or "")
