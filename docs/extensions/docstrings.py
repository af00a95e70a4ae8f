"""The house's docstrings, which are Markdown, as the reStructuredText that Sphinx reads."""

from __future__ import annotations

import re
from typing import Any

import convbench
from convbench import errors
from convbench.api.result import Result

_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINKED = {name: f"convbench.{name}" for name in convbench.__all__ if not name.startswith("_")}
LINKED |= {name: f"convbench.errors.{name}" for name in vars(errors) if name.endswith("Error")}


def restructured(text: str) -> str:
    """Code in backticks as code, names of the public API as links, and an indented block as one of code."""
    return re.sub(r":\n\n(?=    )", "::\n\n", _CODE.sub(_role, text))


def _role(match: re.Match[str]) -> str:
    """A link for a class, and for a function that is named with its package: `run` and `report` are words, too."""
    name = match[1].removeprefix("convbench.")
    is_meant = name in LINKED and (name != match[1] or not name.islower())
    return f":py:obj:`{name} <{LINKED[name]}>`" if is_meant else f"``{match[1]}``"


def _process(_app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    text = "\n".join(lines)
    lines[:] = [] if text.startswith("Alias for field number") else restructured(text).split("\n")


def _signature(_app: Any, _what: str, _name: str, value: Any, *_: Any) -> tuple[str, None] | None:
    """No signature for results: functions return them, and users make none."""
    return ("", None) if isinstance(value, type) and issubclass(value, Result) else None


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
