"""`convbench run` as a user calls it: real processes, real journals, exit codes, interrupts, resuming."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from places import CHECKOUT, PLUGINS

import convbench
from convbench.measurement.machine.facts import machine_facts
from convbench.suite import load_suite

FAKES = PLUGINS / "fakes.py"
SUITE = """
name = "mine"
summary = "Three tiny cases."
[defaults]
in_channels = 2
height = 6
width = 6
out_channels = 3
[sweep]
kernel_size = [1, 2, 3]
"""
PROMISED = (
    "suite case backend status reason median_s low_s high_s gflops images_per_s gbytes_per_s first_call_s prepare_s "
    "max_error_over_bound threads dtype before_bytes peak_bytes steady_bytes"
).split()


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(SUITE)
    return path


# A shell that started the tests in the background has told them, and so their children, to ignore interrupts.
HEEDING_INTERRUPTS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "convbench", *map(str, words)]


def run(results: Path, *words: str | Path, plugin: Path | None = FAKES) -> subprocess.CompletedProcess[str]:
    plugins = ("--plugin", plugin) if plugin else ()
    return subprocess.run(
        command("run", "--results", results, "--quick", *plugins, *words),
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"CONVBENCH_MACHINE": "here"},
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_prints_a_table_and_keeps_a_journal(suite: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "results", "--suite", suite, "--backend", "right*")
    assert done.returncode == 0, done.stderr
    assert "Suite mine" in done.stdout
    assert "n1c2h6w6_o3k3" in done.stdout
    assert "right-twin" in done.stdout
    assert "in 3 cases" in done.stdout or "of 3 cases" in done.stdout
    (journal,) = (tmp_path / "results" / "here").glob("*.jsonl")
    assert str(journal) in done.stdout
    frame = convbench.load(tmp_path / "results")
    assert len(frame) == 6
    assert set(frame["status"]) == {"ok"}
    assert (frame["median_s"] > 0).all()


def test_details_stand_below_the_times_and_are_what_the_journal_has(suite: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--suite", suite, "--case", "*k2", "--backend", "right*", "--details")
    assert done.returncode == 0, done.stderr
    (journal,) = (tmp_path / "here").glob("*.jsonl")
    records = json_lines(journal.read_text())
    times, _, details = done.stdout.partition("images/s")
    assert "median ms" in times and "first call ms" in details and "each operand once" in details
    for record in records:
        row = next(line.split() for line in details.splitlines() if line.startswith(f"  {record['backend']} "))
        assert float(row[1].replace(",", "")) == pytest.approx(record["images_per_s"], rel=0.006)
        assert {f"{sum(record['samples']['calls']):,}", record["stopped"]} <= set(details.split())
    plain = run(tmp_path, "--suite", suite, "--case", "*k2", "--backend", "right*", "--resume")
    assert "median ms" in plain.stdout and "images/s" not in plain.stdout
    later = run(tmp_path, "--suite", suite, "--case", "*k2", "--backend", "right*", "--resume", "--details")
    assert "images/s" + details.split("GB/s counts")[0] in later.stdout


def test_json_has_a_line_per_record_with_every_promised_key_and_nothing_else(suite: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--suite", suite, "--backend", "right", "--backend", "unavailable", "--json")
    assert done.returncode == 0
    records = json_lines(done.stdout)
    assert len(records) == 6
    assert all(set(PROMISED) <= set(record) for record in records)
    ok = [record for record in records if record["status"] == "ok"]
    assert all(record["low_s"] <= record["median_s"] <= record["high_s"] for record in ok)
    assert all(0 <= record["max_error_over_bound"] <= 1 for record in ok)
    assert all(record["samples"]["wall_s"] for record in ok)
    left = [record for record in records if record["status"] == "unavailable"]
    assert len(left) == 3 and all(record["median_s"] is None and record["reason"] for record in left)


@pytest.mark.parametrize(
    ("backends", "code"),
    [(["right"], 0), (["right", "wrong"], 1), (["segfault"], 1), (["raises"], 1), (["unavailable"], 3)],
)
def test_the_exit_code_says_how_it_went(suite: Path, tmp_path: Path, backends: Sequence[str], code: int) -> None:
    chosen = [word for name in backends for word in ("--backend", name)]
    assert run(tmp_path, "--suite", suite, "--case", "*k1", *chosen).returncode == code


def test_broken_backends_are_shown_with_the_reason_and_never_as_markup(suite: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--suite", suite, "--case", "*k1", "--backend", "raises", "--backend", "wrong")
    assert "Broken" in done.stdout
    words = " ".join(done.stdout.split())
    assert "[bold]markup[/bold] and more than one line" in words
    assert "times the error bound" in words


def test_what_is_left_out_is_explained(suite: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--suite", suite, "--backend", "right", "--backend", "unavailable", "--backend", "narrow")
    words = " ".join(done.stdout.split())
    assert "Left out" in words
    assert "a_module_that_does_not_exist not installed: pip install" in words


def test_dtype_and_case_choose(suite: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--suite", suite, "--backend", "right", "--dtype", "float16", "--case", "*k2*", "--json")
    (record,) = json_lines(done.stdout)
    assert (record["case"], record["dtype"]) == ("n1c2h6w6_o3k2_f16", "float16")


def test_an_interrupt_keeps_what_is_done_and_resume_goes_on(suite: Path, tmp_path: Path) -> None:
    words = ["run", "--results", tmp_path, "--plugin", FAKES, "--suite", suite, "--backend", "slow"]
    env = os.environ | {"CONVBENCH_MACHINE": "here"}
    process = subprocess.Popen(
        [sys.executable, "-c", HEEDING_INTERRUPTS, *command(*words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
    )
    folder = tmp_path / "here"
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in folder.glob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Interrupted" in err and "--resume" in err and "Traceback" not in err
    (journal,) = folder.glob("*.jsonl")
    before = journal.read_text()
    kept = json_lines(before)
    assert 1 <= len(kept) < 3
    done = subprocess.run(command(*words, "--resume", "--json"), capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    assert journal.read_text().startswith(before)
    cases = [record["case"] for record in json_lines(journal.read_text())]
    assert sorted(cases) == ["n1c2h6w6_o3k1", "n1c2h6w6_o3k2", "n1c2h6w6_o3k3"]
    assert len(json_lines(done.stdout)) == 3


def test_resume_measures_nothing_twice_and_says_so_when_there_is_nothing_to_resume(suite: Path, tmp_path: Path) -> None:
    first = run(tmp_path, "--suite", suite, "--backend", "right", "--resume")
    assert "There is no run to resume" in first.stderr
    again = run(tmp_path, "--suite", suite, "--backend", "right", "--resume")
    assert again.returncode == 0
    assert "0 new records" in again.stdout
    assert "of 3 cases" in again.stdout
    assert len(list((tmp_path / "here").glob("*.jsonl"))) == 1


def test_resume_does_not_take_records_made_under_other_settings(suite: Path, tmp_path: Path) -> None:
    run(tmp_path, "--suite", suite, "--backend", "right")
    other = run(tmp_path, "--suite", suite, "--backend", "right", "--resume", "--threads", "2")
    assert "There is no run to resume" in other.stderr
    assert len(list((tmp_path / "here").glob("*.jsonl"))) == 2


def test_a_torn_last_line_is_kept_aside_and_its_case_measured_again(suite: Path, tmp_path: Path) -> None:
    run(tmp_path, "--suite", suite, "--backend", "right")
    (journal,) = (tmp_path / "here").glob("*.jsonl")
    whole = journal.read_bytes()
    torn = whole[: len(whole) - 40]
    journal.write_bytes(torn)
    done = run(tmp_path, "--suite", suite, "--backend", "right", "--resume")
    assert done.returncode == 0, done.stderr
    assert "1 new record " in done.stdout
    assert "unfinished line" in done.stderr
    (aside,) = (tmp_path / "here").glob("*.torn")
    assert aside.read_bytes().rstrip(b"\n") == torn[torn.rindex(b"\n") + 1 :]
    assert len(convbench.load(tmp_path)) == 3


BAD = "name = 'bad'\nsummary = 's'\n[[case]]\nin_channels = 4\nheight = 5\nwidth = 5\nout_channels = 4\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--suite", "sizess"], ["no suite 'sizess'", "Did you mean 'sizes'?"]),
        (["--suite", "smoke", "--backend", "rihgt"], ["no backend matches 'rihgt'", "Did you mean 'right'?"]),
        (["--suite", "smoke", "--case", "n9*"], ["no case matches 'n9*'", "n1c8h14w14_o8k3_p1"]),
        (["--suite", "smoke", "--dtype", "float23"], ["'float23'", "float32"]),
        (["--suite", "smoke", "--threads", "0"], ["--threads", "1,2,4"]),
        (["--suite", "smoke", "--threads", "1,two"], ["--threads", "'1,two'"]),
        (["--suite", "smoke", "--batch", "0"], ["--batch", "1,2,4"]),
        (["--suite", "smoke", "--dtype", "float32,int3"], ["'int3'", "float32"]),
        (["--suite", "smoke", "--precision", "2"], ["--precision", "2%", "0.02"]),
        (["--suite", "smoke", "--budget", "0"], ["--budget"]),
        (["--suite", "smoke", "--processes", "0"], ["--processes"]),
        (["--suite", "smoke", "--cache", "lukewarm"], ["--cache", "warm", "cold"]),
        (["--suite", "smoke", "--pin", "some"], ["--pin", "auto", "none"]),
        (["--suite", "nowhere.toml"], ["nowhere.toml"]),
        ([], ["--suite", "--problem"]),
        (["--problem", "n1c2"], ["n1c2"]),
        (["--problem", "n1c2h6w6_o3k9"], ["9", "6"]),
        (["--suite", "smoke", "--plugin", "nowhere.py"], ["nowhere.py", "no such file"]),
        (["--suite", "smoke", "--frobnicate"], ["--frobnicate"]),
    ],
)
def test_what_cannot_be_understood_is_one_clear_sentence(tmp_path: Path, words: list[str], told: list[str]) -> None:
    done = run(tmp_path / "results", *words)
    assert done.returncode == 2
    assert all(part in done.stderr for part in told), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name = 'bad'\nsummary = [\n", ["bad.toml", "line 3"]),
        (BAD + "kernel_size = 9\n", ["bad.toml", "9", "5"]),
        (BAD + "kernel_size = 3\ngroups = 3\n", ["bad.toml", "4", "3 groups"]),
        (BAD + "kernel_size = 3\nstrid = 2\n", ["bad.toml", "strid", "Did you mean 'stride'?"]),
    ],
)
def test_a_bad_suite_is_refused_with_its_place_and_numbers(tmp_path: Path, text: str, told: list[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    done = run(tmp_path / "results", "--suite", path)
    assert done.returncode == 2
    assert all(part in done.stderr for part in told), done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugin_that_fails_to_import_is_refused_with_its_error(tmp_path: Path) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text("import a_library_nobody_has\n")
    done = run(tmp_path / "results", "--suite", "smoke", plugin=plugin)
    assert done.returncode == 2
    assert "broken.py" in done.stderr and "a_library_nobody_has" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_results_folder_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("in the way")
    done = run(blocked, "--suite", "smoke")
    assert done.returncode == 2
    assert str(blocked) in done.stderr and "cannot be written" in done.stderr and "--results" in done.stderr
    assert "starting" not in done.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = subprocess.run(command("--debug", "run", "--suite", "sizess"), capture_output=True, text=True)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def readme_plugin() -> str:
    """The backend that the README shows whole."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    return readme.split("This is all of it:\n\n```python\n")[1].split("```")[0]


