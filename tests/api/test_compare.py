"""`convbench.compare`: its sources, and that it says what the command says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convbench
from convbench.analysis.comparison import ChangeVerdict
from convbench.errors import NothingMeasuredError, ResultsError

RNG = np.random.default_rng(3)


def record(scale: float, case: str = "a", backend: str = "torch", **changes: Any) -> dict[str, Any]:
    walls = (1e-3 * scale * np.exp(RNG.normal(0, 0.01, 20))).tolist()
    return {
        "format": 1,
        "session": f"session-{scale}",
        "suite": "sizes",
        "case": case,
        "backend": backend,
        "status": "ok",
        "reason": None,
        "median_s": float(np.median(walls)),
        "threads": 1,
        "dtype": "float32",
        "settings": {"allocator": "steady", "cache": "warm"},
        "machine": {"machine": "bench-1"},
        "samples": {"round": list(range(20)), "wall_s": walls},
        **changes,
    }


def journal(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    base = journal(tmp_path / "base.jsonl", record(1.0), record(1.0, "b"), record(1.0, "c"))
    broken = record(1.0, "c", status="wrong", reason="bound check", median_s=None, samples=None)
    return base, journal(tmp_path / "new.jsonl", record(2.0), record(1.0, "b"), broken)


def test_it_says_what_the_command_says(sides: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    result = convbench.compare(*sides)
    assert capsys.readouterr() == ("", ""), "nothing is printed unless asked"
    words = [sys.executable, "-m", "convbench", "compare", *map(str, sides)]
    text, rows, table = (
        subprocess.run([*words, *options], capture_output=True, text=True, check=False)
        for options in ([], ["--json"], ["--markdown"])
    )
    assert [line.rstrip() for line in text.stdout.splitlines()] == str(result).splitlines()
    assert [json.loads(line) for line in rows.stdout.splitlines()] == result.records
    assert table.stdout.strip() == result.markdown().strip()
    assert text.returncode == rows.returncode == result.exit_code == 1


def test_the_result_has_changes_a_frame_and_a_page_for_notebooks(sides: tuple[Path, Path]) -> None:
    result = convbench.compare(*sides)
    assert not result.ok
    assert result.changes[0].verdict is ChangeVerdict.SLOWER
    assert [broken["case"] for broken in result.broken] == ["c"]
    assert list(result.frame["case"]) == ["a", "b", "c"]
    assert list(result.frame["verdict"].iloc[[0, 2]]) == ["slower", "broken"]
    assert "<pre" in result._repr_html_() and "slower" in result._repr_html_()


def test_paths_frames_and_records_give_the_same(sides: tuple[Path, Path]) -> None:
    by_path = convbench.compare(*map(str, sides))
    by_frame = convbench.compare(*map(convbench.load, sides))
    by_record = convbench.compare(*([json.loads(line) for line in side.read_text().splitlines()] for side in sides))
    assert by_path.records == by_frame.records == by_record.records


def test_a_backend_against_another(tmp_path: Path) -> None:
    path = journal(tmp_path / "both.jsonl", record(1.0, backend="x@old"), record(1.0, backend="x@new"))
    result = convbench.compare(path, path, backend="*@old", against="*@new")
    assert [change.backend for change in result.changes] == ["x"]
    assert result.ok


def test_where_nothing_can_be_compared_it_says_so(sides: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(NothingMeasuredError, match=r"has 3 records and the new 1, and no suite"):
        convbench.compare(sides[0], [record(1.0, "another case")])
    with pytest.raises(ResultsError, match="'nowhere' is no journal"):
        convbench.compare(sides[0], "nowhere", results=tmp_path)


def held(scale: float, isa: str | None, **changes: Any) -> dict[str, Any]:
    settings = {"allocator": "steady", "cache": "warm", "isa": isa}
    return record(scale, settings=settings, session="one", **changes)


def test_instruction_sets_of_one_run_are_compared_with_the_narrowest(tmp_path: Path) -> None:
    kernels = {"avx2": "jit:avx2", "avx512": "jit:avx512_core", None: "ref:any"}
    scales = {"avx2": 1.0, "avx512": 0.5, None: 2.0}
    run = journal(
        tmp_path / "run.jsonl",
        *(held(scales[isa], isa, implementation=kernels[isa]) for isa in (None, "avx512", "avx2")),
        *(held(scales[isa], isa, backend="jax", case="b") for isa in (None, "avx2")),
    )
    result = convbench.compare(run, run, by="isa")
    found = {change.backend: change for change in result.changes}
    assert {name: (change.verdict, change.paired) for name, change in found.items()} == {
        "torch, native": ("slower", False), "jax, native": ("slower", False), "torch, up to avx512": ("faster", False)
    }  # fmt: skip
    # All backends move alike with the set; that is not the machine's doing.
    assert {name: (change.drift, round(change.ratio.value, 1)) for name, change in found.items()} == {
        "torch, native": (None, 2.0), "jax, native": (None, 2.0), "torch, up to avx512": (None, 0.5)
    }  # fmt: skip
    assert found["torch, native"].implementations == ("jit:avx2", "ref:any")
    assert result.exit_code == 1, "a wider set that is slower is worth a look"
    command = [sys.executable, "-m", "convbench", "compare", str(run), str(run), "--by", "isa", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [json.loads(line) for line in done.stdout.splitlines()] == result.records


def test_other_data_of_one_run_are_compared_with_normal_ones(tmp_path: Path) -> None:
    settings = {"allocator": "steady", "cache": "warm"}
    kinds = {"zeros": 0.5, "normal": 1.0, "denormal": 3.0}
    run = [record(scale, settings=settings | {"data": data}, session="one") for data, scale in kinds.items()]
    result = convbench.compare(run, run, by="data")
    assert [(c.backend, c.verdict) for c in result.changes] == [
        ("torch, denormal values", "slower"), ("torch, zeros", "faster")
    ]  # fmt: skip


def test_other_machines_are_compared_with_the_first_one_of_the_base(tmp_path: Path) -> None:
    scales = {"laptop": 1.0, "server": 0.2, "a-board": 3.0}
    names = {name: {"machine": name, "cpu": f"CPU of {name}", "num_cpu": 2} for name in scales}
    folders = {}
    for name, scale in scales.items():
        (tmp_path / name).mkdir()
        of_machine = (record(scale, case, machine=names[name]) for case in "ab")
        folders[name] = journal(tmp_path / name / "run.jsonl", *of_machine)
    result = convbench.compare(folders["laptop"], tmp_path, by="machine")
    found = {(c.backend, c.case): (c.verdict, round(c.ratio.value, 1)) for c in result.changes}
    assert found == {
        **{("torch, server", case): ("faster", 0.2) for case in "ab"},
        **{("torch, a-board", case): ("slower", 3.0) for case in "ab"},
    }
    both = convbench.compare(tmp_path, tmp_path, by="machine", backend="torch")
    assert {c.backend for c in both.changes} == {"torch, laptop", "torch, server"}, "a-board is the first"
    with pytest.raises(NothingMeasuredError, match=r"all records are of laptop\. Give two machines"):
        convbench.compare(folders["laptop"], folders["laptop"], by="machine")


def test_a_run_of_one_set_has_nothing_to_compare_by(sides: tuple[Path, Path]) -> None:
    with pytest.raises(NothingMeasuredError, match=r"all records are of native.*--isa avx2,native"):
        convbench.compare(*sides, by="isa")
    with pytest.raises(ResultsError, match="--by and --confirm"):
        convbench.compare(*sides, by="isa", confirm=True)
