"""A model whose convolutions compute what is joined to them, each by one call.

The model stays of its class and keeps its modules, its parameters and their names: it gets a subclass with another
`forward`. That one runs for the example's shapes and dtypes, without gradients and outside of autocast; in any other
case the model computes as before. So does a layer once a tensor that was folded into it has changed. Copies of such a
model, and what `torch.save` writes, are plain models.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from convbench.plans.joined.folding import Array, Watch, folded, tensor_of
from convbench.plans.joined.graph import PLACE, Graph, Group
from convbench.plans.prepared_call import Call
from convbench.problem import ConvProblem

_OWN = (PLACE, "_joined_forward")
Observer = Callable[[str, tuple[Any, ...], bool], None]
"""Called with a layer's name and its operands before it computes (True) and after it (False)."""


class JoinedLayer:
    """A convolution of `model` with what is joined to it. It computes as the model does, or by planned calls."""

    def __init__(self, model: Any, group: Group) -> None:
        self.name, self.group = group.name, group
        self.observer: Observer | None = None
        """Sees each call."""
        self._conv, self._norm = model.get_submodule(group.name), group.norm
        self._original, self._model, self._calls = group.original, model, dict[tuple[int, ...], Call]()
        self._watch: Watch | None = None

    def problem(self, bare: ConvProblem) -> ConvProblem:
        """The problem of the convolution alone, with what is joined to it."""
        return bare.replace(bias=bare.bias or self._norm is not None, epilogue=self.group.epilogue)

    def weights(self) -> tuple[Array, Array | None]:
        """The convolution's weight and bias with the batch norm folded into them."""
        tensor = functools.partial(tensor_of, self._model)
        return folded(self._conv.weight, self._conv.bias, self._norm, tensor)

    def follow(self, calls: Mapping[tuple[int, ...], Call]) -> None:
        """Compute inputs of these shapes by these calls; without calls, as the model does."""
        self._calls = dict(calls)
        own = [f"{self.name}.{word}" for word in ("weight", "bias") if getattr(self._conv, word) is not None]
        names = (*own, *(self._norm.names if self._norm is not None else ()))
        self._watch = Watch(self._model, names) if calls else None

    def __call__(self, *operands: Any) -> Any:
        if self.observer is not None:
            return self._observed(self.observer, operands)
        return self._computed(operands)

    def _observed(self, observer: Observer, operands: tuple[Any, ...]) -> Any:
        observer(self.name, operands, True)
        y = self._computed(operands)
        observer(self.name, operands, False)
        return y

    def _computed(self, operands: tuple[Any, ...]) -> Any:
        call: Callable[..., Any] | None = self._calls.get(operands[0].shape)
        if call is None or self._watch is None or self._watch.changed():
            return self._original(self._model, *operands)
        return call(*operands)


def joined_layers(model: Any, graph: Graph) -> dict[str, JoinedLayer]:
    """The layers of `graph`, which compute as `model` does, by the names of their convolutions."""
    return {name: JoinedLayer(model, group) for name, group in graph.groups.items()}


@dataclass(frozen=True)
class JoinedModel:
    """A model that has been given joined layers, and those of them that may follow a plan."""

    model: Any
    layers: Mapping[str, JoinedLayer]

    @classmethod
    def of(cls, model: Any, graph: Graph, example: tuple[Any, ...], names: Collection[str]) -> JoinedModel:
        """Give `model`, or a copy of the one that was traced, the layers of `graph`, which compute as before. Those of
        `names` are in the result."""
        layers = joined_layers(model, graph)
        by_attribute = {graph.groups[name].attribute: layer for name, layer in layers.items()}
        own: Any = type(model)
        model.__class__ = _joined_class(own)
        model.__dict__[PLACE] = SimpleNamespace(**by_attribute)
        model.__dict__["_joined_forward"] = _Forward(graph.forward, tuple(map(_kind, example)))
        return cls(model, {name: layer for name, layer in layers.items() if name in names})

    @contextmanager
    def watched(self, observer: Observer) -> Iterator[None]:
        """Within the context, `observer` sees each layer."""
        for layer in self.layers.values():
            layer.observer = observer
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.observer = None


@dataclass(frozen=True)
class _Forward:
    """What computes in place of the model's own `forward`, for arguments of these kinds."""

    function: Callable[..., Any]
    kinds: tuple[Any, ...]

    def takes(self, arguments: tuple[Any, ...]) -> bool:
        from torch import is_autocast_enabled, is_grad_enabled

        if len(arguments) != len(self.kinds) or is_grad_enabled():
            return False
        return all(map(_is_of_kind, arguments, self.kinds)) and not is_autocast_enabled(_device(arguments))


def _device(arguments: tuple[Any, ...]) -> str:
    return next((str(a.device.type) for a in arguments if hasattr(a, "device")), "cpu")


def _kind(argument: Any) -> Any:
    from torch import Tensor

    return (argument.shape, argument.dtype, argument.device) if isinstance(argument, Tensor) else argument


def _is_of_kind(argument: Any, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return hasattr(argument, "device") and (argument.shape, argument.dtype, argument.device) == kind
    return type(argument) is type(kind) and bool(argument == kind)


@functools.cache
def _joined_class(own: type) -> type:
    def forward(self: Any, *arguments: Any, **words: Any) -> Any:
        joined = self.__dict__.get("_joined_forward")
        if words or joined is None or self.training or not joined.takes(arguments):
            return own.forward(self, *arguments, **words)  # type: ignore[attr-defined]
        return joined.function(self, *arguments)

    def reduce(self: Any, protocol: Any) -> Any:
        state = {name: value for name, value in self.__dict__.items() if name not in _OWN}
        # As copyreg reconstructs an object of any class. Loading it needs no convbench.
        return copyreg._reconstructor, (own, object, None), state  # type: ignore[attr-defined]

    members = {"forward": forward, "__reduce_ex__": reduce, "__module__": own.__module__, "__doc__": own.__doc__}
    return type(own.__name__, (own,), members)