def test_adding_a_backend_is_one_file_given_to_plugin(suite: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "my_conv.py"
    plugin.write_text(readme_plugin())
    done = run(tmp_path / "results", "--suite", suite, "--backend", "my-conv", "--json", plugin=plugin)
    assert done.returncode == 0, done.stderr
    assert [record["status"] for record in json_lines(done.stdout)] == ["ok"] * 3


def test_adding_a_backend_is_one_file_behind_an_entry_point(suite: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "my_conv-1.0.dist-info").mkdir(parents=True)
    (site / "my_conv.py").write_text(readme_plugin())
    (site / "my_conv-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: my-conv\nVersion: 1.0\n")
    (site / "my_conv-1.0.dist-info" / "entry_points.txt").write_text("[convbench.backends]\nmine = my_conv\n")
    words = ["run", "--results", tmp_path / "results", "--quick", "--suite", suite, "--backend", "my-conv", "--json"]
    done = subprocess.run(
        command(*words), capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(site)}, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert [record["status"] for record in json_lines(done.stdout)] == ["ok"] * 3


def test_ci_runs_the_command_that_the_readme_gives() -> None:
    root = CHECKOUT
    words = [sys.executable, root / ".ci" / "readme_command.py", "test"]
    given = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    assert given in (root / "README.md").read_text(encoding="utf-8")
    assert given.startswith("python3 -m venv ") and "-c constraints.txt" in given and given.endswith("-m pytest -n 2")
    assert "readme_command.py test" in (root / ".ci" / "run").read_text(encoding="utf-8")


def ceilings(results: Path, flops_per_second: float) -> None:
    """Made-up ceilings of this machine, as `run` has them."""
    folder = results / "here"
    folder.mkdir(parents=True)
    rate = dict.fromkeys(("value", "low", "high"), flops_per_second) | {"how": "made up", "samples": 9}
    nothing: dict[str, Any] = {"cpus": None, "clock": None, "matrix_products": {}, "levels": [], "versions": {}}
    known = {"threads": 1, "time": "2026-01-02T03:04:05+00:00", "cpu": machine_facts()["cpu"], "convbench": "0"}
    line = json.dumps(known | nothing | {"multiply_adds": {"float32": [rate]}})
    (folder / "20260102T030405Z.ceilings").write_text(line + "\n")


def test_with_ceilings_a_run_says_what_share_of_the_limit_a_time_is(suite: Path, tmp_path: Path) -> None:
    ceilings(tmp_path, 1e15)
    done = run(tmp_path, "--suite", suite, "--case", "*k2", "--backend", "right*")
    assert done.returncode == 0, done.stderr
    assert "% of limit" in done.stdout and "came nearest to what this machine can do" in done.stdout
    assert "times as fast as" not in done.stdout


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_run_doubts_what_is_faster_than_the_machine_can_be(words: list[str], suite: Path, tmp_path: Path) -> None:
    ceilings(tmp_path, 1.0)
    done = run(tmp_path, "--suite", suite, "--case", "*k2", "--backend", "right", *words)
    assert done.returncode == 0, done.stderr
    shown = done.stderr if words else done.stdout
    assert "times as fast as this machine can be: does the backend wait for its work to end" in " ".join(shown.split())


# --- axes, processes, and the run's own error -------------------------------------------------------------------------


def test_several_numbers_of_threads_are_one_run_and_resume_knows_them_apart(suite: Path, tmp_path: Path) -> None:
    words = ("--suite", suite, "--case", "*k2", "--backend", "right*", "--pin", "none")
    assert run(tmp_path, *words, "--threads", "1,2").returncode == 0
    (journal,) = (tmp_path / "here").glob("*.jsonl")
    records = json_lines(journal.read_text())
    assert sorted((r["backend"], r["threads"]) for r in records) == [
        *[("right", 1), ("right", 2), ("right-twin", 1), ("right-twin", 2)]
    ]
    journal.write_text("\n".join(json.dumps(r) for r in records[:3]) + "\n")
    again = run(tmp_path, *words, "--threads", "1,2", "--resume")
    assert "1 new record " in again.stdout
    kept = json_lines(journal.read_text())
    assert sorted((r["backend"], r["threads"]) for r in kept) == sorted((r["backend"], r["threads"]) for r in records)
    words_shown = " ".join(again.stdout.split())
    assert "1 thread Suite mine" in words_shown and "2 threads Suite mine" in words_shown
    assert "Speed-up over 1 thread" in again.stdout and "% of ideal" in again.stdout


def test_batches_and_dtypes_are_cases_of_their_own(suite: Path, tmp_path: Path) -> None:
    words = ("--suite", suite, "--case", "*k2*", "--backend", "right")
    done = run(tmp_path, *words, "--batch", "1,3", "--dtype", "float32,bfloat16")
    assert done.returncode == 0, done.stderr
    frame = convbench.load(tmp_path)
    assert set(frame["case"]) == {
        *("n1c2h6w6_o3k2", "n3c2h6w6_o3k2", "n1c2h6w6_o3k2_bf16", "n3c2h6w6_o3k2_bf16"),
    }
    assert all(heading in done.stdout for heading in ("float32, batch 1", "bfloat16, batch 3"))
    again = run(tmp_path, *words, "--batch", "1,3", "--dtype", "float32,bfloat16", "--resume")
    assert "0 new records" in again.stdout


def test_a_named_case_keeps_its_name_alone_and_goes_by_its_case_id_among_several(tmp_path: Path) -> None:
    path = tmp_path / "named.toml"
    one = "in_channels = 2\nheight = 5\nwidth = 5\nout_channels = 2\nkernel_size = 3\n"
    path.write_text(f"name = 'named'\nsummary = 's'\n[[case]]\nname = 'stem'\n{one}")
    suite = load_suite(str(path))
    assert [c.name for c in suite.over(["float16"]).cases] == ["stem"]
    assert [c.name for c in suite.over([], [4]).cases] == ["n4c2h5w5_o2k3"]
    several = suite.over(["float32", "float16"], [1, 4]).cases
    ids = ["n4c2h5w5_o2k3", "n1c2h5w5_o2k3_f16", "n4c2h5w5_o2k3_f16"]
    assert [c.name for c in several] == ["stem", *ids]
    assert suite.over() == suite


def test_several_processes_are_one_record_that_says_how_they_were_combined(suite: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--suite", suite, "--case", "*k2", "--backend", "right*", "--processes", "3")
    assert done.returncode == 0, done.stderr
    (journal,) = (tmp_path / "here").glob("*.jsonl")
    records = json_lines(journal.read_text())
    assert [r["backend"] for r in records] == ["right", "right-twin"]
    for record in records:
        assert record["processes"] == 3 and record["settings"]["processes"] == 3
        assert set(record["samples"]["process"]) == {0, 1, 2}
        assert record["interval"] == "process medians, Student's t, 95 %"
        assert record["low_s"] < record["median_s"] < record["high_s"]


def test_a_run_tells_its_own_error_and_keeps_the_samples_that_say_so(suite: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--suite", suite, "--backend", "right*", "--self-check")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "This run's own error, by timing right" in told and "(median of 3 cases)" in told
    (journal,) = (tmp_path / "here").glob("*.jsonl")
    records = json_lines(journal.read_text())
    assert all(r["self_ratio"]["low"] <= r["self_ratio"]["value"] <= r["self_ratio"]["high"] for r in records)
    twins = [r for r in records if r["twin"]]
    assert len(twins) == 3
    assert all(r["twin"]["round"] == r["samples"]["round"] for r in twins)
    plain = run(tmp_path / "plain", "--suite", suite, "--backend", "right*")
    assert "own error" not in plain.stdout  # a quick look


def test_cold_caches_are_one_call_a_sample(suite: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--suite", suite, "--case", "*k2", "--backend", "right", "--cache", "cold", "--json")
    (record,) = json_lines(done.stdout)
    assert set(record["samples"]["calls"]) == {1}
    assert record["settings"]["cache"] == "cold"


def test_a_precision_asked_for_is_reached_or_the_budget_spent(suite: Path, tmp_path: Path) -> None:
    words = ("--suite", suite, "--case", "*k2", "--backend", "right", "--json")
    (loose,) = json_lines(run(tmp_path / "loose", *words, "--precision", "60%").stdout)
    assert loose["stopped"] == "precision" and loose["settings"]["precision"] == 0.6
    one = ("--processes", "1", "--precision", "0.0001%", "--budget", "0.3")
    (tight,) = json_lines(run(tmp_path / "tight", *words, *one).stdout)
    assert tight["stopped"] in ("time", "noise") and tight["settings"]["precision"] == 1e-6


def test_hazards_are_in_the_records_and_told(suite: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "--suite", suite, "--case", "*k2", "--backend", "slow", "--json")
    (record,) = json_lines(done.stdout)
    assert "waiting" in [hazard["hazard"] for hazard in record["hazards"]]
    assert "To know: " in done.stderr
    explained = run(tmp_path, "--suite", suite, "--case", "*k2", "--backend", "slow", "--json", "--details").stderr
    assert "To know when reading these times" in explained and "slow on n1c2h6w6_o3k2" in explained


# --- problems ---------------------------------------------------------------------------------------------------------


def test_problems_in_any_dialect_are_a_suite_of_their_own(tmp_path: Path) -> None:
    torch_snippet = "x = torch.randn(1, 2, 6, 6); conv = torch.nn.Conv2d(2, 3, 3, bias=False)"
    words = ["n1c2h6w6_o3k2", "--conv --dir=FWD_D mb1ic2ih6oc3oh6kh1ph0", torch_snippet, "n1c2h6w6_o3k3"]
    options = [word for problem in words for word in ("--problem", problem)]
    done = run(tmp_path, *options, "--backend", "right", "--json")
    assert done.returncode == 0, done.stderr
    found = [(r["suite"], r["case"], r["status"]) for r in json_lines(done.stdout)]
    assert found == [("problem", f"n1c2h6w6_o3k{k}", "ok") for k in (2, 1, 3)]
    again = run(tmp_path, *options, "--backend", "right", "--resume")
    assert "0 new records" in again.stdout and "Suite problem" in again.stdout


def test_a_problem_goes_with_batches_dtypes_conditions_and_suites(suite: Path, tmp_path: Path) -> None:
    words = ("--problem", "n1c2h6w6_o3k3", "--batch", "1,2", "--dtype", "float32,float16", "--backend", "right")
    done = run(tmp_path, *words, "--json")
    assert [r["case"] for r in json_lines(done.stdout)] == [
        *("n1c2h6w6_o3k3", "n2c2h6w6_o3k3", "n1c2h6w6_o3k3_f16", "n2c2h6w6_o3k3_f16"),
    ]
    words = ("--suite", suite, "--problem", "n1c4h6w6_o3k3", "--where", "kernel_size == 3", "--backend", "right")
    done = run(tmp_path, *words, "--json")
    assert {(r["suite"], r["case"]) for r in json_lines(done.stdout)} == {
        *(("mine", "n1c2h6w6_o3k3"), ("problem", "n1c4h6w6_o3k3")),
    }


# --- what must not spoil a run ----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_disk_that_is_full_costs_no_record_that_was_kept(suite: Path, tmp_path: Path) -> None:
    """The limit on the size of a file stands for the disk: the second record does not fit any more."""
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2);"
        "from convbench.cli.main import main; main()"
    )
    run(tmp_path / "whole", "--suite", suite, "--backend", "right")
    (whole,) = (tmp_path / "whole" / "here").glob("*.jsonl")
    room = int(len(whole.read_bytes().splitlines()[0]) * 1.5)
    words = ["run", "--results", tmp_path / "full", "--quick", "--suite", suite, "--backend", "right"]
    done = subprocess.run(
        [sys.executable, "-c", limited, str(room), *map(str, words), "--plugin", str(FAKES)],
        capture_output=True,
        text=True,
        env=os.environ | {"CONVBENCH_MACHINE": "here"},
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    told = " ".join(done.stderr.split())
    assert "cannot be written" in told and "The 1 records before are kept" in told and "Traceback" not in told
    assert "right" in done.stdout and "Suite mine" in done.stdout  # what was measured is shown
    (journal,) = (tmp_path / "full" / "here").glob("*.jsonl")
    again = run(tmp_path / "full", "--suite", suite, "--backend", "right", "--resume")
    assert again.returncode == 0, again.stderr
    assert "2 new records" in again.stdout
    assert len(json_lines(journal.read_text())) == 3


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals that stop a process")
def _workers_of(run_: psutil.Process) -> list[psutil.Process]:
    """Its worker processes, once there are some: git and the like are children of a run, too, for a moment."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            if found := [p for p in run_.children() if "convbench.measurement.workers.worker" in p.cmdline()]:
                return found
        time.sleep(0.02)
    raise AssertionError("the run started no worker")


def test_a_run_that_is_stopped_and_continued_records_no_time_of_that(suite: Path, tmp_path: Path) -> None:
    words = ["run", "--results", tmp_path, "--plugin", FAKES, "--suite", suite, "--case", "*k2", "--backend", "slow"]
    env = os.environ | {"CONVBENCH_MACHINE": "here"}
    with subprocess.Popen(
        command(*words, "--time-limit", "3"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        run_ = psutil.Process(process.pid)
        try:
            workers = _workers_of(run_)
            time.sleep(1.0)  # well into making ready or sampling
            run_.suspend()
            for worker in workers:
                worker.suspend()
            time.sleep(1.5)
            for worker in workers:
                worker.resume()
            time.sleep(3.0)  # the run alone, for longer than its time limit
            run_.resume()
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()  # a stopped process would be waited for without end
    assert process.returncode == 0, err
    (journal,) = (tmp_path / "here").glob("*.jsonl")
    (record,) = json_lines(journal.read_text())
    assert record["status"] == "ok"
    assert record["high_s"] < 1.0
    assert all(record[name] is None or record[name] < 1.0 for name in ("prepare_s", "first_call_s"))


STEPPING_CLOCK = """
import itertools, time
from convbench.backend import Backend, Ready, Supports
steps, time_ns, seconds = itertools.cycle((0, 3600, -7200)), time.time_ns, time.time
time.time = lambda: seconds() + next(steps)
time.time_ns = lambda: time_ns() + next(steps) * 10**9

class Stepping(Backend):
    name = "stepping"
    supports = Supports()
    def prepare(self, problem, x, w, b):
        from convbench.verification.reference import convolve
        return Ready(lambda: (time.time(), convolve(problem, x, w, b).astype(x.dtype))[1])

BACKENDS = (Stepping(),)
"""


def test_a_wall_clock_that_is_set_meanwhile_is_in_no_time(suite: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "stepping.py"
    plugin.write_text(STEPPING_CLOCK)
    done = run(tmp_path, "--suite", suite, "--backend", "stepping", "--json", plugin=plugin)
    assert done.returncode == 0, done.stderr
    for record in json_lines(done.stdout):
        seconds = [record["prepare_s"], record["first_call_s"], *record["samples"]["wall_s"]]
        assert all(0 <= each < 60 for each in seconds)
        assert len(record["samples"]["wall_s"]) >= 6
