"""Bugs simulated as predicates over the parameters of a question, for the tests of what is made of failures."""

from __future__ import annotations

import itertools
import operator
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from convbench.errors import ProblemError
from convbench.problem import DTYPES, PADDING_MODES, ConvProblem, Dtype
from convbench.status import Status
from convbench.verification.causes.parameters import NUMBERS, SIDES, WORDS, QuestionParameters, size
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Failure, Question

_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<": operator.lt,
    "divisible by": lambda value, by: value % by == 0,
}


@dataclass(frozen=True)
class Atom:
    """One condition on one parameter of a `QuestionParameters`."""

    name: str
    relation: str
    value: Any

    def holds(self, form: QuestionParameters) -> bool:
        return _RELATIONS[self.relation](getattr(form, self.name), self.value)

    def __str__(self) -> str:
        return f"{self.name} {self.relation} {self.value}"


def _atoms() -> list[Atom]:
    atoms = [Atom(name, ">=", least) for name in NUMBERS for least in (2, 3, 4, 5, 9, 17)]
    # Not of the image: one that must be smaller than the kernel needs padding, and the search below knows of none.
    atoms += [Atom(name, "==", value) for name in NUMBERS if name not in ("height", "width") for value in (2, 3)]
    atoms += [Atom(name, "divisible by", by) for name in ("channels", "filters") for by in (3, 4, 8, 16)]
    atoms += [Atom(name, "<", 0) for name in SIDES]
    atoms += [Atom(name, relation, word) for name in WORDS for word in WORDS[name] for relation in ("==", "!=")]
    return atoms


ATOMS = _atoms()


def random_question(rng: random.Random) -> Question:
    """A question with everything in it, of middling size."""
    while True:
        groups, mode = rng.choice([1, 1, 2, 3, 4, 8]), rng.choice(PADDING_MODES)
        sides = [rng.randint(-2 if mode == "zeros" else 0, 4) for _ in range(4)]
        if rng.random() < 0.5:
            sides[1], sides[3] = sides[0], sides[2]
        try:
            problem = ConvProblem(
                batch=rng.randint(1, 4),
                in_channels=groups * rng.randint(1, 40),
                height=rng.randint(1, 40),
                width=rng.randint(1, 40),
                out_channels=groups * rng.randint(1, 40),
                kernel_size=(rng.randint(1, 7), rng.randint(1, 7)),
                stride=(rng.randint(1, 4), rng.randint(1, 4)),
                padding=((sides[0], sides[1]), (sides[2], sides[3])),
                dilation=(rng.randint(1, 3), rng.randint(1, 3)),
                groups=groups,
                bias=rng.random() < 0.5,
                padding_mode=mode,
                dtype=rng.choice(DTYPES),
            )
        except ProblemError:
            continue
        return Question(
            problem=problem,
            values=rng.choice(VALUES),
            layout=rng.choice(LAYOUTS),
            calls=rng.choice(CALLS),
            seed=rng.randint(0, 5),
        )


@dataclass
class Bug:
    """Fails where all atoms hold; an `Ask`. `asked` are the questions so far."""

    atoms: Sequence[Atom]
    status: Status = Status.WRONG
    check: str = "exact"
    asked: list[Question] = field(default_factory=list)

    def __call__(self, question: Question) -> Failure | None:
        self.asked.append(question)
        form = QuestionParameters.of(question)
        if all(atom.holds(form) for atom in self.atoms):
            return Failure(question, self.status, self.check, "simulated")
        return None


def random_bug(rng: random.Random, question: Question, atoms: int) -> Bug:
    """One that `question` fails by."""
    form = QuestionParameters.of(question)
    return Bug(rng.sample([atom for atom in ATOMS if atom.holds(form)], atoms))


def smallest_by_search(bug: Bug, dtype: Dtype) -> tuple[int, ...]:
    """The size of the smallest question in `dtype` that fails by `bug`, found by trying all that can matter: every
    value of the parameters that its atoms name, sides of padding alike or not, all else as plain as the rest allows."""
    plain = QuestionParameters.of(
        Question(problem=ConvProblem(in_channels=1, height=1, width=1, out_channels=1, kernel_size=1, dtype=dtype))
    )
    domains: dict[str, set[Any]] = {}
    for atom in bug.atoms:
        if atom.name == "dtype":
            continue
        if atom.name in WORDS:
            domains[atom.name] = set(WORDS[atom.name])
        else:
            least = -1 if atom.name in SIDES else 1
            found = domains.setdefault(atom.name, set(range(least, 6)))
            by = atom.value
            found |= set(range(by, 50, by)) if atom.relation == "divisible by" else {max(least, by)}
    best: tuple[int, ...] | None = None
    for values in itertools.product(*domains.values()):
        for together in ((), (SIDES[:2],), (SIDES[2:],), (SIDES[:2], SIDES[2:])):
            form = plain.replace(**dict(zip(domains, values, strict=True)))
            for one, other in together:
                form = form.replace(**{side: getattr(form, one if one in domains else other) for side in (one, other)})
            form = form.replace(height=max(form.height, form.least_height()), width=max(form.width, form.least_width()))
            if form.question is not None and all(atom.holds(form) for atom in bug.atoms):
                here = size(form.question)
                best = here if best is None or here < best else best
    assert best is not None, bug.atoms
    return best


def varied_questions(rng: random.Random, count: int) -> list[Question]:
    """Small questions in which every class of parameters comes often, as a sweep would ask."""
    found: dict[Question, None] = {}
    while len(found) < count:
        groups, mode = rng.choice([1, 1, 2, 4, 8]), rng.choice(["zeros", *PADDING_MODES])
        kernel, unequal = rng.choice([1, 2, 3, 5]), rng.choice([0, 0, 1, 2])
        sides = rng.choice(
            [[0] * 4, [1] * 4, [kernel // 2] * 4, [2, 0, 0, 1], [1, 2, 3, 0], [kernel] * 4, [-1, 0, 0, -1]]
        )
        height, width = rng.choice([1, 3, 7, 9, 12, 20]), rng.choice([1, 3, 7, 9, 12, 20])
        try:
            problem = ConvProblem(
                batch=rng.choice([1, 1, 2, 3]),
                in_channels=groups * rng.choice([1, 1, 3, 8, 16, 17]),
                height=height,
                width=rng.choice([height, width]),
                out_channels=groups * rng.choice([1, 1, 3, 8, 16, 17]),
                kernel_size=rng.choice([(kernel, kernel), (kernel, kernel + unequal), (kernel, 1), (1, kernel)]),
                stride=rng.choice([(1, 1), (1, 1), (2, 2), (3, 3), (1, 2), (2, 1)]),
                padding=((sides[0], sides[1]), (sides[2], sides[3])),
                dilation=rng.choice([(1, 1), (1, 1), (2, 2), (1, 2)]),
                groups=groups,
                bias=rng.choice([False, True]),
                padding_mode=mode,
                dtype=rng.choice(DTYPES),
            )
        except ProblemError:
            continue
        words = {"values": rng.choice(VALUES), "layout": rng.choice(LAYOUTS), "calls": rng.choice(CALLS)}
        found[Question(problem=problem, **words)] = None
    return list(found)
