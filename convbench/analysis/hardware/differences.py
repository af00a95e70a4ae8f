"""What differs between machines besides what is compared: settings of the system, and versions of libraries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar


class Described(Protocol):
    """A machine by its name and kind, with facts as records have them, and the versions of what each backend needs."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def backends(self) -> Mapping[str, Mapping[str, str]]: ...


_Machine = TypeVar("_Machine", bound=Described)


def kinds(machines: Iterable[_Machine]) -> dict[str, list[_Machine]]:
    """The machines of each kind, by name."""
    by_kind: dict[str, list[_Machine]] = {}
    for machine in sorted(machines, key=lambda machine: machine.name):
        by_kind.setdefault(machine.kind, []).append(machine)
    return by_kind


def differences(machines: Sequence[Described]) -> list[str]:
    """What differs between machines of one kind, which should be alike; a sentence each."""
    sentences = []
    for kind, alike in kinds(machines).items():
        for name, values in {**_facts(alike), **_versions(alike)}.items():
            if len({*values.values()}) > 1:
                sentences.append(f"Machines of one kind ({kind}) differ in {name}: {_each(values)}.")
    return sentences


def other_versions(machines: Sequence[Described]) -> list[str]:
    """The libraries that machines of several kinds have in several versions; a sentence each."""
    values: dict[str, dict[str, str]] = {}
    for machine in sorted(machines, key=lambda machine: machine.name):
        for versions in machine.backends.values():
            for library, version in versions.items():
                values.setdefault(library, {})[machine.name] = version
    several = {library: each for library, each in sorted(values.items()) if len({*each.values()}) > 1}
    return [f"The machines have several versions of {library}: {_each(each)}." for library, each in several.items()]


_NAMES = {"ram": "memory", "usable_cpus": "usable CPUs", "governor": "the governor", "os": "the system", "libc": "libc",
          "python": "Python"}  # fmt: skip


def _facts(machines: Sequence[Described]) -> dict[str, dict[str, str]]:
    """The value of each fact by machine."""
    return {name: {m.name: str(m.facts.get(key) or "") for m in machines} for key, name in _NAMES.items()}


def _versions(machines: Sequence[Described]) -> dict[str, dict[str, str]]:
    names = sorted({name for machine in machines for name in machine.backends})
    return {f"backend {name}": {m.name: _version(m, name) for m in machines} for name in names}


def _version(machine: Described, backend: str) -> str:
    if backend not in machine.backends:
        return ""
    return ", ".join(f"{name} {version}" for name, version in machine.backends[backend].items()) or "there"


def _each(values: Mapping[str, str]) -> str:
    """`2.9 on a; 2.10 on b, c`."""
    grouped: dict[str, list[str]] = {}
    for machine, value in values.items():
        grouped.setdefault(value, []).append(machine)
    return "; ".join(f"{value or 'none'} on {', '.join(where)}" for value, where in grouped.items())
