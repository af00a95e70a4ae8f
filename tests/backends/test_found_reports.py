"""The reports in docs/found: their programs are executed as they stand, where their libraries are installed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import DOCS

REPORTS = sorted(path for path in (DOCS / "found").glob("*.md") if path.name != "README.md")
LIMIT_S = 300
VERDICT = r"^(\d+ of \d+ elements wrong|at \[.*\]: got .*, expected .*|expected +\(.*|inputs written to: .*)$"
OWN_MISTAKES = r"^(ImportError|ModuleNotFoundError|SyntaxError|NameError|AttributeError)\b"


def blocks(report: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", report.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def imported(program: str) -> set[str]:
    return set(re.findall(r"^\s*(?:import|from) (\w+)", program, re.MULTILINE))


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.stem)
def test_the_program_of_a_report_runs_without_convbench(report: Path, tmp_path: Path) -> None:
    if not (programs := blocks(report, "python")):
        pytest.skip("its program is in another language")
    [program] = programs
    compile(program, report.name, "exec")
    assert "convbench" not in program
    if missing := sorted(name for name in imported(program) if importlib.util.find_spec(name) is None):
        pytest.skip(f"{' and '.join(missing)} not installed: pip install {' '.join(missing)}")
    (tmp_path / "convbench.py").write_text("raise ImportError('a report has to do without it')")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    title = report.read_text(encoding="utf-8").partition("\n")[0]
    if "ends the process" in title:  # another CPU, or another release, may not crash
        assert done.returncode == 0 or done.returncode < 0, done.stderr
    elif "raises an exception" in title:  # nor may another release raise
        assert done.returncode == 0 or not re.search(OWN_MISTAKES, done.stderr, re.MULTILINE), done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert re.search(VERDICT, done.stdout, re.MULTILINE), done.stdout
    assert {path.name for path in tmp_path.iterdir()} <= {"convbench.py", "__pycache__"}


@pytest.mark.parametrize("report", [path for path in REPORTS if blocks(path, "cpp")], ids=lambda path: path.stem)
def test_a_program_in_cpp_compiles(report: Path, tmp_path: Path) -> None:
    compiler, torch = shutil.which("g++"), importlib.util.find_spec("torch")
    if compiler is None or torch is None or torch.origin is None:
        pytest.skip("needs g++, and the headers of oneDNN that come with torch")
    headers = Path(torch.origin).with_name("include")
    source = tmp_path / "conv.cpp"
    source.write_text(blocks(report, "cpp")[0], encoding="utf-8")
    command = [compiler, "-std=c++17", "-fsyntax-only", "-I", str(headers), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.stem)
def test_a_report_has_a_title_a_backend_to_ask_again_and_where_it_shows(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert re.match(r"# conv2d('s \w+ gradient)? ", text)
    assert re.search(r"^convbench verify --backend \S+ (--isa \S+ )?--question ", text, re.MULTILINE)
    assert "| | shows | does not show |" in text
