"""Shell completion: suites, backends and journals are completed, and the script is what the shells take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import convbench


def completed(line: str, folder: Path) -> list[str]:
    """What bash gets for `line`, whose last word is incomplete."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_CONVBENCH_COMPLETE": "bash_complete"}
    return subprocess.run(
        [sys.executable, "-m", "convbench"],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=folder,
        env=os.environ | asked | {"CONVBENCH_MACHINE": "here", "XDG_DATA_HOME": str(folder / "data")},
    ).stdout.split()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "data/convbench/results/here/20260101T000000Z-smoke.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"case": "c", "backend": "b", "status": "ok"}\n')
    return path


def test_suites_backends_dtypes_machines_and_journals_are_completed(journal: Path, tmp_path: Path) -> None:
    assert {"plain,sizes", "plain,smoke", "plain,strides"} <= {*completed("convbench run --suite s", tmp_path)}
    assert completed("convbench choose --backend numpy-g", tmp_path) == ["plain,numpy-gemm"]
    assert completed("convbench run --dtype bf", tmp_path) == ["plain,bfloat16"]
    assert completed("convbench choose --machine h", tmp_path) == ["plain,here"]
    newest = completed("convbench compare ", tmp_path)
    assert newest[0] == "file," and f"plain,{journal.relative_to(tmp_path)}" in newest and "plain,here" in newest
    assert not [item for item in completed("convbench run --where ", tmp_path) if item.startswith("plain,data")]


def test_the_script_of_each_shell_is_printed_or_installed(tmp_path: Path) -> None:
    environment = os.environ | {"HOME": str(tmp_path)}
    environment = {name: value for name, value in environment.items() if not name.startswith("XDG_")}

    def convbench(*words: str) -> str:
        command = [sys.executable, "-m", "convbench", "completion", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment, check=True)
        return done.stdout

    for shell, mark in (("bash", "complete "), ("zsh", "compdef"), ("fish", "complete ")):
        script = convbench(shell)
        assert mark in script and "_CONVBENCH_COMPLETE" in script
        told = convbench(shell, "--install")
        place = Path(told.split(" is written")[0])
        assert place.is_relative_to(tmp_path) and place.read_text() == script
        if shutil.which(shell):
            subprocess.run([shell, "-n", str(place)], check=True, timeout=60)


def test_dir_lists_the_api_and_nothing_else() -> None:
    assert {"run", "choose", "verify", "compare", "apply", "conv2d", "load"} <= {*dir(convbench)}
    assert all(hasattr(convbench, name) for name in dir(convbench))
    assert not {"import_module", "TYPE_CHECKING", "Any", "annotations"} & {*dir(convbench)}
