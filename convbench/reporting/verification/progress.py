"""How far `convbench verify` has come: on a terminal a line per running backend, else a line as each is done."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from convbench.reporting.console import Sentence, print_json
from convbench.runner.verify.observer import VerifyObserver
from convbench.runner.verify.rows import Row
from convbench.runner.verify.workload import Advance, Workload
from convbench.store.verification_log import Event


class PlainProgress(VerifyObserver):
    """The plan, a line at a backend's first failure, one when it lets the run wait, and one at its end; with
    `as_json` its row, on standard output."""

    _advance: Advance

    def __init__(self, console: Console, *, as_json: bool = False) -> None:
        self._console = console
        self._as_json = as_json
        self._campaigns = self._done = 0
        self._failed: dict[str, int] = {}

    def message(self, text: str) -> None:
        self._console.print(Sentence(text), crop=False)

    def begin(self, workload: Workload) -> None:
        self._campaigns, self._advance = len(workload.backends), Advance(workload)
        if workload.backends:
            self.message(_plan(workload))

    def event(self, backend: str, event: Event) -> None:
        self._advance.note(backend, event)
        if event["event"] == "answered" and event["finding"]:
            self._failed[backend] = self._failed.get(backend, 0) + 1
            if self._failed[backend] == 1:
                self.message(f"{backend} fails {event['question']}: {event['finding']['reason']}")
        elif event["event"] in ("report", "died"):
            self._done += 1
            left = f"; {about(self._advance.left_s)} left" if self._done < self._campaigns else ""
            self.message(f"[{self._done}/{self._campaigns}] {backend}: {_ending(event)}{left}")
        elif event["event"] == "waiting":
            self.message(
                f"{backend} has not answered {event['question']} for {event['waited_s']:.0f} s; it is asked again, and "
                f"waited for up to {event['limit_s']:g} s (--time-limit)."
            )

    def row(self, row: Row) -> None:
        if self._as_json:
            print_json([row])


class LiveProgress(PlainProgress):
    """A bar for everything and one for each campaign under way, redrawn in place and gone at the end."""

    def __init__(self, console: Console, *, messages: bool = True) -> None:
        super().__init__(console)
        self._messages = messages
        self._lines = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._answered: dict[str, int] = {}

    def message(self, text: str) -> None:
        if self._messages:
            super().message(text)

    def begin(self, workload: Workload) -> None:
        super().begin(workload)
        self._all = self._lines.add_task("", total=1.0)
        self._draw_all()
        self._lines.start()

    def event(self, backend: str, event: Event) -> None:
        if backend not in self._tasks:
            self._tasks[backend] = self._lines.add_task(backend, total=1.0)
        task = self._tasks[backend]
        if event["event"] in ("planned", "waiting"):
            super().event(backend, event)
        elif event["event"] in ("report", "died"):
            self._lines.remove_task(task)
            super().event(backend, event)
        elif event["event"] == "shrinking":
            self._lines.update(task, description=f"{backend}: looking for the smallest failures")
        else:
            self._advance.note(backend, event)
            self._answered[backend] = self._answered.get(backend, 0) + 1
            self._failed[backend] = self._failed.get(backend, 0) + bool(event["finding"])
            counts = f"{self._answered[backend]:,} questions, {self._failed[backend]:,} failed"
            share = self._advance.share_of(backend)
            self._lines.update(task, description=f"{backend}: {event['phase']}, {counts}", completed=share)
        self._draw_all()

    def _draw_all(self) -> None:
        left = about(self._advance.left_s)
        text = f"{self._done} of {self._campaigns} backends, {left} left"
        self._lines.update(self._all, description=text, completed=self._advance.share)

    def end(self) -> None:
        self._lines.stop()


def about(seconds: float) -> str:
    """A time in words, such as "about 12 min"."""
    return f"about {max(1.0, seconds):.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


def _plan(workload: Workload) -> str:
    count, at_once = len(workload.backends), workload.at_once
    backends = f"{count} backend{'s' * (count > 1)}{f', {at_once} at a time' if at_once < count else ''}"
    each = " each" if count > 1 else ""
    if not workload.search_s:
        return f"{backends}: about {workload.questions:,} question{'s' * (workload.questions != 1)}{each}."
    search = f"then {workload.search_s:g} s of random search{each}"
    return f"{backends}: about {workload.questions:,} questions, {search}; {about(workload.about_s)} in all."


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
