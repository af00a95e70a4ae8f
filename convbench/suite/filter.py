"""`--where 'groups > 1 and height >= 56'`: a condition on the cases of a suite, in Python's words, run by nobody.

The text is read into Python's syntax tree, of which only what is named here is taken: `and`, `or`, `not`, comparisons
(chains and `in`, too), the names of `NAMES`, numbers, texts, `True`, `False`, and + - * / // %. Every part has a kind
(a number, a text, ...) before anything is computed, so that no text is repeated or formatted, and what cannot be
compared is refused at once. Nothing is compiled, called or looked up by a name that is not in the table.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from convbench.errors import SuiteError, did_you_mean
from convbench.suite.cases import Case, Suite
from convbench.suite.properties import NAMES, Kind

MOST_CHARACTERS = 1000
MOST_PARTS = 200
_LARGEST = 2**63 - 1
_MOST_QUOTED = 80


_COMPARISONS: Mapping[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.In: ("in", lambda one, many: one in many),
    ast.NotIn: ("not in", lambda one, many: one not in many),
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


@dataclass(frozen=True)
class Part:
    """A piece of a condition: its kind, and its value for a case."""

    kind: Kind
    of: Callable[[Case], Any]


@dataclass(frozen=True)
class Condition:
    """A condition on a case: `condition(case)` says whether it holds."""

    text: str
    whole: Part

    def __call__(self, case: Case) -> bool:
        """Raises `SuiteError` where it cannot be computed for this case, such as for a division by 0."""
        try:
            return bool(self.whole.of(case))
        except ArithmeticError as error:
            raise SuiteError(f"--where {_shortened(self.text)} cannot be computed for {case.name}: {error}.") from None


def where_it_holds(suites: Sequence[Suite], condition: str | None) -> list[Suite]:
    """The suites with the cases for which `condition` holds; all of them without one.

    Raises `SuiteError` where it is no condition, and where it leaves nothing.
    """
    if condition is None:
        return list(suites)
    cases = sum(len(suite.cases) for suite in suites)
    found = [filtered(suite, condition) for suite in suites]
    if not suites:
        raise SuiteError("--where chooses among the cases of a suite; name one with --suite.")
    if not any(suite.cases for suite in found):
        raise SuiteError(f"--where {_shortened(condition)} holds for none of {cases} cases; loosen it or leave it out.")
    return found


def filtered(suite: Suite, condition: str) -> Suite:
    """The suite with the cases for which `condition` holds, such as 'groups > 1 and height >= 56'; there may be none.

    Raises `SuiteError` when it is no condition.
    """
    return replace(suite, cases=tuple(filter(parse(condition), suite.cases)))


def parse(text: str) -> Condition:
    """The condition that `text` is. Raises `SuiteError`, with what may be written, when it is none."""
    if len(text) > MOST_CHARACTERS:
        raise SuiteError(f"--where has {len(text)} characters; {MOST_CHARACTERS} is the most.")
    return Condition(text, _Reader(text).read())


class _Reader:
    """Reads one text; every refusal names it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> Part:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd escapes in texts
                tree = ast.parse(self.text.strip(), mode="eval").body
            parts = sum(1 for _ in ast.walk(tree))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self.refusal("cannot be read as a condition") from None
        if parts > MOST_PARTS:
            raise self.refusal(f"has {parts} parts; {MOST_PARTS} is the most")
        return self.truth(tree)

    def refusal(self, told: str) -> SuiteError:
        return SuiteError(f"--where {_shortened(self.text)} {told}. Write it like 'groups > 1 and height >= 56'.")

    def source(self, node: ast.AST) -> str:
        return _shortened(ast.get_source_segment(self.text.strip(), node) or type(node).__name__)

    def truth(self, node: ast.expr) -> Part:
        part = self.part(node)
        if part.kind is not Kind.TRUTH:
            raise self.refusal(f"has {self.source(node)}, {part.kind}, where a condition should be; compare it")
        return part

    def number(self, node: ast.expr) -> Part:
        part = self.part(node)
        hint = "; take its height or width, such as kernel_height" if part.kind is Kind.PAIR else ""
        if part.kind is not Kind.NUMBER:
            raise self.refusal(f"computes with {self.source(node)}, which is {part.kind}, no number{hint}")
        return part

    def part(self, node: ast.expr) -> Part:
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name(id=name):
                if name not in NAMES:
                    told = f"has {_shortened(name)}, which no layer has.{did_you_mean(name, [*NAMES, 'True', 'False'])}"
                    raise SuiteError(f"--where {_shortened(self.text)} {told} There are {', '.join(NAMES)}.")
                return Part(*NAMES[name])
            case ast.BoolOp(op=op, values=values):
                return _either([self.truth(value) for value in values], decides=isinstance(op, ast.Or))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.truth(operand).of
                return Part(Kind.TRUTH, lambda case: not inner(case))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                negated = self.number(operand).of
                return Part(Kind.NUMBER, lambda case: -negated(case))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                compute, one, two = _ARITHMETIC[type(op)], self.number(left).of, self.number(right).of
                return Part(Kind.NUMBER, lambda case: compute(one(case), two(case)))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self.chain([left, *others], ops)
        raise self.refusal(f"has {self.source(node)}, which a condition may not have")

    def constant(self, node: ast.Constant) -> Part:
        value = node.value
        if isinstance(value, bool):
            return Part(Kind.TRUTH, lambda case: value)
        if isinstance(value, (int, float)):
            if not abs(value) <= _LARGEST:
                raise self.refusal(f"has a number larger than {_LARGEST}")
            return Part(Kind.NUMBER, lambda case: value)
        if isinstance(value, str):
            return Part(Kind.TEXT, lambda case: value)
        raise self.refusal(f"has {self.source(node)}, which a condition may not have")

    def chain(self, nodes: list[ast.expr], ops: list[ast.cmpop]) -> Part:
        """a < b <= c: every neighbour's comparison, as far as the first that does not hold."""
        links = [self.link(*three) for three in zip(nodes, ops, nodes[1:], strict=False)]
        return links[0] if len(links) == 1 else _either(links, decides=False)

    def link(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Part:
        if type(op) not in _COMPARISONS:
            raise self.refusal("has 'is', which compares identities; write == or !=")
        word, holds = _COMPARISONS[type(op)]
        one = self.part(left)
        if word.endswith("in") and isinstance(right, (ast.Tuple, ast.List, ast.Set)):
            return self.among(one, holds, [(self.part(node), node) for node in right.elts], left)
        two = self.part(right)
        if word.endswith("in"):
            if not one.kind is two.kind is Kind.TEXT:
                raise self.refusal(f"looks for {self.source(left)} in {self.source(right)}, which holds nothing")
        else:
            self.check_comparable(one, two, word, left, right)
        return Part(Kind.TRUTH, lambda case: holds(one.of(case), two.of(case)))

    def among(
        self, one: Part, holds: Callable[[Any, Any], bool], many: list[tuple[Part, ast.expr]], left: ast.expr
    ) -> Part:
        for part, node in many:
            self.check_comparable(one, part, "==", left, node)
        parts = [part.of for part, _ in many]
        return Part(Kind.TRUTH, lambda case: holds(one.of(case), [of(case) for of in parts]))

    def check_comparable(self, one: Part, two: Part, word: str, left: ast.expr, right: ast.expr) -> None:
        kinds = {one.kind, two.kind}
        if len(kinds) == 2 and not (Kind.NUMBER in kinds and kinds & {Kind.PAIR, Kind.SIDES}):
            both = f"{self.source(left)}, {one.kind}, with {self.source(right)}, {two.kind}"
            raise self.refusal(f"compares {both}")
        if kinds <= {Kind.TEXT, Kind.TRUTH} and word not in ("==", "!="):
            raise self.refusal(f"orders {self.source(left)} and {self.source(right)}, which are not numbers")


def _either(parts: list[Part], *, decides: bool) -> Part:
    """`or` where the first that is true `decides`, `and` where the first that is false does."""
    functions = [part.of for part in parts]

    def decided(case: Case) -> bool:
        return decides if any(bool(of(case)) is decides for of in functions) else not decides

    return Part(Kind.TRUTH, decided)


def _shortened(text: str) -> str:
    """`text` in quotes, as much of it as a sentence can bear."""
    return repr(text if len(text) <= _MOST_QUOTED else text[:_MOST_QUOTED] + "...")
