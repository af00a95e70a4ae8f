"""What a row from another program's file has to be before it becomes a record: numbers, and lists of them.

A spreadsheet writes decimal commas, and cuts a cell after 32,767 characters. What it made of a number is a text, which
would be no time for one command and an error for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convbench.store.schema import FIELDS, Kind

_LONGEST_SHOWN = 40
_NUMBERS = [name for name, kind in FIELDS.items() if kind in (Kind.NUMBER, Kind.COUNT)]
_OF_EQUAL_LENGTH = ("round", "wall_s", "calls")


def check_types(row: Mapping[str, Any]) -> None:
    """Raises `ValueError`, with the reason, if a number is something else or the samples are not whole."""
    for name in _NUMBERS:
        if not _is_number(row.get(name, 0)):
            raise ValueError(f"{name} is {_shown(row[name])}, and should be a number with a decimal point")
    samples = row.get("samples") or {}
    if not isinstance(samples, Mapping):
        raise ValueError(f"samples is {_shown(samples)}, and should be columns such as samples.wall_s")
    for name, values in samples.items():
        if not isinstance(values, list) or not all(map(_is_number, values)):
            raise ValueError(f"samples.{name} is {_shown(values)}, and should be a whole list of numbers in brackets")
    lengths = {name: len(samples[name]) for name in _OF_EQUAL_LENGTH if samples.get(name)}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"samples.{name} {length}" for name, length in lengths.items())
        raise ValueError(f"its samples are of different numbers: {counts}")


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, (int, float))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
