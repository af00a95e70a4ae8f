"""How far a run has come, as an observer: on a terminal or in a notebook a bar with an estimate of the time left and a
live table, else a line for each case."""

from __future__ import annotations

import importlib.util
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from convbench.analysis.backend_times import lower_precision
from convbench.reporting.console import Sentence, print_json, status_style, stderr
from convbench.reporting.numbers import duration, milliseconds, significant
from convbench.reporting.tables import plain_table
from convbench.reporting.terminal_text import printable
from convbench.runner.observer import Observer
from convbench.store.journal import jsonable
from convbench.store.schema import Record
from convbench.suite import Case

_ROWS_SHOWN = 14
# A case takes most of its time for verifying and a fixed number of samples; slow backends add to it with the work.
_FLOPS_OF_OVERHEAD = 3e8


class PlainProgress(Observer):
    """A line at the end of each case; with `as_json` each record at once, on standard output. Backends that compute in
    a lower precision than the dtype are the fastest only if `lower`."""

    def __init__(self, console: Console, *, as_json: bool = False, lower: bool = False) -> None:
        self._console, self._as_json, self._lower = console, as_json, lower
        self._cases = self._done = 0
        self._starting = True
        self._records: list[Record] = []

    def message(self, text: str) -> None:
        self._console.print(Sentence(text), crop=False)

    def expect(self, cases: Sequence[Case]) -> None:
        self._cases += len(cases)

    def begin(self, suite: str, case: Case) -> None:
        self._suite, self._case, self._records = suite, case, []

    def doing(self, activity: str, done: float) -> None:
        if self._starting:
            self._console.print("starting the workers ...", markup=False)
            self._starting = False

    def record(self, record: Record) -> None:
        self._records.append(record)
        if self._as_json:
            print_json([jsonable(record)])

    def end(self, elapsed_s: float) -> None:
        self._done += 1
        timed = [record for record in self._records if record["median_s"] is not None]
        line = (
            f"[{self._done}/{self._cases}] {self._suite} {self._case.name}: {len(timed)} timed, "
            f"{len(self._records) - len(timed)} not; {self._best(timed)}; {duration(elapsed_s)}"
        )
        self._console.print(Sentence(line), crop=False)

    def _best(self, timed: Sequence[Record]) -> str:
        """The fastest of those that compete; a backend that is alone is not called that."""
        compete = [record for record in timed if self._lower or not lower_precision(record)] or timed
        best = min(compete, key=lambda record: record["median_s"] or math.inf, default=None)
        if best is None:
            return "none timed"
        return f"{'fastest ' if len(compete) > 1 else ''}{_named(best)} {milliseconds(best['median_s'] or 0)} ms"


class LiveProgress(Observer):
    """A bar and the latest outcomes, redrawn in place and gone at the end."""

    def __init__(self, console: Console, *, messages: bool = True) -> None:
        self._console, self._messages = console, messages
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, ratio=1), markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            expand=True,
        )
        self._total = self._before = 0.0
        self._task = self._bar.add_task("starting", total=None)
        self._latest: deque[Record] = deque(maxlen=_ROWS_SHOWN)
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._draw)

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def message(self, text: str) -> None:
        if self._messages:
            self._console.print(Sentence(text), crop=False)

    def expect(self, cases: Sequence[Case]) -> None:
        self._total += sum(map(_weight, cases))
        self._bar.update(self._task, total=self._total)
        self._live.start()

    def begin(self, suite: str, case: Case) -> None:
        self._suite, self._case = suite, case

    def doing(self, activity: str, done: float) -> None:
        at = self._before + done * _weight(self._case)
        description = printable(f"{self._suite} {self._case.name}: {activity}")
        self._bar.update(self._task, completed=at, description=description)

    def record(self, record: Record) -> None:
        if record["status"] not in ("unavailable", "unsupported"):
            self._latest.append(record)

    def end(self, elapsed_s: float) -> None:
        self._before += _weight(self._case)
        self._bar.update(self._task, completed=self._before)

    def _draw(self) -> Group:
        headers = ("case", "backend", "status", "median ms", "GFLOP/s")
        return Group(plain_table(headers, map(_cells, self._latest), right=(3, 4), drops=(4, 0)), self._bar)


def progress(console: Console, *, plain: bool = False, as_json: bool = False, lower: bool = False) -> Observer:
    """Live progress on a terminal, or lines when other output shares it. `as_json` prints each record at once."""
    live = console.is_terminal and not (plain or as_json)
    return LiveProgress(console) if live else PlainProgress(console, as_json=as_json, lower=lower)


def is_drawn(console: Console) -> bool:
    """Whether lines can be redrawn: in a terminal, and in a notebook with ipywidgets."""
    return console.is_terminal or (console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None)


def requested_progress(wanted: bool | None, *, lower: bool = False) -> Observer:
    """Live progress where it can be drawn and disappears at the end. `True` adds the messages, and prints lines where
    it cannot be drawn; `False` shows nothing."""
    console = stderr()
    if is_drawn(console) and wanted is not False:
        return LiveProgress(console, messages=bool(wanted))
    return PlainProgress(console, lower=lower) if wanted else Observer()


def _weight(case: Case) -> float:
    return _FLOPS_OF_OVERHEAD + case.problem.flops


def _cells(record: Record) -> tuple[Any, ...]:
    status = Text(record["status"], style=status_style(record["status"]))
    median_s, gflops = record["median_s"], record["gflops"]
    numbers = ("", "") if median_s is None else (milliseconds(median_s), significant(gflops or 0))
    return (record["case"], _named(record), status, *numbers)


def _named(record: Record) -> str:
    """The backend, with the precision that it computes in if that is lower than the dtype."""
    precision = lower_precision(record)
    return f"{record['backend']} (in {precision})" if precision else record["backend"]
