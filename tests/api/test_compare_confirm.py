"""`compare --confirm`: what seems slower in records is measured again, with real workers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import PLUGINS

import convbench
from convbench.analysis.comparison import ChangeVerdict
from convbench.errors import NothingMeasuredError
from convbench.measurement.machine.facts import machine_facts
from convbench.problem import ConvProblem

FAKES = PLUGINS / "fakes.py"
CASE = "n1c2h6w6_o3k3"


def record(backend: str, seconds: float, **changes: Any) -> dict[str, Any]:
    """A record of this machine with little noise."""
    walls = (seconds * np.exp(np.random.default_rng(1).normal(0, 0.01, 20))).tolist()
    return {
        "format": 1,
        "session": f"then-{backend}-{seconds}",
        "suite": "mine",
        "case": CASE,
        "backend": backend,
        "status": "ok",
        "median_s": seconds,
        "threads": 1,
        "dtype": "float32",
        "settings": {"allocator": "steady", "cache": "warm"},
        "machine": machine_facts(),
        "problem": asdict(ConvProblem.parse(CASE)),
        "samples": {"round": list(range(20)), "wall_s": walls},
        **changes,
    }


def compared(base: list[dict[str, Any]], new: list[dict[str, Any]], results: Path, **options: Any) -> Any:
    return convbench.compare(base, new, threshold=0.9, confirm=True, plugins=[FAKES], results=results, **options)


def test_what_does_not_repeat_is_not_called_slower(tmp_path: Path) -> None:
    sides = [record("right", 1e-3)], [record("right-twin", 1e-2)]
    names = {"backend": "right", "against": "right-twin"}
    assert convbench.compare(*sides, threshold=0.9, **names).exit_code == 1
    result = compared(*sides, tmp_path, **names)
    (change,) = result.changes
    assert result.exit_code == 0 and change.verdict is ChangeVerdict.UNCLEAR
    assert change.again is not None and change.again.side_by_side and not change.again.holds
    assert "1 pair seemed slower and was measured again: 0 slower again, 1 not." in " ".join(str(result).split())
    assert [row["again"]["holds"] for row in result.records] == [False]
    assert "measured again" in result.markdown()
    (kept,) = tmp_path.rglob("*.jsonl")
    assert {json.loads(line)["backend"] for line in kept.read_text().splitlines()} == {"right", "right-twin"}


def test_what_is_slower_again_stays_slower(tmp_path: Path) -> None:
    base, new = tmp_path / "base.jsonl", tmp_path / "new.jsonl"
    base.write_text(json.dumps(record("right", 1e-3)) + "\n")
    new.write_text(json.dumps(record("slow", 1e-2)) + "\n")
    words = [sys.executable, "-m", "convbench", "compare", str(base), str(new), "--json", "--confirm"]
    words += ["--backend", "right", "--against", "slow", "--plugin", str(FAKES), "--results", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1, done.stderr
    (row,) = map(json.loads, done.stdout.splitlines())
    assert row["verdict"] == "slower" and row["again"]["holds"] and row["again"]["side_by_side"]
    assert row["again"]["low"] > 2


@pytest.mark.parametrize(("base_s", "new_s", "holds"), [(1e-3, 2e-2, True), (0.5, 5.0, False)])
def test_without_the_base_the_new_one_is_compared_with_the_base_s_record(
    tmp_path: Path, base_s: float, new_s: float, holds: bool
) -> None:
    """`slow` takes 50 ms."""
    result = compared([record("slow", base_s)], [record("slow", new_s)], tmp_path)
    (change,) = result.changes
    assert change.again is not None and not change.again.side_by_side
    assert change.again.holds is holds and result.exit_code == int(holds)
    assert change.again.own_ratio is not None and (change.again.own_ratio > 1) is holds
    assert "times their earlier times" in " ".join(str(result).split())


def test_without_a_suspect_nothing_is_measured(tmp_path: Path) -> None:
    result = compared([record("right", 1e-3)], [record("right", 1e-3)], tmp_path)
    assert result.exit_code == 0 and not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backend": "gone"}, "gone seems slower and cannot be measured again here. Give its --plugin"),
        ({"backend": "unavailable"}, "cannot be measured again here: "),
        ({"machine": {"machine": "there", "cpu": "another CPU"}}, "measured on another machine"),
        ({"problem": {}}, "does not say what was computed"),
        ({"backend": "numpy-gemm", "versions": {"numpy": "1.0"}}, "with numpy 1.0, and here is numpy "),
    ],
)
def test_what_cannot_be_measured_again_is_a_sentence(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    sides = [record("slow", 1e-3) | changes], [record("slow", 1.0) | changes]
    with pytest.raises(NothingMeasuredError, match=said):
        compared(*sides, tmp_path)
