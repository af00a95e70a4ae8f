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
    "reflection one off": ("- 1 - abs(places)", "- abs(places)"),
    "reflection at the first side alone": ("size - 1 - abs(size - 1 - abs(places))", "abs(places)"),
    "the edge is reflected": ('if mode == "replicate"', 'if mode == "none"'),
    "nothing wraps round": ("places % size", "places.clip(0, size - 1)"),
    "every mode is zeros": ('if problem.padding_mode != "zeros"', "if False"),
    "rows padded on the other side": ("np.arange(-before, size + after)", "np.arange(-after, size + before)"),
    "zeros on the other side": ("slice(before, before + size)", "slice(_, _ + size)"),
    "rows dilated by the stride": ("dh * row", "sh * row"),
    "rows dilated as columns": ("dh * row", "dw * row"),
    "rows not strided": ("sh * row", "row"),
    "columns dilated as rows": ("dw * column", "dh * column"),
    "columns strided as rows": ("sw * column", "sh * column"),
    "groups begin one channel apart": ("channels * plane, plane", "plane, plane"),
    "the first row of taps left out": ("range(0, kh, rows_at_once)", "range(1, kh, rows_at_once)"),
    "every second row of taps left out": ("range(0, kh, rows_at_once)", "range(0, kh, 2 * rows_at_once)"),
    "a single column of taps left out": ("range(0, kw, taps_at_once)", "range(0, kw - 1, taps_at_once)"),
    "the first rows of taps over and over": ("slice(first, first + rows_at_once)", "slice(0, rows_at_once)"),
    "the first block of taps over and over": ("slice(first, min(kw, first + taps_at_once))", "slice(0, taps_at_once)"),
    "a block of taps one too short": ("min(kw, first + taps_at_once)", "min(kw, first + taps_at_once) - 1"),
    "kernel upside down": ("weight[:, :, :, rows, columns]", "weight[:, :, :, ::-1][:, :, :, rows, columns]"),
    "taps and rows swapped": (
        "*problem.kernel_size, problem.out_height",
        "*problem.kernel_size[::-1], problem.out_height",
    ),
    "rows of taps not summed": ("out += contract", "out = contract"),
    "channels of groups interleaved": ("channels * plane, plane", "plane, problem.groups * plane"),
    "filters of groups interleaved": (
        "reshape(problem.groups, -1, *problem.weight_shape[1:])",
        "reshape(-1, problem.groups, *problem.weight_shape[1:]).swapaxes(0, 1)",
    ),
    "groups get each other's bias": ("reshape(groups, -1, 1)", "reshape(groups, -1, 1)[::-1]"),
    "the bias replaces the sum": ("out += np.asarray(b", "out[...] = np.asarray(b"),
    "two products not summed": ("if weight.shape[2] == 1", "if weight.shape[2] <= 2"),
    "products in float32": ("np.matmul(weight, taps)", "np.matmul(weight.astype(np.float32), taps)"),
    "sums in float32": ("np.matmul(weight, taps)", "np.matmul(weight, taps).astype(np.float32)"),
    "the input in float32": (
        "gathered_taps(problem, np.asarray(x, dtype=dtype))",
        "gathered_taps(problem, np.asarray(x, np.float32))",
    ),
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
    for gathered, small in ((2**25, 2**25), (2**25, 0), (1, 0)):  # all taps at once, those of a row, and one by one
        module._GATHERED_ELEMENTS, module._SMALL_ELEMENTS = gathered, small
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
