"""`If` nodes whose condition is known: the branch that is taken, in place of the node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from convbench.extraction.onnx.model_file import graphs_of


def take_known_branches(graph: Any, value_of: Callable[[str], Any]) -> bool:
    """Replace the `If` nodes of `graph` whose condition `value_of` gives, an array of one element. Returns whether
    there were any."""
    nodes: list[Any] = []
    is_changed = False
    for node in graph.node:
        branch = _taken(node, value_of) if node.op_type == "If" and not node.domain else None
        if branch is None or len(branch.output) != len(node.output):
            nodes.append(node)
            continue
        is_changed = True
        nodes += _nodes_in_place(graph, node, branch)
    if is_changed:
        copies = [_copy(node) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    return is_changed


def _taken(node: Any, value_of: Callable[[str], Any]) -> Any:
    condition = value_of(node.input[0]) if len(node.input) == 1 else None
    if condition is None or condition.size != 1:
        return None
    name = "then_branch" if bool(condition.reshape(())) else "else_branch"
    return next((attribute.g for attribute in node.attribute if attribute.name == name), None)


def _nodes_in_place(graph: Any, node: Any, branch: Any) -> Iterator[Any]:
    """The nodes of `branch` under names that no other tensor has, and its initializers added to `graph`."""
    prefix = f"{node.name or node.output[0]}/{branch.name}/{len(graph.node)}/"
    made = [name for inner in branch.node for name in inner.output if name]
    stored = [tensor.name for tensor in branch.initializer]
    sparse = [tensor.values.name for tensor in branch.sparse_initializer]
    names = {name: prefix + name for name in (*made, *stored, *sparse)}
    direct = {}
    for inner, outer in zip(branch.output, node.output, strict=True):
        if inner.name in made and inner.name not in direct and outer:
            direct[inner.name] = outer
    names |= direct
    for tensor in branch.initializer:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = names[tensor.name]
    for tensor in branch.sparse_initializer:
        graph.sparse_initializer.add().CopyFrom(tensor)
        graph.sparse_initializer[-1].values.name = names[tensor.values.name]
    for inner in branch.node:
        yield _renamed(inner, names)
    for inner, outer in zip(branch.output, node.output, strict=True):
        if outer and direct.get(inner.name) != outer:
            yield _identity(names.get(inner.name, inner.name), outer)


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    copy = _copy(node)
    for tensors in (copy.input, copy.output):
        tensors[:] = [names.get(name, name) for name in tensors]
    for graph in graphs_of(copy):
        own = {name for inner in graph.node for name in inner.output} | {entry.name for entry in graph.input}
        outer = {name: new for name, new in names.items() if name not in own}
        renamed = [_renamed(inner, outer) for inner in graph.node]
        del graph.node[:]
        graph.node.extend(renamed)
        for output in graph.output:
            output.name = outer.get(output.name, output.name)
    return copy


def _copy(node: Any) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    return copy


def _identity(source: str, result: str) -> Any:
    from onnx.helper import make_node

    return make_node("Identity", [source], [result])
