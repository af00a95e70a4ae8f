"""What the functions of the API take: subjects, which are suites, problems and models; and the options of the command
line, each as text, a number or a sequence of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

from convbench.backend import Backend
from convbench.errors import BackendError, ConvbenchError, ProblemError
from convbench.problem import ConvProblem
from convbench.suite import Suite

Words = str | Iterable[str]
Numbers = int | str | Iterable[int]
Paths = str | PathLike[str] | Iterable[str | PathLike[str]]


Subject = str | PathLike[str] | Suite | ConvProblem
_MODEL = re.compile(r"[\w.]+:[\w.-]+|.*\.py:[\w.]+|.*\.(onnx|pt2)", re.IGNORECASE | re.DOTALL)


class OptionError(ConvbenchError, ValueError):
    """An option with a value that it does not take."""


class Subjects(NamedTuple):
    """Suites, by name, path or value, and problems."""

    suites: tuple[str | Suite, ...]
    problems: tuple[ConvProblem, ...]


def subjects(subject: Subject | Iterable[Subject]) -> Subjects:
    """The suites and problems of one subject or several. Raises `OptionError` for anything else."""
    values = subject if isinstance(subject, Iterable) and not isinstance(subject, str) else [subject]
    resolved = [_resolved(value) for value in values]
    if not resolved:
        raise OptionError("there is nothing to measure; give a suite, a path, a ConvProblem, or a list of them.")
    return Subjects(
        tuple(value for value in resolved if not isinstance(value, ConvProblem)),
        tuple(value for value in resolved if isinstance(value, ConvProblem)),
    )


def is_model(subject: Any) -> bool:
    """Whether `subject` is a model: a torch module, or a text that `convbench choose --model` takes."""
    if isinstance(subject, (str, PathLike)):
        return _MODEL.fullmatch(fspath(subject)) is not None
    return not isinstance(subject, (Suite, ConvProblem)) and hasattr(subject, "named_modules")


def _resolved(value: Any) -> str | Suite | ConvProblem:
    """`value`, a text that is a problem in some dialect as that problem, a path as text with a separator in it."""
    if isinstance(value, (Suite, ConvProblem)):
        return value
    if isinstance(value, str):
        try:
            return ConvProblem.parse(value)
        except ProblemError:
            return value
    if isinstance(value, PathLike):
        return str(Path(value).expanduser().absolute())
    kind = type(value).__name__
    raise OptionError(f"{kind} is nothing to measure; give a suite, a path, a ConvProblem, or a list of them.")


# --- options ----------------------------------------------------------------------------------------------------------


def backend_patterns(value: Words | Backend | Iterable[Backend], option: str) -> tuple[str, ...]:
    """Names or shell patterns of backends. Raises `BackendError` for a backend itself, which no worker could find."""
    values = (value,) if isinstance(value, (str, Backend)) else tuple(value)
    for backend in values:
        kind = backend if isinstance(backend, type) else type(backend)
        if issubclass(kind, Backend):
            name = kind.__name__
            raise BackendError(
                f"backend is an object of the class {name}; backends run in worker processes, which cannot find it. "
                f"Write the class to a file, such as my_backend.py, that ends with BACKENDS = ({name}(),), and give "
                "plugin='my_backend.py'."
            )
    return words(values, option)  # type: ignore[arg-type]


def words(value: Words, option: str) -> tuple[str, ...]:
    """One text or several."""
    values = (value,) if isinstance(value, str) else tuple(value)
    for word in values:
        if not isinstance(word, str):
            raise OptionError(f"{option} is {word!r}; it should be a text or several.")
    return values


def separated_words(value: Words, option: str) -> tuple[str, ...]:
    """Words, each once: several, or a text with commas between them."""
    values = words(value, option)
    return tuple(dict.fromkeys(word.strip() for text in values for word in text.split(",")))


def paths(value: Paths, option: str = "plugin") -> tuple[Path, ...]:
    """One path or several."""
    values = (value,) if isinstance(value, (str, PathLike)) else tuple(value)
    return tuple(Path(path).expanduser() for path in values)


def whole_numbers(value: Numbers, option: str, *, distinct: bool = True) -> tuple[int, ...]:
    """Whole numbers from 1: one, several, or a text such as `1,2,4`. `distinct` leaves each in once."""
    values: list[Any] = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int) else [*value]
    numbers = [int(v) if isinstance(v, str) and v.strip().isascii() and v.strip().isdigit() else v for v in values]
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n < 10**9 for n in numbers):
        raise OptionError(f"{option} is {value!r}; it should be whole numbers from 1, such as 1,2,4.")
    return tuple(dict.fromkeys(numbers)) if distinct else tuple(numbers)


def whole_number(value: int | str, option: str) -> int:
    """One whole number from 1."""
    numbers = whole_numbers(value, option)
    if len(numbers) != 1:
        raise OptionError(f"{option} is {value!r}; it should be one whole number from 1.")
    return numbers[0]


def share(value: float | str, option: str, *, most: float = 1.0, zero: bool = False) -> float:
    """A share: `2%` or `0.02`, below `most`, and above 0 unless `zero` is one, too. A bare number from 1 on is refused,
    because it may be meant as percent."""
    text = str(value).strip()
    in_percent = text.endswith("%")
    try:
        number = float(text.removesuffix("%")) / (100 if in_percent else 1)
    except ValueError:
        number = math.nan
    if 1 <= number < math.inf and not in_percent:
        raise OptionError(f"{option} is {value!r}; a share has a % or is below 1: type {text}% or {number / 100:g}.")
    if not 0 <= number < most or (number == 0 and not zero):
        raise OptionError(f"{option} is {value!r}; it should be a share such as 2% or 0.02.")
    return number


threshold = partial(share, most=math.inf)
"""How much slower something has to be: a share that may be above 100 %."""


def seconds(value: float, option: str) -> float:
    """A number of seconds above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise OptionError(f"{option} is {value!r}; it should be a number of seconds above 0.")
    return float(value)


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*(|k|m|g|ki|mi|gi)b?", re.IGNORECASE)


