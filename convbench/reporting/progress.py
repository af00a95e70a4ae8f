"""How far a run has come: on a terminal a bar with an estimate of the time left and a live table, else plain lines.
All of it on standard error."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from convbench.reporting.console import outcome_cells, plain_table
from convbench.reporting.numbers import duration, milliseconds
from convbench.store.journal import Record
from convbench.suite import Case

_ROWS_SHOWN = 14
# The time of a case is mostly verifying and a fixed number of samples; slow backends add to it with the work.
_FLOPS_OF_OVERHEAD = 3e8


class PlainProgress:
    """A line as each case ends."""

    def __init__(self, console: Console, cases: int) -> None:
        self._console = console
        self._cases = cases
        self._done = 0
        self._starting = True

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def expect(self, cases: Sequence[Case]) -> None:
        """These are to come besides."""
        self._cases += len(cases)

    def begin(self, suite: str, case: Case) -> None:
        self._suite, self._case, self._records = suite, case, list[Record]()

    def doing(self, activity: str, done: float) -> None:
        if self._starting:
            self._console.print("starting the workers ...", markup=False)
            self._starting = False

    def record(self, record: Record) -> None:
        self._records.append(record)

    def end(self, elapsed_s: float) -> None:
        self._done += 1
        timed = {r["backend"]: median_s for r in self._records if (median_s := r["median_s"]) is not None}
        fastest = min(timed, key=timed.__getitem__, default=None)
        told = f"fastest {fastest} {milliseconds(timed[fastest])} ms" if fastest else "none timed"
        self._console.print(
            f"[{self._done}/{self._cases}] {self._suite} {self._case.name}: {len(timed)} timed, "
            f"{len(self._records) - len(timed)} not; {told}; {duration(elapsed_s)}",
            markup=False,
            soft_wrap=True,
        )


class LiveProgress:
    """A bar and the latest outcomes, redrawn in place and gone at the end."""

    def __init__(self, console: Console, cases: Sequence[Case]) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, ratio=1), markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            expand=True,
        )
        self._weights = {id(case): _FLOPS_OF_OVERHEAD + case.problem.flops for case in cases}
        self._total = sum(self._weights[id(case)] for case in cases)
        self._task = self._bar.add_task("starting", total=self._total)
        self._before = 0.0
        self._latest: deque[Record] = deque(maxlen=_ROWS_SHOWN)
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._draw)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def expect(self, cases: Sequence[Case]) -> None:
        """These, which were there before, are to come once more."""
        self._total += sum(self._weights[id(case)] for case in cases)
        self._bar.update(self._task, total=self._total)

    def begin(self, suite: str, case: Case) -> None:
        self._suite, self._case = suite, case

    def doing(self, activity: str, done: float) -> None:
        at = self._before + done * self._weights[id(self._case)]
        self._bar.update(self._task, completed=at, description=f"{self._suite} {self._case.name}: {activity}")

    def record(self, record: Record) -> None:
        if record["status"] not in ("unavailable", "unsupported"):
            self._latest.append(record)

    def end(self, elapsed_s: float) -> None:
        self._before += self._weights[id(self._case)]
        self._bar.update(self._task, completed=self._before)

    def _draw(self) -> Group:
        return Group(self._table(), self._bar)

    def _table(self) -> Table:
        headers = ("case", "backend", "status", "median ms", "GFLOP/s")
        return plain_table(headers, [outcome_cells(record) for record in self._latest], right=(3, 4))


def progress(console: Console, cases: Sequence[Case], *, plain: bool) -> PlainProgress | LiveProgress:
    """The kind that suits where `console` writes to, or the plain one when other output shares the terminal."""
    if plain or not console.is_terminal:
        return PlainProgress(console, len(cases))
    return LiveProgress(console, cases)
