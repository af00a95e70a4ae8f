"""Earlier runs by name: listed, shown again, compared, exported, published without a checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROBLEM = {"in_channels": 1, "height": 5, "width": 5, "out_channels": 1, "kernel_size": [3, 3]}


def record(backend: str, wall_s: float, number: int) -> dict[str, Any]:
    walls = [wall_s * (1 + 0.001 * i) for i in range(9)]
    return {
        "suite": "mine", "case": "small", "case_id": "n1c1h5w5_o1k3", "backend": backend, "threads": 1, "status": "ok",
        "reason": None, "median_s": walls[4], "low_s": walls[1], "high_s": walls[7], "run": f"run-{number}",
        "gflops": 1.0, "flops": 162, "dtype": "float32", "time": f"2026-11-{number + 1:02}T10:00:00+00:00",
        "commit": "c0ffee" * 6, "problem": PROBLEM, "settings": {"allocator": "steady", "cache": "warm", "threads": 1},
        "samples": {"round": list(range(9)), "wall_s": walls, "calls": [1] * 9, "cpu_s": walls},
        "machine": {"machine": "here", "cpu": "AMD EPYC", "num_cpu": 2, "vector_isa": "AVX2"},
    }  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, the last of which is twice as slow."""
    folder = tmp_path_factory.mktemp("earlier") / "results"
    (folder / "here").mkdir(parents=True)
    for number, scale in enumerate((1.0, 1.0, 2.0)):
        rows = record("torch", 1e-3 * scale, number), record("jax", 3e-3, number)
        path = folder / "here" / f"202611{number + 1:02}T100000Z-mine.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def convbench(*words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convbench", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=folder)


def test_runs_are_listed_the_newest_first_by_the_names_that_commands_take(results: Path) -> None:
    done = convbench("runs", "--results", results, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["run"] for row in rows] == ["last", "last~1", "last~2"]
    assert [Path(row["path"]).name[:8] for row in rows] == ["20261103", "20261102", "20261101"]
    assert {(row["records"], row["timed"], row["cases"], *row["backends"]) for row in rows} == {
        (2, 2, 1, "torch", "jax")
    }
    shown = convbench("runs", "--results", results, "--last", "2").stdout
    assert "last~1" in shown and "last~2" not in shown and "convbench show last" in shown


def test_without_runs_it_says_how_to_make_one(tmp_path: Path) -> None:
    done = convbench("runs", "--results", tmp_path / "nowhere")
    assert done.returncode == 3 and "there are no runs in" in done.stderr and "`convbench run`" in done.stderr


def test_a_run_is_shown_again_by_its_name_and_by_its_file(results: Path) -> None:
    by_name = convbench("show", "last", "--results", results)
    assert by_name.returncode == 0, by_name.stderr
    assert "torch" in by_name.stdout and "2.01" in by_name.stdout and "2 records in" in by_name.stdout
    assert "measured 2026-11-03T10:00:00+00:00 on here (AMD EPYC, 2 CPUs, AVX2)." in " ".join(by_name.stdout.split())
    by_file = convbench("show", next((results / "here").glob("20261103*")))
    assert by_file.stdout == by_name.stdout
    rows = convbench("show", "last~1", "--results", results, "--json").stdout.splitlines()
    assert [json.loads(row)["run"] for row in rows] == ["run-1", "run-1"]
    details = convbench("show", "last", "--results", results, "--details").stdout
    assert "faults/call" in details or "samples" in details


def test_the_last_runs_are_compared_and_exported_by_name(results: Path, tmp_path: Path) -> None:
    slower = convbench("compare", "last~1", "last", "--results", results, "--backend", "torch", "--json")
    assert slower.returncode == 1, slower.stderr
    assert [json.loads(row)["ratio"] for row in slower.stdout.splitlines()] == [pytest.approx(2.0, rel=0.1)]
    assert convbench("compare", "last~2", "last~1", "--results", results).returncode == 0
    done = convbench("export", "last", "--to", tmp_path / "one.jsonl", "--results", results)
    assert "2 records" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["last~3", "last~999999999"])
def test_a_run_before_the_first_is_a_sentence(name: str, results: Path) -> None:
    for command in (("show", name), ("compare", name, "last")):
        done = convbench(*command, "--results", results)
        assert done.returncode == 2
        assert f"{name!r} is no run: {results} has 3 runs; `convbench runs` lists them." in done.stderr


def test_a_file_or_a_problem_of_such_a_name_is_what_it_was(results: Path, tmp_path: Path) -> None:
    problem = convbench("show", "n1c1h5w5_o1k3", "--results", results)
    assert problem.returncode == 0 and "benchdnn" in problem.stdout
    flags = convbench("show", "mb1ic1ih5oc1oh3kh3", "--json")
    assert json.loads(flags.stdout)["case_id"] == "n1c1h5w5_o1k3"
    (tmp_path / "last").write_bytes(next((results / "here").glob("20261101*")).read_bytes())
    shown = convbench("show", "last", "--results", results, "--json", folder=tmp_path)
    assert json.loads(shown.stdout.splitlines()[0])["run"] == "run-0", "a path comes before a name"
    assert convbench("show", "missing.jsonl").returncode == 2


def test_copied_journals_are_published_without_a_checkout(results: Path, tmp_path: Path) -> None:
    done = convbench("publish", "--results", results, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    page = results / "convbench.html"
    assert f"{page} shows the throughput of 6 records." in done.stdout
    assert "torch" in page.read_text(encoding="utf-8")
    (tmp_path / "empty").mkdir()
    empty = convbench("publish", "--results", tmp_path / "empty")
    assert empty.returncode == 3 and "no journal with a record" in empty.stderr
    assert convbench("publish", "--results", tmp_path / "nowhere").returncode == 2


ODD: dict[str, Any] = {
    "missing": {},
    "texts for numbers": {"median_s": "0,1", "threads": "two", "low_s": [], "flops": {}, "gflops": "x"},
    "nothing": dict.fromkeys(("threads", "flops", "case_id", "samples", "machine", "settings", "problem", "time")),
    "odd tables": {
        "machine": {"cpu": [1], "machine": {}},
        "samples": {"wall_s": "x", "round": 3},
        "settings": {"a": []},
    },
    "odd lists": {"hazards": 3, "verdicts": "x", "self_ratio": {"value": "x"}, "twin": 1, "process_variation": []},
}


@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
def test_a_journal_from_elsewhere_is_shown_as_far_as_it_goes(fields: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    rows = [{"case": "a", "backend": name, "status": status} for name, status in (("b", "ok"), ("c", "odd"))]
    path.write_text("".join(json.dumps(row | fields) + "\n" for row in (*rows, record("torch", 1e-3, 0) | fields)))
    for words in ((), ("--details",), ("--json",)):
        done = convbench("show", path, *words)
        assert done.returncode == 0, done.stderr
        assert "torch" in done.stdout or "median_s" in fields


def test_a_name_with_a_line_in_it_breaks_no_table(tmp_path: Path) -> None:
    names = {"suite": "su\nite", "case": "ca\nse", "layer": "la\nyer"}
    rows = [record(f"{backend}\nx", wall_s, 0) | names for backend, wall_s in (("torch", 1e-3), ("jax", 3e-3))]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = convbench("show", path, "--details")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert not [line for line in lines if line.strip().startswith(("ite", "se", "yer", "x "))]
    assert {"su\\nite", "ca\\nse", "torch\\nx", "jax\\nx"} <= set(done.stdout.replace(",", " ").split())
