"""What an interrupt may not break: a record is kept wholly, in the journal and in the answer, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.runner.interrupts import interrupts_wait, terminated_like_interrupted
from convbench.runner.observer import Observer
from convbench.runner.session import Session
from convbench.store.journal import Journal, read_records
from convbench.suite import Case, Suite

CASE, OTHER = (Case(ConvProblem.parse(text)) for text in ("n1c1h4w4_o1k3", "n1c1h5w5_o1k3"))


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> Iterator[None]:
    """A shell's background jobs ignore Ctrl-C, and what they start does so, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class InterruptedWhileWriting(Journal):
    """Its process is told to end while a record is on its way to the disk."""

    def append(self, record: Mapping[str, Any]) -> None:
        signal.raise_signal(signal.SIGTERM)
        super().append(record)


def test_a_record_in_writing_is_kept_and_in_the_answer(tmp_path: Path) -> None:
    entries = discover().select(["numpy-loop"])
    journal = InterruptedWhileWriting.new(tmp_path, "mine")
    suite = Suite("mine", "", (), (CASE, OTHER), Path())
    session = Session([Settings(budget_s=0.01)], journal)
    measured = session.measure([(suite, case) for case in suite.cases], entries, Observer())
    assert measured.interrupted and measured.exit_code == 130
    assert [(record["case"], record["status"]) for record in measured.records] == [(CASE.name, "ok")]
    assert [record["backend"] for record in read_records(journal.path)] == ["numpy-loop"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_and_then_comes(number: signal.Signals) -> None:
    done = []
    with terminated_like_interrupted():
        with pytest.raises(KeyboardInterrupt), interrupts_wait():
            signal.raise_signal(number)
            done.append("all of it")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert done == ["all of it"]


def test_a_signal_that_ends_a_process_ends_it_afterwards() -> None:
    source = (
        "import signal\nfrom convbench.runner.interrupts import interrupts_wait\n"
        "with interrupts_wait():\n    signal.raise_signal(signal.SIGTERM)\n    print('done', flush=True)\n"
        "print('still here')"
    )
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, "done\n")


def test_other_threads_may_keep_records_too() -> None:
    kept: list[int] = []

    def keep() -> None:
        with terminated_like_interrupted(), interrupts_wait():
            kept.append(os.getpid())

    thread = threading.Thread(target=keep)
    thread.start()
    thread.join()
    assert kept == [os.getpid()]
