"""Settings that all tests share, and the marker `quick`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A shared machine may be slow at any moment, which is no failure: no test here is about time.
settings.register_profile("convbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("convbench")

STARTS_PROCESSES = re.compile(r"\b(subprocess|Popen|WorkerPool|discover|browser|torch|jax)\b")


@cache
def _is_light(file: Path) -> bool:
    """Whether the source of a test file names neither processes nor a large library."""
    return not STARTS_PROCESSES.search(file.read_text(encoding="utf-8"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `quick` every test of a light file, except those marked `slow` or `gpu`."""
    for item in items:
        heavy = any(item.get_closest_marker(name) for name in ("slow", "gpu"))
        if not heavy and _is_light(item.path):
            item.add_marker(pytest.mark.quick)
