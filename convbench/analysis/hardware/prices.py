"""What an hour of a machine costs, by globs of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from convbench.errors import FleetError

CURRENCY = "EUR"


def price_of(machine: str, prices: Mapping[str, float]) -> float | None:
    """What an hour of this machine costs, by the first glob that matches its name; None where that is unknown."""
    return next((price for glob, price in prices.items() if fnmatchcase(machine, glob)), None)


def prices_of(words: Sequence[str]) -> dict[str, float]:
    """From `NAME=0.25`. Raises `FleetError` for what is no price."""
    prices = {}
    for word in words:
        name, _, price = word.rpartition("=")
        try:
            prices[name] = float(price)
        except ValueError:
            prices[name] = 0.0
        if not name or not prices[name] > 0:
            raise FleetError(f"--price is {word!r}; it should be NAME=P, with a number above 0, such as server=0.25.")
    return prices
