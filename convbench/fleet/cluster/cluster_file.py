"""A cluster as a person describes it: the address of a scheduler that runs already, or a short TOML file.

A file has one of these tables, which name Dask's own ways to start workers: `[local]`, `[ssh]`, `[slurm]`,
`[kubernetes]`; or `scheduler = "tls://host:8786"`. Beside it may stand what machines cost.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convbench.analysis.hardware.prices import CURRENCY, price_of
from convbench.errors import FleetError, did_you_mean
from convbench.files.user_file import FileKind, read_text

_KIND = FileKind("a cluster file", 2**20, "give a TOML file as docs/fleet.md describes it", FleetError)
OPTIONS: Mapping[str, Mapping[str, type]] = {
    "local": {"workers": int},
    "ssh": {"hosts": list, "scheduler": str, "python": str, "connect": dict},
    "slurm": {"partition": str, "nodes": int, "cores": int, "memory": str, "walltime": str, "python": str,
              "directives": list, "prologue": list, "interface": str, "local_directory": str,
              "log_directory": str},
    "kubernetes": {"image": str, "workers": int, "namespace": str, "name": str, "resources": dict},
}  # fmt: skip
"""The tables and what each may say."""
_REQUIRED = {"ssh": ("hosts",), "slurm": ("partition", "nodes"), "kubernetes": ("image", "workers")}
_BESIDE = ("scheduler", "price_per_hour", "currency", "silent_s", "wait_s")
SILENT_S, WAIT_S = 120.0, 60.0


@dataclass(frozen=True, kw_only=True)
class ClusterDescription:
    """Where the machines are: the `address` of a scheduler, or a `kind` of cluster with its options."""

    address: str | None = None
    kind: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    """What an hour of a machine costs, by a glob of its name."""
    currency: str = CURRENCY
    silent_s: float = SILENT_S
    """A machine that says nothing for so long is given up."""
    wait_s: float = WAIT_S
    """So long workers are waited for: those of a batch system may have to queue."""

    @property
    def expected(self) -> int:
        """How many workers will come."""
        if self.kind == "ssh":
            return len(self.options["hosts"])
        return int(self.options.get("workers") or self.options.get("nodes") or 1)

    def price_of(self, machine: str) -> float | None:
        """What an hour of this machine costs, by the first glob that matches; None where that is unknown."""
        return price_of(machine, self.prices)


def cluster_description(text: str) -> ClusterDescription:
    """From an address such as `tls://host:8786`, or from the path of a TOML file. Raises `FleetError`."""
    if "://" in text or (not Path(text).exists() and _is_host_and_port(text)):
        return ClusterDescription(address=text)
    try:
        content = tomllib.loads(read_text(text, _KIND))
    except tomllib.TOMLDecodeError as error:
        raise _KIND.refused(text, f"this is not TOML: {error}") from None
    return _described(text, content)


def _is_host_and_port(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal()


def _described(path: str, content: dict[str, Any]) -> ClusterDescription:
    known = [*OPTIONS, *_BESIDE]
    for name in content:
        if name not in known:
            fault = f"it says {name!r}, which should be one of {', '.join(known)}.{did_you_mean(name, known)}"
            raise _KIND.refused(path, fault)
    kinds = [name for name in (*OPTIONS, "scheduler") if name in content]
    if len(kinds) != 1:
        has = " and ".join(kinds) or "no such table"
        raise _KIND.refused(path, f"it has {has}, and should have one of [{'], ['.join(OPTIONS)}] or scheduler = '...'")
    beside = {
        "prices": _prices(path, content.get("price_per_hour", {})),
        "currency": _of_type(path, "currency", content.get("currency", CURRENCY), str),
        "silent_s": _positive(path, "silent_s", content.get("silent_s", SILENT_S)),
        "wait_s": _positive(path, "wait_s", content.get("wait_s", WAIT_S)),
    }
    if kinds == ["scheduler"]:
        return ClusterDescription(address=_of_type(path, "scheduler", content["scheduler"], str), **beside)
    [kind] = kinds
    return ClusterDescription(kind=kind, options=_options(path, kind, content[kind]), **beside)


def _options(path: str, kind: str, table: Any) -> dict[str, Any]:
    known = OPTIONS[kind]
    _of_type(path, kind, table, dict)
    for name, value in table.items():
        if name not in known:
            fault = f"[{kind}] says {name!r}, which should be one of {', '.join(known)}.{did_you_mean(name, known)}"
            raise _KIND.refused(path, fault)
        _of_type(path, f"{kind}.{name}", value, known[name])
        if known[name] is int:
            _positive(path, f"{kind}.{name}", value)
    for name in _REQUIRED.get(kind, ()):
        if name not in table:
            raise _KIND.refused(path, f"[{kind}] has no {name}")
    return dict(table)


def _prices(path: str, value: Any) -> dict[str, float]:
    table = value if isinstance(value, dict) else {"*": value}
    return {name: _positive(path, f"price_per_hour of {name!r}", price) for name, price in table.items()}


def _positive(path: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise _KIND.refused(path, f"{name} is {value!r}, and should be a number above 0")
    return value


def _of_type(path: str, name: str, value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        words = {str: "a text", int: "a whole number", list: "a list of texts", dict: "a table"}
        raise _KIND.refused(path, f"{name} is {value!r}, and should be {words[kind]}")
    if kind is list and not all(isinstance(item, str) for item in value):
        raise _KIND.refused(path, f"{name} should be a list of texts")
    return value
