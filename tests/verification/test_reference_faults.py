"""Faults seeded into the reference itself: the comparison with torch's conv2d in int64 and its padding, which share no
code with it, has to catch every one. Mutations are of the text, so that this file breaks when the source moves on."""

from __future__ import annotations

import types
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from numpy.typing import NDArray
from strategies import forward_problems
from test_reference import convolved_by_torch, padded_by_torch

from convbench.problem import ConvProblem
from convbench.verification import reference

SOURCE = Path(reference.__file__).read_text(encoding="utf-8")
LARGEST = 2**20  # sums then need more bits than float32 has, and fewer than float64

MUTATIONS: dict[str, tuple[str, str]] = {
    "top cropped as the bottom": ("max(0, -top) : height", "max(0, -bottom) : height"),
    "bottom not cropped": ("height - max(0, -bottom)", "height"),
    "right cropped as the left": ("width - max(0, -right)", "width - max(0, -left)"),
    "top and bottom swapped": ("(max(0, top), max(0, bottom))", "(max(0, bottom), max(0, top))"),
    "columns padded as rows": ("(max(0, left), max(0, right))", "(max(0, top), max(0, bottom))"),
    "columns alone are not padded": ("if not any(map(any, sides))", "if not any(sides[2])"),
    "reflection repeats the edge": ('"reflect": "reflect"', '"reflect": "symmetric"'),
    "the edge is reflected": ('"replicate": "edge"', '"replicate": "reflect"'),
    "nothing wraps round": ('"circular": "wrap"', '"circular": "edge"'),
    "every mode is zeros": ("mode=NUMPY_MODES[problem.padding_mode]", 'mode="constant"'),
    "rows dilated by the stride": ("padded[:, :, :, i * dh : i * dh +", "padded[:, :, :, i * sh : i * sh +"),
    "rows dilated as columns": ("padded[:, :, :, i * dh : i * dh +", "padded[:, :, :, i * dw : i * dw +"),
    "rows not strided": ("(out_h - 1) * sh + 1 : sh]", "out_h]"),
    "columns dilated as rows": (": (kw - 1) * dw + 1 : dw", ": (kw - 1) * dh + 1 : dh"),
    "columns strided as rows": (", ::sw]", ", ::sh]"),
    "the first row of taps left out": ("for i in range(kh)", "for i in range(1, kh)"),
    "a single column of taps left out": ("range(0, kw, taps_at_once)", "range(0, kw - 1, taps_at_once)"),
    "the first block of taps over and over": ("slice(first, first + taps_at_once)", "slice(0, taps_at_once)"),
    "a block of taps one too short": ("slice(first, first + taps_at_once)", "slice(first, first + taps_at_once - 1)"),
    "kernel upside down": ("weight[:, :, :, i, taps]", "weight[:, :, :, -1 - i, taps]"),
    "taps and rows not swapped": (".swapaxes(3, 4)", ""),
    "rows of taps not summed": ("out += _contract", "out = _contract"),
    "channels of groups interleaved": (
        "padded.reshape(n, groups, problem.in_channels // groups, *padded.shape[2:])",
        "padded.reshape(n, problem.in_channels // groups, groups, *padded.shape[2:]).swapaxes(1, 2)",
    ),
    "filters of groups interleaved": (
        "reshape(groups, problem.out_channels // groups, -1, kh, kw)",
        "reshape(problem.out_channels // groups, groups, -1, kh, kw).swapaxes(0, 1)",
    ),
    "groups get each other's bias": ("reshape(groups, -1, 1)", "reshape(groups, -1, 1)[::-1]"),
    "the bias replaces the sum": ("out += np.asarray(b", "out[...] = np.asarray(b"),
    "two products not summed": ("if weight.shape[2] == 1", "if weight.shape[2] <= 2"),
    "products in float32": ("np.matmul(weight, taps)", "np.matmul(weight.astype(np.float32), taps)"),
    "sums in float32": ("np.matmul(weight, taps)", "np.matmul(weight, taps).astype(np.float32)"),
    "the input in float32": ("pad(problem, np.asarray(x, dtype=dtype))", "pad(problem, np.asarray(x, np.float32))"),
}


@cache
def compared() -> list[tuple[ConvProblem, tuple[Any, ...], NDArray[Any], NDArray[np.int64]]]:
    """Problems with operands, torch's padded input and torch's answer; the problems that the reference is tested on."""
    drawn: list[ConvProblem] = []

    @settings(max_examples=250, derandomize=True, database=None, phases=[Phase.generate])
    @given(forward_problems())
    def draw(problem: ConvProblem) -> None:
        drawn.append(problem)

    draw()
    made = []
    for problem in drawn:
        rng = np.random.default_rng(0)
        x, w = (rng.integers(-LARGEST, LARGEST, shape) for shape in (problem.input_shape, problem.weight_shape))
        b = rng.integers(-LARGEST, LARGEST, problem.out_channels) if problem.bias else None
        made.append((problem, (x, w, b), padded_by_torch(problem, x).numpy(), convolved_by_torch(problem, x, w, b)))
    return made


def compiled(source: str) -> Any:
    module = types.ModuleType("mutated_reference")
    exec(compile(source, "mutated_reference.py", "exec"), module.__dict__)
    return module


def first_difference(module: Any) -> ConvProblem | None:
    """The first problem that `module` answers otherwise than torch, in int64 or float64; None when there is none."""
    for elements in (module._GATHERED_ELEMENTS, 1):  # all taps of a row at once, and one by one
        module._GATHERED_ELEMENTS = elements
        for problem, operands, padded, expected in compared():
            try:
                found = [module.convolve(problem, *operands, dtype) for dtype in (np.int64, np.float64)]
            except (ValueError, TypeError, IndexError):  # an answer that is none is no answer of torch's
                return problem
            if not np.array_equal(module.pad(problem, operands[0]), padded):
                return problem
            if not all(np.array_equal(one, expected) for one in found):
                return problem
    return None


def test_the_reference_as_it_is_agrees_with_torch() -> None:
    assert first_difference(compiled(SOURCE)) is None


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_fault_in_the_reference_is_caught(mutation: str) -> None:
    right, wrong = MUTATIONS[mutation]
    assert SOURCE.count(right) == 1, f"the reference says {right!r} {SOURCE.count(right)} times: adapt the mutation"
    assert first_difference(compiled(SOURCE.replace(right, wrong))) is not None


def test_torch_computes_integers_exactly() -> None:
    """What the comparison rests on: a sum that neither float32 nor a product of 32-bit integers could hold."""
    x = torch.tensor([2**40 + 1, 2**40 + 3]).reshape(1, 2, 1, 1)
    w = torch.tensor([2**20 + 1, -1]).reshape(1, 2, 1, 1)
    got = torch.nn.functional.conv2d(x, w).item()
    assert got == (2**40 + 1) * (2**20 + 1) - (2**40 + 3)
