"""The Python API: accepted subjects and options, results that print well, nothing printed or written unless asked."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from places import CHECKOUT, PLUGINS

import convbench
from convbench.api.arguments import OptionError, is_model, subjects
from convbench.backend import Backend
from convbench.errors import BackendError, ConvbenchError, NothingMeasuredError, SuiteError
from convbench.plans.plan import read_plan
from convbench.runner.observer import Observer
from convbench.suite import load_suite
from convbench.suite.cases import Case, Suite

FAKES, RACERS = PLUGINS / "fakes.py", PLUGINS / "racers.py"
ONE, OTHER = "n1c2h6w6_o3k3", "n1c2h6w6_o3k1"
PROBLEMS = [convbench.ConvProblem.parse(text) for text in (ONE, OTHER)]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and an empty folder of the user's data, in which every test runs."""
    for name in ("work", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("CONVBENCH_MACHINE", "here")
    return tmp_path


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def run(subject: Any = ONE, **options: Any) -> Any:
    return convbench.run(subject, **({"backend": "right", "plugin": FAKES, "quick": True} | options))


def choose(subject: Any = ONE, **options: Any) -> Any:
    return convbench.choose(subject, **({"backend": ["one", "six"], "plugin": RACERS} | options))


def test_the_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"<!-- example: api -->\n```python\n(.*?)```", readme, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    assert "numpy-gemm" in capsys.readouterr().out
    assert names["result"].ok and names["choice"].ok
    assert names["y"].shape == (1, 8, 14, 14) and names["y"][0, 0, 5, 5] == 72


def test_every_public_name_is_there_and_listed() -> None:
    assert {"run", "choose", "load_suite", "Backend", "Supports", "Arithmetic", "Ready", "conv2d"} <= set(
        dir(convbench)
    )
    for name in convbench.__all__:
        assert getattr(convbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'chose'"):
        convbench.chose  # noqa: B018


# --- what is accepted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "names", "problems"),
    [
        ("smoke", ["smoke"], []),
        (ONE, [], [ONE]),
        ("mb1ic2ih6oc3oh4kh3ph0", [], [ONE]),
        (PROBLEMS[0], [], [ONE]),
        (PROBLEMS, [], [ONE, OTHER]),
        (["smoke", PROBLEMS[1]], ["smoke"], [OTHER]),
        ((problem for problem in PROBLEMS), [], [ONE, OTHER]),
        (Path("mine.toml"), [str(Path("mine.toml"))], []),
    ],
)
def test_subjects_are_names_paths_values_and_lists(subject: Any, names: list[str], problems: list[str]) -> None:
    found = subjects(subject)
    assert [Path(str(suite)).name for suite in found.suites] == names
    assert [problem.case_id for problem in found.problems] == problems


def test_a_suite_s_value_is_measured_under_its_name() -> None:
    suite = Suite("mine", "", (), tuple(map(Case, PROBLEMS)), Path())
    records = run(suite, case="*k3").records
    assert [(r["suite"], r["case"], r["status"]) for r in records] == [("mine", ONE, "ok")]
    assert [r["suite"] for r in run(PROBLEMS).records] == ["problem", "problem"]


@pytest.mark.parametrize(
    ("subject", "is_one"),
    [
        ("timm:resnet50", True),
        ("mine.models:Net", True),
        (Path("net.onnx"), True),
        ("folder/net.PT2", True),
        ("smoke", False),
        (ONE, False),
        (PROBLEMS, False),
        (PROBLEMS[0], False),
    ],
)
def test_models_are_told_from_suites_and_problems(subject: Any, is_one: bool) -> None:
    assert is_model(subject) == is_one


def test_options_are_the_command_line_s_words_as_texts_numbers_or_sequences() -> None:
    result = run(PROBLEMS[:1], backend=("right", "right-twin"), threads=[1, 2], pin="none", dtype="float32,float16")
    found = {(r["backend"], r["threads"], r["dtype"]) for r in result.records}
    assert found == {(b, t, d) for b in ("right", "right-twin") for t in (1, 2) for d in ("float32", "float16")}
    assert "2 threads, float16" in str(result) and "Speed-up over 1 thread" in str(result)
    assert run(batch="1,3").frame["batch"].tolist() == [1, 3]


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: run("sizess"), SuiteError, "Did you mean 'sizes'?"),
        (lambda: run([]), OptionError, "nothing to measure"),
        (lambda: run(3), OptionError, "int is nothing to measure"),
        (lambda: run(threads=0), OptionError, "threads is 0"),
        (lambda: run(threads="1,two"), OptionError, "'1,two'"),
        (lambda: run(precision=2), OptionError, "type 2% or 0.02"),
        (lambda: run(budget=-1), OptionError, "seconds above 0"),
        (lambda: run(cache="lukewarm"), OptionError, "'warm' or 'cold'"),
        (lambda: run(pin="some"), OptionError, "auto, none or CPUs"),
        (lambda: run(resume=True), OptionError, "results=True"),
        (lambda: run(backend="rihgt"), BackendError, "Did you mean 'right'?"),
        (lambda: run(plugin="nowhere.py"), BackendError, "nowhere.py"),
        (lambda: run(dtype="float23"), SuiteError, "float23"),
        (lambda: choose(["smoke", ONE]), OptionError, "one suite, one model, or problems"),
        (lambda: choose(from_results=True), ConvbenchError, "here"),
    ],
)
def test_what_cannot_be_understood_is_an_error_of_convbench(
    call: Callable[[], Any], kind: type[ConvbenchError], words: str
) -> None:
    with pytest.raises(kind) as raised:
        call()
    assert words in str(raised.value)


