"""What a campaign asks: questions of before, of suites and of the request, a sweep and a search of each variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convbench.problem import DTYPES, Direction, Dtype, Epilogue
from convbench.suite import Case
from convbench.verification.question import Question

Variant = tuple[Direction, tuple[Epilogue | None, ...], tuple[Dtype, ...]]


@dataclass(frozen=True, kw_only=True)
class CampaignPlan:
    """The questions. `strength` 0 leaves out the sweep, and `search_s` 0 the search. With `exact` the cases are
    asked on integers only, not on their own data."""

    replay: tuple[Question, ...] = ()
    cases: tuple[Case, ...] = ()
    exact: bool = False
    questions: tuple[Question, ...] = ()
    directions: tuple[Direction, ...] = ("forward",)
    """Those of the sweep and the search, which has `search_s` for all together."""
    epilogues: tuple[Epilogue | None, ...] = (None,)
    """The same; None is the bare convolution. All others together have one sweep."""
    dtypes: tuple[Dtype, ...] = ()
    """The same; none for all floating-point dtypes. int8 is asked forward and bare only, in a sweep of its own."""
    strength: int = 3
    search_s: float = 60.0
    seed: int = 0
    part: tuple[int, int] = (0, 1)
    """Which part of the sweep is asked, of how many: others ask the other parts, and search with other seeds."""

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What has a sweep and a search of its own: a direction, the epilogues that take turns in it, and dtypes."""
        floats = tuple(dtype for dtype in self.dtypes or DTYPES if dtype != "int8")
        of_int8: Variant = ("forward", (None,), ("int8",))
        of_fused: Variant = ("forward", tuple(epilogue for epilogue in self.epilogues if epilogue is not None), floats)
        plain: list[Variant] = [(direction, (None,), floats) for direction in self.directions if None in self.epilogues]
        floating = [*plain, *([of_fused] if of_fused[1] else [])] if floats else []
        return (*floating, *([of_int8] if "int8" in self.dtypes else []))

    @property
    def search_seed(self) -> int:
        return self.seed + 1_000_003 * self.part[0]

    def share_of(self, questions: Sequence[Question]) -> Sequence[Question]:
        """This part of the questions of a sweep."""
        return questions[self.part[0] :: self.part[1]]
