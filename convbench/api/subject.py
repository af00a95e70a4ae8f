"""What a function of the API measures: suites by name, path or value, problems, and for a choice also models."""

from __future__ import annotations

import re
from collections.abc import Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

from convbench.api.options import OptionError
from convbench.errors import ProblemError
from convbench.problem import ConvProblem
from convbench.suite import Suite

Subject = str | PathLike[str] | Suite | ConvProblem
_MODEL = re.compile(r"[\w.]+:[\w.-]+|.*\.(onnx|pt2)", re.IGNORECASE)


class Subjects(NamedTuple):
    """Suites, by name, path or value, and problems."""

    suites: tuple[str | Suite, ...]
    problems: tuple[ConvProblem, ...]


def subjects(subject: Subject | Iterable[Subject]) -> Subjects:
    """The suites and problems of one subject or several. Raises `OptionError` for anything else."""
    single = isinstance(subject, (str, PathLike, Suite, ConvProblem))
    values: list[Any] = [subject] if single else _listed(subject)
    if not values:
        raise OptionError("there is nothing to measure; give a suite, a path, a ConvProblem, or a list of them.")
    resolved = [_resolved(value) for value in values]
    return Subjects(
        tuple(value for value in resolved if not isinstance(value, ConvProblem)),
        tuple(value for value in resolved if isinstance(value, ConvProblem)),
    )


def is_model(subject: Any) -> bool:
    """Whether `subject` is a model: a torch module, `timm:NAME`, `module:callable`, or an .onnx or .pt2 file."""
    if isinstance(subject, (str, PathLike)):
        return _MODEL.fullmatch(fspath(subject)) is not None
    return not isinstance(subject, (Suite, ConvProblem)) and hasattr(subject, "named_modules")


def _listed(subject: Any) -> list[Any]:
    try:
        return list(subject)
    except TypeError:
        kind = type(subject).__name__
        raise OptionError(f"{kind} is nothing to measure; give a suite, a path, a ConvProblem, or a list.") from None


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
    raise OptionError(f"{value!r} is nothing to measure; it should be a suite, a path or a ConvProblem.")
