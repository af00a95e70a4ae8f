"""`Result`: what the functions of the API return. It prints as its command does, in a terminal and in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from convbench.reporting.console import html_of, text_of

if TYPE_CHECKING:
    import pandas as pd


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

    def __str__(self) -> str:
        return text_of(self.__rich__())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_of(self.__rich__())
