"""The suites that a command's options select: by name, path or value, with the cases, dtypes and batches asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from convbench.errors import SuiteError, did_you_mean
from convbench.problem import ALL_DTYPES, DIRECTIONS, ConvProblem, Direction, Dtype, Epilogue
from convbench.problem.epilogue import EPILOGUES, NO_EPILOGUE
from convbench.suite import Case, Suite, load_suite
from convbench.suite.filter import where_it_holds


def selected_suites(
    suites: Iterable[str | Suite],
    problems: Iterable[str | ConvProblem] = (),
    dtypes: Sequence[Dtype] = (),
    batches: Sequence[int] = (),
    case_glob: str | None = None,
    where: str | None = None,
    directions: Sequence[Direction] = (),
    epilogues: Sequence[Epilogue | None] = (),
) -> list[Suite]:
    """The suites, and after them the problems, each once and in any dialect, as a suite called "problem"; each over all
    `dtypes`, `batches`, `directions` and `epilogues`.

    Only the cases remain that match `case_glob` and for which the condition `where` holds. Raises `SuiteError` when
    that leaves none, `ProblemError` for what cannot be computed.
    """
    loaded = [suite if isinstance(suite, Suite) else load_suite(suite) for suite in dict.fromkeys(suites)]
    if values := [ConvProblem.parse(problem) if isinstance(problem, str) else problem for problem in problems]:
        loaded.append(Suite("problem", "", (), tuple(Case(problem) for problem in dict.fromkeys(values)), Path()))
    selected = in_variants([suite.over(dtypes, batches) for suite in loaded], directions, epilogues)
    if case_glob is not None:
        known = [case.name for suite in selected for case in suite.cases]
        selected = [suite.select(case_glob) for suite in selected]
        if not any(suite.cases for suite in selected):
            examples = ", ".join([*known[:12], *(["..."] if len(known) > 12 else [])])
            raise SuiteError(f"no case matches {case_glob!r}.{did_you_mean(case_glob, known)} There are: {examples}.")
    return where_it_holds(selected, where)


def in_variants(
    suites: Sequence[Suite], directions: Sequence[Direction], epilogues: Sequence[Epilogue | None] = ()
) -> list[Suite]:
    """The suites over all `directions` and `epilogues`, or as they are without. Raises `SuiteError` when that leaves no
    case, `ProblemError` for a gradient with an epilogue."""
    changed = [suite.over(directions=directions, epilogues=epilogues) for suite in suites]
    if suites and not any(suite.cases for suite in changed):
        raise SuiteError(f"no case has a bias, whose gradient --direction {','.join(directions)} asks for.")
    return changed


def directions_named(text: str | None) -> tuple[Direction, ...]:
    """The directions in a text such as `forward,input_gradient`, each once. Raises `SuiteError` for an unknown word."""
    words = [] if text is None else [word.strip() for word in text.split(",")]
    for word in words:
        if word not in DIRECTIONS:
            known = f"one of {', '.join(DIRECTIONS)}, or several with commas.{did_you_mean(word, DIRECTIONS)}"
            raise SuiteError(f"--direction is {word!r}; it should be {known}")
    return tuple(cast(list[Direction], list(dict.fromkeys(words))))


def epilogues_named(text: str | None) -> tuple[Epilogue | None, ...]:
    """The epilogues in a text such as `none,relu,add_relu`, each once, None for "none"; "all" is one of each kind.
    Raises `ProblemError` for any other word."""
    named: list[Epilogue | None] = []
    for word in [] if text is None else [word.strip() for word in text.split(",")]:
        named += EPILOGUES if word == "all" else [None if word == NO_EPILOGUE else Epilogue.parse(word)]
    return tuple(dict.fromkeys(named))


def is_exact(pattern: str) -> bool:
    """Whether a pattern of backends is the name of one."""
    return not any(character in pattern for character in "*?[")


def dtypes_named(
    text: str | None, *, several: bool = True, known_dtypes: tuple[Dtype, ...] = ALL_DTYPES
) -> list[Dtype]:
    """The dtypes in a text such as `float32,int8`, each once. Raises `SuiteError` for an unknown word."""
    words = [] if text is None else [word.strip() for word in text.split(",")] if several else [text]
    for word in words:
        if word not in known_dtypes:
            more = ", or several with commas" if several else ""
            known = f"one of {', '.join(known_dtypes)}{more}.{did_you_mean(word, known_dtypes)}"
            raise SuiteError(f"--dtype is {word!r}; it should be {known}")
    return cast(list[Dtype], list(dict.fromkeys(words)))
