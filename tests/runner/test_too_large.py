"""A case that fits into no memory: it is `out of memory`, with figures, and costs no other case anything."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import PLUGINS

from convbench.measurement import capacity
from convbench.measurement.capacity import too_large
from convbench.measurement.machine import memory
from convbench.measurement.machine.memory import Available, available_memory
from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.footprint import footprint
from convbench.verification.oracle import Oracle

SMALL = ConvProblem(in_channels=2, height=6, width=6, out_channels=3, kernel_size=3)
HUGE = ConvProblem(in_channels=1024, height=16384, width=16384, out_channels=1, kernel_size=1)
SUITE = """
name = "mixed"
summary = "One case that fits nowhere, between two small ones."
case = [
    { in_channels = 2, height = 6, width = 6, out_channels = 3, kernel_size = 3 },
    { in_channels = 1024, height = 16384, width = 16384, out_channels = 1, kernel_size = 1 },
    { in_channels = 3, height = 6, width = 6, out_channels = 3, kernel_size = 3 },
]
"""
FIGURES = r"its operands take 1,024 GiB, checking its answer takes "


def convbench(tmp_path: Path, command: str, *words: str) -> tuple[int, list[dict[str, Any]]]:
    suite = tmp_path / "mixed.toml"
    suite.write_text(SUITE)
    plugin = ["--plugin", str(PLUGINS / "fakes.py"), "--backend", "right"]
    results = ["--results", str(tmp_path / "results")]
    done = subprocess.run(
        [sys.executable, "-m", "convbench", command, "--suite", str(suite), *plugin, *words, *results, "--json"],
        capture_output=True,
        text=True,
        env=os.environ | {"CONVBENCH_MACHINE": "here"},
    )
    assert "bug in convbench" not in done.stderr, done.stderr
    text = done.stdout.strip()
    return done.returncode, json.loads(text) if text.startswith("[") else [json.loads(t) for t in text.splitlines()]


def test_run_keeps_all_other_cases(tmp_path: Path) -> None:
    code, records = convbench(tmp_path, "run", "--quick", "--no-asv")
    records = [record for record in records if "status" in record]
    assert [record["status"] for record in records] == ["ok", "out of memory", "ok"] and code == 0
    assert FIGURES in records[1]["reason"] and "GiB are free (" in records[1]["reason"]


def test_choose_keeps_all_other_layers(tmp_path: Path) -> None:
    code, lines = convbench(tmp_path, "choose")
    layers = [line for line in lines if line["type"] == "layer"]
    chosen = [layer["choice"] and layer["choice"]["backend"] for layer in layers]
    assert chosen == ["right", None, "right"] and code == 0
    assert [untimed["status"] for untimed in layers[1]["untimed"]] == ["out of memory"]


def test_verify_keeps_all_other_cases(tmp_path: Path) -> None:
    code, (row,) = convbench(tmp_path, "verify", "--time-limit", "60")
    assert (row["status"], row["cases"], row["failures"]) == ("ok", 8, []) and code == 0
    (left,) = row["too_large"]
    assert left["case"] == HUGE.case_id and FIGURES in left["reason"]
    code, (row,) = convbench(tmp_path, "verify", "--case", "*c1024*")
    assert (row["status"], row["cases"]) == ("out of memory", 0) and code == 3
    assert HUGE.case_id in row["reason"]


def outcomes() -> dict[str, Outcome]:
    with Engine(Settings.quick(time_limit_s=120)) as engine:
        rows = discover([PLUGINS / "fakes.py"]).select(["right", "narrow"])
        return {outcome.backend: outcome for outcome in engine.measure("fakes", Case(SMALL), rows)}


def test_a_machine_with_little_memory_left_refuses_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = footprint(SMALL).all_bytes
    monkeypatch.setattr(capacity, "_LITTLE_BYTES", 0)
    monkeypatch.setattr(capacity, "available_memory", lambda: Available(needed - 1, "what the test says"))
    found = outcomes()
    assert {outcome.status for outcome in found.values()} == {Status.OUT_OF_MEMORY}
    assert "free (what the test says)" in (found["right"].reason or "")
    monkeypatch.setattr(capacity, "available_memory", lambda: Available(needed, ""))
    assert too_large(SMALL) is None


@pytest.mark.parametrize("what", ["exact", "magnitudes"])
def test_memory_that_runs_out_all_the_same_ends_the_case_and_not_the_run(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runs_out(self: Oracle) -> None:
        raise MemoryError("Unable to allocate 3.00 TiB")

    monkeypatch.setattr(Oracle, what, property(runs_out))
    found = outcomes()
    assert {outcome.status for outcome in found.values()} == {Status.OUT_OF_MEMORY}
    assert "Unable to allocate 3.00 TiB" in (found["right"].reason or "")


def test_padding_and_outputs_count() -> None:
    small = footprint(SMALL)
    assert small.operands_bytes == 4 * (2 * 36 + 2 * 3 * 9)
    assert footprint(SMALL.replace(padding=1000)).all_bytes > small.all_bytes + 8 * 2 * 2006**2
    assert footprint(SMALL.replace(out_channels=2**20)).all_bytes > 24 * 2**20 * 16
    assert footprint(SMALL.replace(dtype="float16")).operands_bytes == small.operands_bytes // 2


GROUP = "sys/fs/cgroup/job"
V1 = "sys/fs/cgroup/memory/job"


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({f"{GROUP}/memory.max": "3000", f"{GROUP}/memory.current": "1000"}, 2000),
        (
            {
                f"{GROUP}/memory.max": "3000",
                f"{GROUP}/memory.current": "2900",
                f"{GROUP}/memory.stat": "inactive_file 50",
            },
            150,
        ),
        ({f"{GROUP}/memory.max": "3000", f"{GROUP}/memory.current": "4000"}, 0),
        ({f"{GROUP}/memory.max": "max", f"{GROUP}/memory.current": "1000"}, None),
        ({"sys/fs/cgroup/memory.max": "900", "sys/fs/cgroup/memory.current": "100"}, 800),
        ({f"{V1}/memory.limit_in_bytes": "700", f"{V1}/memory.usage_in_bytes": "100"}, 600),
        ({f"{GROUP}/memory.max": "rubbish", f"{GROUP}/memory.current": "-"}, None),
    ],
)
def test_the_limit_of_a_container_counts(files: dict[str, str], left: int | None, tmp_path: Path) -> None:
    for path in (GROUP, V1):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/job\n0::/job\n")
    for path, content in files.items():
        (tmp_path / path).write_text(content)
    available = available_memory(tmp_path)
    assert available.bytes == left if left is not None else available.limit == available_memory(tmp_path / "none").limit
    assert left is None or available.limit == "the limit of this container or group"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_limit_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    used = memory._status_bytes("VmSize")
    assert used is not None
    limits = {resource.RLIMIT_AS: used + 2**24}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits.get(kind, resource.RLIM_INFINITY), -1))
    available = available_memory()
    assert available.bytes <= 2**24 and available.limit == "this process's limit, ulimit -v"
