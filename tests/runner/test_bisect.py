"""`convbench bisect` as it is typed: wheels and commits built here, environments made from them by pip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from environments import NEEDED_BY_WORKERS, library, link, wheel, write
from places import PLUGINS

from convbench.errors import BackendError, ResultsError
from convbench.measurement.environments.commits import commits_between, files_of
from convbench.measurement.environments.release_dates import wheel_date
from convbench.measurement.environments.release_facts import changelog_url
from convbench.runner.bisect.log import Answered, History

QUESTION = "n1c2h6w6_o3k3_p1"
RIGHT, WRONG = "output", "output + 1"
SLOW = "(time.sleep(0.004), output)[1]"
CHANGELOG = "Project-URL: Release Notes, https://example.org/fake/changes\n"
DAY = (2021, 3, 1)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder of wheels with what workers need: those that the tests run with."""
    (tmp_path / "links").mkdir()
    link(NEEDED_BY_WORKERS, tmp_path / "links")
    for name in NEEDED_BY_WORKERS:
        wheel(tmp_path / "wheels", name, "9", {f"{name}_link.pth": f"{tmp_path / 'links'}\n"}, DAY)
    return tmp_path / "wheels"


def release(wheels: Path, version: str, finish: str | None) -> None:
    """A release of `fake_conv` that finishes so; None for one that cannot be imported."""
    text = "import a_module_that_nobody_has" if finish is None else library(version, finish)["fake_conv.py"]
    wheel(wheels, "fake_conv", version, {"fake_conv.py": text}, DAY, CHANGELOG)


