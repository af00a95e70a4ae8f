"""Kinds of option values: lists of numbers, shares, CPUs. Each says what it takes when given something else."""

from __future__ import annotations

import math

import click


def numbers(value: str | tuple[int, ...]) -> tuple[int, ...]:
    """Whole numbers from 1, with commas, each once: `1,2,4`."""
    if isinstance(value, tuple):
        return value
    words = [word.strip() for word in value.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 7 and int(word) > 0 for word in words):
        raise click.BadParameter(f"{value!r} should be whole numbers from 1, with commas, such as 1,2,4.")
    return tuple(dict.fromkeys(int(word) for word in words))


def numbers_in_order(value: str | tuple[int, ...]) -> tuple[int, ...]:
    """Whole numbers from 1, with commas, as they come: `1,3,224,224`."""
    if isinstance(value, tuple):
        return value
    words = [word.strip() for word in value.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 10 and int(word) > 0 for word in words):
        raise click.BadParameter(f"{value!r} should be whole numbers from 1, with commas, such as 1,3,224,224.")
    return tuple(map(int, words))


def share(value: str | float) -> float:
    """A share between 0 and 1: `2%` or `0.02`."""
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = math.nan
    if not 0 < number < 1:
        raise click.BadParameter(f"{value!r} should be a share such as 2% or 0.02.")
    return number


def cpus(value: str) -> str:
    """CPUs to run on: `auto`, `none`, or numbers such as `2,3` or `2-5`."""
    from convbench.measurement.machine.affinity import parse_pin

    try:
        return parse_pin(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} should be auto, none or CPUs such as 2,3 or 2-5.") from None
