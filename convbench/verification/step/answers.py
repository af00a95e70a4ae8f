"""Answers of `Ready.to_numpy`: one array, or the several of a training step, which are compared and sent as one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import ConvProblem


class NoResults(str):
    """What a backend gave instead of the results of a step, in words."""


def checking(problem: ConvProblem, to_numpy: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`to_numpy` of a step, which gives its results as a tuple of arrays; `NoResults` where they are something else."""

    def checked(output: Any) -> Any:
        answer = to_numpy(output)
        if not isinstance(answer, (tuple, list)) or not all(isinstance(result, np.ndarray) for result in answer):
            return NoResults(f"{type(answer).__name__}, not a tuple of NumPy arrays")
        if (shapes := tuple(result.shape for result in answer)) != problem.result_shapes:
            return NoResults(f"arrays of shapes {shapes}, expected {problem.result_shapes}")
        if len(dtypes := {result.dtype for result in answer}) > 1:
            return NoResults(f"arrays of several dtypes: {', '.join(sorted(map(str, dtypes)))}")
        return tuple(answer)

    return checked


def in_a_row(answer: Any) -> Any:
    """The results of a step one after the other, each in C order: (elements,). Anything else as it is."""
    if not isinstance(answer, tuple) or not all(isinstance(result, np.ndarray) for result in answer):
        return answer
    return np.concatenate([result.reshape(-1) for result in answer])


def results(problem: ConvProblem, row: NDArray[Any]) -> list[NDArray[Any]]:
    """Each result of a step, of its own shape, from all in a row."""
    shapes = problem.result_shapes
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(row, ends), shapes, strict=True)]


def arrays_in(answer: Any) -> list[NDArray[Any]]:
    """The arrays that an answer consists of."""
    return [array for array in (answer if isinstance(answer, tuple) else (answer,)) if isinstance(array, np.ndarray)]