def bisect(wheels: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convbench", "bisect", "fake-conv", *words, "--environments", str(cwd / "envs")]
    command += ["--results", str(cwd / "results"), "--plugin", str(PLUGINS / "by_library.py"), "--json"]
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | pip | {"CONVBENCH_MACHINE": "here"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=800, env=variables)


def rows(done: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, list[dict[str, Any]]]:
    """The rows by their kind."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    found: dict[str, list[dict[str, Any]]] = {"look": [], "finding": [], "conclusion": []}
    for line in done.stdout.splitlines():
        row = json.loads(line)
        found[row["row"]].append(row)
    return found


@pytest.mark.timeout(900)  # environments are made, which a busy machine does ten times as slowly
def test_the_release_that_made_an_answer_wrong(wheels: Path, tmp_path: Path) -> None:
    for minor, finish in enumerate([RIGHT, None, WRONG, WRONG]):
        release(wheels, f"1.{minor}", finish)
    release(wheels, "2.0b1", RIGHT)  # not asked for without --pre
    words = ("--question", QUESTION)
    done = bisect(wheels, *words, cwd=tmp_path)
    found = rows(done)
    (step,) = found["finding"]
    assert (step["kind"], step["before"]["label"], step["after"]["label"]) == ("step", "1.0", "1.2")
    assert [label for label, _ in step["skipped"]] == ["1.1"] and "a_module_that_nobody_has" in step["skipped"][0][1]
    assert step["before"]["answer"] == "ok" and step["after"]["answer"].startswith("wrong ")
    assert step["after"]["date"] == "2021-03-01" and step["changelog"] == "https://example.org/fake/changes"
    results = {look["label"]: look["result"] for look in found["look"]}
    assert results == {"1.0": "ok", "1.1": "skipped", "1.2": "wrong", "1.3": "wrong"}
    (conclusion,) = found["conclusion"]
    assert (conclusion["members"], conclusion["environments"]) == (4, 4)

    resumed = bisect(wheels, *words, "--resume", cwd=tmp_path)
    assert rows(resumed)["finding"] == [step], resumed.stderr
    assert "which has 4 looks" in " ".join(resumed.stderr.split())
    assert "fake-conv 1.3: preparing" not in resumed.stderr, "what the log has is not looked at again"
    (log,) = (tmp_path / "results" / "here").glob("*.bisection")
    log.write_text(log.read_text() + '{"event": "answered", "label": 7}\n')
    spoilt = bisect(wheels, *words, "--resume", cwd=tmp_path)
    assert spoilt.returncode == 2 and "has a line that no bisection wrote" in " ".join(spoilt.stderr.split())
    assert "Traceback" not in spoilt.stderr


def test_why_a_release_has_no_date(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BackendError, match=r"the date of fake-conv 7 is not known[^;]*No matching distribution"):
        wheel_date("fake-conv", "7", sys.executable)


@pytest.mark.timeout(900)
def test_the_release_that_made_a_case_slower(wheels: Path, tmp_path: Path) -> None:
    for minor, finish in enumerate([RIGHT, SLOW, SLOW]):
        release(wheels, f"1.{minor}", finish)
    found = rows(bisect(wheels, "--case", QUESTION, "--slower", "50%", cwd=tmp_path))
    (step,) = found["finding"]
    assert (step["before"]["label"], step["after"]["label"]) == ("1.0", "1.1")
    assert step["ratio"]["low"] > 1.5 and step["after"]["median_s"] > 0.004 > step["before"]["median_s"]
    assert {look["result"] for look in found["look"]} == {"timed"}
    journals = list((tmp_path / "results" / "here").glob("*.jsonl"))
    assert journals and all("@1." in line for path in journals for line in path.read_text().splitlines())


@pytest.mark.timeout(900)
def test_the_release_that_made_a_case_faster(wheels: Path, tmp_path: Path) -> None:
    for minor, finish in enumerate([SLOW, RIGHT]):
        release(wheels, f"1.{minor}", finish)
    found = rows(bisect(wheels, "--case", QUESTION, "--faster", "50%", cwd=tmp_path))
    (step,) = found["finding"]
    assert (step["before"]["label"], step["after"]["label"]) == ("1.0", "1.1")
    assert step["ratio"]["high"] < 1 / 1.5 and step["before"]["median_s"] > 0.004 > step["after"]["median_s"]


BUILD = """
import zipfile
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(folder, config_settings=None, metadata_directory=None):
    info = "fake_conv-0.1.dist-info"
    files = {"fake_conv.py": open("fake_conv.py").read(),
             info + "/METADATA": "Metadata-Version: 2.1\\nName: fake-conv\\nVersion: 0.1\\n",
             info + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}
    files[info + "/RECORD"] = "".join(name + ",,\\n" for name in [*files, info + "/RECORD"])
    with zipfile.ZipFile(folder + "/fake_conv-0.1-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return "fake_conv-0.1-py3-none-any.whl"
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "build"\nbackend-path = ["."]\n'


def git(folder: Path, *words: str) -> str:
    author = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    return subprocess.run(["git", *author, *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def repository(folder: Path, *finishes: str) -> None:
    """A library whose commits finish so; the first is tagged `first`."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    write({"build.py": BUILD, "pyproject.toml": PROJECT}, folder)
    for number, finish in enumerate(finishes):
        write({"fake_conv.py": library("0.1", finish)["fake_conv.py"] + f"# {number}\n"}, folder)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", f"change {number}")
        if number == 0:
            git(folder, "tag", "first")


def test_the_commit_that_made_an_answer_wrong(wheels: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    repository(mine, RIGHT, RIGHT, WRONG)
    words = ("--question", QUESTION, "--commits", "first..main", "--discard")
    done = bisect(wheels, *words, cwd=mine)
    made = [line for line in done.stderr.splitlines() if "preparing its environment" in line]
    assert len(made) == len(set(made)) == 3, "each once, although it is removed after its answer"
    found = rows(done)
    (step,) = found["finding"]
    assert (step["before"]["subject"], step["after"]["subject"]) == ("change 1", "change 2")
    assert step["after"]["label"] == git(mine, "rev-parse", "main")[:12]
    assert git(mine, "worktree", "list").count("\n") == 1 and git(mine, "branch", "--show-current") == "main\n"
    assert set(git(mine, "status", "--porcelain").splitlines()) <= {"?? envs/", "?? results/"}
    assert not [path for path in (mine / "envs").iterdir() if path.is_dir()], "--discard removes environments"


def test_commits_are_those_of_one_line_in_order(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    repository(mine, RIGHT, WRONG, RIGHT)
    commits = commits_between(mine, "first..main")
    assert [commit.subject for commit in commits] == ["change 0", "change 1", "change 2"]
    with files_of(mine, commits[1]) as source:
        assert "output + 1" in (source / "fake_conv.py").read_text()
    assert not source.exists()
    for text, said in (
        ("main", "two commits"),
        ("main..first", "no commit of"),
        ("first..nothing", "'nothing' is no commit"),
        ("--all..main", "two commits"),
        ("first...main", "two commits"),
    ):
        with pytest.raises(BackendError, match=said):
            commits_between(mine, text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Give either --question"),
        (("--question", QUESTION, "--case", QUESTION), "Give either --question"),
        (("--question", QUESTION, "--good", "0.9"), "--good is '0.9', and pip finds no such release"),
        (("--question", QUESTION, "--good", "1.0", "--bad", "1.0"), "there are not two releases of fake-conv"),
        (("--question", "n1c2h6w6_o3k3 wiide"), "'wiide' in the question"),
        (("--case", QUESTION, "--slower", "much"), "--slower"),
        (("--case", QUESTION, "--slower", "5%", "--faster", "5%"), "Give either --slower or --faster"),
        (("--question", QUESTION, "--faster", "5%"), "--faster goes with --case"),
        (("--question", QUESTION, "--commits", "a..b"), "'a' is no commit"),
    ],
)
def test_what_cannot_be_searched_is_a_sentence(wheels: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    release(wheels, "1.0", RIGHT)
    release(wheels, "1.1", RIGHT)
    git(tmp_path, "init", "-q")
    done = bisect(wheels, *words, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert said in " ".join(done.stderr.split()) and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("lines", "url"),
    [
        (["Homepage, https://a.org", "Changelog, https://a.org/c"], "https://a.org/c"),
        (["Release Notes, https://a.org/r", "What's New, https://a.org/w"], "https://a.org/r"),
        (["changes,http://a.org/x"], "http://a.org/x"),
        (["Changelog, javascript:alert(1)", "Changelog, https://a b"], None),
        ([], None),
        (["nonsense"], None),
    ],
)
def test_the_changelog_is_a_link_of_the_metadata(lines: list[str], url: str | None) -> None:
    assert changelog_url(lines) == url


def test_a_log_gives_each_look_once_and_refuses_what_it_did_not_write(tmp_path: Path) -> None:
    with History.begin(tmp_path, {"question": "x"}, resume=True) as history:
        assert history.read == 0 and history.known("1.0") is None
        history.add(Answered(label="1.0", kind="ok"))
    with History.begin(tmp_path, {"question": "x"}, resume=True) as again:
        assert again.known("1.0") == Answered(label="1.0", kind="ok")
        assert again.known("1.0") is None
    with history.path.open("a") as log:
        log.write('torn {"event"\n')
    assert History.begin(tmp_path, {"question": "x"}, resume=True).read == 1
    assert History.begin(tmp_path, {"question": "y"}, resume=True).read == 0
    for line in ('{"event": "else"}', '{"event": "timed", "labels": "x", "ratios": [[1]]}', '{"event": "answered"}'):
        with history.path.open("a") as log:
            log.write(f"{line}\n")
        with pytest.raises(ResultsError, match="no bisection wrote"):
            History.begin(tmp_path, {"question": "x"}, resume=True)
        history.path.write_text(history.path.read_text().replace(line, ""))
