"""`Extracted`: the distinct convolutions of a model, each with its count and its first layer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from convbench.problem import ConvProblem, Dtype
from convbench.suite import Case, Suite


@dataclass(frozen=True)
class Layer:
    """One run of a convolution, in the layer of that name."""

    name: str
    problem: ConvProblem


@dataclass(frozen=True)
class Reading:
    """What a reader finds in a model: the runs in order, sentences on what is left out, and the shape of the input."""

    layers: tuple[Layer, ...]
    left_out: tuple[str, ...]
    input_shape: tuple[int, ...]


@dataclass(frozen=True)
class Extracted:
    """The convolutions of the model that `source` names.

    `cases` are its distinct problems in the order of their first runs, with `count` and the first `layer`. `left_out`
    are sentences on what runs but is not a conv2d, or cannot be seen.
    """

    name: str
    source: str
    input_shape: tuple[int, ...]
    cases: tuple[Case, ...]
    left_out: tuple[str, ...] = ()

    @property
    def runs(self) -> int:
        """The number of convolutions that one call of the model runs."""
        return sum(case.count for case in self.cases)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolutions of one call."""
        return sum(case.count * case.problem.macs for case in self.cases)

    def suite(self) -> Suite:
        """The same as a suite, without cases if the model has no conv2d."""
        shape = "x".join(map(str, self.input_shape))
        convolutions = "The one convolution" if self.runs == 1 else f"The {self.runs} convolutions"
        distinct = f"{len(self.cases)} distinct, " if len(self.cases) < self.runs else ""
        summary = f"{convolutions} of {self.source} at {shape}: {distinct}{amount_of_macs(self.macs)}."
        return Suite(self.name, summary, ("model",), self.cases, Path(self.source))


def gathered(source: str, name: str, reading: Reading, dtype: Dtype | None = None) -> Extracted:
    """The distinct problems of a reading, all in `dtype` if one is given."""
    layers: dict[ConvProblem, list[str]] = {}
    for layer in reading.layers:
        problem = layer.problem if dtype is None else layer.problem.replace(dtype=dtype)
        layers.setdefault(problem, []).append(layer.name)
    cases = tuple(Case(problem, count=len(names), layer=names[0] or None) for problem, names in layers.items())
    suite_name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-") or "model"
    return Extracted(suite_name, source, reading.input_shape, cases, reading.left_out)


def amount_of_macs(macs: int) -> str:
    """Multiply-accumulates as text, such as `4.09 GMACs`."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if macs >= size:
            return f"{macs / size:.3g} {prefix}MACs"
    return f"{macs} MACs"


def left_out_sentences(kinds: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """A sentence for each distinct kind among pairs (kind, layer): how often it runs, and in which layer first."""
    layers: dict[str, list[str]] = {}
    for kind, layer in kinds:
        layers.setdefault(kind, []).append(layer)
    times = {1: "once", 2: "twice"}
    return tuple(
        f"{kind}: runs {times.get(len(names), f'{len(names)} times')}{f', first in {names[0]}' if names[0] else ''}."
        for kind, names in layers.items()
    )
