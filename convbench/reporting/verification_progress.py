"""How far `convbench verify` has come: on a terminal a line per running backend, else a line as each is done."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from convbench.reporting.console import Sentence, print_json
from convbench.runner.verify.observer import VerifyObserver
from convbench.runner.verify.rows import Row
from convbench.store.verification_log import Event


class PlainProgress(VerifyObserver):
    """A line at a backend's first failure and one at its end; with `as_json` its row, on standard output."""

    def __init__(self, console: Console, *, as_json: bool = False) -> None:
        self._console = console
        self._as_json = as_json
        self._campaigns = self._done = 0
        self._failed: dict[str, int] = {}

    def message(self, text: str) -> None:
        self._console.print(Sentence(text), crop=False)

    def begin(self, campaigns: int) -> None:
        self._campaigns = campaigns

    def event(self, backend: str, event: Event) -> None:
        if event["event"] == "answered" and event["finding"]:
            self._failed[backend] = self._failed.get(backend, 0) + 1
            if self._failed[backend] == 1:
                self.message(f"{backend} fails {event['question']}: {event['finding']['reason']}")
        elif event["event"] in ("report", "died"):
            self._done += 1
            self.message(f"[{self._done}/{self._campaigns}] {backend}: {_ending(event)}")

    def row(self, row: Row) -> None:
        if self._as_json:
            print_json([row])


class LiveProgress(PlainProgress):
    """A line for each campaign under way, redrawn in place and gone at the end."""

    def __init__(self, console: Console, *, messages: bool = True) -> None:
        super().__init__(console)
        self._messages = messages
        self._lines = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._answered: dict[str, int] = {}

    def message(self, text: str) -> None:
        if self._messages:
            super().message(text)

    def begin(self, campaigns: int) -> None:
        super().begin(campaigns)
        self._lines.start()

    def event(self, backend: str, event: Event) -> None:
        if backend not in self._tasks:
            self._tasks[backend] = self._lines.add_task(backend)
        task = self._tasks[backend]
        if event["event"] in ("report", "died"):
            self._lines.remove_task(task)
            super().event(backend, event)
        elif event["event"] == "shrinking":
            self._lines.update(task, description=f"{backend}: looking for the smallest failures")
        else:
            self._answered[backend] = self._answered.get(backend, 0) + 1
            self._failed[backend] = self._failed.get(backend, 0) + bool(event["finding"])
            counts = f"{self._answered[backend]:,} questions, {self._failed[backend]:,} failed"
            self._lines.update(task, description=f"{backend}: {event['phase']}, {counts}")

    def end(self) -> None:
        self._lines.stop()


def _ending(event: dict[str, Any]) -> str:
    if event["event"] == "died":
        return str(event["reason"])
    row = event["row"]
    if row["reason"]:
        return f"{row['status']}: {row['reason']}"
    number = row["cases"] + row["searched"]
    questions = f"{number:,} question{'s' * (number != 1)} in {row['seconds']:.0f} s"
    count = len(row["failures"])
    failures = f", {count} cause{'s' * (count > 1)} of failures" if count else ""
    return f"{row['status']}, {questions}{failures}"


def verification_progress(console: Console, *, as_json: bool = False) -> PlainProgress:
    """The kind that suits `console`; the plain one, too, when JSON shares the terminal."""
    return LiveProgress(console) if console.is_terminal and not as_json else PlainProgress(console, as_json=as_json)
