"""A cause as an entry of a table of known wrong answers: its smallest case, and the condition that failures share."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from convbench.errors import SuiteError
from convbench.problem import ConvProblem
from convbench.suite.filter import parse
from convbench.verification.causes.grouping import Cause, question_of_extent
from convbench.verification.causes.parameters import SIDES, SIZES, WORDS, QuestionParameters
from convbench.verification.known import KnownWrong
from convbench.verification.sweep.factors import NOT_OF_THE_PROBLEM, level_condition

_KEYS = {"values": "values", "layout": "layouts", "calls": "calls"}
_LONGEST = 200


def known_entry(cause: Cause, backend: str) -> KnownWrong:
    """The entry that explains all failures of `cause`, and the questions that share what tells these from passes.

    It names no version and no CPU: it holds for whatever its reader runs, until it is deleted.
    """
    smallest = cause.representative
    where, aspects = _shared(cause)
    restricted: dict[str, Any] = {_KEYS[aspect]: _words_of(cause, aspect) for aspect in aspects}
    entry = KnownWrong(
        seen=_shortened(smallest.reason),
        backends=(backend,),
        cases=(str(smallest.question),),
        where=where,
        status=(smallest.status,),
        first_seen=datetime.datetime.now(datetime.UTC).date(),
        **restricted,
    )
    others: dict[ConvProblem, str] = {}
    for member in cause.members:
        if not entry.names(member.question):
            others.setdefault(member.question.problem, str(member.question))
    return msgspec.structs.replace(entry, cases=(*entry.cases, *others.values()))


def toml_text(entries: Iterable[KnownWrong]) -> str:
    """The entries as lines of a file that `read_known` reads."""
    blocks = []
    for entry in entries:
        fields = msgspec.to_builtins(entry, builtin_types=(datetime.date,))
        blocks.append("\n".join(["[[wrong]]", *(f"{name} = {_toml(value)}" for name, value in fields.items()), ""]))
    return "\n".join(blocks)


def _shared(cause: Cause) -> tuple[str | None, set[str]]:
    """The condition on the problem, or None where it cannot be said; and what else of a question tells."""
    if not cause.shared_by_failures:
        return None, set()
    traits = cause.shared_by_failures[0].classes
    aspects = {factor for factor, _ in traits if factor in NOT_OF_THE_PROBLEM}
    if {member.question.values for member in cause.members} == {"special"}:
        aspects.add("values")
    parts: list[str] = []
    for factor, level in traits:
        if factor == "extent":
            parts += _as_far_as(QuestionParameters.of(question_of_extent(level)))
        elif factor not in NOT_OF_THE_PROBLEM:
            parts.append(level_condition(factor, level))
    try:
        text = " and ".join(parts) or "True"
        parse(text)
    except SuiteError:  # longer than a condition may be
        return None, aspects
    return text, aspects


def _as_far_as(form: QuestionParameters) -> list[str]:
    """Conditions for going as far as `form` in every parameter of a problem."""
    of_a_group = {"channels": "in_channels // groups", "filters": "out_channels // groups"}
    parts = [f"{of_a_group.get(name, name)} >= {getattr(form, name)}" for name in SIZES if getattr(form, name) > 1]
    sides = zip(SIDES, form.padding, strict=True)
    parts += [f"{side} {'>=' if size > 0 else '<='} {size}" for side, size in sides if size]
    for name in ("padding_mode", "dtype"):
        known = [word for word in WORDS[name] if (word == "int8") == (getattr(form, name) == "int8")]
        words = known[known.index(getattr(form, name)) :]
        parts += [f"{name} in ({', '.join(map(repr, words))},)"] if len(words) < len(known) else []
    return parts + ["bias"] * form.bias + _quantized_as(form)


def _quantized_as(form: QuestionParameters) -> list[str]:
    """Conditions for the same formats, and the zero points and scales that `form` has, or more of them."""
    q = form.quantization
    if q is None:
        return []
    truths = [name for name in ("input_zero_point", "weight_zero_point", "result_zero_point") if getattr(form, name)]
    truths += ["not per_channel"] * form.per_tensor
    return [f"input_format == '{q.input}'", f"result_format == '{q.result}'", *truths]


def _words_of(cause: Cause, aspect: str) -> tuple[Any, ...]:
    questions = [cause.representative.question, *(member.question for member in cause.members)]
    return tuple(word for word in WORDS[aspect] if any(getattr(question, aspect) == word for question in questions))


def _shortened(text: str) -> str:
    """One line of plain text."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _toml(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime.date) else json.dumps(value)
