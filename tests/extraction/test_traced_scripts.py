"""`extract --trace`: the user's own script runs, and what torch computes for it is listed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
import helper_beside_the_script
import torch
from torch import nn

print("it runs with", sys.argv[1:], "as", __name__)
net = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding="same", groups=8), nn.ConvTranspose2d(8, 4, 2)
)
for _ in range(2):
    net(torch.randn(2, 3, 9, 9)).sum().backward()
with torch.inference_mode():
    net(torch.randn(1, 3, 9, 9))
if sys.argv[1] == "raise":
    raise RuntimeError("after its work")
if sys.argv[1] == "exit":
    sys.exit(int(sys.argv[2]))
"""
EXPECTED = {
    "n2c3h9w9_o8k3_p1_bias": 2,
    "n2c8h9w9_o8k3_p1_g8_bias": 2,
    "n1c3h9w9_o8k3_p1_bias": 1,
    "n1c8h9w9_o8k3_p1_g8_bias": 1,
    "n2c4h10w10_o8k2_dgrad": 2,
    "n1c4h10w10_o8k2_dgrad": 1,
}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "helper_beside_the_script.py").write_text("")
    path = tmp_path / "program.py"
    path.write_text(SCRIPT)
    return path


def extract(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "convbench", "extract", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=280, check=False)


def counts(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    return {row["case_id"]: row["count"] for row in map(json.loads, done.stdout.splitlines())}


def test_forward_convolutions_are_counted_and_the_output_of_the_script_is_kept_apart(script: Path) -> None:
    done = extract("--trace", "--json", script, "--", "--words", "-x")
    assert done.returncode == 0, done.stderr
    assert counts(done) == EXPECTED
    assert "it runs with ['--words', '-x'] as __main__" in done.stderr
    assert "The bias of a transposed convolution" in done.stderr and "runs 3 times." in done.stderr


@pytest.mark.parametrize(("words", "code"), [(("raise",), 1), (("exit", "3"), 3)])
def test_a_script_that_fails_is_listed_as_far_as_it_came_and_the_command_fails(
    script: Path, words: tuple[str, ...], code: int
) -> None:
    done = extract("--trace", "--json", script, *words)
    assert done.returncode == 1
    assert counts(done) == EXPECTED
    assert f"ended with exit code {code}" in done.stderr
    assert ("after its work" in done.stderr) == (words[0] == "raise")
    assert "bug in convbench" not in done.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print(1)", "computed no convolution with torch in its main thread."),
        ("raise SystemExit(4)", "ended with exit code 4."),
        ("import os; os._exit(0)", "said nothing of what it computed"),
        ("import os; os.kill(os.getpid(), 9)", "ended with signal 9."),
        ("def broken(", "ended with exit code 1."),
        ("import sys; open(sys.argv[0] + 'x', 'w'); sys.exit('a message')", "ended with exit code 1."),
    ],
)
def test_a_script_without_convolutions_is_said_in_a_sentence(tmp_path: Path, code: str, said: str) -> None:
    path = tmp_path / "program.py"
    path.write_text(code)
    done = extract("--trace", path)
    assert done.returncode == 2 and done.stdout.strip() in ("", "1")
    assert said in done.stderr and "bug in convbench" not in done.stderr


def test_what_does_not_fit_is_refused_before_the_script_runs(script: Path, tmp_path: Path) -> None:
    (marked := tmp_path / "ran.py").write_text("open('ran', 'w')")
    for words, said in (
        ((script, "argument"), "give --trace"),
        (("--trace", "--batch", "2", marked), "makes its own inputs"),
        (("--trace", "--dtype", "float31", marked), "dtype is 'float31'"),
        (("--trace", tmp_path), "this is a folder"),
        (("--trace", tmp_path / "missing.py"), "there is no such file"),
    ):
        done = extract(*words)
        assert done.returncode == 2 and said in done.stderr, done.stderr
    assert not Path("ran").exists() and not (tmp_path / "ran").exists()
