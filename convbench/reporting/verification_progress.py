"""How far `convbench verify` has come: on a terminal a line per running backend, else a line as each is done."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from convbench.store.verification_log import Event


class PlainProgress:
    """A line as a backend's campaign ends, and one when something is found."""

    def __init__(self, console: Console, backends: int) -> None:
        self._console = console
        self._backends = backends
        self._done = 0
        self._failed: dict[str, int] = {}

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, name: str, event: Event) -> None:
        """Note an event of the campaign of `name`."""
        if event["event"] == "answered" and event["finding"]:
            self._failed[name] = self._failed.get(name, 0) + 1
            if self._failed[name] == 1:
                self._print(f"{name} fails {event['question']}: {event['finding']['reason']}")
        elif event["event"] in ("report", "died"):
            self._done += 1
            self._print(f"[{self._done}/{self._backends}] {name}: {_ending(event)}")

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


class LiveProgress:
    """A line per campaign under way, redrawn in place and gone at the end."""

    def __init__(self, console: Console, backends: int) -> None:
        self._lines = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._answered: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._backends, self._done = backends, 0

    def __enter__(self) -> LiveProgress:
        self._lines.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.stop()

    def tell(self, name: str, event: Event) -> None:
        """Note an event of the campaign of `name`."""
        if name not in self._tasks:
            self._tasks[name] = self._lines.add_task(name)
        if event["event"] in ("report", "died"):
            self._done += 1
            self._lines.remove_task(self._tasks[name])
            told = f"[{self._done}/{self._backends}] {name}: {_ending(event)}"
            self._lines.console.print(Text(told), soft_wrap=True)
            return
        if event["event"] == "shrinking":
            self._lines.update(self._tasks[name], description=f"{name}: looking for the smallest failures")
            return
        self._answered[name] = self._answered.get(name, 0) + 1
        self._failed[name] = self._failed.get(name, 0) + bool(event["finding"])
        told = f"{name}: {event['phase']}, {self._answered[name]:,} questions, {self._failed[name]:,} failed"
        self._lines.update(self._tasks[name], description=told)


def _ending(event: dict[str, Any]) -> str:
    if event["event"] == "died":
        return str(event["reason"])
    row = event["row"]
    if row["reason"]:
        return f"{row['status']}: {row['reason']}"
    questions = f"{row['cases'] + row['searched']:,} questions in {row['seconds']:.0f} s"
    failures = len(row["failures"])
    return f"{row['status']}, {questions}" + (
        f", {failures} cause{'s' * (failures > 1)} of failures" if failures else ""
    )


def progress(console: Console, backends: int, *, plain: bool) -> PlainProgress | LiveProgress:
    """The kind that suits where `console` writes to, or the plain one when other output shares the terminal."""
    return PlainProgress(console, backends) if plain or not console.is_terminal else LiveProgress(console, backends)
