"""The nodes of a graph of torch.fx as operations, by the modules, functions and methods that they call."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from convbench.extraction.deployed.data_flow import DataFlow, Operation
from convbench.extraction.deployed.torch_operators import TensorKind, operation_of
from convbench.plans.joined.folding import Norm

_MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: (name.lower(), ()) for name in ("ReLU", "ReLU6", "SiLU", "Sigmoid", "Hardswish", "Hardsigmoid", "Tanh")},
    **{name: (name.lower(), ()) for name in ("Mish", "ELU", "SELU", "CELU", "Softplus", "PReLU")},
    "LeakyReLU": ("leaky_relu", ("negative_slope",)),
    "GELU": ("gelu", ("approximate",)),
    "Hardtanh": ("hardtanh", ("min_val", "max_val")),
}
"""The operator of each module of torch, and the attributes that are its arguments."""
_ARGUMENTS = {
    "leaky_relu": ("input", "negative_slope"),
    "hardtanh": ("input", "min_val", "max_val"),
    "clamp": ("input", "min", "max"),
    "clamp_min": ("input", "min"),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "dropout": ("input", "p", "training"),
}
"""The arguments of functions that are given in order, as far as they say something."""
_OPERATORS = {"iadd": "add_", "imul": "mul_"}
_METADATA = {"ndim", "shape", "dtype", "device", "is_cuda", "requires_grad", "layout"}
_METADATA_METHODS = {"size", "dim", "ndimension", "numel", "type", "is_contiguous", "stride", "element_size"}
_ALIASES = {"Identity", "Dropout", "Dropout2d"}
_KINDS = (int, float, bool, str, type(None), tuple)


class NodeReader:
    """The flow of a graph: `nodes` by the places of their operations, the `order` of all, and the `aliases` among them,
    which pass their input on. `kinds` are those of the tensors that nodes make."""

    def __init__(self, model: Any, graph: Any, kinds: Mapping[Any, TensorKind], names: set[str]) -> None:
        self.flow, self.nodes, self.aliases = DataFlow(), list[Any](), set[Any]()
        self._model, self._kinds, self._names = model, kinds, names
        self.order: dict[Any, int] = {node: place for place, node in enumerate(graph.nodes)}
        self._calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
        for node in graph.nodes:
            self._note(node)

    def is_free(self, node: Any) -> bool:
        """Whether a convolution may be replaced: it is called once, with one tensor."""
        name = str(node.target)
        return name in self._names and self._calls.count(name) == 1 and len(node.args) == 1 and not node.kwargs

    def between(self, nodes: Sequence[Any]) -> list[Any]:
        """The other nodes between the first and the last of these."""
        first, last = self.order[nodes[0]], self.order[nodes[-1]]
        return [node for node, place in self.order.items() if first < place < last and node not in nodes]

    def norm_of(self, nodes: Sequence[Any]) -> Norm | None:
        """The batch norm among these nodes."""
        for node in nodes:
            if node.op == "call_module" and _is_batch_norm(self._module(node)):
                norm, name = self._module(node), str(node.target)
                affine = [f"{name}.{word}" if getattr(norm, word) is not None else None for word in ("weight", "bias")]
                return Norm(f"{name}.running_mean", f"{name}.running_var", affine[0], affine[1], norm.eps)
            if node.op == "call_function" and node.target.__name__ == "batch_norm":
                arguments = self._arguments(node, "batch_norm")
                tensors = [arguments.get(word) for word in ("running_mean", "running_var", "weight", "bias")]
                mean, variance, weight, bias = (None if one is None else str(one.target) for one in tensors)
                return Norm(str(mean), str(variance), weight, bias, float(arguments.get("eps", 1e-5)))
        return None

    def _note(self, node: Any) -> None:
        if node.op == "output":
            self.flow.leaves(node.all_input_nodes)
        elif node.op in ("call_module", "call_function", "call_method"):
            operation = self._operation(node)
            if operation is None:
                self.flow.same(node, node.all_input_nodes[0])
                self.aliases.add(node)
                return
            self.nodes.append(node)
            self.flow.add(operation)

    def _operation(self, node: Any) -> Operation | None:
        """What a node does; None where it passes its input on."""
        other = Operation("other", tuple(node.all_input_nodes), node, str(node.target))
        if node not in self._kinds or self._is_read_later(node):
            return other
        if node.op == "call_module":
            return self._of_module(node, other)
        name = _name_of(node)
        if name == "dropout" and not self._arguments(node, name).get("training", True):
            return None
        return self._of_operator(node, name, self._arguments(node, name)) if name else other

    def _of_module(self, node: Any, other: Operation) -> Operation | None:
        module = self._module(node)
        kind = type(module).__name__
        if not type(module).__module__.startswith("torch.nn.modules.") or has_hooks(module):
            return other
        if kind == "Conv2d":
            return Operation("convolution", tuple(node.all_input_nodes), node, str(node.target))
        if kind in _ALIASES:
            return None
        if _is_batch_norm(module):
            words = {"running_mean": module.running_mean, "running_var": module.running_var, "training": False}
            return self._of_operator(node, "batch_norm", words)
        if kind in _MODULES:
            name, attributes = _MODULES[kind]
            return self._of_operator(node, name, {word: getattr(module, word) for word in attributes})
        return other

    def _of_operator(self, node: Any, name: str, arguments: Mapping[str, Any]) -> Operation:
        operands = tuple(node.all_input_nodes)
        if len(operands) == 1 and name.removesuffix("_") in ("add", "mul") and node.args[:2] == operands * 2:
            operands *= 2  # a tensor with itself
        kinds = [self._kinds[operand] for operand in operands if operand in self._kinds]
        return operation_of(name, arguments, kinds, operands, node, str(node.target))

    def _arguments(self, node: Any, name: str) -> dict[str, Any]:
        names = _ARGUMENTS.get(name.removesuffix("_"), ("input", "other"))
        return dict(zip(names, node.args, strict=False)) | dict(node.kwargs)

    def _module(self, node: Any) -> Any:
        return self._model.get_submodule(str(node.target))

    def _is_read_later(self, node: Any) -> bool:
        """Whether the node writes to a tensor that is read afterwards under its old name."""
        written = node.args[0] if writes_to(self._model, node) and node.args else None
        return written is not None and any(self.order[user] > self.order[node] for user in written.users)


def constants_of(model: Any, graph: Any, example: tuple[Any, ...]) -> dict[Any, TensorKind]:
    """Run the graph once. Returns the kinds of the tensors that its nodes make. Nodes that read a shape or another
    property of a tensor, and what is computed of these alone, are replaced by their values."""
    from torch import Tensor, no_grad
    from torch.fx import GraphModule, Interpreter, map_arg

    values: dict[Any, Any] = {}

    class Run(Interpreter):
        def run_node(self, node: Any) -> Any:
            value = super().run_node(node)
            if isinstance(value, Tensor):
                values[node] = TensorKind(tuple(value.shape), value.dim(), value.dtype, value.is_floating_point())
            elif isinstance(value, _KINDS):
                values[node] = (tuple(value),) if isinstance(value, tuple) else (value,)
            return value

    targets = {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}
    root = {target: _attribute(model, target) for target in targets}
    with no_grad():
        Run(GraphModule(root, graph)).run(*example)
    graph.owning_module = None  # calls of what that module does not have are put into the graph later
    for node in list(graph.nodes):
        if _follows_from_shapes(node) and isinstance(values.get(node), tuple):
            (constant,) = values.pop(node)
            for user in list(node.users):
                swap = _swapped(node, constant)
                user.args, user.kwargs = map_arg(user.args, swap), map_arg(user.kwargs, swap)
            graph.erase_node(node)
    return {node: value for node, value in values.items() if isinstance(value, TensorKind)}


def writes_to(model: Any, node: Any) -> bool:
    """Whether a node writes to its first operand."""
    if node.op == "call_module":
        return bool(getattr(model.get_submodule(str(node.target)), "inplace", False))
    if node.kwargs.get("inplace") is True or node.kwargs.get("out") is not None:
        return True
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        inplace = name in _ARGUMENTS and node.args[len(_ARGUMENTS[name]) :][:1] == (True,)
        plain = len(node.args) > 1 and node.args[1] is True and name in ("relu", "relu6", "silu", "hardswish")
        return name in _OPERATORS or name.endswith("_") or name == "setitem" or inplace or plain
    return node.op == "call_method" and str(node.target).endswith("_") and not str(node.target).startswith("__")


def _swapped(node: Any, constant: Any) -> Callable[[Any], Any]:
    return lambda other: constant if other is node else other


def _follows_from_shapes(node: Any) -> bool:
    if node.op == "call_method":
        return str(node.target) in _METADATA_METHODS
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args[1] in _METADATA
    return not node.all_input_nodes and getattr(node.target, "__module__", "") == "_operator"


def _name_of(node: Any) -> str:
    """The operator of torch that a function or a method is; empty for any other."""
    if node.op == "call_method":
        return str(node.target)
    name = getattr(node.target, "__name__", "")
    return _OPERATORS.get(name, name) if any(getattr(place, name, None) is node.target for place in _places()) else ""


def _places() -> Iterator[Any]:
    import torch

    yield from (operator, torch, torch.nn.functional)


def _attribute(model: Any, target: str) -> Any:
    path, _, name = target.rpartition(".")
    return getattr(model.get_submodule(path), name)


def _is_batch_norm(module: Any) -> bool:
    from torch.nn import BatchNorm2d

    return type(module) is BatchNorm2d and not module.training


def is_leaf(module: Any) -> bool:
    """Whether torch.fx calls a module as a whole."""
    from torch.nn import Sequential

    return type(module).__module__.startswith("torch.nn") and not isinstance(module, Sequential)


def has_hooks(module: Any) -> bool:
    """Whether something sees or changes what a module computes."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or "forward" in vars(module)
    )
