"""Cold caches: how much has to be written so that nothing of a backend's data is left in them."""

from __future__ import annotations

from convbench.measurement.machine.facts import machine_facts

_WHERE_UNKNOWN = 64 << 20


def flush_bytes() -> int:
    """Twice the last-level cache. It is shared; of a further core's own caches some may survive."""
    caches: dict[str, int] = machine_facts()["caches_bytes"]
    return 2 * max(caches.values(), default=_WHERE_UNKNOWN // 2)
