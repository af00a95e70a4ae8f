"""Bug reports: a wrong answer is asked anew, narrowed down, and written under the headings of a project's form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from places import PLUGINS

from convbench.backend.issue_form import PLAIN, IssueForm
from convbench.errors import BackendError, NothingMeasuredError, ProblemError
from convbench.registry import Entry, discover
from convbench.reporting.verification.issue_text import issue_text
from convbench.runner.bug.first_release import first_wrong_release
from convbench.runner.bug.inquiry import Findings, Request, inquire
from convbench.runner.bug.subject import subject
from convbench.store.verification_log import BISECTION_SUFFIX, VerificationLog
from convbench.verification.question import Question

MINE = PLUGINS / "reported.py"
QUESTION = "n1c2h5w5_o2k3_g2"


def findings(question: str = QUESTION, backend: str = "reported-wrong-in-groups", **more: object) -> Findings:
    request = Request(text=question, backend=backend, plugins=(MINE,), **more)  # type: ignore[arg-type]
    return inquire(request, subject(question, backend))


@pytest.fixture(scope="module")
def of_groups() -> Findings:
    return findings()


def shows(found: Findings, kind: str) -> dict[str, bool | None]:
    return {each.value: each.shows for each in found.circumstances if each.kind == kind}


def test_it_says_where_the_mistake_shows(of_groups: Findings) -> None:
    assert set(shows(of_groups, "threads").values()) == {True}
    assert shows(of_groups, "layout")["sliced"] is True
    siblings = shows(of_groups, "backend")
    assert siblings["reported-right"] is False
    assert siblings["reported-without-groups"] is None  # it does not compute groups
    assert "reported-wrong-in-groups" not in siblings


def test_the_form_of_the_project_gives_the_headings(of_groups: Findings) -> None:
    text = issue_text(of_groups)
    headings = [line for line in text.splitlines() if line.startswith("### ")]
    assert headings == ["### What I saw", "### How to see it", "### My system"]
    assert "conv2d gives a wrong result" in text.splitlines()[0]
    assert "An environment, printed by the project's own command" in text
    assert "reported-right" in text and "Could not be asked: backend reported-without-groups" in text
    assert of_groups.command in text


def test_the_program_shows_the_wrong_answer_without_convbench(of_groups: Findings, tmp_path: Path) -> None:
    text = issue_text(of_groups)
    program = text.split("```python\n")[1].split("```")[0]
    (tmp_path / "convbench.py").write_text("raise ImportError('the program should not need it')")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "18 of 18 elements wrong" in of_groups.failure.reason
    assert "18 of 18 elements wrong" in done.stdout


def test_a_program_in_the_projects_language_has_the_epilogue(of_groups: Findings) -> None:
    assert "```cpp\n// bare, " in issue_text(of_groups)
    text = issue_text(findings("n1c2h5w5_o2k3_add_relu", "reported-without-its-activation", narrow=False))
    assert "```cpp\n// add_relu with a residual of 18 numbers\n```" in text
    assert "--attr-post-ops=sum+relu" in text


def test_a_right_answer_is_nothing_to_report() -> None:
    with pytest.raises(NothingMeasuredError, match="rightly here, so there is nothing to report"):
        findings(backend="reported-right")


def test_a_crash_is_reported_as_one() -> None:
    text = issue_text(findings("n1c1h7w7_o1k3_s2", "reported-crashing", narrow=False))
    assert "conv2d ends the process" in text and "Expected: an answer." in text


def test_a_library_without_a_form_is_named_with_those_that_have_one() -> None:
    with pytest.raises(BackendError, match=r"no form for 'reporte'; known are .*reported.* Did you mean 'reported'"):
        findings(library="reporte")


def test_the_report_that_it_wrote_can_be_given_again(of_groups: Findings, tmp_path: Path) -> None:
    path = tmp_path / "issue.md"
    path.write_text(issue_text(of_groups))
    again = subject(str(path), None)
    assert (str(again.question), again.backend) == (QUESTION, "reported-wrong-in-groups")


def test_the_report_of_verify_names_question_and_backend(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text(
        "What the failing convolutions have in common: groups.\n\n| | |\n|---|---|\n"
        "| case | `n1c2h5w5_o2k3_g2 wide` |\n| backend | `conv` of convbench 0.1.0: mine |\n"
    )
    found = subject(str(path), None)
    assert (str(found.question), found.backend) == ("n1c2h5w5_o2k3_g2 wide", "conv")
    assert found.shared == "What the failing convolutions have in common: groups."
    assert subject(str(path), "other").backend == "other"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "| case | `n1c1h1w1_o1k1` |\n",
        "| backend | `x` of\n",
        "\x00\xff| case | nothing |",
        "| case | `" + "n" * 5000 + "` |",
    ],
)
def test_a_file_that_is_no_report_is_said_to_be_none(content: str, tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ProblemError):
        subject(str(path), None)


def test_a_question_needs_a_backend() -> None:
    with pytest.raises(BackendError, match="--backend NAME"):
        subject(QUESTION, None)


def test_unknown_parts_of_a_form_are_refused() -> None:
    with pytest.raises(TypeError, match="mood"):
        IssueForm(library="x", project="X", url="", sections={"How do you feel": ("mood",)})  # type: ignore[dict-item]


def test_every_backend_of_a_library_has_a_form_with_a_program_and_what_is_expected() -> None:
    own = [row for row in discover() if isinstance(row, Entry)]
    assert own
    for entry in own:
        form = entry.backend.issue_form
        assert form is not None and form is not PLAIN, entry.name
        parts = {part for parts in form.sections.values() for part in parts}
        assert {"summary", "program", "observed", "expected"} <= parts, entry.name
        assert form.url.startswith("https://"), entry.name


def test_the_command_writes_the_report_and_says_where_to_take_it(tmp_path: Path) -> None:
    words = ["bug", QUESTION, "--backend", "reported-wrong-in-groups", "--plugin", str(MINE), "--no-narrow"]
    done = subprocess.run(
        [sys.executable, "-m", "convbench", *words, "-o", "issue.md"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "issue.md").read_text().startswith("# conv2d gives a wrong result")
    assert "The report is in issue.md." in done.stderr and "https://example.org/new" in done.stderr


def bisection(folder: Path, library: str, answers: dict[str, str], question: str = QUESTION) -> None:
    with VerificationLog.new(folder, {"library": library, "question": question}, BISECTION_SUFFIX) as log:
        for label, kind in answers.items():
            log.append({"event": "answered", "label": label, "kind": kind}, durable=False)


def test_the_first_wrong_release_comes_from_a_bisection_of_the_same_question(tmp_path: Path) -> None:
    question = Question.parse(QUESTION)
    assert first_wrong_release(tmp_path, question) == ""
    bisection(tmp_path, "reported", {"1.9": "ok", "1.10": "wrong", "1.11": "wrong", "1.2": "ok", "fe12ab": "ok"})
    assert first_wrong_release(tmp_path, question) == (
        "Right in reported 1.9, wrong from 1.10 on, of the releases that were tried."
    )
    assert first_wrong_release(tmp_path, question.replace(layout="sliced")) == ""


def test_a_bisection_without_a_right_release_says_nothing(tmp_path: Path) -> None:
    bisection(tmp_path, "reported", {"1.0": "wrong", "2.0": "ok"})
    assert first_wrong_release(tmp_path, Question.parse(QUESTION)) == ""
