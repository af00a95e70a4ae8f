"""`convbench verify` as a user runs it: real processes, backends that misbehave, what is kept and what is told."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
from places import PLUGINS

from convbench.errors import BackendError
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.runner.verify.examiner import Examiner
from convbench.store.corpus import add_to_corpus, corpus_file, read_corpus
from convbench.store.line_file import JournalWarning
from convbench.suite import load_suite
from convbench.testing import WrongBackendError
from convbench.testing import verify as verify_plugin
from convbench.verification.known import read_known
from convbench.verification.question import Question
from convbench.verification.relations import RELATIONS

PLUGIN = PLUGINS / "doubtful.py"
BRIEFLY = ("--strength", "2", "--search-time", "0")


def words(results: Path, backends: str, *more: str) -> list[str]:
    named = [word for name in backends.split() for word in ("--backend", name)]
    begin = [sys.executable, "-m", "convbench", "verify", "--plugin", str(PLUGIN), "--results", str(results)]
    return [*begin, *named, *more]


def verify(results: Path, backends: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words(results, backends, *more), capture_output=True, text=True, timeout=280, check=False)


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return {row["backend"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_a_right_backend_is_ok_with_the_whole_coverage(tmp_path: Path) -> None:
    done = verify(tmp_path, "right", *BRIEFLY, "--json")
    assert done.returncode == 0, done.stderr
    row = rows(done)["right"]
    assert (row["status"], row["coverage"], row["failures"], row["complete"]) == ("ok", 1.0, [], True)
    assert row["cases"] > 50 and row["combinations"] > 2000 and row["searched"] == 0
    assert row["warned"] == 0 and 0 < row["max_error_over_bound"] <= 1
    assert not corpus_file(tmp_path, "right").exists()


def test_each_misbehaviour_gets_its_word_and_stops_nobody_else(tmp_path: Path) -> None:
    asked = "right wrong-in-groups crashes-when-strided raises-when-dilated exits hangs-on-bias"
    done = verify(tmp_path, asked, *BRIEFLY, "--time-limit", "3", "--json")
    assert done.returncode == 1, done.stderr
    found = rows(done)
    assert {name: row["status"] for name, row in found.items()} == {
        "right": "ok",
        "wrong-in-groups": "wrong",
        "crashes-when-strided": "crashed",
        "raises-when-dilated": "error",
        "exits": "crashed",
        "hangs-on-bias": "timeout",
    }
    [cause] = found["wrong-in-groups"]["failures"]
    assert cause["check"] == "exact"
    assert "group" in cause["shared_by_failures"] or "depthwise" in cause["shared_by_failures"]
    smallest = Question.parse(cause["case"]).problem
    assert smallest.groups == 2 and smallest.in_channels == 2 and smallest.kernel_size == (1, 1)
    assert cause["got"] != cause["expected"] and cause["element"] is not None
    crash = found["crashes-when-strided"]["failures"][0]
    assert crash["check"] == "call" and "SIGSEGV" in crash["reason"]
    assert Question.parse(crash["case"]).problem.stride != (1, 1)
    assert "gave up" in found["exits"]["reason"]
    assert "boom" in found["raises-when-dilated"]["failures"][0]["reason"]


def test_an_answer_that_never_comes_is_a_failure(tmp_path: Path) -> None:
    done = verify(
        tmp_path, "right hangs-on-bias", "--question", "n1c2h9w9_o2k3_s2_d2_g2_bias wide", "--time-limit", "2"
    )
    assert done.returncode == 1 and "hangs-on-bias fails" in done.stdout, done.stdout


def test_a_failure_is_reproduced_by_its_line_and_asked_first_next_time(tmp_path: Path) -> None:
    first = rows(verify(tmp_path, "wrong-in-groups", *BRIEFLY, "--json"))["wrong-in-groups"]
    [cause] = first["failures"]
    known = read_corpus(corpus_file(tmp_path, "wrong-in-groups"))
    assert Question.parse(cause["case"]) in known
    report = Path(cause["report_file"]).read_text()
    assert cause["case"] in report and "--question" in report
    again = verify(tmp_path, "wrong-in-groups", "--question", cause["case"], "--json")
    assert again.returncode == 1
    row = rows(again)["wrong-in-groups"]
    assert row["failures"][0]["case"] == cause["case"]
    # the corpus is asked before the sweep, and what is right now stays in it
    events = [
        event for event in _events(tmp_path, verify(tmp_path, "right", *BRIEFLY)) if event.get("phase") == "replay"
    ]
    assert events == []
    add_to_corpus(corpus_file(tmp_path, "right"), [(question, "") for question in known])
    replayed = [e["question"] for e in _events(tmp_path, verify(tmp_path, "right", *BRIEFLY)) if e["phase"] == "replay"]
    assert replayed == [str(question) for question in known]
    assert read_corpus(corpus_file(tmp_path, "right")) == known


def _events(results: Path, done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    newest = max(results.rglob("*.verification"), key=lambda path: path.stat().st_mtime_ns)
    lines = [json.loads(line) for line in newest.read_text().splitlines()]
    return [line for line in lines if line.get("event") == "answered"]


def test_the_same_seed_asks_the_same_and_another_seed_other_questions(tmp_path: Path) -> None:
    asked = []
    for number, seed in enumerate((5, 5, 6)):
        patient = ("--search-time", "2", "--time-limit", "120")  # a busy machine makes nobody late
        done = verify(tmp_path / str(number), "right", "--strength", "2", *patient, "--seed", str(seed))
        asked.append([e["question"] for e in _events(tmp_path / str(number), done)])
    common = min(map(len, asked))
    assert common > 80
    assert asked[0][:common] == asked[1][:common]
    assert asked[0][:common] != asked[2][:common]


def test_a_person_reads_the_cause_and_the_way_to_show_it_again(tmp_path: Path) -> None:
    done = verify(tmp_path, "right wrong-in-groups", *BRIEFLY)
    assert done.returncode == 1
    for told in ("wrong-in-groups, cause 1 of 1: wrong, exact", "convbench verify --", "100 % of", "1 is right"):
        assert told in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_what_a_backend_is_called_and_says_is_text_only(tmp_path: Path) -> None:
    done = verify(tmp_path, "raises-markup", *BRIEFLY)
    assert done.returncode == 1
    assert "[bold]not markup[/bold]" in done.stdout


def test_interrupted_it_keeps_what_it_found_and_goes_on(tmp_path: Path) -> None:
    options = ("--strength", "2", "--search-time", "6")
    command = words(tmp_path, "wrong-in-groups slow", *options, "--jobs", "1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _wait_until(lambda: _answers(tmp_path) > 30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "--resume" in err and "Traceback" not in err
    before = _answers(tmp_path)
    done = verify(tmp_path, "wrong-in-groups slow", *options, "--jobs", "1", "--resume", "--json")
    assert done.returncode == 1, done.stderr
    assert "resuming" in done.stderr
    found = rows(done)
    assert found["wrong-in-groups"]["status"] == "wrong" and found["slow"]["status"] == "ok"
    assert all(row["complete"] and row["coverage"] == 1.0 for row in found.values())
    [log] = tmp_path.rglob("*.verification")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    asked = [(e["backend"], e["question"]) for e in events if e.get("event") == "answered"]
    assert len(asked) == len(set(asked)) > before
    # a third time there is nothing left to do
    third = verify(tmp_path, "wrong-in-groups slow", *options, "--jobs", "1", "--resume", "--json")
    assert rows(third) == found


def _answers(results: Path) -> int:
    return sum(path.read_text().count('"answered"') for path in results.rglob("*.verification"))


def _wait_until(holds: Any, limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_a_run_killed_outright_leaves_no_process_and_a_log_to_go_on_from(tmp_path: Path) -> None:
    command = words(tmp_path, "slow", "--strength", "2", "--search-time", "60")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _wait_until(lambda: _answers(tmp_path) > 5)
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) == 2  # what verifies, and the worker it asks
        process.kill()
    [log] = tmp_path.rglob("*.verification")
    with log.open("a") as file:
        file.write('{"backend": "slow", "event": "answ')  # torn
    done = verify(tmp_path, "slow", "--strength", "2", "--search-time", "60", "--resume", "--question", "n1c1h1w1_o1k1")
    assert "nothing to resume" in done.stderr  # since these options are others
    _wait_until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in started))


def test_another_environment_s_backends_are_verified_under_their_label(tmp_path: Path) -> None:
    options = ("--python", f"{sys.executable}=twin", "--question", "n1c2h1w1_o2k1_g2", "--json")
    done = verify(tmp_path, "right wrong-in-groups", *options)
    assert done.returncode == 1, done.stderr
    found = rows(done)
    assert {name: row["status"] for name, row in found.items()} == {
        "right": "ok",
        "right@twin": "ok",
        "wrong-in-groups": "wrong",
        "wrong-in-groups@twin": "wrong",
    }
    assert "python" in found["right@twin"]["versions"] and "python" not in found["right"]["versions"]
    again = found["wrong-in-groups@twin"]["failures"][0]["reproduce"]
    assert f"--python {sys.executable}=twin --backend wrong-in-groups@twin" in again
    assert corpus_file(tmp_path, "wrong-in-groups@twin").exists()
    resumed = verify(tmp_path, "right wrong-in-groups", *options, "--resume")
    assert rows(resumed) == found
    refused = verify(tmp_path, "right", "--python", "nowhere=x", "--question", "n1c1h1w1_o1k1")
    assert refused.returncode == 2 and "nowhere" in refused.stderr and "Traceback" not in refused.stderr


def test_what_was_found_before_is_never_overwritten(tmp_path: Path) -> None:
    def reports() -> dict[str, str]:
        return {path.name: path.read_text() for path in tmp_path.rglob("failures/*.md")}

    whole = rows(verify(tmp_path, "wrong-in-groups raises-when-dilated", *BRIEFLY, "--json"))
    first = reports()
    assert len(first) == 2 and all(
        name.startswith(("wrong-in-groups-n1c2", "raises-when-dilated-n1")) for name in first
    )
    for row in whole.values():
        case = row["failures"][0]["case"]
        verify(tmp_path, row["backend"], "--question", case)  # the line `again` of each
        verify(tmp_path, row["backend"], "--question", case)
    later = reports()
    assert {name: later[name] for name in first} == first
    assert len(later) <= 4, "a report that is there already is not written once more"


def test_an_exception_is_told_with_its_author_s_file_and_line(tmp_path: Path) -> None:
    question = ("--question", "n1c1h3w3_o1k2_d2", "--results", str(tmp_path))
    command = [sys.executable, "-m", "convbench", "--debug", "verify", "--plugin", str(PLUGIN)]
    done = subprocess.run(
        [*command, "--backend", "raises-when-dilated", *question],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 1
    line = next(n for n, text in enumerate(PLUGIN.read_text().splitlines(), 1) if '"boom"' in text)
    assert f"raised RuntimeError: boom (doubtful.py, line {line}, in spoilt)" in done.stdout
    assert 'raise RuntimeError("boom")' in done.stdout, "with --debug the frames are printed"
    (report,) = tmp_path.rglob("failures/*.md")
    assert f'doubtful.py", line {line}' in report.read_text() and "adversarial_calls" not in report.read_text()


def test_a_suite_s_cases_are_verified_on_their_own_data(tmp_path: Path) -> None:
    done = verify(tmp_path, "right wrong-in-groups", "--suite", "tutorial", "--json")
    assert done.returncode == 0, done.stderr
    assert all(row["status"] == "ok" and row["coverage"] is None and row["cases"] > 3 for row in rows(done).values())


def test_the_exact_check_alone_asks_each_case_of_a_suite_once(tmp_path: Path) -> None:
    done = verify(tmp_path, "right wrong-in-groups", "--suite", "groups", "--where", "groups > 4", "--exact", "--json")
    found, asked = rows(done), sum(case.problem.groups > 4 for case in load_suite("groups").cases)
    assert (found["right"]["status"], found["right"]["cases"]) == ("ok", asked), done.stderr
    assert found["wrong-in-groups"]["status"] == "wrong"
    log = next(tmp_path.rglob("*.verification")).read_text()
    assert not any(word in log for word in (" normal", " special", " one-tap"))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--exact",), "--suite smoke --exact"),
        (("--question", "n1c3h9w9_o4k3 slices"), "Did you mean 'sliced'"),
        (("--question", "nonsense"), "names no convolution"),
        (("--suite", "smokey"), "Did you mean 'smoke'"),
        (("--backend", "rigth"), "Did you mean 'right'"),
        (("--strength", "5"), "--strength"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(tmp_path: Path, more: tuple[str, ...], told: str) -> None:
    done = verify(tmp_path, "right", *more)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.verification"))


def test_a_corpus_line_that_is_no_question_is_passed_over(tmp_path: Path) -> None:
    path = corpus_file(tmp_path, "right")
    path.parent.mkdir()
    path.write_text("# by hand\nn1c1h1w1_o1k1 wide  # kept\n__import__('os').system('true')\n\n\x00\xff\n")
    with pytest.warns(JournalWarning, match="line 3"):
        assert [str(question) for question in read_corpus(path)] == ["n1c1h1w1_o1k1 wide"]


# --- for the tests of others ------------------------------------------------------------------------------------------


def test_one_line_verifies_a_plugin(tmp_path: Path) -> None:
    sound = tmp_path / "sound.py"
    sound.write_text(PLUGIN.read_text().partition("BACKENDS = ")[0] + "BACKENDS = (Right('mine'),)\n")
    verify_plugin(sound, search_s=0.5)


@pytest.mark.parametrize(("backend", "wrong"), [("Right", False), ("WrongInGroups", True)])
def test_a_backend_of_ones_own_package_is_verified_where_it_stands(
    backend: str, wrong: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the test suite of a library that brings its backend along as a module."""
    package = tmp_path / f"library_of_{backend.lower()}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    text = PLUGIN.read_text().partition("BACKENDS = ")[0]
    (package / "conv.py").write_text(f"{text}BACKENDS = ({backend}('mine'),)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (mine,) = importlib.import_module(f"{package.name}.conv").BACKENDS
    with pytest.raises(WrongBackendError, match="the backend is wrong") if wrong else nullcontext():
        verify_plugin(mine, search_s=0)


def test_a_wrong_plugin_fails_the_test_with_a_report(tmp_path: Path) -> None:
    faulty = tmp_path / "faulty.py"
    faulty.write_text(PLUGIN.read_text().partition("BACKENDS = ")[0] + "BACKENDS = (WrongInGroups('mine'),)\n")
    with pytest.raises(WrongBackendError) as failed:
        verify_plugin(faulty, search_s=0)
    assert isinstance(failed.value, AssertionError)
    assert f"convbench verify --plugin {faulty} --backend mine --question" in str(failed.value)


def test_pytest_shows_the_line_of_the_test_and_no_frame_of_convbench(tmp_path: Path) -> None:
    text = PLUGIN.read_text().partition("BACKENDS = ")[0]
    (tmp_path / "faulty.py").write_text(text + "BACKENDS = (WrongInGroups('mine'),)\n")
    (tmp_path / "test_mine.py").write_text(
        "from convbench.testing import verify\n\n"
        "def test_wrong():\n    verify('faulty.py', search_s=0)\n\n"
        "def test_missing():\n    verify('missing.py')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert "2 failed" in done.stdout
    for line in ("verify('faulty.py', search_s=0)", "verify('missing.py')"):
        assert f">       {line}" in done.stdout or f">   {line}" in done.stdout, done.stdout
    assert "testing.py" not in done.stdout and "registry.py" not in done.stdout, done.stdout


def test_what_is_no_plugin_is_said(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="there is no such file"):
        verify_plugin(tmp_path / "missing.py")


class Noting(Examiner):
    """Notes how much work it asks for."""

    macs: ClassVar[list[int]] = []

    def _request(self, request: Any, *more: Any) -> Any:
        self.macs.append(request.problem.macs)
        return super()._request(request, *more)


def test_no_relation_makes_much_more_work_of_a_question() -> None:
    problem = ConvProblem.parse("n1c3h128w128_o16k16_s16")
    at_stride_1 = problem.replace(stride=1).macs
    assert at_stride_1 > 150 * problem.macs
    (entry,) = discover().select(["numpy-gemm"])
    with Noting(entry) as examiner:
        assert [examiner(Question(problem=problem)) for _ in range(2 * len(RELATIONS))] == [None] * 2 * len(RELATIONS)
    assert len(set(examiner.macs)) > 3  # of parts, and of wholes put another way
    assert max(examiner.macs) < at_stride_1


# --- known wrong answers ----------------------------------------------------------------------------------------------


def test_what_was_written_as_known_is_accepted_and_another_bug_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "known.toml"
    first = verify(tmp_path / "1", "wrong-once-more right", *BRIEFLY, "--write-known", str(file), "--json")
    assert first.returncode == 1 and not rows(first)["wrong-once-more"]["known"]
    known = ("--known", str(file), "--json")
    assert verify(tmp_path / "2", "wrong-once-more", *BRIEFLY, *known).returncode == 1  # known, and not accepted
    accepted = verify(tmp_path / "3", "wrong-once-more right", *BRIEFLY, *known, "--accept-known")
    assert accepted.returncode == 0, accepted.stderr
    found = rows(accepted)
    assert found["wrong-once-more"]["status"] == "wrong" and found["wrong-once-more"]["known"]
    assert found["right"]["known"] is False
    [failure] = found["wrong-once-more"]["failures"]
    assert failure["known"] == read_known(file)[0].seen and "entry" not in failure
    monkeypatch.setenv("CONVBENCH_TEST_SECOND_BUG", "1")
    other = verify(tmp_path / "4", "wrong-once-more", *BRIEFLY, *known, "--accept-known")
    assert other.returncode == 1
    row = rows(other)["wrong-once-more"]
    assert row["known"] is False
    assert [failure["known"] is None for failure in row["failures"]] == [True, False], "the new one comes first"
    assert Question.parse(row["failures"][0]["case"]).problem.bias


def test_a_person_reads_that_it_is_known_and_what_is_said_of_it(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    case = ("--question", "n1c2h1w1_o2k1_g2")
    file.write_text(
        '[[wrong]]\nseen = "channels in reverse"\nbackends = ["wrong-*"]\ncases = ["n1c2h1w1_o2k1_g2"]\n'
        'reference = "https://example.com/7"\n'
    )
    done = verify(tmp_path, "wrong-in-groups", *case, "--known", str(file), "--accept-known")
    assert done.returncode == 0
    assert "known: channels in reverse (https://example.com/7)" in done.stdout
    assert "wrong-in-groups (known) fails" in done.stdout and "accepted" in done.stdout


def test_known_crashes_do_not_end_a_campaign(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text(
        '[[wrong]]\nseen = "SIGSEGV"\nbackends = ["crashes-when-strided"]\ncases = ["n1c1h1w1_o1k1_s2"]\n'
        'where = "not stride == 1"\nstatus = ["crashed"]\n'
    )
    options = (*BRIEFLY, "--known", str(file), "--accept-known", "--json")
    done = verify(tmp_path, "crashes-when-strided", *options)
    assert done.returncode == 0, done.stderr
    row = rows(done)["crashes-when-strided"]
    assert row["reason"] is None and row["coverage"] == 1.0 and row["failures"][0]["failing"] > 20


@pytest.mark.parametrize(
    ("text", "told"),
    [("[[wrong]]\nseen = 3\n", "no table"), (None, "there is no such file"), ("x = 1", "unknown field")],
)
def test_a_malformed_table_is_refused_before_anything_runs(tmp_path: Path, text: str | None, told: str) -> None:
    file = tmp_path / "known.toml"
    if text is not None:
        file.write_text(text)
    done = verify(tmp_path, "right", *BRIEFLY, "--known", str(file))
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.verification"))


def test_a_table_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text("# by hand\n")
    done = verify(tmp_path, "wrong-in-groups", *BRIEFLY, "--write-known", str(file))
    assert done.returncode == 2 and f"--known {file}" in done.stderr
    case = ("--question", "n1c2h1w1_o2k1_g2", "--known", str(file), "--write-known", str(file))
    verify(tmp_path, "wrong-in-groups", *case)
    assert file.read_text().startswith("# by hand\n") and len(read_known(file)) == 1
