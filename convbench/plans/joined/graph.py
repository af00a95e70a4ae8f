"""A torch model as the graph that torch.fx traces, and what may be joined to each of its convolutions.

The graph holds for the example input alone: for its shapes, and with what follows from these as constants. Within it
each convolution and what is joined to it is one call. What is not understood stays as it is.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from convbench.extraction.deployed.fusion import Fusion, deployment_of
from convbench.plans.joined.folding import Norm
from convbench.plans.joined.nodes import NodeReader, constants_of, has_hooks, is_leaf, writes_to
from convbench.problem.epilogue import Epilogue

PLACE = "_joined_layers"
"""The attribute of a model under which its joined layers are."""


@dataclass(frozen=True)
class Group:
    """A convolution of a model, by name, and what is joined to it. `original(model, x)`, or with a residual
    `original(model, x, r)`, computes them as the model does."""

    name: str
    norm: Norm | None
    epilogue: Epilogue | None
    original: Callable[..., Any]

    @property
    def attribute(self) -> str:
        return self.name.replace(".", "__")


@dataclass(frozen=True)
class Graph:
    """`forward(model, *example)` computes as the model does, and each group by the attribute of that name in
    `model._joined_layers`. `apart` are sentences on what is joined to no convolution."""

    forward: Callable[..., Any]
    groups: Mapping[str, Group]
    apart: tuple[str, ...]


def traced_graph(model: Any, example: tuple[Any, ...], names: set[str]) -> Graph | str:
    """The graph of `model` for `example`, with groups for the convolutions of these `names`; or why there is none."""
    from torch import Tensor
    from torch.fx import Tracer

    if reason := _reason_against(model, example):
        return reason
    parameters = list(inspect.signature(model.forward).parameters.values())
    concrete = {
        p.name: example[place] if place < len(example) else p.default
        for place, p in enumerate(parameters)
        if place >= len(example) or not isinstance(example[place], Tensor)
    }
    try:
        graph = Tracer().trace(model, concrete_args=concrete or None)
        constants = constants_of(model, graph, example)
        return _grouped(model, graph, NodeReader(model, graph, constants, names))
    except Exception as error:  # a model may do anything that a tracer does not follow
        line = next(iter(str(error).strip().splitlines()), "")
        return f"torch.fx cannot trace it ({type(error).__name__}: {line[:200]})"


def _reason_against(model: Any, example: tuple[Any, ...]) -> str | None:
    from torch import Tensor
    from torch.nn import Module

    own = type(model)
    if any(getattr(own, name, None) is not getattr(Module, name, None) for name in ("__reduce_ex__", "__deepcopy__")):
        return f"its class {own.__name__} is copied or saved in a way of its own"
    if not all(isinstance(argument, (Tensor, int, float, bool, str, type(None))) for argument in example):
        return "an argument of the model is neither a tensor nor a plain value"
    if name := next((name for name, part in model.named_modules() if has_hooks(part) and not is_leaf(part)), None):
        return f"{name or 'the model'} has hooks, which see or change what it computes"
    kinds = {p.kind for p in inspect.signature(model.forward).parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}:
        return "its forward takes any number of arguments, or some by name only"
    return None


def _grouped(model: Any, graph: Any, reader: NodeReader) -> Graph:
    deployment = deployment_of(reader.flow)
    apart: Counter[str] = Counter(kind for kind, _ in deployment.apart)
    nodes_of = {
        fusion: [reader.nodes[place] for place in (fusion.convolution, *fusion.joined)]
        for fusion in deployment.fusions
        if fusion.joined and reader.is_free(reader.nodes[fusion.convolution])
    }
    grouped = {node for nodes in nodes_of.values() for node in nodes}
    groups: dict[Fusion, Group] = {}
    for fusion, nodes in nodes_of.items():
        if any(writes_to(model, node) for node in reader.between(nodes) if node not in grouped):
            apart["What follows a convolution, where the model writes to another tensor meanwhile"] += 1
            continue
        name, original = str(nodes[0].target), _original(model, nodes, fusion)
        groups[fusion] = Group(name, reader.norm_of(nodes), fusion.epilogue, original)
    replaced: dict[Any, Any] = {}
    for fusion, group in groups.items():
        replaced[fusion.result] = _put_in_place(
            graph, reader, nodes_of[fusion], replaced.get(fusion.residual, fusion.residual), group
        )
    roots = {f"{PLACE}.{group.attribute}": _nothing for group in groups.values()}
    sentences = tuple(f"{kind}: {count} of them" if count > 1 else kind for kind, count in apart.items())
    by_name = {group.name: group for group in groups.values()}
    return Graph(_compiled(model, graph, roots), by_name, sentences)


def _nothing(*_: Any) -> None:
    """Stands for a joined layer where the code of a graph is made."""


def _put_in_place(graph: Any, reader: NodeReader, nodes: list[Any], residual: Any, group: Group) -> Any:
    """The one call in place of the last of `nodes`, and none of the others."""
    operands = (nodes[0].args[0], *(() if residual is None else (residual,)))
    with graph.inserting_after(nodes[-1]):
        call = graph.call_module(f"{PLACE}.{group.attribute}", operands)
    nodes[-1].replace_all_uses_with(call)
    aliases = [node for node in reader.between(nodes) if node in reader.aliases]
    for node in sorted([*nodes, *aliases], key=reader.order.__getitem__, reverse=True):
        if not node.users:
            graph.erase_node(node)
    return call


def _original(model: Any, nodes: list[Any], fusion: Fusion) -> Callable[..., Any]:
    """A function that computes `nodes` as they stand."""
    from torch.fx import Graph as FxGraph

    graph = FxGraph()
    known = {nodes[0].args[0]: graph.placeholder("x")}
    if fusion.residual is not None:
        known[fusion.residual] = graph.placeholder("r")

    def copied(node: Any) -> Any:
        if node not in known:  # the weights of a function, and aliases
            known[node] = graph.node_copy(node, copied)
        return known[node]

    graph.output(copied(nodes[-1]))
    return _compiled(model, graph, {})


def _compiled(model: Any, graph: Any, roots: dict[str, Any]) -> Callable[..., Any]:
    """The code of `graph` as a function of a model and its arguments."""
    from torch.fx import GraphModule

    targets = {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}
    root = roots | {target: _attribute(model, target) for target in targets if target not in roots}
    return type(GraphModule(root, graph)).forward


def _attribute(model: Any, target: str) -> Any:
    path, _, name = target.rpartition(".")
    return getattr(model.get_submodule(path), name)
