"""`CallLog`: the calls that a reader of models meets, and the layers that follow from them.

Models pad by the convolution's own zeros, by a separate operation (a padding module, `F.pad`, ONNX's Pad), or by both.
A library gets one convolution with all of the padding, when the result is the same. The reader gives each tensor a key,
so that it is known when a convolution reads the result of a padding. If something else reads that result as well, the
padding is not counted as part of the convolution.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from convbench.errors import ModelError, ProblemError
from convbench.extraction.deployed.data_flow import DataFlow
from convbench.extraction.deployed.fusion import Deployment, deployment_of
from convbench.extraction.transposed import BIAS_LEFT_OUT, TransposedConvolution
from convbench.problem import ConvProblem, PaddingMode, Pair, Sides

NO_SIDES: Sides = ((0, 0), (0, 0))
_RUNS = ({1: "runs once", 2: "runs twice"}, "times")


@dataclass(frozen=True)
class Padding:
    """Sides ((top, bottom), (left, right)) and how they are filled. Negative sides in mode "zeros" crop."""

    sides: Sides = NO_SIDES
    mode: PaddingMode = "zeros"

    def then(self, other: Padding) -> Padding | None:
        """This padding followed by `other`, as one padding; None when no single padding does the same.

        Zeros add up, unless a crop is padded again: the cropped values are lost.
        """
        if other.sides == NO_SIDES:
            return self
        if self.sides == NO_SIDES:
            return other
        if self.mode != "zeros" or other.mode != "zeros":
            return None
        (top, bottom), (left, right) = self.sides
        (more_top, more_bottom), (more_left, more_right) = other.sides
        pairs = ((top, more_top), (bottom, more_bottom), (left, more_left), (right, more_right))
        if any(first < 0 < second for first, second in pairs):
            return None
        return Padding(((top + more_top, bottom + more_bottom), (left + more_left, right + more_right)))


@dataclass(frozen=True)
class Convolution:
    """One call of conv2d: the shapes of its image (NCHW or CHW) and of its weight (OIHW), its own padding with zeros,
    and the other arguments of the `ConvProblem`."""

    image: tuple[int, ...]
    weight: tuple[int, ...]
    padding: Sides
    arguments: Mapping[str, Any]

    def problem(self, paddings: Sequence[tuple[Pair, Padding]]) -> ConvProblem:
        """The problem, with as many as possible of the `paddings` that made its image, the last one first.

        Each is a pair of the (height, width) before it, and the padding. Raises `ProblemError` for an impossible
        convolution.
        """
        padding = Padding(self.padding)
        problem = self._problem(self.image[-2:], padding)
        for before, earlier in paddings:
            joined = earlier.then(padding)
            if joined is None:
                break
            try:
                problem = self._problem(before, joined)
            except ProblemError:  # such as a crop of the whole image, which is then padded again
                break
            padding = joined
        return problem

    def _problem(self, size: tuple[int, ...], padding: Padding) -> ConvProblem:
        batch, channels, _, _ = (1,) * (4 - len(self.image)) + self.image
        return ConvProblem(
            batch=batch,
            in_channels=channels,
            height=size[0],
            width=size[1],
            out_channels=self.weight[0],
            kernel_size=(self.weight[2], self.weight[3]),
            padding=padding.sides,
            padding_mode=padding.mode,
            **self.arguments,
        )


@dataclass(frozen=True)
class Layer:
    """One run of a convolution, in the layer of that name."""

    name: str
    problem: ConvProblem

    @property
    def takes_epilogue(self) -> bool:
        """Whether something can be joined to it: it is neither transposed nor of integers."""
        return self.problem.direction == "forward" and self.problem.quantization is None


@dataclass(frozen=True)
class Reading:
    """What a reader finds in a model: the runs in order, sentences on what is left out, and the shape of the input."""

    layers: tuple[Layer, ...]
    left_out: tuple[str, ...]
    input_shape: tuple[int, ...]
    deployment: Deployment | None = None
    """What may be joined to each layer; None where the reader does not know."""
    only_bare: tuple[str, ...] = ()
    """Sentences on what is left out of bare convolutions, and joined to them where they are deployed."""
    flow: DataFlow | None = None
    """The operations at the places that `deployment` names."""

    def deployed(self) -> Reading:
        """The same with everything joined to its convolution that can be. Raises `ModelError` where it is not known."""
        if self.deployment is None:
            raise ModelError("this kind of file does not say what follows a convolution; leave --deployed out.")
        fusions = iter(self.deployment.fusions)
        layers = (
            replace(a, problem=next(fusions).problem(a.problem)) if a.problem.direction == "forward" else a
            for a in self.layers
        )
        apart = _counted(self.deployment.apart, "runs", *_RUNS)
        return replace(self, layers=tuple(layers), left_out=(*self.left_out, *apart), only_bare=())


@dataclass
class CallLog:
    """Calls in the order in which the reader meets them."""

    convolutions: list[tuple[str, Hashable, Convolution | TransposedConvolution]] = field(default_factory=list)
    """Each call with its layer and the key of its image."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """What runs and is no conv2d, as the beginning of a sentence, with its layer."""
    uncertain: list[tuple[str, str]] = field(default_factory=list)
    """What is in the model and may run or not, likewise."""
    only_bare: list[tuple[str, str]] = field(default_factory=list)
    """What runs and is no bare convolution, and can be joined to one, likewise."""
    flow: DataFlow = field(default_factory=DataFlow)
    """Every operation; its convolutions are those in `convolutions` that are not transposed, in the same order."""
    quantised: dict[Hashable, str] = field(default_factory=dict)
    """The images and weights that an operator made of integers, with its name."""
    remarks: list[str] = field(default_factory=list)
    """Sentences on what is left out, for no single layer."""
    _padded: dict[Hashable, tuple[Hashable, Pair, Padding]] = field(default_factory=dict)
    _same_as: dict[Hashable, Hashable] = field(default_factory=dict)
    _other_reads: set[Hashable] = field(default_factory=set)

    def padded(self, result: Hashable, source: Hashable, before: Pair, padding: Padding) -> None:
        """`result` is the image `source`, whose (height, width) was `before`, with that padding around it."""
        self._check_acyclic(result, source)
        self._padded[result] = (source, before, padding)

    def same(self, result: Hashable, source: Hashable) -> None:
        """`result` is the same image as `source`."""
        if self.knows(source):
            self._check_acyclic(result, source)
            self._same_as[result] = source

    def transposed(self, layer: str, image: Hashable, call: TransposedConvolution, *, has_bias: bool) -> None:
        """A transposed convolution runs in `layer`. Padding of its image stays an operation of its own."""
        self.read(image)
        self.convolutions.append((layer, image, call))
        if has_bias:
            self.left_out.append((BIAS_LEFT_OUT, layer))

    def lists_since(self, count: int) -> bool:
        """Whether behind the first `count` calls there is a convolution that is not transposed."""
        return any(isinstance(call, Convolution) for _, _, call in self.convolutions[count:])

    def of_integers(self, layer: str, operator: object) -> None:
        """The convolution of `layer` is listed in real numbers, and reads what `operator` makes of integers."""
        what = "The quantisation of a convolution that is listed in real numbers"
        self.left_out.append((f"{what} ({operator} makes its operands)", layer))

    def read(self, key: Hashable) -> None:
        """An operation other than a convolution or a padding reads, or changes, the image with that key."""
        self._other_reads.add(self._origin(key))

    def knows(self, key: Hashable) -> bool:
        """Whether padding made the image with that key."""
        return self._origin(key) in self._padded

    def within(self, where: str, inner: CallLog) -> None:
        """Add what lies in a branch or loop, `inner`, and may run or not."""
        kinds = [("A convolution", layer) for layer, _, _ in inner.convolutions] + inner.left_out + inner.uncertain
        self.uncertain += [(f"{kind} in {where}, which may run or not", layer) for kind, layer in kinds]

    def reading(self, input_shape: tuple[int, ...]) -> Reading:
        """The layers. Raises `ModelError` for an impossible convolution."""
        left_out = (
            *_counted(self.left_out, "runs", *_RUNS),
            *_counted(self.uncertain, "there are", {1: "there is one"}, ""),
        )
        layers = tuple(self._layer(*call) for call in self.convolutions)
        only_bare = tuple(_counted(self.only_bare, "runs", *_RUNS))
        sentences = (*left_out, *self.remarks)
        in_flow = [layer for layer in layers if layer.problem.direction == "forward"]
        deployment = deployment_of(self.flow, [layer.takes_epilogue for layer in in_flow])
        return Reading(layers, sentences, input_shape, deployment, only_bare, self.flow)

    def _layer(self, name: str, image: Hashable, call: Convolution | TransposedConvolution) -> Layer:
        paddings = []
        while (padded := self._padded.get(key := self._origin(image))) and key not in self._other_reads:
            image, before, padding = padded
            paddings.append((before, padding))
        try:
            return Layer(name, call.problem(paddings))
        except ProblemError as error:
            raise ModelError(f"the convolution {name or 'of this model'} cannot be computed: {error}") from None

    def _check_acyclic(self, result: Hashable, source: Hashable) -> None:
        """Raise `ModelError` if `source` was itself made from `result`, as no graph is that can be computed."""
        key: Hashable | None = source
        while key is not None:
            if key == result:
                raise ModelError(f"the image {result!r} is made from itself; this is no graph that can be computed.")
            padded = self._padded.get(key)
            key = self._same_as.get(key, padded[0] if padded else None)

    def _origin(self, key: Hashable) -> Hashable:
        while key in self._same_as:
            key = self._same_as[key]
        return key


def _counted(kinds: Sequence[tuple[str, str]], verb: str, few: Mapping[int, str], times: str) -> Iterator[str]:
    """A sentence for each kind: how often, and in which layer first."""
    layers_by_kind: dict[str, list[str]] = {}
    for kind, layer in kinds:
        layers_by_kind.setdefault(kind, []).append(layer)
    for kind, names in layers_by_kind.items():
        count = few.get(len(names), f"{verb} {len(names)} {times}".rstrip())
        yield f"{kind}: {count}" + (f", first in {names[0]}." if names[0] else ".")


def pair_of(numbers: Sequence[int]) -> Pair:
    """(height, width), from one number for both or two."""
    return (numbers[0], numbers[-1])


def sides_of(last_first: tuple[int, ...]) -> Sides | None:
    """The sides of (left, right, top, bottom, ...), as `F.pad` takes them; None when it pads batch or channels."""
    if any(last_first[4:]) or len(last_first) < 2:
        return None
    left, right, top, bottom = (*last_first[:4], 0, 0)[:4]
    return ((top, bottom), (left, right))
