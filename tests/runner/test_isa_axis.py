"""`--isa` as a user gives it: real workers whose environment is switched, and what becomes of switches that fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import PLUGINS

import convbench
from convbench.isa import ISAS, isas_named
from convbench.measurement.machine.facts import cpu_flags
from convbench.measurement.settings import Settings
from convbench.runner.session import resumable_run
from convbench.runner.verify.request import Request as VerifyRequest
from convbench.store.records import Conditions

pytestmark = pytest.mark.skipif(
    not {"avx2", "fma"} <= cpu_flags(), reason="this CPU has no AVX2, so no library can be held to it"
)
HELD = PLUGINS / "held.py"
QUICK = ("--quick", "--no-self-check", "--no-asv", "--json")
PROBLEM = "n1c1h4w4_o1k2"


def convbench_command(command: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "convbench", command, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def done(results: Path) -> subprocess.CompletedProcess[str]:
    names = ("held", "ignoring", "silent", "telling", "crashing", "wrong-below", "narrower", "unswitched")
    backends = [word for name in names for word in ("--backend", name)]
    where = ("--plugin", HELD, "--results", results)
    return convbench_command("run", "--problem", PROBLEM, "--isa", "avx2,native", *backends, *where, *QUICK)


@pytest.fixture(scope="module")
def records(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str | None], dict[str, Any]]:
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 16, done.stderr
    return {(record["backend"], record["settings"]["isa"]): record for record in lines}


def test_a_switch_that_takes_is_in_the_record(records: dict[tuple[str, str | None], dict[str, Any]]) -> None:
    assert records["held", "avx2"]["status"] == records["held", None]["status"] == "ok"
    assert records["silent", "avx2"]["status"] == "ok"  # what a library does not tell is no error


def test_a_switch_that_did_not_take_is_an_error_and_times_nothing(
    records: dict[tuple[str, str | None], dict[str, Any]],
) -> None:
    ignoring = records["ignoring", "avx2"]
    assert (ignoring["status"], ignoring["median_s"]) == ("error", None)
    assert "FAKE_MAX_ISA=AVX2" in ignoring["reason"] and "says that it uses jit:avx512_core" in ignoring["reason"]
    assert records["ignoring", None]["status"] == "ok"
    telling = records["telling", "avx2"]  # of what ran, when it had run
    assert (telling["status"], telling["median_s"], telling["samples"]) == ("error", None, {})
    assert telling["reason"] == "its switch for --isa avx2 did not take: brg_conv:avx512_core ran"
    assert records["telling", None]["implementation"] == "brg_conv:avx512_core"


def test_a_crash_under_the_switch_costs_that_pair_alone(
    records: dict[tuple[str, str | None], dict[str, Any]], done: subprocess.CompletedProcess[str]
) -> None:
    assert records["crashing", "avx2"]["status"] == "crashed"
    assert records["crashing", None]["status"] == "ok"
    assert records["wrong-below", "avx2"]["status"] == "wrong"
    assert records["wrong-below", None]["status"] == "ok"
    assert done.returncode == 1


def test_what_cannot_be_held_is_left_out_with_the_reason(
    records: dict[tuple[str, str | None], dict[str, Any]],
) -> None:
    unswitched, narrower = records["unswitched", "avx2"], records["narrower", "avx2"]
    assert unswitched["status"] == narrower["status"] == "unsupported"
    assert "cannot be held to avx2" in unswitched["reason"] and "(it was forgotten)" in unswitched["reason"]
    assert narrower["reason"] == "computes nothing without AVX-512"  # which its own process said
    assert records["unswitched", None]["status"] == records["narrower", None]["status"] == "ok"


def test_times_of_different_sets_are_not_compared_and_make_different_series(
    results: Path, records: dict[tuple[str, str | None], dict[str, Any]]
) -> None:
    held, native = records["held", "avx2"], records["held", None]
    with pytest.raises(convbench.errors.NothingMeasuredError, match="more than one isa") as refused:
        convbench.compare([held], [native, records["silent", "avx2"]])
    assert refused.value.exit_code == 3
    assert Conditions.of(Settings(isa="avx2"), None).hold(held)
    assert not Conditions.of(Settings(), None).hold(held)
    assert Conditions.of(Settings(), None).hold(native)
    shown = convbench_command("report", "--results", results, "--output", results / "page.html")
    assert shown.returncode == 0, shown.stderr
    assert "no wider than avx2" in (results / "page.html").read_text()


def test_a_journal_from_before_the_field_is_resumed_by_a_run_without_the_option(results: Path, tmp_path: Path) -> None:
    [journal] = results.glob("*/*.jsonl")
    old = [json.loads(line) for line in journal.read_text().splitlines()]
    old = [record for record in old if record["settings"]["isa"] is None]
    for record in old:
        del record["settings"]["isa"]
    (tmp_path / "20261130T120000Z-problem.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in old))
    suites = [convbench.load_suite("smoke")]
    suites = [type(suites[0])("problem", "", (), suites[0].cases, suites[0].path)]
    settings = [Settings.quick()]
    found = resumable_run(tmp_path, suites, settings, {})
    assert found is not None and len(found[1]) == len(old) == 8
    assert resumable_run(tmp_path, suites, [Settings.quick(isa="avx2")], {}) is None


def test_an_instruction_set_that_is_not_here_is_refused_before_anything_starts(tmp_path: Path) -> None:
    absent = next((isa for isa in ISAS if not _has(isa)), None)
    word = absent or "avx99"
    for command, subject in (("run", ("--problem", PROBLEM)), ("verify", ("--question", PROBLEM))):
        done = convbench_command(command, *subject, "--isa", word, "--results", tmp_path)
        assert done.returncode == 2 and done.stdout == ""
        assert f"--isa {word} cannot be measured here" in done.stderr or f"--isa is {word!r}" in done.stderr
    assert not list(tmp_path.rglob("*.jsonl"))


def _has(isa: str) -> bool:
    try:
        return bool(isas_named([isa], "", cpu_flags()))
    except convbench.errors.IsaError:
        return False


def test_verify_asks_libraries_that_are_held(tmp_path: Path) -> None:
    names = ("held", "ignoring", "wrong-below", "narrower", "unswitched")
    backends = [word for name in names for word in ("--backend", name)]
    ask = ("--question", PROBLEM, "--isa", "avx2", "--plugin", HELD, "--results", tmp_path, "--json")
    done = convbench_command("verify", *backends, *ask)
    rows = {row["backend"]: row for row in map(json.loads, done.stdout.splitlines())}
    statuses = {name: row["status"] for name, row in rows.items()}
    assert statuses == {
        "held": "ok",
        "ignoring": "error",
        "wrong-below": "wrong",
        "narrower": "unsupported",
        "unswitched": "unsupported",
    }
    assert "--isa avx2" in rows["wrong-below"]["failures"][0]["reproduce"]
    assert done.returncode == 1
    native = convbench_command("verify", "--backend", "wrong-below", *ask[:2], *ask[4:])
    assert native.returncode == 0, native.stdout


def test_a_verification_without_the_option_continues_what_was_begun_before_it() -> None:
    assert "isa" not in VerifyRequest().identity()
    assert VerifyRequest(isa="avx2").identity() != VerifyRequest().identity()


def test_python_takes_the_option_as_the_command_line_does() -> None:
    result = convbench.run(PROBLEM, backend="held", plugin=HELD, isa=["avx2", "native"], quick=True, self_check=False)
    assert [record["settings"]["isa"] for record in result.records] == ["avx2", None]
    text = str(result)
    assert "instruction sets up to avx2" in text and "Speed-up by wider instruction sets" in text
