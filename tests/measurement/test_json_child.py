"""Child processes that talk in lines of JSON: what they send arrives, and every end of theirs is put into words."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

import convbench
from convbench.measurement.workers.json_child import JsonChild

CHILDREN = {
    "answers": "print('chatter', end=''); send_message(seen=read_request()); print('3'); send_message(last=True)",
    "fails": "read_request(); print('why', file=sys.stderr); sys.exit(3)",
    "dies": "os.kill(os.getpid(), signal.SIGSEGV)",
    "hangs": "send_message(begun=True); time.sleep(600)",
    "waits": "read_request(); sys.stdin.read(); send_message(ended=True)",
}
HEAD = "import os, signal, sys, time\nfrom convbench.measurement.workers.json_child import read_request, send_message\n"


@pytest.fixture(autouse=True)
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in CHILDREN.items():
        (tmp_path / f"child_{name}.py").write_text(f"{HEAD}def main():\n    {code}\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")


def test_what_a_child_sends_arrives_and_what_it_prints_does_not() -> None:
    with JsonChild("child_answers", {"x": [1.5, None]}) as child:
        assert list(child.messages()) == [{"seen": {"x": [1.5, None]}}, {"last": True}]
        assert child.failure() is None and not child.timed_out


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("name", "failure"), [("fails", "ended with exit code 3: why"), ("dies", "was ended by SIGSEGV")]
)
def test_how_a_child_failed_is_told(name: str, failure: str) -> None:
    with JsonChild(f"child_{name}", {}) as child:
        assert list(child.messages()) == []
        assert child.failure() == failure


@pytest.mark.parametrize("looks_here", [False, True], ids=["installed", "python -m"])
def test_a_folder_of_the_same_name_in_the_current_one_hides_nothing(
    looks_here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    (here / "convbench").mkdir(parents=True)
    (here / "convbench" / "__init__.py").write_text("raise SystemExit('the wrong convbench')")
    (here / "mine.py").write_text("SEEN = True")
    (tmp_path / "child_looks.py").write_text(
        f"{HEAD}import importlib.util\n"
        "def main():\n    import convbench\n"
        "    send_message(of=convbench.__file__, mine=importlib.util.find_spec('mine') is not None)\n"
    )
    monkeypatch.chdir(here)
    if looks_here:
        monkeypatch.setattr(sys, "path", ["", *sys.path])
    with JsonChild("child_looks", {}) as child:
        assert list(child.messages()) == [{"of": convbench.__file__, "mine": looks_here}]
        assert child.failure() is None


def test_a_child_has_a_temporary_folder_that_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "child_writes.py").write_text(
        f"{HEAD}import tempfile\ndef main():\n    send_message(folder=tempfile.mkdtemp())\n    time.sleep(600)\n"
    )
    with JsonChild("child_writes", {}) as child:
        folder = Path(next(child.messages())["folder"])
        assert folder.is_dir()
    assert not folder.parent.exists() and folder.parents[1].name.startswith("convbench-run-")


def test_a_child_that_is_no_module_is_a_failure() -> None:
    with JsonChild("child_that_is_not_there", {}) as child:
        assert list(child.messages()) == []
        assert "No module named" in (child.failure() or "")


def test_a_child_is_killed_at_its_time_limit_and_when_it_is_left() -> None:
    start = time.monotonic()
    with JsonChild("child_hangs", {}, time_limit_s=1.0) as child:
        list(child.messages())
        assert child.timed_out and child.failure() == "was ended by SIGKILL"
    with JsonChild("child_hangs", {}) as child:
        assert next(child.messages()) == {"begun": True}
    assert child._process.poll() is not None
    assert time.monotonic() - start < 60


def test_a_child_whose_input_stays_open_ends_when_it_is_closed() -> None:
    with JsonChild("child_waits", {}, keep_input_open=True) as child:
        child.close_input()
        assert list(child.messages()) == [{"ended": True}]
        assert child.failure() is None
