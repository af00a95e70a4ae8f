"""A suite as the text of a TOML file, from which `convbench.suite.toml_file` reads the same cases."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from convbench.errors import SuiteError
from convbench.problem import ConvProblem
from convbench.suite import Case, Suite

_DEFAULTS = {field.name: field.default for field in fields(ConvProblem)}


def suite_text(suite: Suite) -> str:
    """TOML with a line for each case, without defaults. Raises `SuiteError` for cases with data."""
    head = [f"name = {_text(suite.name)}", f"summary = {_text(suite.summary)}"]
    if suite.tags:
        head.append(f"tags = [{', '.join(map(_text, suite.tags))}]")
    return "\n".join([*head, "case = [", *(f"    {{ {_case(case)} }}," for case in suite.cases), "]", ""])


def _case(case: Case) -> str:
    if case.data is not None:
        raise SuiteError(f"{case.name} brings data of its own, which is not written into a suite's text.")
    entries: dict[str, Any] = {"name": case.name} if case.name != case.problem.case_id else {}
    entries |= {"layer": case.layer} if case.layer is not None else {}
    entries |= {key: number for key, number in (("count", case.count), ("models", case.models)) if number != 1}
    problem = case.problem.as_dict()
    entries |= {name: value for name, value in problem.items() if value != _DEFAULTS[name]}
    return ", ".join(f"{name} = {_value(name, value)}" for name, value in entries.items())


def _value(name: str, value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if name == "padding" and all(before == after for before, after in value):
        value = tuple(before for before, _ in value)
    if len(set(value)) == 1 and isinstance(value[0], int):
        return str(value[0])
    return json.dumps(value)


def _text(text: str) -> str:
    """A TOML string. Its escapes include those of JSON, which leaves DEL as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
