"""`CaseData`: the numbers that a case of a suite brings, kept as they are read and made into arrays on request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convbench.errors import SuiteError
from convbench.problem import ConvProblem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Nested = Any  # a number, or a tuple of `Nested`


@dataclass(frozen=True, kw_only=True)
class LoadedData:
    """float64 arrays of the problem's shapes; None for what the case does not bring."""

    input: NDArray[np.float64] | None
    weight: NDArray[np.float64] | None
    bias: NDArray[np.float64] | None
    expected: NDArray[np.float64] | None


@dataclass(frozen=True, kw_only=True)
class CaseData:
    """The data of a case: nested tuples of numbers, or for the input the path of an image. `where` is for messages."""

    where: str
    input: Nested | None = None
    input_image: Path | None = None
    weight: Nested | None = None
    bias: Nested | None = None
    expected: Nested | None = None

    def load(self, problem: ConvProblem) -> LoadedData:
        """The arrays, in the shapes of `problem`. The file may leave out leading axes of size 1.

        An image is RGB in [0, 1], of shape (1, 3, height, width). Raises `SuiteError`, with both shapes, for an array
        that does not fit.
        """
        return LoadedData(
            input=self._image(problem) if self.input_image else self._array("input", problem.input_shape),
            weight=self._array("weight", problem.weight_shape),
            bias=self._array("bias", problem.bias_shape or ()),
            expected=self._array("expected", problem.output_shape),
        )

    def _array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
        import numpy as np

        nested = getattr(self, name)
        if nested is None:
            return None
        try:
            array = np.array(nested, dtype=np.float64)
        except (ValueError, TypeError, OverflowError):
            raise SuiteError(f"{self.where}: {name} should be nested lists of equal length, of numbers.") from None
        return self._fitted(name, array, shape)

    def _image(self, problem: ConvProblem) -> NDArray[np.float64]:
        import numpy as np
        from PIL import Image

        assert self.input_image is not None
        try:
            with Image.open(self.input_image) as image:
                pixels = np.asarray(image.convert("RGB"), dtype=np.float64) / 255
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise SuiteError(f"{self.where}: the image {self.input_image} cannot be read: {error}") from None
        return self._fitted("input_image", np.ascontiguousarray(pixels.transpose(2, 0, 1)), problem.input_shape)

    def _fitted(self, name: str, array: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        missing = len(shape) - array.ndim
        if missing < 0 or (1,) * missing + array.shape != shape:
            raise SuiteError(
                f"{self.where}: {name} has shape {array.shape}, and the problem's is {shape}; "
                "they should be the same, except that leading axes of size 1 may be left out."
            )
        return array.reshape(shape)
