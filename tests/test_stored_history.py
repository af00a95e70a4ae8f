"""Stored history: what commit aefc737 wrote is read by this version as that commit read it.

`tests/store/stored_by_aefc737` has journals, plans, a corpus, logs, ceilings, exports and asv's files of that commit,
and `golden.json` is what its commands printed about them. Fields, names and options may be added, and texts for people
may change. All else stays: the rest of the JSON, exit codes, case ids, names of suites and backends, and what a resumed
run leaves.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[1]
STORED = Path(__file__).parent / "store" / "stored_by_aefc737"
CONVBENCH = Path(sys.executable).with_name("convbench")
GOLDEN: dict[str, Any] = json.loads((STORED / "golden.json").read_text(encoding="utf-8"))
SECTIONS = {
    "listings": ("suites", "backends", "show", "machine", "options"),
    "reading": ("compare", "trend", *(f"choose: {word}" for word in ("recorded", "predicted", "no", "here", "plan"))),
    "exchange": ("export", "import"),
    "from_python": ("python",),
    "errors": ("error",),
    "resuming": ("resume",),
    "measuring": ("run", "verify", "choose", "fields"),
    "asv": ("asv",),
}
"""The parts of `make_golden.py`, and how the entries begin that each makes; of several the first counts."""

FOR_PEOPLE = {"stdout", "stderr", "said", "argv"}
OF_TEXTS = {"declared", "lacking", "more", "benchmarks"}
"""Digests of summaries, and what rows of a state lack of all fields or have besides, which more fields change."""
MAY_GROW = {"fields", "names", "columns", "few", "options", "params"}
"""Lists to which a later version may add."""
INTERVALS = {"low", "high", "q_value"}
"""Of ratios. They follow from the model of between-process variation, which learns: they may move by a tenth."""
CHANGED = {
    # A range of 3 rounds that begins at 1.28 was a lead in choices, and level in tables of runs. The rule is one now.
    "choose: recorded / json / 6 / level",
    "choose: recorded / json / 6 / lead",
    "choose: recorded / json / 6 / rivals / 0 / level",
    # `machine` measures the multiply-adds that the earlier version did not know, once; `further` names them.
    "machine: ceilings / kept / ceilings",
}


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_golden", STORED / "make_golden.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section_of(entry: str) -> str:
    return next(name for name, begins in SECTIONS.items() if entry.startswith(begins))


def differences(old: Any, new: Any, at: str, name: str = "") -> Iterator[str]:
    """Where `new` is not as `old` was, but for what was added. Numbers may differ by a millionth."""
    if name in FOR_PEOPLE | OF_TEXTS or at in CHANGED:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old:
            yield from differences(old[key], new.get(key, "absent"), f"{at} / {key}", key)
    elif isinstance(old, list) and isinstance(new, list):
        if MAY_GROW & {name, at.partition(" / ")[0]} and all(isinstance(value, (str, int)) for value in old):
            yield from (f"{at}: {value!r} is gone" for value in old if value not in new)
        elif len(old) != len(new):
            yield f"{at}: {len(old)} -> {len(new)}"
        else:
            for place, pair in enumerate(zip(old, new, strict=True)):
                yield from differences(*pair, f"{at} / {place}")
    elif type(old) in (int, float) and type(new) in (int, float):
        if not math.isclose(old, new, rel_tol=0.1 if name in INTERVALS else 1e-6, abs_tol=1e-12):
            yield f"{at}: {old} -> {new}"
    elif old != new:
        yield f"{at}: {str(old)[:200]!r} -> {str(new)[:200]!r}"


@cache
def cpu() -> str:
    from convbench.measurement.machine.facts import machine_facts

    return str(machine_facts()["cpu"])


def has_commits() -> bool:
    """A shallow clone, or a source archive, has not."""
    words = ["git", "-C", str(CHECKOUT), "cat-file", "-e", "aefc7372^{commit}"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def test_every_golden_entry_is_of_one_section() -> None:
    assert {section_of(entry) for entry in GOLDEN} == set(SECTIONS)


@pytest.mark.timeout(1800)  # some 25 commands with fresh workers, which a busy machine runs ten times as slowly
@pytest.mark.skipif(not CONVBENCH.is_file(), reason="convbench is not installed beside this Python")
@pytest.mark.parametrize("section", SECTIONS)
def test_what_an_earlier_version_stored_is_read_as_it_was(section: str) -> None:
    if section == "asv" and not has_commits():
        pytest.skip("this checkout has no history")
    golden = script().Golden(CONVBENCH, CHECKOUT)
    getattr(golden, section)()
    expected = {entry: old for entry, old in GOLDEN.items() if section_of(entry) == section}
    assert expected.keys() <= golden.found.keys()
    found = [
        difference
        for entry, old in expected.items()
        if old.get("needs_cpu", "") in cpu()
        for difference in differences(old, golden.found[entry], entry)
    ]
    assert found == []
