"""`Suite`: a named collection of cases. A case is a problem with its count in a model and, for some, its own data.

Suites are read from TOML files, which `convbench.suite.toml_file` describes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convbench.errors import SuiteError
from convbench.files.user_file import read_bytes
from convbench.problem import ConvProblem, Direction, Dtype, Epilogue
from convbench.problem.vocabulary import ITEMSIZE_BYTES
from convbench.suite.file_kinds import IMAGE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Nested = Any  # a number, or a tuple of `Nested`


@dataclass(frozen=True, kw_only=True)
class CaseData:
    """The data of a case: nested tuples of numbers, or for the input the path of an image. `where` is for messages."""

    where: str
    input: Nested | None = None
    input_image: Path | None = None
    weight: Nested | None = None
    bias: Nested | None = None
    expected: Nested | None = None

    def load(self, problem: ConvProblem) -> dict[str, NDArray[np.float64]]:
        """`input`, `weight`, `bias` and `expected`, as far as given: float64 arrays in the shapes of `problem`.

        The file may leave out leading axes of size 1. An image is RGB in [0, 1], of shape (1, 3, height, width). Raises
        `SuiteError`, with both shapes, for an array that does not fit.
        """
        shapes: dict[str, tuple[int, ...]] = {"input": problem.input_shape, "weight": problem.weight_shape}
        shapes |= {"bias": problem.bias_shape or (), "expected": problem.output_shape}
        arrays = {name: self._array(name, shape) for name, shape in shapes.items() if getattr(self, name) is not None}
        return arrays | ({"input": self._image(self.input_image, problem)} if self.input_image else {})

    def _array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        import numpy as np

        try:
            array = np.array(getattr(self, name), dtype=np.float64)
        except (ValueError, TypeError, OverflowError):
            raise SuiteError(f"{self.where}: {name} should be nested lists of equal length, of numbers.") from None
        return self._fitted(name, array, shape)

    def _image(self, path: Path, problem: ConvProblem) -> NDArray[np.float64]:
        import numpy as np
        from PIL import Image

        content = io.BytesIO(read_bytes(path, IMAGE))
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(content) as image:
                # Before the pixels are decoded, because a small file may claim to be a very large image.
                self._check_shape("input_image", (3, image.height, image.width), problem.input_shape)
                pixels = np.asarray(image.convert("RGB"), dtype=np.float64) / 255
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise SuiteError(f"{self.where}: the image {path} cannot be read: {error}") from None
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)).reshape(problem.input_shape)

    def _fitted(self, name: str, array: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        self._check_shape(name, array.shape, shape)
        return array.reshape(shape)

    def _check_shape(self, name: str, has: tuple[int, ...], shape: tuple[int, ...]) -> None:
        missing = len(shape) - len(has)
        if missing < 0 or (1,) * missing + has != shape:
            raise SuiteError(
                f"{self.where}: {name} has shape {has}, and the problem's is {shape}; "
                "they should be the same, except that leading axes of size 1 may be left out."
            )


@dataclass(frozen=True)
class Case:
    """One problem of a suite. The model has it `count` times, first at `layer`. `name` is by default the case id.

    In a suite of many models, `models` of them have it, `count` times in total.
    """

    problem: ConvProblem
    name: str = ""
    count: int = 1
    layer: str | None = None
    data: CaseData | None = None
    models: int = 1

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.problem.case_id)

    def _of_direction(self, direction: Direction) -> Case | None:
        """The case in another direction, on drawn data and named by its case id; None where there is no bias that has
        a gradient. The case itself if it has that direction."""
        if direction == self.problem.direction:
            return self
        if direction == "bias_gradient" and not self.problem.bias:
            return None
        problem = self.problem.replace(direction=direction)
        return replace(self, problem=problem, name=problem.case_id, data=None)

    def _of_epilogue(self, epilogue: Epilogue | None) -> Case:
        """The case with another epilogue or none, on drawn data and named by its case id; the case itself if it has
        that one."""
        if epilogue == self.problem.epilogue:
            return self
        problem = self.problem.replace(epilogue=epilogue)
        return replace(self, problem=problem, name=problem.case_id, data=None)

    def _of_batch(self, batch: int) -> Case:
        """The case with another batch, named by its case id; the case itself if it has that batch."""
        if batch == self.problem.batch:
            return self
        problem = self.problem.replace(batch=batch)
        return replace(self, problem=problem, name=problem.case_id)


@dataclass(frozen=True)
class Suite:
    """Cases under one name. No two have the same name. Two have the same problem only if they bring their own data."""

    name: str
    summary: str
    tags: tuple[str, ...]
    cases: tuple[Case, ...]
    path: Path
    whole: tuple[Case, ...] = field(default=(), compare=False, repr=False)
    """All cases, where `cases` are a selection of them."""

    @property
    def stands_for_model(self) -> bool:
        """Whether its cases are the layers of one model: a case occurs in it several times, or it is tagged `model`,
        and no case belongs to several models."""
        cases = self.whole or self.cases
        counted = "model" in self.tags or any(case.count > 1 for case in cases)
        return counted and all(case.models == 1 for case in cases)

    @property
    def pass_bytes(self) -> int:
        """How much memory a pass through the model touches: the weights of all layers, and the largest input and output
        of a layer. Memory for these is used over and over: a layer writes where an earlier one read. Each layer counts
        once, in its largest form, where it is there with several batches or dtypes."""
        weights: dict[ConvProblem, int] = {}
        images = 0
        for case in self.whole or self.cases:
            problem = case.problem.replace(direction="forward", epilogue=None)
            layer = problem.replace(batch=1, dtype="float32")
            size = ITEMSIZE_BYTES[problem.dtype] * (prod(problem.input_shape) + prod(problem.output_shape))
            images = max(images, size)
            weights[layer] = max(weights.get(layer, 0), case.count * (problem.bytes - size))
        return sum(weights.values()) + images

    def selection(self, cases: Iterable[Case]) -> Suite:
        """These of its cases, as a part of the same suite."""
        return replace(self, cases=tuple(cases), whole=self.whole or self.cases)

    def with_dtype(self, dtype: Dtype) -> Suite:
        """The same cases computed in `dtype`, without the duplicates that this makes.

        Names from the file stay; names that are case ids change. Data of a case are real numbers, and stay behind when
        it becomes one of integers. Raises `ProblemError` for an unknown dtype.
        """
        cases: dict[str, Case] = {}
        for case in self.cases:
            problem = case.problem.replace(dtype=dtype)
            case = replace(case, data=None) if dtype == "int8" else case
            named = case.name != case.problem.case_id
            changed = replace(case, problem=problem, name=case.name if named else problem.case_id)
            cases.setdefault(changed.name if case.data else problem.case_id, changed)
        return replace(self, cases=tuple(cases.values()), whole=())

    def over(
        self,
        dtypes: Sequence[Dtype] = (),
        batches: Sequence[int] = (),
        directions: Sequence[Direction] = (),
        epilogues: Sequence[Epilogue | None] = (),
    ) -> Suite:
        """The same cases in each of `dtypes`, `batches`, `directions` and `epilogues`; without these, in their own.

        Each has its own name: a case of another batch, direction or epilogue than in the file is named by its case id,
        and so is, with several dtypes, a case of another dtype. A case that brings its own data keeps its batch, and
        its name gets the dtype. Raises `ProblemError` for an impossible problem.
        """
        if epilogues:
            return self.over(dtypes, batches, directions)._with_epilogues(epilogues)
        if directions:
            return self.over(dtypes, batches)._in_directions(directions)
        in_file = {case.name: case.problem.dtype for case in self.cases}
        cases: dict[str, Case] = {}
        for dtype in dtypes or (None,):
            for batch in batches or (None,):
                for own in self.cases if dtype is None else self.with_dtype(dtype).cases:
                    case = own if batch is None or own.data else own._of_batch(batch)
                    if len(dtypes) > 1 and in_file.get(case.name, case.problem.dtype) != case.problem.dtype:
                        case = replace(case, name=f"{case.name}_{dtype}" if case.data else case.problem.case_id)
                    cases.setdefault(case.name, case)
        return replace(self, cases=tuple(cases.values()), whole=())

    def _in_directions(self, directions: Sequence[Direction]) -> Suite:
        """Cases without a bias have no gradient of it, and are left out in that direction."""
        cases: dict[str, Case] = {}
        for direction in directions:
            for own in self.cases:
                if (case := own._of_direction(direction)) is not None:
                    cases.setdefault(case.name, case)
        return replace(self, cases=tuple(cases.values()), whole=())

    def _with_epilogues(self, epilogues: Sequence[Epilogue | None]) -> Suite:
        cases = (own._of_epilogue(epilogue) for epilogue in epilogues for own in self.cases)
        return replace(self, cases=tuple({case.name: case for case in cases}.values()), whole=())

    def select(self, glob: str) -> Suite:
        """The cases whose name or case id matches `glob` (`*`, `?`, `[...]`), perhaps none."""
        chosen = (c for c in self.cases if fnmatchcase(c.name, glob) or fnmatchcase(c.problem.case_id, glob))
        return self.selection(chosen)


@dataclass(frozen=True)
class Outline:
    """A suite in short, read without a large table: its number of cases, and their multiply-accumulates."""

    name: str
    summary: str
    tags: tuple[str, ...]
    cases: int
    macs: int
    path: Path
