"""What a backend computes while it is timed: normal values, denormal ones, zeros, or arrays of a file.

Speed may depend on values. Verification does not: it has data of its own, whatever is timed (`gate`).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.errors import DataError, did_you_mean
from convbench.files.user_file import FileKind, read_bytes
from convbench.problem import ConvProblem
from convbench.problem.vocabulary import OPERANDS
from convbench.verification.operands import NUMPY_DTYPES, Operands, normal_operands

NORMAL = "normal"
WORDS = (NORMAL, "denormal", "zeros")
_OPERAND = {"input": "x", "weight": "w", "gradient": "g"}
_LONGEST_NAME = 60
_KIND = FileKind(
    "a file of arrays", 2**30, "give normal, denormal, zeros, or the path of a .npy or .npz file", DataError
)
# The last two hold for numbers of the dtype: how many bits a denormal number has, and the exponent of its last bit.
_DENORMAL = {"float64": (52, -1074), "float32": (23, -149), "float16": (10, -24), "bfloat16": (7, -133)}


@dataclass(frozen=True)
class TimedData:
    """Data by its `label`, which records have: a word, or a file's name with a mark of its content. `arrays` are those
    of a file, of real numbers, by the operand that they are for."""

    label: str = NORMAL
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict, compare=False)

    def operands(self, problem: ConvProblem, seed: int) -> Operands | None:
        """The operands that are timed; None for normal values, which every problem has anyway.

        What is multiplied first (the input; for the gradient of the input, that of the output; both in a step) is
        denormal or zero, with the bias. The weight stays normal. An array of a file gives its values in C order, from
        the first again when they are used up, until the operand is full. Raises `DataError` where the file has nothing
        for `problem`, and for values that `problem.dtype` cannot hold.
        """
        if self.label == NORMAL:
            return None
        if problem.quantization is not None:
            raise DataError(f"--data {self.label} is for numbers in floating point; {problem.case_id} takes integers.")
        drawn = normal_operands(problem, seed)
        if self.arrays:
            return replace(drawn, **self._resized(problem, drawn.named()))
        first = {OPERANDS[part.direction][0] for part in problem.parts}
        changed = {name: array for name, array in drawn.named().items() if name in (*first, "b")}
        draw = _denormals if self.label == "denormal" else np.zeros_like
        return replace(drawn, **{name: draw(array) for name, array in changed.items()})

    def check(self, problems: Iterable[ConvProblem]) -> None:
        """Raises `DataError` for a problem that takes nothing of a file."""
        for problem in problems if self.arrays else ():
            self._taken_by(problem, OPERANDS[problem.direction])

    def _taken_by(self, problem: ConvProblem, taken: Collection[str]) -> dict[str, NDArray[Any]]:
        arrays = {name: array for name, array in self.arrays.items() if name in taken}
        if not arrays:
            names = ", ".join(word for word, name in _OPERAND.items() if name in self.arrays)
            raise DataError(f"{self.label} has {names}, which {problem.case_id} does not take.")
        return arrays

    def _resized(self, problem: ConvProblem, drawn: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        filled = {}
        for name, array in self._taken_by(problem, drawn).items():
            with np.errstate(over="ignore"):
                filled[name] = np.resize(array, drawn[name].shape).astype(NUMPY_DTYPES[problem.dtype])
            if not np.isfinite(filled[name].astype(np.float64)).all():
                raise DataError(
                    f"{self.label} has values that {problem.dtype} cannot hold, asked for {problem.case_id}."
                )
        return filled


def _denormals(array: NDArray[Any]) -> NDArray[Any]:
    """Denormal numbers of the same dtype, shape and signs, spread evenly over all there are; the same every time."""
    bits, last = _DENORMAL[array.dtype.name]
    sizes = np.random.default_rng(array.size).integers(1, 2**bits, array.shape)
    return np.asarray(
        np.copysign(np.ldexp(sizes.astype(np.float64), last), array.astype(np.float64)).astype(array.dtype)
    )


def described(label: str) -> str:
    """The data of a label in words, as in "timed on zeros"."""
    return f"{label} values" if label in ("normal", "denormal") else label


def timed_data(words: Iterable[str]) -> dict[str, TimedData]:
    """The data that `words` and paths name, by label, each once. Raises `DataError`."""
    read = [TimedData(word) if word in WORDS else _of_file(Path(word).expanduser()) for word in words]
    return {data.label: data for data in read}


def _of_file(path: Path) -> TimedData:
    """Arrays of a `.npy` file, which is the input, or a `.npz` file with `input`, `weight` or `gradient`. Nothing in it
    is executed: arrays of objects are refused."""
    if path.suffix not in (".npy", ".npz"):
        raise DataError(f"--data is {str(path)!r}; {_KIND.remedy}.{did_you_mean(str(path), WORDS)}")
    content = read_bytes(path, _KIND)
    try:
        loaded = _loaded(path, content)
        arrays = {_OPERAND[name]: _checked(name, array) for name, array in loaded.items()}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, MemoryError, NotImplementedError) as error:
        raise _KIND.refused(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from None
    name = "".join(char if char.isprintable() else "?" for char in path.name)[-_LONGEST_NAME:]
    return TimedData(f"{name} {hashlib.sha256(content).hexdigest()[:12]}", arrays)


def _loaded(path: Path, content: bytes) -> dict[str, Any]:
    if path.suffix == ".npy":
        return {"input": np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if unknown := sorted(set(names) - set(_OPERAND)) or not names:
            known = ", ".join(_OPERAND)
            raise ValueError(f"it has {unknown if names else 'no arrays'}, and may have {known}")
        if (size := sum(entry.file_size for entry in archive.infolist())) > _KIND.most_bytes:
            raise ValueError(f"unpacked it is {size:,} bytes, more than {_KIND.most_bytes:,}")
        return {name: _member(archive, name) for name in names}


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(io.BytesIO(file.read(_KIND.most_bytes + 1)), allow_pickle=False)


def _checked(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "iufb" or array.size == 0:
        raise ValueError(f"{name} is an array of {array.dtype} of shape {array.shape}; it should have real numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} has NaN or infinite values, for which no answer is right or wrong")
    return array
