"""`--cache pass`: layers timed as in a pass through their model, by default where a suite stands for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from places import PLUGINS

from convbench.api.arguments import OptionError, byte_count
from convbench.cli.main import cli
from convbench.errors import SuiteError
from convbench.measurement.cache_choice import Caches
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.store.records import Conditions
from convbench.suite import Case, Suite, load_suite

MODEL = """
name = "tiny"
summary = "A model of two layers."
[[case]]
count = 3
in_channels = 2
height = 6
width = 6
out_channels = 3
kernel_size = 1
[[case]]
in_channels = 3
height = 6
width = 6
out_channels = 4
kernel_size = 3
"""
WEIGHTS, IMAGES = 3 * 2 * 3 * 4 + 3 * 4 * 9 * 4, (2 * 36 + 3 * 36) * 4


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(MODEL)
    return path


def convbench(results: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "convbench", *map(str, words), "--results", str(results)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"CONVBENCH_MACHINE": "here"},
    )


def without(record: dict[str, Any], name: str) -> dict[str, Any]:
    settings = {key: value for key, value in record["settings"].items() if key != name}
    return record | {"settings": settings}


def test_a_model_is_timed_as_in_a_pass_and_its_times_meet_no_others(model: Path, tmp_path: Path) -> None:
    words = ("run", "--suite", model, "--quick", "--no-self-check", "--no-asv", "--json")
    words += ("--plugin", PLUGINS / "fakes.py", "--backend", "right")
    done = convbench(tmp_path / "pass", *words)
    assert done.returncode == 0, done.stderr
    assert "Caches are as in a pass of tiny" in done.stderr and "--cache warm" in done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(r["settings"]["cache"], r["settings"]["pass_bytes"]) for r in records} == {("pass", WEIGHTS + IMAGES)}
    hazards = {hazard["hazard"] for record in records for hazard in record["hazards"]}
    assert "approximate pass" in hazards  # this backend does not say where its input is
    assert "short samples" not in hazards
    (journal,) = (tmp_path / "pass" / "here").glob("*.jsonl")

    # A warm run is another thing, which is neither resumed by the default nor compared with it.
    warm = convbench(tmp_path / "pass", *words, "--cache", "warm", "--resume")
    assert "There is no run to resume" in warm.stderr and "Caches are as in a pass" not in warm.stderr
    later = next(path for path in (tmp_path / "pass" / "here").glob("*.jsonl") if path != journal)
    compared = convbench(tmp_path / "pass", "compare", later, journal)
    assert compared.returncode == 3 and "nothing to compare" in compared.stderr

    # A journal that is older than the setting has warm times, and is resumed as such.
    old = [without(json.loads(line), "pass_bytes") for line in later.read_text().splitlines()]
    (tmp_path / "old" / "here").mkdir(parents=True)
    (tmp_path / "old" / "here" / later.name).write_text("".join(f"{json.dumps(record)}\n" for record in old))
    resumed = convbench(tmp_path / "old", *words, "--cache", "warm", "--resume")
    assert "2 records" in resumed.stderr and "There is no run to resume" not in resumed.stderr


def test_a_choice_for_a_model_is_as_in_a_pass_and_says_when_records_are_not(model: Path, tmp_path: Path) -> None:
    words = ("choose", "--suite", model, "--plugin", PLUGINS / "fakes.py", "--backend", "right*")
    warm = convbench(tmp_path, *words, "--cache", "warm", "--budget", "0.05")
    assert warm.returncode == 0 and "Caches are as in a pass" not in warm.stderr
    recorded = convbench(tmp_path, *words, "--from-results")
    assert recorded.returncode == 0 and "the answer is from times with warm caches" in recorded.stderr
    missing = convbench(tmp_path, *words, "--from-results", "--cache", "pass")
    assert missing.returncode == 3 and "--cache pass" in missing.stderr
    chosen = convbench(tmp_path, *words, "--budget", "0.05")
    assert chosen.returncode == 0 and "Caches are as in a pass of tiny" in chosen.stderr
    again = convbench(tmp_path, *words, "--from-results", "--cache", "pass")
    assert again.returncode == 0 and "warm" not in again.stderr


@pytest.mark.parametrize(
    ("words", "hints"),
    [
        (["--suite", "smoke", "--cache", "pass"], ["'smoke' is not the layers of one model", "--pass-bytes 100MB"]),
        (["--suite", "resnet50", "--cache", "warm", "--pass-bytes", "1MB"], ["--pass-bytes is for --cache pass"]),
        (["--suite", "smoke", "--pass-bytes", "much"], ["'much'", "100MB, 64MiB or a number of bytes"]),
        (["--suite", "smoke", "--pass-bytes", "0"], ["'0'", "100MB, 64MiB or a number of bytes"]),
    ],
)
@pytest.mark.parametrize("command", ["run", "choose"])
def test_options_that_do_not_fit_are_refused_before_anything_is_measured(
    command: str, words: list[str], hints: list[str], tmp_path: Path
) -> None:
    done = CliRunner().invoke(cli, [command, *words, "--results", str(tmp_path)])
    text = " ".join(f"{done.output} {done.exception or ''}".replace("│", " ").split())
    assert done.exit_code != 0 and all(hint in text for hint in hints), text
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("text", "size"), [("100MB", 10**8), ("64MiB", 2**26), ("1.5 kb", 1500), ("7", 7), (7, 7), ("2g", 2 * 10**9)]
)
def test_a_size_is_bytes_or_has_a_unit(text: str | int, size: int) -> None:
    assert byte_count(text, "pass_bytes") == size


@given(st.one_of(st.text(max_size=8), st.integers(), st.booleans(), st.none(), st.floats()))
def test_any_other_value_is_a_sentence(value: Any) -> None:
    try:
        assert 0 < byte_count(value, "pass_bytes") < 2**48
    except OptionError as error:
        assert "it should be a size such as 100MB" in str(error)


def test_suites_that_stand_for_a_model_are_those_with_the_counts_of_one() -> None:
    stands = {name: load_suite(name).stands_for_model for name in ("resnet50", "mobilenet-v2", "sizes", "zoo-100")}
    assert stands == {"resnet50": True, "mobilenet-v2": True, "sizes": False, "zoo-100": False}


@pytest.mark.parametrize("name", ["resnet50", "mobilenet-v2"])
def test_a_pass_touches_all_weights_whatever_is_selected_of_the_suite(name: str) -> None:
    suite = load_suite(name)
    weights = sum(case.count * case.problem.macs // _positions(case.problem) for case in suite.cases)
    assert 4 * weights < suite.pass_bytes < 4 * weights + 2**24
    part = suite.select("*k1")
    assert 0 < len(part.cases) < len(suite.cases) and part.pass_bytes == suite.pass_bytes
    assert suite.over(batches=[1, 4]).pass_bytes == suite.over(batches=[4]).pass_bytes > suite.pass_bytes
    assert suite.with_dtype("float64").pass_bytes == 2 * suite.pass_bytes


def _positions(problem: ConvProblem) -> int:
    return problem.batch * problem.out_height * problem.out_width


def test_what_is_asked_for_goes_before_what_a_suite_stands_for() -> None:
    problem = ConvProblem.parse("n1c2h6w6_o3k3")
    model = Suite("a", "", (), (Case(problem, count=2),), Path())
    other = Suite("b", "", (), (Case(problem),), Path())

    def state(caches: Caches, suite: Suite) -> tuple[str, int | None]:
        settings = caches.of_suite(suite, Settings())
        return settings.cache, settings.pass_bytes

    assert state(Caches(), model) == ("pass", model.pass_bytes)
    assert state(Caches(), other) == ("warm", None)
    assert state(Caches("cold"), model) == ("cold", None)
    assert state(Caches(pass_bytes=5), other) == state(Caches("pass", 5), model) == ("pass", 5)
    with pytest.raises(SuiteError, match="'b' is not the layers of one model"):
        state(Caches("pass"), other)


def test_times_of_passes_of_another_size_are_no_evidence() -> None:
    settings = Settings(cache="pass", pass_bytes=10)
    record: Any = {"threads": 1, "problem": {}, "case_id": "x"}
    record |= {"settings": {"allocator": "steady", "cache": "pass", "pass_bytes": 10}}
    assert Conditions.of(settings, None).hold(record)
    assert not Conditions.of(Settings(cache="pass", pass_bytes=11), None).hold(record)
    assert not Conditions.of(Settings(), None).hold(record)
    assert Conditions.of(Settings(), None).hold(record | {"settings": {"allocator": "steady", "cache": "warm"}})
