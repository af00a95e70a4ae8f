"""`convbench show`: a text is a run, a problem or a case; what is known of a problem; the history of a case."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.measurement.machine.facts import machine_name
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.reporting.bars import bar, speed_bars
from convbench.runner.show.case_history import CaseHistory, case_history, is_case
from convbench.runner.show.problem_answers import problem_answers
from convbench.status import Status
from convbench.verification.known import KnownWrong

PROBLEM = ConvProblem(in_channels=1, height=5, width=5, out_channels=1, kernel_size=3)
PLUGIN = """
from convbench.backend import Arithmetic, Backend, Ready, Supports

class Fake(Backend):
    arithmetic = Arithmetic(algorithm="direct")

    def __init__(self, name, **supports):
        self.name, self.supports = name, Supports(**supports)

    def prepare(self, problem, x, w, b):
        raise NotImplementedError

class Absent(Fake):
    def unavailable(self):
        return "its moon is not full"

class Raises(Fake):
    def unsupported(self, problem):
        raise TypeError("[b]oops")

BACKENDS = (
    Fake("fake-able", dtypes={"float32"}), Fake("fake-only64", dtypes={"float64"}), Absent("fake-absent"),
    Raises("fake-raises"),
)
"""


def record(backend: str, wall_s: float, day: int, **more: Any) -> dict[str, Any]:
    walls = [wall_s * (1 + 0.001 * i) for i in range(9)]
    return {
        "suite": "mine", "case": "small", "case_id": PROBLEM.case_id, "backend": backend, "threads": 1, "status": "ok",
        "reason": None, "median_s": walls[4], "low_s": walls[1], "high_s": walls[7], "run": f"run-{day}",
        "gflops": 1.0, "flops": 162, "dtype": "float32", "time": f"2026-11-{day:02}T10:00:00+00:00",
        "versions": {"numpy": "2.0"}, "commit": "c0ffee" * 6, "problem": PROBLEM.as_dict(), "session": f"s-{day}",
        "settings": {"allocator": "steady", "cache": "warm", "threads": 1},
        "samples": {"round": list(range(9)), "wall_s": walls},
        "machine": {"machine": "here", "cpu": "AMD EPYC", "num_cpu": 2, "vector_isa": "AVX2"},
    } | more  # fmt: skip


def stored(folder: Path, *records: dict[str, Any]) -> Path:
    """A results folder with a journal for each run."""
    for one in records:
        path = folder / one["machine"]["machine"] / f"{one['run']}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(one) + "\n")
    return folder


def convbench(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convbench", "show", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def history(folder: Path, name: str = "small") -> CaseHistory:
    return case_history(name, folder, is_case(name))


# --- the history of a case --------------------------------------------------------------------------------------------


def test_a_history_says_what_changed_between_records_and_by_how_much_the_time_did(tmp_path: Path) -> None:
    elsewhere = {"machine": "there", "cpu": "Xeon", "num_cpu": 8}
    folder = stored(
        tmp_path,
        record("torch", 2e-3, 2, versions={"numpy": "2.1"}, implementation="ref"),
        record("torch", 1e-3, 1, implementation="brgconv"),
        record("torch", 1e-3, 3, status="wrong", reason="[b]7 of 9", versions={"numpy": "2.1"}),
        record("torch", 4e-3, 4, versions={"numpy": "2.1"}, dirty=True),
        record("jax", 1e-4, 1),
        record("torch", 9e-3, 1, machine=elsewhere),
        record("torch", 9e-3, 2, threads=2),
        record("torch", 9e-3, 1, case="other"),
    )
    found = history(folder)
    assert [(p.conditions.machine, p.conditions.threads, p.backend) for p in found.pasts] == [
        ("here", 1, "jax"), ("here", 1, "torch"), ("here", 2, "torch"), ("there", 1, "torch")
    ]  # fmt: skip
    first, second, wrong, fourth = found.pasts[1].visits
    assert (first.changed, first.ratio) == ({}, None)
    assert (second.changed, second.ratio) == ({"numpy": ("2.0", "2.1"), "kernel": ("brgconv", "ref")}, pytest.approx(2))
    assert (wrong.changed, wrong.ratio) == ({"status": ("", "wrong")}, None)
    assert fourth.changed == {"status": ("wrong", ""), "commit": ("c0ffeec0", "c0ffeec0+")}
    assert fourth.ratio == pytest.approx(2), "to the last right answer"
    done = convbench("small", "--results", folder)
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "mine/small n1c1h5w5_o1k3, on here (AMD EPYC, 2 CPUs, AVX2), 1 thread" in shown
    assert "on there (Xeon, 8 CPUs)" in shown and "numpy 2.0 → 2.1" in shown and "2.00x" in shown
    assert "\x1b" not in done.stdout


def test_instruction_sets_and_data_have_a_past_of_their_own(tmp_path: Path) -> None:
    settings = record("torch", 1e-3, 1)["settings"]
    others = [{"isa": "avx2"}, {"data": "zeros"}]
    folder = stored(
        tmp_path,
        record("torch", 1e-3, 1),
        *(record("torch", 2e-3, 2, settings=settings | other) for other in others),
    )
    found = history(folder)
    assert {(past.conditions.isa, past.conditions.data) for past in found.pasts} == {
        ("", "normal"), ("avx2", "normal"), ("", "zeros")
    }  # fmt: skip
    assert all(len(past.visits) == 1 for past in found.pasts)
    rows = [json.loads(line) for line in convbench("small", "--results", folder, "--json").stdout.splitlines()]
    assert {(row["isa"], row["data"]) for row in rows} == {(None, "normal"), ("avx2", "normal"), (None, "zeros")}
    done = " ".join(convbench("small", "--results", folder).stdout.split())
    assert "instruction sets up to avx2" in done and "timed on zeros" in done


def test_a_step_is_shown_where_it_begins_and_a_record_is_a_row_of_json(tmp_path: Path) -> None:
    times = [1e-3 * (1 + 0.001 * (day % 3)) for day in range(1, 9)] + [2e-3 * (1 + 0.001 * (d % 3)) for d in range(8)]
    folder = stored(tmp_path, *(record("torch", seconds, day) for day, seconds in enumerate(times, 1)))
    (past,) = history(folder).pasts
    stepped = [number for number, visit in enumerate(past.visits, 1) if visit.step]
    assert stepped == [9]
    rows = [json.loads(line) for line in convbench("mine/small", "--results", folder, "--json").stdout.splitlines()]
    assert [row["time"][8:10] for row in rows] == [f"{day:02}" for day in range(1, 17)]
    assert [row["step"] is not None for row in rows] == [day == 9 for day in range(1, 17)]
    assert rows[8]["step"]["ratio"] == pytest.approx(2, rel=0.01) and rows[8]["machine"] == "here"
    done = convbench(PROBLEM.case_id, "--history", "--results", folder)
    assert "step to slower: 2.00x" in " ".join(done.stdout.split())
    assert "4 older records not shown; --json has all." in done.stdout


def test_a_name_that_two_suites_have_means_both(tmp_path: Path) -> None:
    folder = stored(tmp_path, record("torch", 1e-3, 1), record("torch", 2e-3, 1, suite="yours"))
    assert history(folder).cases == ["mine/small", "yours/small"]
    assert history(folder, "yours/small").cases == ["yours/small"]
    done = convbench("small", "--results", folder)
    assert "2 cases are meant: mine/small, yours/small; give one of them" in done.stdout


@pytest.mark.parametrize("odd", [{"status": "odd"}, {"time": None, "versions": 3, "machine": {"machine": "here"}}])
def test_records_from_elsewhere_are_shown_as_far_as_they_go(odd: dict[str, Any], tmp_path: Path) -> None:
    folder = stored(tmp_path, record("a\nb", 1e-3, 1, reason="c\nd") | odd, record("[b]x", 1e-3, 2) | odd)
    for words in ((), ("--json",)):
        done = convbench("small", "--results", folder, *words)
        assert done.returncode == 0, done.stderr
    assert "[b]x" in convbench("small", "--results", folder).stdout


# --- what a text stands for -------------------------------------------------------------------------------------------


def test_what_is_neither_run_nor_problem_nor_case_is_told_so(tmp_path: Path) -> None:
    folder = stored(tmp_path, record("torch", 1e-3, 1))
    done = convbench("smal", "--results", folder)
    assert done.returncode == 2 and done.stdout == ""
    said = " ".join(done.stderr.split())
    assert "'smal' is no run (last, last~1 or the path of a journal), no problem, and no case in" in said
    assert "Did you mean 'small'?" in said and "a case id n1c64h56w56_o64k3_p1" in said


def test_a_case_that_no_run_has_measured_says_what_to_type(tmp_path: Path) -> None:
    done = convbench("tutorial/sharpen-4x4", "--results", tmp_path)
    assert done.returncode == 3
    said = " ".join(done.stderr.split())
    assert "`convbench run --suite tutorial --case sharpen-4x4` does" in said and "`convbench show n1c1h4w4" in said
    done = convbench(PROBLEM.case_id, "--history", "--results", tmp_path)
    assert done.returncode == 3 and f"`convbench run --problem {PROBLEM.case_id}` does" in " ".join(done.stderr.split())


# --- what is known of a problem ---------------------------------------------------------------------------------------


def test_each_backend_says_whether_it_computes_a_problem_and_its_times_are_there(tmp_path: Path) -> None:
    plugin = tmp_path / "fake.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    folder = stored(tmp_path / "results", record("torch", 1e-3, 1), record("torch", 2e-3, 2))
    words = "n1", "c1", "h5", "w5", "o1", "k3"
    done = convbench(*words, "--plugin", plugin, "--results", folder, "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["case_id"], row["output"], row["flops"]) == (PROBLEM.case_id, [1, 1, 3, 3], 162)
    answers = {one["backend"]: (one["status"], one["reason"]) for one in row["backends"]}
    assert answers["fake-able"] == ("supported", None)
    assert answers["fake-only64"] == ("unsupported", "does not compute float32, only float64")
    assert answers["fake-absent"] == ("unavailable", "its moon is not full")
    assert answers["fake-raises"][0] == "error" and "TypeError: [b]oops" in answers["fake-raises"][1]
    assert [(one["backend"], one["time"][:10]) for one in row["measured"]] == [("torch", "2026-11-02")]
    shown = convbench(PROBLEM.case_id, "--plugin", plugin, "--results", folder).stdout
    for text in (
        "its moon is not full",
        "does not compute float32",
        "[b]oops",
        "convbench show n1c1h5w5_o1k3 --history",
    ):
        assert text in " ".join(shown.split())
    assert "conv = torch.nn.Conv2d(1, 1, kernel_size=3, bias=False)\n" in shown, "lines to copy"


def test_known_wrong_answers_that_cover_a_problem_are_named(tmp_path: Path) -> None:
    plugin = tmp_path / "fake.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    known = [
        KnownWrong(seen="by condition", backends=("fake-*",), cases=("n1c1h9w9_o1k3",), where="height == 5"),
        KnownWrong(seen="by case", backends=("fake-able",), cases=(f"{PROBLEM.case_id} normal",), values=("normal",)),
        KnownWrong(seen="of another problem", backends=("fake-able",), cases=("n1c1h9w9_o1k3",)),
        KnownWrong(seen="of another backend", backends=("other",), cases=(PROBLEM.case_id,)),
    ]
    found = problem_answers(PROBLEM, discover([plugin]), tmp_path / "none", known).backends
    by_name = {one.backend: one for one in found}
    assert [entry.seen for entry in by_name["fake-able"].known] == ["by condition", "by case"]
    assert by_name["fake-only64"].known == () and by_name["fake-only64"].status is Status.UNSUPPORTED


def test_similar_layers_let_expect_a_time_where_none_was_measured_here(tmp_path: Path) -> None:
    plugin = tmp_path / "fake.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    layers = [PROBLEM.replace(height=size, width=size, in_channels=16, out_channels=16) for size in range(10, 34, 2)]
    folder = stored(
        tmp_path / "results",
        *(
            record(
                "fake-able", layer.macs * 1e-10, 1, case=layer.case_id, case_id=layer.case_id, problem=layer.as_dict(),
                machine={"machine": machine_name()},
            )
            for layer in layers
        ),
    )  # fmt: skip
    between = layers[0].replace(height=21, width=21)
    answers = problem_answers(between, discover([plugin]), folder, [])
    (expected,) = answers.expected
    assert expected.backend == "fake-able" and expected.low_s < between.macs * 1e-10 < expected.high_s
    assert problem_answers(layers[0], discover([plugin]), folder, []).expected == ()
    shown = convbench(between.case_id, "--plugin", plugin, "--results", folder).stdout
    assert "similar layers let expect" in " ".join(shown.split())


# --- bars -------------------------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 40))
def test_a_longer_bar_is_a_larger_share(one: float, other: float, width: int) -> None:
    def eighths(share: float) -> int:
        drawn = bar(share, width)
        assert len(drawn) <= width
        return sum("▏▎▍▌▋▊▉█".index(block) + 1 for block in drawn)

    assert eighths(0) == 0 and eighths(1) == 8 * width
    assert (eighths(one) > 0) == (one > 0)
    assert eighths(min(one, other)) <= eighths(max(one, other))


def test_the_fastest_has_the_whole_bar() -> None:
    assert speed_bars([2.0, None, 1.0, 0.0], 4) == ["██", "", "████", ""]
    assert speed_bars([None]) == [""]
