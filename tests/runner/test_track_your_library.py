"""The workflow for other libraries: its steps are executed as they stand, with two versions of a small library."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import DOCS

WORKFLOWS = DOCS / "track-your-library"
MEASURE, COMMENT = (
    yaml.safe_load((WORKFLOWS / name).read_text()) for name in ("convbench.yml", "convbench-comment.yml")
)
pytestmark = pytest.mark.skipif(os.name == "nt" or not shutil.which("bash"), reason="the steps are for a Unix shell")

LIBRARY = """
import numpy as np

def convolve(x, w, stride, dilation, groups):
    out = None
    for _ in range({repeats}):
        windows = np.lib.stride_tricks.sliding_window_view(
            x, ((w.shape[2] - 1) * dilation[0] + 1, (w.shape[3] - 1) * dilation[1] + 1), axis=(2, 3)
        )[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
        n, c, h, v = windows.shape[:4]
        grouped = windows.reshape(n, groups, c // groups, h, v, *w.shape[2:])
        out = np.einsum("ngchvij,gocij->ngohv", grouped, w.reshape(groups, -1, *w.shape[1:]))
    return np.ascontiguousarray(out.reshape(n, -1, h, v))
"""
PLUGIN = """
from convbench.backend import Backend, Ready, Supports

class MyConv(Backend):
    name = "my-conv"
    requires = ("my_library",)
    supports = Supports(dtypes={"float32"}, asymmetric_padding=True)

    def prepare(self, problem, x, w, b):
        import numpy as np
        from my_library import convolve

        def run():
            padded = np.pad(x, ((0, 0), (0, 0), *problem.padding))
            out = convolve(padded, w, problem.stride, problem.dilation, problem.groups)
            return out if b is None else out + b[:, None, None]

        return Ready(run)

BACKENDS = (MyConv(),)
"""


# Makes environments that have all that this one has, so that nothing has to be installed but the library.
PYTHON = """#!/bin/sh
"{python}" "$@" && for made; do :; done
for site in "$made"/lib/python*/site-packages; do
    echo "import site; site.addsitedir('{packages}')" > "$site/here.pth"
done
printf '#!/bin/sh\\nexec "%s" -P -m convbench "$@"\\n' "$PWD/$made/bin/python" > "$made/bin/convbench"
chmod +x "$made/bin/convbench"
"""


def steps(workflow: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (job,) = workflow["jobs"].values()
    return {step["name"]: step for step in job["steps"] if "run" in step}


def execute(step: dict[str, Any], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The step as a runner executes it: bash, and an error ends it."""
    given = {name: value for name, value in step.get("env", {}).items() if "${{" not in str(value)}
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(words, cwd=folder, env=env | given, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Two checkouts of a library, and a `python` whose environments have what these tests run with."""
    folder = tmp_path_factory.mktemp("workflow")
    for side in ("base", "head"):
        (folder / side / "my_library").mkdir(parents=True)
        (folder / side / "my_library" / "__init__.py").write_text(LIBRARY.format(repeats=1))
        (folder / side / "pyproject.toml").write_text('[project]\nname = "my-library"\nversion = "1.0"\n')
    (folder / "head" / "benchmarks").mkdir()
    (folder / "head" / "benchmarks" / "my_conv.py").write_text(PLUGIN)
    programs = folder / "programs"
    programs.mkdir()
    python = programs / "python"
    python.write_text(PYTHON.format(python=sys.executable, packages=sysconfig.get_path("purelib")))
    python.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "PYTEST"))}
    env |= {name: str(value) for name, value in MEASURE["env"].items()}
    env |= {"PATH": f"{programs}:{env['PATH']}", "GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "SUITE": "smoke"}
    env |= {"OPTIONS": "--quick --budget 2", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    env |= {"CONVBENCH_MACHINE": "runner", "GITHUB_REPOSITORY": "someone/my-library"}
    done = execute(steps(MEASURE)["An environment for each version"], folder, env)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, env


def measured(workspace: tuple[Path, dict[str, str]], repeats: int) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The two last steps with a head that does its work so many times over; gives the comparison and its folder."""
    folder, env = workspace
    installed = next((folder / "envs" / "head" / "lib").glob("python*/site-packages/my_library/__init__.py"))
    installed.write_text(LIBRARY.format(repeats=repeats))
    shutil.rmtree(installed.parent / "__pycache__", ignore_errors=True)  # which is of the same second and length
    shutil.rmtree(folder / "results", ignore_errors=True)
    (folder / "summary.md").write_text("")
    done = execute(steps(MEASURE)["Measure both, by turns"], folder, env)
    assert done.returncode == 0, done.stdout + done.stderr
    return execute(steps(MEASURE)["Compare"], folder, env), folder


def test_a_pull_request_that_makes_it_slower_fails_and_the_summary_says_where(
    workspace: tuple[Path, dict[str, str]],
) -> None:
    done, folder = measured(workspace, repeats=6)
    assert done.returncode == 1, done.stdout + done.stderr
    summary = (folder / "summary.md").read_text()
    assert summary == (folder / "table.md").read_text() == done.stdout
    rows = [line for line in summary.splitlines() if line.startswith("| slower |")]
    assert rows and all("my-conv" in row for row in rows)
    assert "Measured side by side, compared round by round." in summary


def test_one_that_does_not_passes(workspace: tuple[Path, dict[str, str]]) -> None:
    env = workspace[1] | {"THRESHOLD": "100%"}  # the machine of a test may be busy
    done, folder = measured((workspace[0], env), repeats=1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 slower by more than 100%" in (folder / "summary.md").read_text()


def test_nothing_comparable_fails_with_3(workspace: tuple[Path, dict[str, str]]) -> None:
    folder, env = workspace
    (folder / "results").mkdir(exist_ok=True)
    done = execute(steps(MEASURE)["Compare"], folder, env | {"BACKEND": "another"})
    assert done.returncode == 3
    assert "nothing to compare" in done.stderr


# --- the comment ------------------------------------------------------------------------------------------------------

GH = """#!{python}
import json, os, sys
words = sys.argv[1:]
state = {state!r}
with open(state + "/calls", "a") as file:
    body = [open(word[6:]).read() for word in words if word.startswith("body=@")]
    file.write(json.dumps([words, body]) + "\\n")
if "/pulls" in " ".join(words):
    print(os.environ.get("FAKE_NUMBER", ""))
elif words[-2:-1] == ["--jq"]:
    print(os.environ.get("FAKE_COMMENT", ""))
"""


def commented(workspace: tuple[Path, dict[str, str]], tmp_path: Path, **fake: str) -> list[tuple[list[str], list[str]]]:
    """The calls of GitHub's command line that the comment's step makes."""
    folder, env = workspace
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "gh").write_text(GH.format(python=sys.executable, state=str(tmp_path)))
    (programs / "gh").chmod(0o755)
    env = (
        env
        | fake
        | {"PATH": f"{programs}:{env['PATH']}", "HEAD_OWNER": "else", "HEAD_BRANCH": "b", "HEAD_SHA": "c0ffee"}
    )
    (folder / "table.md").write_text("| a table |\n")
    done = execute(steps(COMMENT)["Comment"], folder, env | {"RUN_URL": "https://example.org/run"})
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in (tmp_path / "calls").read_text().splitlines()]


def test_the_first_comment_is_written_and_the_next_brings_it_up_to_date(
    workspace: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    for name, fake, method, where in (
        ("first", {}, "POST", "repos/someone/my-library/issues/7/comments"),
        ("next", {"FAKE_COMMENT": "99"}, "PATCH", "repos/someone/my-library/issues/comments/99"),
    ):
        (tmp_path / name).mkdir()
        *_, (words, (body,)) = commented(workspace, tmp_path / name, FAKE_NUMBER="7", **fake)
        assert words[1:4] == ["--method", method, where]
        assert body.startswith("<!-- convbench -->\n| a table |") and "https://example.org/run" in body


def test_without_an_open_pull_request_nothing_is_written(
    workspace: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    calls = commented(workspace, tmp_path)
    assert len(calls) == 1 and "c0ffee" in calls[0][0][-1] and "head=else:b" in calls[0][0]


def test_the_comment_s_table_is_made_of_journals_as_data(
    workspace: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    evil = "x](https://example.org) @someone <img src=x>"
    samples = {"wall_s": [1.0] * 9, "round": list(range(9))}
    lines = [
        {"suite": evil, "case": evil, "backend": f"my-conv@{side}", "status": "ok", "session": "s", "samples": samples}
        for side in ("base", "head")
    ]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, env = workspace
    done = execute(steps(COMMENT)["Table"], tmp_path, env)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "table.md").read_text()
    assert not re.search(r"(?<!\\)[\[\]<>@]", table.replace("95 % interval", ""))
    assert r"\@someone" in table
    shutil.rmtree(tmp_path / "results")
    (tmp_path / "results").mkdir()
    assert execute(steps(COMMENT)["Table"], tmp_path, env).returncode == 0
    assert (tmp_path / "table.md").read_text() == "There was nothing to compare.\n"


# --- what the workflows may do ----------------------------------------------------------------------------------------


def test_the_workflow_that_runs_the_pull_request_can_only_read() -> None:
    assert MEASURE["permissions"] == {"contents": "read"}
    assert MEASURE[True] == "pull_request"  # YAML reads `on` so
    assert "secrets" not in (WORKFLOWS / "convbench.yml").read_text()
    (job,) = MEASURE["jobs"].values()
    assert "permissions" not in job
    checkouts = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout")]
    assert len(checkouts) == 2 and not any(given["persist-credentials"] for given in checkouts)


def test_the_workflow_that_may_comment_runs_nothing_of_the_pull_request() -> None:
    assert COMMENT["permissions"] == {}
    (job,) = COMMENT["jobs"].values()
    assert job["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert not any("checkout" in step.get("uses", "") for step in job["steps"])
    assert COMMENT[True]["workflow_run"]["workflows"] == [MEASURE["name"]]


@pytest.mark.parametrize("workflow", [MEASURE, COMMENT], ids=["measure", "comment"])
def test_no_text_of_github_s_is_put_into_a_script(workflow: dict[str, Any]) -> None:
    assert all("${{" not in step["run"] for step in steps(workflow).values())
    assert {name: MEASURE["env"][name] for name in workflow["env"]} == workflow["env"]
