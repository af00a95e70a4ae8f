"""Folding: causes that one change explains become one.

A mistake shows in many ways: a wrong stride also makes a relation fail whose restated form has that stride, and a
buffer that is shared makes repeated calls, changed operands and two threads fail. A cause is folded into another one
where the other's smallest question, or what its failures share, is in what failed here, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from convbench.problem import ConvProblem
from convbench.verification.causes.grouping import Cause, fails_in
from convbench.verification.causes.parameters import SIZES, WORDS, QuestionParameters, size
from convbench.verification.causes.shrinking import kind
from convbench.verification.operands import NUMPY_DTYPES, Operands
from convbench.verification.quantized.data import quantized_operands
from convbench.verification.question import Ask, Failure, Question
from convbench.verification.relations import RELATIONS
from convbench.verification.sweep.factors import classes

RELATION = "relation "
_STRAGGLERS = 0.25
"""A cause of so few failures, as a share of another's, may be what the words for that one just miss."""
_ORDER = {"call": 0, "output": 0, "exact": 0, "bound": 1, "special": 2, "": 3, RELATION: 4}
_SHAPE = tuple(name for name in SIZES if name not in ("height", "width"))
_WORDS = tuple(name for name in WORDS if name != "dtype")


def folded(causes: Iterable[Cause], ask: Ask) -> list[Cause]:
    """The causes, those with most failures first; `also` has the smallest failures of what was folded into each.

    Of another dtype a cause is not folded unless the other's smallest question, by `ask`, fails in that dtype, too.
    """
    kept: list[Cause] = []
    for cause in sorted(causes, key=_first_the_explaining):
        target = next((number for number, other in enumerate(kept) if _explains(other, cause, ask)), None)
        if target is None:
            kept.append(cause)
        else:
            kept[target] = _joined(kept[target], cause)
    return sorted(kept, key=lambda cause: (-len(cause.members), size(cause.representative.question)))


def restated(failure: Failure) -> list[Question]:
    """The questions that a relation put instead of the one that failed; none where it was no relation."""
    problem = failure.question.problem
    named = (each for each in RELATIONS if f"{RELATION}{each.name}" == failure.check and each.applies(problem))
    zeros = _zeros(problem)
    output = np.zeros(problem.result_shape, zeros.dtype)
    parts = next((each.restated(problem, zeros, output) for each in named), [])
    return [Question(problem=part, seed=failure.question.seed) for part, _ in parts]


def _first_the_explaining(cause: Cause) -> tuple[int, int]:
    """Wrong numbers, the plainest first, before what calls do to each other, and relations last: those follow."""
    check = RELATION if cause.representative.check.startswith(RELATION) else cause.representative.check
    return _ORDER.get(check, _ORDER[""]), -len(cause.members)


def _explains(one: Cause, other: Cause, ask: Ask) -> bool:
    """Whether what mends `one` seems to mend `other`."""
    first, second = one.representative, other.representative
    if first.status is not second.status:
        return False
    if first.where is not None or second.where is not None:
        return first.where == second.where
    if second.check.startswith(RELATION):
        return any(_holds(one, question) for question in restated(second))
    if not {kind(first), kind(second)} & {"numbers", "output"}:
        return _holds(one, second.question)
    if kind(first) != kind(second):
        return False
    unusual, others = _unusual(first.question), _unusual(second.question)
    is_the_same = unusual == others and len(unusual) <= 1
    few = len(other.members) <= _STRAGGLERS * len(one.members)
    is_more = few and (unusual <= others or _goes_as_far(second.question, first.question))
    # Shrinking keeps the check, so of one mistake it may end at two questions, one of which has all that the other has.
    by_another_check = first.check != second.check and _is_within(first.question, second.question)
    return (is_the_same or is_more or by_another_check) and _fails_in_the_dtype_of(first, second, ask)


def _fails_in_the_dtype_of(first: Failure, second: Failure, ask: Ask) -> bool:
    dtype = second.question.problem.dtype
    if dtype != first.question.problem.dtype:
        return fails_in(dtype, first, ask)
    return first.kernel == second.kernel


def _holds(cause: Cause, question: Question) -> bool:
    """Whether `question` has what distinguishes the failures of `cause`."""
    if _is_within(cause.representative.question.replace(calls="few"), question):
        return True
    traits = set(classes(question).items())
    return any(set(shared.classes) <= traits for shared in cause.shared_by_failures[:1])


def _is_within(least: Question, question: Question) -> bool:
    return QuestionParameters.of(least).is_within(QuestionParameters.of(question))


def _goes_as_far(question: Question, least: Question) -> bool:
    """Whether `question` computes as much as `least` in every respect, from whatever image and padding."""
    return all(own >= others for own, others in zip(_computed(question), _computed(least), strict=True))


def _computed(question: Question) -> tuple[int, ...]:
    form, problem = QuestionParameters.of(question), question.problem
    words = [WORDS[name].index(getattr(form, name)) for name in _WORDS]
    return (*(getattr(form, name) for name in _SHAPE), problem.out_height, problem.out_width, *words)


def _unusual(question: Question) -> set[str]:
    """The parameters that are not as plain as can be; not the image, which has to fit them, and not the dtype."""
    form = QuestionParameters.of(question)
    names = {name.removesuffix("_height").removesuffix("_width") for name in _SHAPE if getattr(form, name) != 1}
    names |= {name for name in _WORDS if getattr(form, name) != WORDS[name][0]}
    return names | ({"padding"} if any(form.padding) else set())


def _joined(one: Cause, other: Cause) -> Cause:
    also = (*one.also, other.representative, *other.also)
    return replace(one, members=(*one.members, *other.members), also=also)


def _zeros(problem: ConvProblem) -> Operands:
    if problem.quantization is not None:
        return quantized_operands(problem, "integers", 0)
    dtype = NUMPY_DTYPES[problem.dtype]
    return Operands(**{name: np.zeros(shape, dtype) for name, shape in problem.operand_shapes.items()})
