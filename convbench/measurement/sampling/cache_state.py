"""Cold caches: how many bytes to write so that none of a backend's data stays in them."""

from __future__ import annotations

from convbench.measurement.machine.facts import machine_facts

_IF_UNKNOWN = 64 << 20


def flush_bytes() -> int:
    """Twice the last-level cache. Data in the private caches of another core may survive."""
    caches: dict[str, int] = machine_facts()["caches_bytes"]
    return 2 * max(caches.values(), default=_IF_UNKNOWN // 2)
