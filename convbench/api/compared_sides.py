"""Which records stand on the two sides of a comparison: what is to be compared gets the same name on both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias, get_args

from convbench.errors import BackendError, NothingMeasuredError
from convbench.isa import NATIVE, by_width
from convbench.store.readings import data_of, isa_of, machine_of
from convbench.store.schema import Record
from convbench.verification.timed_data import NORMAL, described

Sides: TypeAlias = "tuple[list[Record], list[Record]]"
Axis = Literal["isa", "data", "machine"]
AXES: tuple[Axis, ...] = get_args(Axis)


def as_one_backend(base: Sequence[Record], new: Sequence[Record], backend: str, against: str) -> tuple[Sides, Sides]:
    """`backend` of the base and `against` of the new under one name, and the other backends of both sides.

    `*` stands for the part of the name that both share: `*@old` and `*@new` are matched by what is before the @. Raises
    `BackendError` when only one has a `*`.
    """
    if backend.count("*") != against.count("*") or backend.count("*") > 1:
        raise BackendError(
            f"--backend is {backend!r} and --against is {against!r}; give two names, or two patterns with one * each, "
            "such as '*@old' and '*@new'."
        )
    chosen, others = [], []
    for side, pattern in ((base, backend), (new, against)):
        matcher = re.compile("(.*)".join(map(re.escape, pattern.split("*"))))
        matches = {name: match for name in {r["backend"] for r in side} if (match := matcher.fullmatch(name))}
        names = {name: match[1] if matcher.groups else backend for name, match in matches.items()}
        chosen.append([r | {"backend": names[r["backend"]]} for r in side if r["backend"] in names])
        others.append([r for r in side if r["backend"] not in names])
    return (chosen[0], chosen[1]), (others[0], others[1])


def along(axis: Axis, base: Sequence[Record], new: Sequence[Record]) -> Sides:
    """The records of the base on the narrowest instruction set (or on normal data, or on its first machine) and those
    of the new one on all others, each under the backend's name and that set, those data or that machine.

    Raises `NothingMeasuredError` when the new records have no other set, data or machine than that.
    """
    value_of, in_order, in_words, advice = _ALONG[axis]
    of_base, of_all = ({value_of(record) for record in records} for records in (base, (*base, *new)))
    least, *more = in_order(of_base, of_all) or [""]
    others = [record for record in new if value_of(record) != least]
    if not others:
        raise NothingMeasuredError(f"nothing to compare by {axis}: all records are of {in_words(least)}. {advice}")
    # Each set has rounds of its own, so that no two are of the same minutes.
    sides: Sides = ([], [])
    for value in more:
        for side, of in zip(sides, (least, value), strict=True):
            records = base if of == least else others
            side += [_named(record, of, in_words(value)) for record in records if value_of(record) == of]
    return sides


def _named(record: Record, value: str, words: str) -> Record:
    return record | {"backend": f"{record['backend']}, {words}", "session": f"{record.get('session')} {value}"}


def _narrowest_first(_: Iterable[str], labels: Iterable[str]) -> list[str]:
    return by_width(labels)


def _normal_first(_: Iterable[str], labels: Iterable[str]) -> list[str]:
    return sorted(labels, key=lambda label: (label != NORMAL, label))


def _base_first(of_base: Iterable[str], labels: Iterable[str]) -> list[str]:
    first = min(of_base, default="")
    return sorted(labels, key=lambda label: (label != first, label))


_Order: TypeAlias = Callable[[Iterable[str], Iterable[str]], list[str]]
"""What the base has, and what both have, in the order of the comparison."""
_MORE = "Measure several in one run, as in convbench run"
_ALONG: dict[Axis, tuple[Callable[[Record], str], _Order, Callable[[str], str], str]] = {
    "isa": (
        lambda record: isa_of(record) or NATIVE,
        _narrowest_first,
        lambda isa: NATIVE if isa == NATIVE else f"up to {isa}",
        f"{_MORE} --isa avx2,native",
    ),
    "data": (data_of, _normal_first, described, f"{_MORE} --data normal --data denormal"),
    "machine": (
        machine_of,
        _base_first,
        str,
        "Give two machines, or a folder of results that has several.",
    ),
}
