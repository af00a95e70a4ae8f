"""Random search: questions that Hypothesis draws, from a wider range than the sweep, without end.

A question is one draw of bytes, two for each of its decisions, because Hypothesis needs time for each draw. The draw is
longer than the constants that Hypothesis picks from source files and mixes in, so a seed means the same questions
everywhere.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from convbench.backend import Backend
from convbench.errors import ProblemError
from convbench.problem import DTYPES, ConvProblem, Direction, Epilogue
from convbench.verification.question import Question
from convbench.verification.sweep.catalogue import is_supported, lies_otherwise
from convbench.verification.sweep.covering import sweep
from convbench.verification.sweep.drawing import DECISIONS, MOST_MACS, Drawing

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

_BYTES_EACH = 2
_AT_ONCE = 200  # questions drawn before the first of them is put
_MOST_IN_VAIN = 10  # times that nothing new is drawn before the search is over

_CHANNELS = ("in_channels", "out_channels", "groups")
_KERNEL = ("kernel_size", "stride", "dilation")
_PADDING = ("padding", "padding_mode")
_TRAITS = (
    *(
        ("dtype",),
        ("quantization",),
        ("stride",),
        _PADDING,
        _CHANNELS,
        _KERNEL,
        (*_KERNEL, *_PADDING),
        (*_KERNEL, *_CHANNELS),
    ),
    *((*_KERNEL, *_PADDING, *_CHANNELS), (*_KERNEL, *_PADDING, *_CHANNELS, "height", "width")),
)


def search(
    backend: Backend,
    seed: int = 0,
    until: Callable[[], bool] = lambda: False,
    direction: Direction = "forward",
    epilogues: tuple[Epilogue | None, ...] = (None,),
    dtypes: Collection[str] = DTYPES,
) -> Iterator[Question]:
    """Questions that `backend` supports, each only once, of which each has `seed` for its data: the same ones for the
    same seed, until `until()` is true. They are in those of its dtypes that are named; int8 means quantised ones.
    Ends when nothing new is found any more."""
    variant = (direction, epilogues, dtypes)
    strategy, fitting = _any_question(backend, *variant), _Fitting(backend, *variant)
    seen: set[Question] = set()
    draws, in_vain = 0, 0
    while in_vain < _MOST_IN_VAIN and not until():
        drawn = (fitting(question) for question in _examples(strategy, seed * 2**32 + draws))
        new = [question for question in dict.fromkeys(drawn) if question is not None and question not in seen]
        for question in new:
            if until():
                return
            seen.add(question)
            yield question.replace(seed=seed)
        draws, in_vain = draws + 1, 0 if new else in_vain + 1


class _Fitting:
    """Makes a question one that the backend supports, where that is needed, by the traits of one that it supports: of
    a backend that takes 3x3 kernels and multiples of 16 alone, chance would hardly find one."""

    def __init__(
        self,
        backend: Backend,
        direction: Direction,
        epilogues: tuple[Epilogue | None, ...],
        dtypes: Collection[str],
    ) -> None:
        self._backend, self._variant = backend, (direction, epilogues, dtypes)

    def __call__(self, question: Question) -> Question | None:
        if is_supported(self._backend, question.problem):
            return question
        for traits in _TRAITS if self._model else ():
            with contextlib.suppress(ProblemError):
                problem = question.problem.replace(**{name: getattr(self._model, name) for name in traits})
                if problem.macs <= MOST_MACS and is_supported(self._backend, problem):
                    self._model = problem
                    layout = question.layout if lies_otherwise(problem, question.layout) else "contiguous"
                    return question.replace(problem=problem, layout=layout)
        return None

    @functools.cached_property
    def _model(self) -> ConvProblem | None:
        """The latest that was made to fit; at first any that is supported."""
        questions = sweep(self._backend, 1, 0, *self._variant).questions
        return next((question.problem for question in questions), None)


def _any_question(
    backend: Backend, direction: Direction, epilogues: tuple[Epilogue | None, ...], dtypes: Collection[str]
) -> SearchStrategy[Question]:
    """Any that the backend's capabilities as data allow."""
    _keep_hypothesis_out_of_the_working_folder()
    from hypothesis import strategies as st

    drawing = Drawing(backend.supports, backend.thread_safe, direction, epilogues, dtypes)
    if drawing.is_empty:
        return st.nothing()

    def question(drawn: bytes) -> Question:
        parts = (drawn[first : first + _BYTES_EACH] for first in range(0, len(drawn), _BYTES_EACH))
        return drawing.question(int.from_bytes(part) for part in parts)

    size = DECISIONS * _BYTES_EACH
    return st.binary(min_size=size, max_size=size).map(question)


def _examples(strategy: SearchStrategy[T], seed: int) -> list[T]:
    """Some that Hypothesis draws with this seed; it generates, and tests nothing. None when it can find none."""
    import hypothesis

    drawn: list[T] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=_AT_ONCE,
        phases=[hypothesis.Phase.generate],
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(example: T) -> None:
        drawn.append(example)

    try:
        collect()
    except hypothesis.errors.Unsatisfiable:
        return []
    return drawn


def _keep_hypothesis_out_of_the_working_folder() -> None:
    """It would keep a folder `.hypothesis` wherever convbench is called from. Where it is in use already, as in a test
    suite, it has one."""
    if "hypothesis" not in sys.modules:
        import platformdirs

        folder = Path(platformdirs.user_cache_dir("convbench", appauthor=False)) / "hypothesis"
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(folder))