def test_an_object_of_a_notebook_is_refused_with_what_to_do() -> None:
    class Mine(Backend):
        name = "mine"

        def prepare(self, problem: Any, x: Any, w: Any, b: Any) -> Any:
            raise AssertionError

    for given in (Mine(), [Mine()], [Mine]):
        with pytest.raises(BackendError, match=r"BACKENDS = \(Mine\(\),\).*plugin='my_backend.py'"):
            run(backend=given)


# --- results ----------------------------------------------------------------------------------------------------------


def test_nothing_is_printed_and_nothing_written(empty: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result, choice = run(PROBLEMS), choose()
    assert result.ok and choice.ok and result.journal is None
    assert capfd.readouterr() == ("", "")
    assert files(empty) == []


def test_progress_is_printed_when_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    run(progress=True)
    out, err = capfd.readouterr()
    assert out == "" and f"[1/1] problem {ONE}: 1 timed, 0 not" in err and "1 thread" in err


def test_results_are_kept_when_asked_for_and_resumed(empty: Path) -> None:
    result = run(PROBLEMS, results=empty / "kept")
    assert result.journal is not None and len(convbench.load(empty / "kept")) == 2
    again = run(PROBLEMS, results=empty / "kept", resume=True)
    assert again.measurements.written == 0 and len(again.records) == 2
    usual = run(results=True)
    assert usual.journal is not None and empty / "data" in usual.journal.parents
    assert str(usual.journal) in str(usual)


def test_a_frame_has_what_load_gives(empty: Path) -> None:
    result = run(PROBLEMS, results=empty / "kept")
    kept = convbench.load(empty / "kept")
    assert list(result.frame.columns) == list(kept.columns)
    pd.testing.assert_series_equal(result.frame["median_s"], kept["median_s"])
    assert list(result.frame["wall_s"][0]) == list(kept["wall_s"][0])


def test_a_result_prints_as_the_command_does() -> None:
    result = run(backend=["right", "wrong"])
    assert (result.ok, result.exit_code) == (False, 1)
    for text in (str(result), repr(result)):
        assert text.startswith("Suite problem") and "median ms" in text and "Broken" in text and "new records" in text
    assert "images/s" not in str(result) and "images/s" in str(run(details=True))
    assert run(backend="unavailable").exit_code == 3


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "[red]&amp;<img src=x onerror=alert(1)>"])
def test_html_escapes_whatever_a_label_says(hostile: str) -> None:
    suite = Suite(hostile, "", (), (Case(PROBLEMS[0], name=hostile, layer=hostile, count=2),), Path())
    for page in (run(suite)._repr_html_(), choose(suite)._repr_html_()):
        assert page.startswith("<pre") and "</pre><figure" in page
        tags = re.findall(r"<(/?\w+)", page)
        assert set(tags) <= {"pre", "/pre", "span", "/span", "figure", "/figure", "img", "figcaption", "/figcaption"}
        assert tags.count("img") == page.count('<img src="data:image/png;base64,') > 0
    assert "&lt;" in run(suite)._repr_html_()


def test_a_choice_has_a_row_for_each_layer_and_a_plan(empty: Path) -> None:
    choice = choose(PROBLEMS, plan=empty / "plan.json")
    assert list(choice.frame["backend"]) == ["one", "one"] and (choice.frame["low_s"] <= choice.frame["call_s"]).all()
    assert [line["type"] for line in choice.records] == ["layer", "layer", "summary"]
    assert str(choice).startswith("one for all layers")
    choice.write(empty / "again.json")
    for kept in (read_plan(empty / "plan.json"), read_plan(empty / "again.json"), choice.plan):
        assert {c.case_id: c.backend for c in kept.choices} == {ONE: "one", OTHER: "one"}
    assert choose(backend="wrong").exit_code == 3


def test_a_torch_module_is_a_model() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 3, 1))
    choice = choose(net, input=(1, 2, 6, 6))
    assert list(choice.frame["layer"]) == ["0", "2"]
    assert all(module.training for module in net.modules())


# --- interrupts -------------------------------------------------------------------------------------------------------


def test_an_interrupt_gives_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    first = threading.Event()
    monkeypatch.setattr(Observer, "end", lambda self, elapsed_s: first.set())

    def interrupt() -> None:
        assert first.wait(60)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        result = run([f"n1c2h6w{width}_o3k3" for width in range(6, 26)], backend="slow")
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert result.interrupted and result.exit_code == 130 and not result.ok
    assert 1 <= len(result.records) < 20
    assert "Interrupted" in str(result) and len(result.frame) == len(result.records)


def test_nothing_timed_is_no_error_but_no_answer_either() -> None:
    with pytest.raises(NothingMeasuredError):
        choose(from_results=True, results=CHECKOUT / "tests", machine="support")
    assert load_suite("smoke").name == "smoke"
