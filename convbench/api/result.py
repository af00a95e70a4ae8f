"""`Result`: what the functions of the API return. It prints as its command does, in a terminal and in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from convbench.errors import FigureError
from convbench.reporting.console import Sentence, html_of, text_of
from convbench.reporting.page.figure import Figures
from convbench.reporting.page.standalone import figures_of
from convbench.store.ceilings import ceilings_of
from convbench.store.locations import results_folder
from convbench.store.schema import Record

if TYPE_CHECKING:
    import pandas as pd

_MOST_FIGURES, _MOST_ROWS = 16, 1_000  # that a notebook shows with a result


class Result(ABC):
    """A subclass gives `__rich__`, `records` and `exit_code`; the rest follows. Dataclasses need `repr=False`."""

    @abstractmethod
    def __rich__(self) -> RenderableType:
        """What the command shows on standard output."""

    @property
    @abstractmethod
    def records(self) -> Sequence[Mapping[str, Any]]:
        """What the command prints with `--json`, one mapping a line."""

    @property
    @abstractmethod
    def exit_code(self) -> int:
        """What the command leaves with: 0 fine, 1 something is wrong, 3 no answer, 130 interrupted."""

    @property
    def ok(self) -> bool:
        """Whether the command would leave with 0."""
        return self.exit_code == 0

    @property
    def frame(self) -> pd.DataFrame:
        """The records as a pandas frame, one row each."""
        import pandas as pd

        return pd.DataFrame.from_records(list(self.records))

    @property
    def pair_records(self) -> Sequence[Record]:
        """The records of pairs that the answer rests on; none where nothing was timed."""
        return ()

    @property
    def figures(self) -> Figures:
        """The figures of the report that have data here; a notebook shows them with the result.

        Raises `FigureError` without the extra `report`.
        """
        records = self.pair_records
        return figures_of(records, ceilings_of(records, results_folder()))

    def __str__(self) -> str:
        return text_of(self.__rich__())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_of(self.__rich__()) + self._figures_html()

    def _figures_html(self) -> str:
        """The figures, unless they are many or large, or cannot be drawn here, which a sentence says."""
        try:
            figures = self.figures
        except FigureError as error:
            return html_of(Sentence(str(error)))
        if len(figures) > _MOST_FIGURES or any(len(figure.rows) > _MOST_ROWS for figure in figures):
            return html_of(Sentence("The figures are large: result.figures shows them, and can save them."))
        return figures._repr_html_()
