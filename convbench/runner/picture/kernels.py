"""The kernels that pictures are filtered with: by name, as numbers, or from a file of numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convbench.errors import PictureError, did_you_mean
from convbench.files.user_file import FileKind, read_bytes

KERNELS: dict[str, tuple[tuple[float, ...], ...]] = {
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
    "blur": ((0.0625, 0.125, 0.0625), (0.125, 0.25, 0.125), (0.0625, 0.125, 0.0625)),
    "edges": ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
    "emboss": ((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),
}
RANDOM = "random"
"""The name of a kernel of 3x3 random weights."""
_LARGEST = 255
_FILE = FileKind("a kernel", 2**20, "give a text file with a row of the kernel in each line", PictureError)
_NAMES = (*KERNELS, RANDOM)
_EXPECTED = f"one of {', '.join(_NAMES)}, rows such as '0 -1 0; -1 5 -1; 0 -1 0', or the path of a file of rows"


def kernel_of(text: str, seed: int = 0) -> NDArray[np.float64]:
    """The kernel (kh, kw) that `text` names, spells out or is the path of; rows end at a semicolon or a line.

    The weights of `random` follow from `seed`; they are normal, with a standard deviation of 1/3, which keeps the
    contrast of noise.

    Raises `PictureError` for anything else.
    """
    if text in KERNELS:
        return np.array(KERNELS[text], dtype=np.float64)
    if text == RANDOM:
        return np.random.default_rng(seed).standard_normal((3, 3)) / 3
    rows = text if _is_spelt_out(text) else _content(text)
    try:
        cells = [row.replace(",", " ").split() for row in rows.replace("\n", ";").split(";")]
        kernel = np.array([list(map(float, row)) for row in cells if row], dtype=np.float64)
    except ValueError:
        raise PictureError(f"the kernel {text!r} is no rows of equal length of numbers; give {_EXPECTED}.") from None
    if kernel.ndim != 2 or not kernel.size or max(kernel.shape) > _LARGEST or not np.isfinite(kernel).all():
        raise PictureError(f"the kernel {text!r} should be a rectangle of finite numbers; give {_EXPECTED}.")
    return kernel


def _is_spelt_out(text: str) -> bool:
    return set(text) <= set("0123456789+-.eE,; \n")


def _content(text: str) -> str:
    if not Path(text).exists():
        raise PictureError(f"--kernel is {text!r}; it should be {_EXPECTED}.{did_you_mean(text, _NAMES)}")
    return read_bytes(text, _FILE).decode("utf-8", errors="replace")
