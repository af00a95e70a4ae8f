"""`convbench.choose_dtypes`: a choice in each of several dtypes, side by side, from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.api.arguments import OptionError
from convbench.api.choose import ChoiceResult, choose
from convbench.api.result import Result
from convbench.errors import NothingMeasuredError
from convbench.reporting.choice_by_dtype import by_dtype_report, by_dtype_rows
from convbench.reporting.console import Sentence
from convbench.runner.selection import dtypes_named
from convbench.store.schema import Record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class DtypeChoices(Result):
    """The choice in each dtype, and what each dtype brings; it prints as `convbench choose --dtype T,T` does."""

    choices: Mapping[str, ChoiceResult]
    """By dtype, in the order that was asked for."""
    refusals: Mapping[str, str]
    """Why there is no choice in the other dtypes, in a sentence."""

    def __getitem__(self, dtype: str) -> ChoiceResult:
        return self.choices[dtype]

    @property
    def passes(self) -> list[dict[str, Any]]:
        """The seconds of a pass by dtype: of the best backend of each layer, and of each backend that ran all."""
        models = {dtype: choice.answer.model for dtype, choice in self.choices.items()}
        return by_dtype_rows({dtype: model for dtype, model in models.items() if model.choices})

    @property
    def records(self) -> list[dict[str, Any]]:
        """As `convbench choose --json` prints them: those of each choice, then the passes if there are two dtypes."""
        own = [record for choice in self.choices.values() for record in choice.records]
        return own + (self.passes if self._beside is not None else [])

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each backend, with the seconds of a pass in each dtype."""
        import pandas as pd

        rows = self.passes
        return pd.DataFrame([row["pass_s"] for row in rows], [row["backend"] for row in rows], list(self.choices))

    @property
    def pair_records(self) -> Sequence[Record]:
        return [record for choice in self.choices.values() for record in choice.pair_records]

    @property
    def exit_code(self) -> int:
        """The largest of all; 3 without any choice."""
        return max((choice.exit_code for choice in self.choices.values()), default=NothingMeasuredError.exit_code)

    @property
    def _beside(self) -> RenderableType | None:
        return by_dtype_report({dtype: choice.answer.model for dtype, choice in self.choices.items()})

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = []
        for dtype, choice in self.choices.items():
            parts += [Text(f"{dtype}:"), choice, Text()]
        parts += [Sentence(reason) for reason in self.refusals.values()]
        return Group(*parts, *([self._beside] if self._beside is not None else []))


def choose_dtypes(subject: Any, dtypes: str | Iterable[str], **options: Any) -> DtypeChoices:
    """Choose for `subject` in each of `dtypes`, such as ["float32", "bfloat16", "int8"] or a text with commas.

    The subject and the options are those of `convbench.choose`. A dtype in which nothing can be chosen is among the
    `refusals`. An interrupt ends it, with the answers until then. Raises `ConvbenchError` as `choose` does, and
    `OptionError` for the options `dtype` and `plan`, which go with one dtype.
    """
    if unfit := sorted({"dtype", "plan"} & options.keys()):
        raise OptionError(f"{unfit[0]} is for one dtype; give it to convbench.choose.")
    words = dtypes if isinstance(dtypes, str) else ",".join(dtypes)
    return chosen_in(dtypes_named(words), lambda dtype: choose(subject, dtype=dtype, **options))


def chosen_in(dtypes: Iterable[str], choose_in: Callable[[str], ChoiceResult]) -> DtypeChoices:
    """The choices that `choose_in` makes, until one is interrupted."""
    choices: dict[str, ChoiceResult] = {}
    refusals: dict[str, str] = {}
    for dtype in dtypes:
        try:
            choices[dtype] = choose_in(dtype)
        except NothingMeasuredError as error:  # in this dtype; others may have a choice
            refusals[dtype] = str(error)
            continue
        if choices[dtype].interrupted:
            break
    return DtypeChoices(choices, refusals)
