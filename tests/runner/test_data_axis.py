"""`--data` as a user gives it: what is timed, what is recorded, and that a wrong answer stays wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import PLUGINS

import convbench
from convbench.measurement.settings import Settings
from convbench.store.records import Conditions

PLUGIN = PLUGINS / "small_numbers.py"
PROBLEM = "n1c2h5w5_o2k3"
NAMES = ("keeping", "flushing", "wrong", "wrong-when-small", "too-large-when-small")


def run(results: Path, *words: str | Path, names: tuple[str, ...] = NAMES) -> subprocess.CompletedProcess[str]:
    backends = [word for name in names for word in ("--backend", name)]
    line = [sys.executable, "-m", "convbench", "run", "--problem", PROBLEM, "--plugin", PLUGIN, *backends, *words]
    line += ["--quick", "--no-self-check", "--no-asv", "--results", results]
    return subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    results = tmp_path_factory.mktemp("results")
    done = run(results, "--data", "normal", "--data", "denormal", "--data", "zeros", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 15, done.stderr
    return {(record["backend"], record["settings"]["data"]): record for record in lines}


def test_what_became_of_denormal_numbers_is_in_the_record(records: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert [records["keeping", data]["denormals"] for data in ("normal", "denormal", "zeros")] == [None, "kept", None]
    assert records["flushing", "denormal"]["denormals"] == "flushed"
    assert {records[name, data]["status"] for name in NAMES[:2] for data in ("normal", "denormal", "zeros")} == {"ok"}


def test_a_backend_that_is_wrong_stays_wrong_on_zeros_where_every_product_is_zero(
    records: dict[tuple[str, str], dict[str, Any]],
) -> None:
    for data in ("normal", "denormal", "zeros"):
        assert records["wrong", data]["status"] == "wrong"
    assert records["wrong-when-small", "normal"]["status"] == records["too-large-when-small", "zeros"]["status"] == "ok"
    for name in ("wrong-when-small", "too-large-when-small"):
        assert (records[name, "denormal"]["status"], records[name, "denormal"]["median_s"]) == ("wrong", None)


def test_times_on_different_data_are_not_compared(records: dict[tuple[str, str], dict[str, Any]]) -> None:
    normal, denormal = (records["keeping", data] for data in ("normal", "denormal"))
    with pytest.raises(convbench.errors.NothingMeasuredError, match="more than one data"):
        convbench.compare([normal], [denormal, records["flushing", "normal"]])
    assert Conditions.of(Settings(data="denormal"), None).hold(denormal)
    assert not Conditions.of(Settings(), None).hold(denormal)
    del normal["settings"]["data"]  # as before there was the option
    assert Conditions.of(Settings(), None).hold(normal)


def test_a_file_is_timed_and_resumed_while_it_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "activations.npy"
    np.save(file, np.array([1.0, 0.0, 3.0]))
    words = ("--data", file, "--json")
    first = run(tmp_path, *words, names=("keeping",))
    [record] = map(json.loads, first.stdout.splitlines())
    assert record["status"] == "ok" and record["settings"]["data"].startswith("activations.npy ")
    again = run(tmp_path, *words, "--resume", names=("keeping",))
    assert "resuming" in again.stderr and len(list(tmp_path.glob("*/*.jsonl"))) == 1
    np.save(file, np.array([1.0, 0.0, 4.0]))
    changed = run(tmp_path, *words, "--resume", names=("keeping",))
    assert "There is no run to resume" in changed.stderr


def test_what_cannot_be_read_is_refused_before_anything_starts(tmp_path: Path) -> None:
    np.savez(tmp_path / "g.npz", gradient=np.ones(3))
    for given, said in (("dnormal", "Did you mean 'denormal'"), (str(tmp_path / "g.npz"), "does not take")):
        done = run(tmp_path, "--data", given)
        assert done.returncode == 2 and said in done.stderr and done.stdout == ""
    assert not list(tmp_path.rglob("*.jsonl"))


def test_python_takes_the_option_and_the_report_says_who_flushes() -> None:
    options: dict[str, Any] = {"plugin": PLUGIN, "quick": True, "self_check": False}
    result = convbench.run(PROBLEM, backend=["keeping", "flushing"], data=["denormal", "zeros"], **options)
    text = " ".join(str(result).split())
    assert "timed on denormal values" in text and "timed on zeros" in text
    assert "keeping computed with denormal numbers; flushing took them for zero. Both are right." in text
