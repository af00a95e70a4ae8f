"""What may be joined to each convolution of a model, as an engine joins it, and what stays apart, with the reason.

    convolution [batch norm] [activation] [sum]     or     convolution [batch norm] [sum] [activation]

Each operation has to be the only reader of the one before it. The batch norm is folded into weight and bias. The other
operand of the sum is the residual. Where both operands come from convolutions, the later one takes the sum, because its
residual is there when it runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from convbench.extraction.deployed.data_flow import DataFlow, Operation
from convbench.problem import ConvProblem
from convbench.problem.epilogue import Epilogue

_BY_PRODUCT = {"sigmoid": Epilogue(activation="silu"), "hard sigmoid": Epilogue(activation="hard_swish")}
"""x * sigmoid(x) and its like, by the activation."""
_JOINED = {"batch norm": "A batch norm", "activation": "An activation", "sum": "A residual sum"}


@dataclass(frozen=True)
class Fusion:
    """What is joined to the convolution at the place `convolution`: the operations at the places `joined`, in order.

    `folds` says whether a batch norm is among them. `residual` is the key of the tensor that is added.
    """

    convolution: int
    result: Hashable
    joined: tuple[int, ...] = ()
    folds: bool = False
    epilogue: Epilogue | None = None
    residual: Hashable = None

    def problem(self, bare: ConvProblem) -> ConvProblem:
        """The problem of `bare` with what is joined to it: a folded batch norm gives it a bias."""
        return bare.replace(bias=bare.bias or self.folds, epilogue=self.epilogue)


@dataclass(frozen=True)
class Deployment:
    """A `Fusion` for each convolution, in order. `apart` is what could not be joined, as the beginning of a sentence,
    with its layer."""

    fusions: tuple[Fusion, ...] = ()
    apart: tuple[tuple[str, str], ...] = ()

    @property
    def joined(self) -> Mapping[str, int]:
        """How many batch norms, activations and sums are joined."""
        epilogues = [fusion.epilogue for fusion in self.fusions if fusion.epilogue is not None]
        return {
            "batch_norms": sum(fusion.folds for fusion in self.fusions),
            "activations": sum(epilogue.activation is not None for epilogue in epilogues),
            "sums": sum(epilogue.residual is not None for epilogue in epilogues),
        }

    @property
    def places(self) -> frozenset[int]:
        """The places of all operations that are in a fusion."""
        return frozenset(place for fusion in self.fusions for place in (fusion.convolution, *fusion.joined))


def deployment_of(flow: DataFlow, plain: Sequence[bool] | None = None) -> Deployment:
    """The fusions of a model. Nothing is joined to a convolution for which `plain` is false, in their order."""
    return _Search(flow, plain).deployment()


class _Search:
    def __init__(self, flow: DataFlow, plain: Sequence[bool] | None) -> None:
        self._plain = plain
        self._operations, self._readers = flow.operations, flow.readers()
        self._makers = {operation.result: place for place, operation in enumerate(flow.operations)}
        self._taken: set[int] = set()

    def deployment(self) -> Deployment:
        places = [place for place, operation in enumerate(self._operations) if operation.kind == "convolution"]
        # The later convolutions come first, and so take the sums.
        plain = self._plain or [True] * len(places)
        fusions = [self._grown(place, joins) for place, joins in zip(reversed(places), reversed(plain), strict=True)]
        self._refused = {f.result for f, joins in zip(fusions, reversed(plain), strict=True) if not joins}
        return Deployment(tuple(reversed(fusions)), tuple(self._apart()))

    def _grown(self, place: int, joins: bool) -> Fusion:
        fusion = Fusion(place, self._operations[place].result)
        if not joins:
            return fusion
        fusion = self._with_batch_norm(fusion)
        fusion = self._with_activation(fusion)
        fusion = self._with_sum(fusion)
        if fusion.epilogue is not None and fusion.epilogue.activation is None:
            fusion = self._with_activation(fusion)
        self._taken.update(fusion.joined)
        return fusion

    def _with_batch_norm(self, fusion: Fusion) -> Fusion:
        place = self._only_reader(fusion.result, "batch norm")
        return fusion if place is None else replace(self._joined(fusion, place), folds=True)

    def _with_activation(self, fusion: Fusion) -> Fusion:
        behind = self._activation_behind(fusion.result)
        if behind is None:
            return fusion
        places, activation = behind
        if fusion.epilogue is not None:
            activation = replace(activation, residual=fusion.epilogue.residual)
        return replace(self._joined(fusion, *places), epilogue=activation)

    def _with_sum(self, fusion: Fusion) -> Fusion:
        place = self._only_reader(fusion.result, "sum")
        if place is None:
            return fusion
        first, second = self._operations[place].operands
        before = fusion.epilogue
        epilogue = replace(before, residual="after") if before else Epilogue(residual="before")
        residual = second if first == fusion.result else first
        return replace(self._joined(fusion, place), epilogue=epilogue, residual=residual)

    def _joined(self, fusion: Fusion, *places: int) -> Fusion:
        return replace(fusion, joined=(*fusion.joined, *places), result=self._operations[places[-1]].result)

    def _activation_behind(self, key: Hashable) -> tuple[tuple[int, ...], Epilogue] | None:
        place = self._only_reader(key, "activation")
        if place is not None:
            activation = self._operations[place].activation
            return None if activation is None else ((place,), activation)
        return self._product_behind(key)

    def _product_behind(self, key: Hashable) -> tuple[tuple[int, ...], Epilogue] | None:
        """x * sigmoid(x), as two operations."""
        readers = self._readers.get(key, [])
        if len(readers) != 2 or None in readers:
            return None
        gate, product = sorted(place for place in readers if place is not None)
        activation, multiplied = self._operations[gate], self._operations[product]
        if (activation.kind, multiplied.kind) != ("activation", "product"):
            return None
        if activation.obstacle is not None or multiplied.obstacle is not None:
            return None
        if set(multiplied.operands) != {key, activation.result} or self._readers.get(activation.result) != [product]:
            return None
        name = activation.name or (activation.activation.activation if activation.activation else None) or ""
        joint = _BY_PRODUCT.get(name)
        return None if joint is None else ((gate, product), joint)

    def _only_reader(self, key: Hashable, kind: str) -> int | None:
        """The place of the one operation that reads `key`, if it is of that kind and free to be joined."""
        readers = self._readers.get(key, [])
        if len(readers) != 1 or readers[0] is None or readers[0] in self._taken:
            return None
        operation = self._operations[readers[0]]
        return readers[0] if operation.kind == kind and operation.obstacle is None else None

    # --- what stays apart -----------------------------------------------------------------------------------------

    def _apart(self) -> Iterator[tuple[str, str]]:
        for place, operation in enumerate(self._operations):
            if operation.kind in _JOINED and place not in self._taken:
                yield (
                    f"{_JOINED[operation.kind]} that is not joined ({self._reason(place, operation)})",
                    operation.layer,
                )

    def _reason(self, place: int, operation: Operation) -> str:
        if operation.obstacle is not None:
            return operation.obstacle
        if operation.kind == "activation" and operation.activation is None:
            return f"no epilogue has {operation.name}"
        ends = [key for key in operation.operands if key in self._ends]
        if any(key in self._refused for key in ends):
            return "its convolution is transposed or of integers"
        if not ends:
            return "it does not follow a convolution directly"
        if all(len(self._readers.get(key, [])) > 1 for key in ends):
            return "what it reads is used elsewhere, too"
        return "the convolution before it has as much joined to it as it can have"

    @cached_property
    def _ends(self) -> frozenset[Hashable]:
        """What convolutions give, with what is joined to them."""
        results = {operation.result for operation in self._operations if operation.kind == "convolution"}
        return frozenset(results | {self._operations[place].result for place in self._taken})
