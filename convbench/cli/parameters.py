"""Kinds of option values: lists of numbers, shares, CPUs. A value that an option does not take is a usage error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from convbench.api import options

_VALUE = "the value"
_Value = TypeVar("_Value")


def numbers(value: str | tuple[int, ...]) -> tuple[int, ...]:
    """Whole numbers from 1, each once: `1,2,4`."""
    return _read(lambda: options.whole_numbers(value, _VALUE, "1,2,4"))


def numbers_in_order(value: str | tuple[int, ...]) -> tuple[int, ...]:
    """Whole numbers from 1, as given: `1,3,224,224`."""
    return _read(lambda: options.whole_numbers(value, _VALUE, "1,3,224,224", distinct=False))


def share(value: str | float) -> float:
    """A share between 0 and 1: `2%` or `0.02`."""
    return _read(lambda: options.share(value, _VALUE))


def cpus(value: str) -> str:
    """CPUs to run on: `auto`, `none`, or numbers such as `2,3` or `2-5`."""
    return _read(lambda: options.cpus(value, _VALUE))


def _read(reader: Callable[[], _Value]) -> _Value:
    try:
        return reader()
    except options.OptionError as error:
        raise click.BadParameter(str(error)) from None
