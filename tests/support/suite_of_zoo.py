"""The suites `zoo`, `zoo-1000` and `zoo-100`: every conv2d of every model of timm and torchvision, at their own sizes.

python tests/support/suite_of_zoo.py --cache DIR   # reads the models in ten minutes or so, and writes suites/zoo*
python tests/support/suite_of_zoo.py --cache DIR --part 1/2 --seconds 240   # reads half of them, for that long

What is read of a model is kept in DIR at once, a line for each, so that it can be interrupted and divided.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import io
import itertools
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from places import SUITES

from convbench.errors import ModelError
from convbench.extraction.extract import amount_of_macs, layers_of
from convbench.extraction.model_zoo import library
from convbench.problem import ConvProblem

LIBRARIES = ("timm", "torchvision")
SAMPLES = (1000, 100)
_KINDS = ("pointwise", "depthwise", "grouped", "dense")
_HEAD = """\
# Made by tests/support/suite_of_zoo.py from {libraries}.
name = "{name}"
summary = "{summary}"
tags = ["zoo", "model"]
table = "{name}.csv"
totals = {{ cases = {cases}, macs = {macs} }}
"""
_COLUMNS = ("problem", "count", "models", "model", "layer")


# --- reading the models -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """What was read: (case id, count, first layer) of each distinct convolution, or why nothing could be."""

    source: str
    layers: tuple[tuple[str, int, str], ...] = ()
    left_out: tuple[str, ...] = ()
    error: str = ""


def sources() -> list[str]:
    """All models, timm's first; torchvision's quantized ones, which are others of its models, are left out."""
    timm, torchvision = library("timm").list_models(), library("torchvision.models").list_models()
    # Quantized models are variants of the others.
    others = [f"torchvision:{name}" for name in torchvision if not name.startswith("quantized_")]
    return [*(f"timm:{name}" for name in timm), *others]


def read(source: str) -> Model:
    """The convolutions of one model."""
    try:
        found = layers_of(source)
    except ModelError as error:
        return Model(source, error=str(error))
    forward = [case for case in found.cases if case.problem.direction == "forward"]  # and no transposed ones
    layers = tuple((case.problem.case_id, case.count, case.layer or "") for case in forward)
    return Model(source, layers, found.left_out)


def kept(cache: Path) -> dict[str, Model]:
    """The models that are in the cache, by source."""
    models = {}
    for path in sorted(cache.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry: dict[str, Any] = json.loads(line)
            layers = tuple((case, count, layer) for case, count, layer in entry["layers"])
            models[entry["source"]] = Model(entry["source"], layers, tuple(entry["left_out"]), entry["error"])
    return models


def read_on(cache: Path, part: int, parts: int, seconds: float) -> int:
    """Read models that are not in the cache for that long; how many of this part are left."""
    cache.mkdir(parents=True, exist_ok=True)
    known = kept(cache)
    open_ = [source for source in sources()[part - 1 :: parts] if source not in known]
    until = time.monotonic() + seconds
    with (cache / f"part-{part}-of-{parts}.jsonl").open("a", encoding="utf-8") as file:
        while open_ and time.monotonic() < until:
            file.write(json.dumps(vars(read(open_.pop(0)))) + "\n")
            file.flush()
    return len(open_)


# --- from models to operations ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """A convolution of the zoo: run `count` times in `models` models together, first in `layer` of `model`."""

    problem: ConvProblem
    count: int
    models: int
    model: str
    layer: str


def operations(models: Iterable[Model]) -> list[Operation]:
    """All distinct ones, alike ones together: by kind, kernel, stride and work."""
    found: dict[str, Operation] = {}
    for model in models:
        for case, count, layer in model.layers:
            known = found.get(case) or Operation(ConvProblem.from_case_id(case), 0, 0, model.source, layer)
            found[case] = replace(known, count=known.count + count, models=known.models + 1)
    return sorted(found.values(), key=lambda operation: _place(operation.problem))


def _place(problem: ConvProblem) -> tuple[Any, ...]:
    kernel = problem.kernel_size
    square = kernel[0] == kernel[1]
    return (_KINDS.index(problem.kind), not square, kernel, problem.stride, problem.macs, problem.case_id)


# --- samples ----------------------------------------------------------------------------------------------------------


def sample(ordered: Sequence[Operation], size: int) -> list[Operation]:
    """`size` of the operations, in their order, with no chance in it; `count` is then the runs that each stands for.

    Every kind gets its part by the square root of its weight, so that rare kinds are there; an operation's weight is
    the square root of its runs, so that frequent ones are likelier there. A kind's operations, alike ones side by side,
    are cut into stretches of equal weight, of each of which the middle one is taken: it stands for all of its stretch.
    """
    by_kind = [list(group) for _, group in itertools.groupby(ordered, key=lambda operation: operation.problem.kind)]
    sizes = _shared_out(size, [math.sqrt(sum(map(_weight, group))) for group in by_kind], [len(g) for g in by_kind])
    return [taken for group, part in zip(by_kind, sizes, strict=True) for taken in _stretches(group, part)]


def _weight(operation: Operation) -> float:
    return math.sqrt(operation.count)


def _shared_out(size: int, weights: Sequence[float], most: Sequence[int]) -> list[int]:
    """`size` in parts in proportion to the weights: one for each, and the next always to whom most is lacking."""
    wanted = [size * weight / sum(weights) for weight in weights]
    parts = [1] * len(weights)
    for _ in range(size - len(parts)):
        parts[max((i for i, part in enumerate(parts) if part < most[i]), key=lambda i: wanted[i] - parts[i])] += 1
    return parts


def _stretches(group: Sequence[Operation], parts: int) -> Iterator[Operation]:
    """Of each of `parts` stretches of equal weight the operation in the middle."""
    total, begin, behind = sum(map(_weight, group)), 0, 0.0
    for part in range(1, parts + 1):
        end, weight = begin, 0.0
        while end < len(group) - (parts - part) and (
            end == begin or part == parts or behind + weight + _weight(group[end]) / 2 <= total * part / parts
        ):
            weight += _weight(group[end])
            end += 1
        stretch = group[begin:end]
        sums = list(itertools.accumulate(map(_weight, stretch)))
        middle = next(i for i, upto in enumerate(sums) if upto >= weight / 2)
        yield replace(stretch[middle], count=sum(operation.count for operation in stretch))
        begin, behind = end, behind + weight


# --- files ------------------------------------------------------------------------------------------------------------


def files(models: Mapping[str, Model]) -> dict[str, str]:
    """The text of each file in suites/, by name."""
    every = operations(models.values())
    libraries = " and ".join(f"{name} {importlib.metadata.version(name).split('+')[0]}" for name in LIBRARIES)
    with_any = sum(1 for model in models.values() if model.layers)
    runs, macs = sum(o.count for o in every), sum(o.count * o.problem.macs for o in every)
    told = (
        f"Every distinct convolution of the {with_any:,} models of timm and torchvision that have any, "
        f"at their own sizes: {runs:,} runs."
    )
    texts = _suite("zoo", told, every, libraries)
    smaller = every
    for size in SAMPLES:
        smaller = sample(smaller, size)
        assert len(smaller) == size
        told = f"{size:,} layers of the zoo, each for many that are like it: count is how many runs it stands for."
        texts |= _suite(f"zoo-{size}", told, smaller, libraries)
    sys.stdout.write(f"{len(every):,} operations, {runs:,} runs, {amount_of_macs(macs)}\n")
    return texts


def _suite(name: str, summary: str, chosen: Sequence[Operation], libraries: str) -> dict[str, str]:
    macs = sum(operation.count * operation.problem.macs for operation in chosen)
    head = _HEAD.format(name=name, summary=summary, libraries=libraries, cases=len(chosen), macs=macs)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(_COLUMNS)
    rows.writerows((o.problem.case_id, o.count, o.models, o.model, o.layer) for o in chosen)
    return {f"{name}.toml": head, f"{name}.csv": table.getvalue()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="the folder in which what is read of models is kept")
    parser.add_argument("--part", default="1/1", help="which part of the models to read, such as 1/2")
    parser.add_argument("--seconds", type=float, default=math.inf, help="how long to read models")
    asked = parser.parse_args()
    part, parts = map(int, asked.part.split("/"))
    left = read_on(asked.cache, part, parts, asked.seconds)
    sys.stdout.write(f"{left} models of part {asked.part} are left to read\n")
    known = kept(asked.cache)
    if set(sources()) <= set(known):
        for name, text in files({source: known[source] for source in sources()}).items():
            (SUITES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
