"""`--python PATH=LABEL`: backends run by the interpreter of another environment, beside those of this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from environments import library, virtual_environment, write
from places import CHECKOUT as ROOT
from places import PLUGINS

from convbench.backend import Backend, Ready
from convbench.errors import BackendError
from convbench.measurement.environments.interpreters import OtherEnvironment, environments, select
from convbench.registry import Entry, Origin, Registry

PLUGIN = PLUGINS / "by_library.py"
SLEEP_S = 0.02
SUITE = """
name = "mine"
summary = "One tiny case."
[defaults]
in_channels = 2
height = 6
width = 6
out_channels = 3
[[case]]
kernel_size = 3
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite, version 1 of the library for this interpreter, and environments with other versions and without."""
    folder = tmp_path_factory.mktemp("environments")
    (folder / "mine.toml").write_text(SUITE)
    write(library("1.0"), folder / "here")
    write(library("2.0", f"(time.sleep({SLEEP_S}), output)[1]"), virtual_environment(folder / "slow"))
    write(library("3.0", "output + 1"), virtual_environment(folder / "wrong"))
    write(library("4.0"), virtual_environment(folder / "without-numpy", ["ml_dtypes"]))
    virtual_environment(folder / "without-library")
    return folder


def run(place: Path, *words: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`convbench run` with version 1 of the library on PYTHONPATH, which other environments must not see."""
    command = [sys.executable, "-m", "convbench", "run", "--quick", "--no-asv", "--plugin", str(PLUGIN)]
    command += ["--suite", str(place / "mine.toml"), "--results", str(place / "results"), *words]
    path = os.pathsep.join(map(str, [*([site] if site else []), place / "here"]))
    variables = os.environ | {"PYTHONPATH": path, "CONVBENCH_MACHINE": "here"}
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, env=variables)


def records(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {record["backend"]: record for record in found}


def test_two_versions_of_a_library_are_timed_side_by_side(place: Path) -> None:
    done = run(place, "--backend", "fake-conv", "--python", f"{place / 'slow'}=2.0", "--json")
    assert done.returncode == 0, done.stderr
    found = records(done)
    assert list(found) == ["fake-conv", "fake-conv@2.0"]
    here, there = found["fake-conv"], found["fake-conv@2.0"]
    assert here["versions"] == {"fake-conv": "1.0"} or here["versions"] == {"fake_conv": "1.0"}
    assert set(there["versions"].values()) == {"2.0", here["machine"]["python"]}
    assert min(there["samples"]["wall_s"]) >= SLEEP_S
    assert here["session"] == there["session"]
    assert set(here["samples"]["round"]) & set(there["samples"]["round"])
    assert f"@2.0 is Python {here['machine']['python']}" in done.stderr


def test_a_wrong_answer_of_one_version_is_its_own(place: Path) -> None:
    pythons = ("--python", f"{place / 'slow' / 'bin' / 'python'}=2.0", "--python", f"{place / 'wrong'}=3.0")
    done = run(place, "--backend", "fake-conv", *pythons, "--json")
    assert done.returncode == 1
    statuses = {name: record["status"] for name, record in records(done).items()}
    assert statuses == {"fake-conv": "ok", "fake-conv@2.0": "ok", "fake-conv@3.0": "wrong"}


def test_a_pattern_with_the_label_selects_the_other_environment_alone(place: Path) -> None:
    done = run(place, "--backend", "fake-conv@*", "--python", f"{place / 'slow'}=2.0", "--json")
    assert list(records(done)) == ["fake-conv@2.0"]


def test_what_another_environment_lacks_is_unavailable_there_though_it_is_here(place: Path) -> None:
    patterns = ("--backend", "fake-conv", "--backend", "scipy-direct", "--backend", "numpy-loop")
    done = run(place, *patterns, "--python", f"{place / 'without-library'}=bare", "--json")
    assert done.returncode == 0, done.stderr
    found = records(done)
    assert {name for name, record in found.items() if record["status"] == "ok"} == {
        "fake-conv",
        "scipy-direct",
        "numpy-loop",
        "numpy-loop@bare",
    }
    assert found["scipy-direct@bare"]["status"] == found["fake-conv@bare"]["status"] == "unavailable"
    assert "scipy not installed" in found["scipy-direct@bare"]["reason"]


def test_nothing_available_in_the_other_environment_is_exit_code_3(place: Path) -> None:
    done = run(place, "--backend", "fake-conv@bare", "--python", f"{place / 'without-library'}=bare")
    assert done.returncode == 3
    assert "fake_conv not installed" in " ".join(done.stdout.split())


@pytest.mark.parametrize("is_checkout", [False, True], ids=["installed", "checkout"])
def test_wherever_convbench_is_workers_start_and_the_other_environment_sees_only_the_package(
    place: Path, tmp_path: Path, is_checkout: bool
) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "convbench", tmp_path / "convbench", ignore=ignored)
    inside = tmp_path if is_checkout else tmp_path / "convbench"
    for name in ("backends", "suites"):
        shutil.copytree(ROOT / name, inside / name, ignore=ignored)
    if is_checkout:
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
    write(library("9.0", "1 / 0"), tmp_path)  # as a library that is installed beside convbench
    patterns = ("--backend", "*@2.0", "--backend", "numpy-loop")
    done = run(place, *patterns, "--python", f"{place / 'slow'}=2.0", "--json", site=tmp_path)
    found = records(done)
    assert found["numpy-loop"]["status"] == "ok", done.stderr  # a worker of this environment, too
    assert found["fake-conv@2.0"]["status"] == "ok", done.stderr
    assert "2.0" in found["fake-conv@2.0"]["versions"].values()
    assert found["numpy-loop@2.0"]["status"] == "ok"
    assert found["scipy-fft@2.0"]["status"] == "unavailable"


