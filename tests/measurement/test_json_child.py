"""Child processes that talk in lines of JSON: what they send arrives, and every end of theirs is put into words."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

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