def byte_count(value: int | str, option: str) -> int:
    """A number of bytes, at least 1: 100000000, `100MB` or `64MiB`."""
    match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if not 0 < size < 2**48:
        raise OptionError(f"{option} is {value!r}; it should be a size such as 100MB, 64MiB or a number of bytes.")
    return size


def cpus(value: str, option: str) -> str:
    """CPUs to run on: `auto`, `none`, or numbers such as `2,3` or `2-5`."""
    from convbench.measurement.machine.affinity import parse_pin

    try:
        return parse_pin(value)
    except ValueError:
        raise OptionError(f"{option} is {value!r}; it should be auto, none or CPUs such as 2,3 or 2-5.") from None


def choice(value: Any, option: str, choices: tuple[Any, ...]) -> Any:
    """One of a few words or numbers."""
    if value not in choices:
        raise OptionError(f"{option} is {value!r}; it should be {' or '.join(map(repr, choices))}.")
    return value


def results_place(value: bool | str | PathLike[str] | None) -> dict[str, Any]:
    """The fields of a request for where results are kept: nowhere (None, False), a folder, or the usual one (True)."""
    if value is None or isinstance(value, bool):
        return {"results": None, "keep": bool(value)}
    return {"results": Path(value).expanduser(), "keep": True}


Reader = Callable[[Any, str], Any]
_READERS: dict[str, Reader] = {
    "allocator": partial(choice, choices=("steady", "system")),
    "backend": backend_patterns,
    "batch": whole_number,
    "budget": seconds,
    "cache": partial(choice, choices=("warm", "cold", "pass")),
    "for_": partial(choice, choices=("apply",)),
    **dict.fromkeys(("direction", "dtype", "epilogue"), lambda value, option: ",".join(words(value, option)) or None),
    "jobs": whole_number,
    "pass_bytes": byte_count,
    "pin": cpus,
    "plan": lambda value, option: Path(value).expanduser(),
    "plugin": paths,
    "precision": share,
    "priority": partial(choice, choices=("normal", "realtime")),
    "processes": whole_number,
    "python": words,
    "suite": words,
    "threads": whole_number,
    "tie": share,
    "time_limit": seconds,
    "write_known": lambda value, option: Path(value).expanduser(),
}
_FIELDS = {"case": "case_glob", "for_": "purpose", "input": "input_shape"}
_FIELDS |= {name: f"{name}s" for name in ("backend", "plugin", "python", "question", "suite")}


def read_options(values: Mapping[str, Any], **readers: Reader) -> dict[str, Any]:
    """The fields of a request from the arguments of a function, each read by `readers` or as such an option usually is;
    None stays None. Raises `OptionError`."""
    readers, fields = _READERS | readers, results_place(values["results"])
    if values.get("resume") and not fields["keep"]:
        raise OptionError("resume continues what was kept; give results=True or the folder.")
    for name in values.keys() - {"subject", "results", "progress"}:
        value = values[name]
        fields[_FIELDS.get(name, name)] = value if value is None or name not in readers else readers[name](value, name)
    return fields
