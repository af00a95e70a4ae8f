"""Violations of a rule of the house that are still there. The lists only shrink: no new entry, and no stale one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from places import SUPPORT

_FOLDER = SUPPORT / "pending"


def without_line(violation: str) -> str:
    """The violation without its line number, which every edit above it moves."""
    return re.sub(r":\d+:", ":", violation, count=1)


def assert_only_pending(rule: str, violations: Iterable[str]) -> None:
    """Assert that `violations` are the ones listed in `pending/<rule>.txt`; a missing file lists none."""
    path = _FOLDER / f"{rule}.txt"
    listed = set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()
    found = {without_line(violation): violation for violation in violations}
    assert [violation for key, violation in found.items() if key not in listed] == [], "new violations"
    assert sorted(listed - found.keys()) == [], f"no longer there: take these lines out of {path}"