# --- what is no environment -------------------------------------------------------------------------------------------


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


OLD = """#!/bin/sh
exec {python} -c 'import sys
sys.version_info = (3, 9, 18, "final", 0)
exec(sys.argv[2])' "$@"
"""


def broken(place: Path, tmp_path: Path, kind: str) -> str:
    """The value of --python for each way to be wrong."""
    (tmp_path / "text").write_text("not a program")
    (tmp_path / "folder").mkdir()
    paths = {
        "missing": tmp_path / "nowhere",
        "folder": tmp_path / "folder",
        "text": tmp_path / "text",
        "fails": script(tmp_path / "fails", "#!/bin/sh\necho cannot load shared library >&2\nexit 1\n"),
        "silent": script(tmp_path / "silent", "#!/bin/sh\n"),
        "foreign": script(tmp_path / "foreign", "#!/bin/sh\necho hello\n"),
        "old": script(tmp_path / "old", OLD.format(python=sys.executable)),
        "without numpy": place / "without-numpy",
    }
    return f"{paths[kind]}=x"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "there is no "),
        ("folder", "is a folder without bin/python"),
        ("text", "cannot be run: "),
        ("fails", "it said 'cannot load shared library'"),
        ("silent", "said nothing"),
        ("foreign", "is no working Python interpreter: it said 'hello'"),
        ("old", "is Python 3.9.18; a worker needs Python 3.11 or newer"),
        ("without numpy", "numpy is not installed"),
    ],
)
def test_what_cannot_run_workers_is_refused_with_one_sentence(
    place: Path, tmp_path: Path, kind: str, told: str
) -> None:
    done = run(place, "--backend", "fake-conv", "--python", broken(place, tmp_path, kind))
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1


def test_the_sentence_on_missing_numpy_says_what_to_type(place: Path) -> None:
    done = run(place, "--backend", "fake-conv", "--python", f"{place / 'without-numpy'}=x")
    assert f"{place / 'without-numpy' / 'bin' / 'python'} -m pip install numpy" in done.stderr


@pytest.mark.parametrize("text", ["", "=", "=x", "path", "path=", "path=a b", "path=@", "path=-x", "path=é"])
def test_a_text_without_path_or_label_is_refused(text: str) -> None:
    with pytest.raises(BackendError, match="--python is"):
        environments([text])


def test_a_path_may_hold_an_equals_sign_and_a_name_is_looked_up_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a=b").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    one, other = environments([f"{tmp_path / 'a=b'}=x", "a=b=y"])
    assert (one.python, one.label) == (str(tmp_path / "a=b"), "x")
    assert (other.python, other.label) == (str(tmp_path / "a=b"), "y")
    assert one.version == "{}.{}.{}".format(*sys.version_info[:3])


def test_a_label_twice_is_refused_with_both_paths(place: Path) -> None:
    with pytest.raises(BackendError, match=r"labelled 'x': .*slow.* and .*wrong"):
        environments([f"{place / 'slow'}=x", f"{place / 'wrong'}=x"])


# --- which backends ---------------------------------------------------------------------------------------------------


class Named(Backend):
    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, problem: Any, x: Any, w: Any, b: Any) -> Ready:
        raise NotImplementedError


def registry(*names: str) -> Registry:
    return Registry(tuple(Entry(name, Origin("file", str(PLUGIN)), Named(name)) for name in names))


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], ["a", "ab", "a@1", "ab@1", "a@2", "ab@2"]),
        (["a"], ["a", "a@1", "a@2"]),
        (["a*"], ["a", "ab", "a@1", "ab@1", "a@2", "ab@2"]),
        (["a@*"], ["a@1", "a@2"]),
        (["*@1"], ["a@1", "ab@1"]),
        (["ab", "a@2"], ["ab", "ab@1", "a@2", "ab@2"]),
    ],
)
def test_a_pattern_selects_by_the_backend_s_name_everywhere_and_by_the_whole_name_there(
    patterns: list[str], names: list[str]
) -> None:
    others = [OtherEnvironment(label, sys.executable, "3.11.0") for label in ("1", "2")]
    assert [entry.name for entry in select(registry("a", "ab"), others, patterns)] == names


def test_a_name_that_a_backend_here_has_already_is_refused() -> None:
    with pytest.raises(BackendError, match="two backends are called 'a@1'"):
        select(registry("a", "a@1"), [OtherEnvironment("1", sys.executable, "3.11.0")], [])


def test_no_match_names_the_label_when_it_was_asked_for() -> None:
    other = OtherEnvironment("1", sys.executable, "3.11.0")
    with pytest.raises(BackendError, match="Did you mean 'abc@1'"):
        select(registry("abc"), [other], ["abd@1"])
    with pytest.raises(BackendError, match=r"There are: abc\.$"):
        select(registry("abc"), [other], ["zzz"])
