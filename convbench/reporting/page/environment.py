"""The environment of a group of records, in words that can be cited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convbench.reporting.page.rows import Group
from convbench.store.readings import as_number, table

_NAMES = {
    "os": "OS", "arch": "architecture", "cpu": "CPU", "num_cpu": "CPUs", "usable_cpus": "CPUs that may be used",
    "physical_cores": "cores", "ram": "memory", "memory_limit_bytes": "memory that may be used",
    "caches_bytes": "caches", "vector_isa": "vector instructions", "governor": "frequency governor",
    "libc": "C library", "python": "Python",
}  # fmt: skip
_OF_BYTES = {"ram", "memory_limit_bytes", "caches_bytes"}


def environment_of(group: Group) -> dict[str, Any]:
    """The name of the group, and its facts: pairs of a name and a text."""
    newest = group.records[-1]
    machine, settings = table(newest, "machine"), table(newest, "settings")
    versions = sorted({(str(k), str(v)) for r in group.records for k, v in table(r, "versions").items()})
    facts = [
        (_NAMES.get(name, name), _fact(value, in_bytes=name in _OF_BYTES))
        for name, value in machine.items()
        if value not in (None, "", {})
    ]
    facts += [("libraries", ", ".join(f"{name} {version}" for name, version in versions))] if versions else []
    facts += [("settings", ", ".join(f"{name} {_fact(value)}" for name, value in settings.items()))]
    facts += [("convbench", str(newest.get("convbench") or "")), ("commit", str(newest.get("commit") or "unknown"))]
    times = sorted(str(record.get("time")) for record in group.records if record.get("time"))
    facts += [("measured", " to ".join(dict.fromkeys([*times[:1], *times[-1:]])))] if times else []
    return {"name": group.name, "facts": facts}


def _fact(value: object, *, in_bytes: bool = False) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_fact(one, in_bytes=in_bytes)}" for name, one in value.items())
    count = as_number(int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value)
    return _size(count) if in_bytes and count is not None else str(value)


def _size(count: float) -> str:
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.4g} {unit}"
    return f"{count:.0f} bytes"
