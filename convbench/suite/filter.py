"""`--where 'groups > 1 and height >= 56'`: a condition on the cases of a suite, in Python's syntax, never run as code.

The text is parsed into Python's syntax tree, and only these parts are accepted: `and`, `or`, `not`, comparisons with
chains and `in`, the names in `NAMES`, numbers, texts, `True`, `False`, and + - * / // %. Every part gets a kind (a
number, a text, ...) before anything is computed. So no text is repeated or formatted, and parts that cannot be compared
are refused at once. Nothing is compiled, called, or looked up outside the table.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    ast.In: ("in", lambda item, items: item in items),
    ast.NotIn: ("not in", lambda item, items: item not in items),
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
    """A part of a condition: its kind, and the function from a case to its value."""

    kind: Kind
    of: Callable[[Case], Any]


@dataclass(frozen=True)
class Condition:
    """A condition on a case: `condition(case)` says whether it holds."""

    text: str
    whole: Part

    def __call__(self, case: Case) -> bool:
        """Raises `SuiteError` when the condition cannot be computed for this case, as for a division by 0."""
        try:
            return bool(self.whole.of(case))
        except ArithmeticError as error:
            raise SuiteError(f"--where {_shortened(self.text)} cannot be computed for {case.name}: {error}.") from None


def where_it_holds(suites: Sequence[Suite], condition: str | None) -> list[Suite]:
    """The suites with only the cases for which `condition` holds; with all cases if `condition` is None.

    Raises `SuiteError` for a text that is not a condition, and when no case is left.
    """
    if condition is None:
        return list(suites)
    cases = sum(len(suite.cases) for suite in suites)
    filtered_suites = [filtered(suite, condition) for suite in suites]
    if not suites:
        raise SuiteError("--where chooses among the cases of a suite; name one with --suite.")
    if not any(suite.cases for suite in filtered_suites):
        raise SuiteError(f"--where {_shortened(condition)} holds for none of {cases} cases; loosen it or leave it out.")
    return filtered_suites


def filtered(suite: Suite, condition: str) -> Suite:
    """The suite with only the cases for which `condition` holds, such as 'groups > 1 and height >= 56', perhaps none.

    Raises `SuiteError` for a text that is not a condition.
    """
    return suite.selection(filter(parse(condition), suite.cases))


def parse(text: str) -> Condition:
    """The condition in `text`. Raises `SuiteError`, with what may be written, for any other text."""
    if len(text) > MOST_CHARACTERS:
        raise SuiteError(f"--where has {len(text)} characters; {MOST_CHARACTERS} is the most.")
    return Condition(text, _Reader(text).read())


class _Reader:
    """Reads the condition in one text, which every error quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> Part:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about odd escapes in texts
                tree = ast.parse(self.text.strip(), mode="eval").body
            parts = sum(1 for _ in ast.walk(tree))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self.refusal("cannot be read as a condition") from None
        if parts > MOST_PARTS:
            raise self.refusal(f"has {parts} parts; {MOST_PARTS} is the most")
        return self.truth(tree)

    def refusal(self, fault: str) -> SuiteError:
        return SuiteError(f"--where {_shortened(self.text)} {fault}. Write it like 'groups > 1 and height >= 56'.")

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
                    hint = did_you_mean(name, [*NAMES, "True", "False"])
                    fault = f"has {_shortened(name)}, which no layer has.{hint} There are {', '.join(NAMES)}."
                    raise SuiteError(f"--where {_shortened(self.text)} {fault}")
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
                compute, first, second = _ARITHMETIC[type(op)], self.number(left).of, self.number(right).of
                return Part(Kind.NUMBER, lambda case: compute(first(case), second(case)))
            case ast.Compare(left=left, ops=ops, comparators=others):  # a < b <= c: every pair of neighbours
                return _either(
                    [self.link(*link) for link in zip([left, *others], ops, others, strict=False)], decides=False
                )
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

    def link(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Part:
        if type(op) not in _COMPARISONS:
            raise self.refusal("has 'is', which compares identities; write == or !=")
        word, holds = _COMPARISONS[type(op)]
        first = self.part(left)
        if word.endswith("in") and isinstance(right, (ast.Tuple, ast.List, ast.Set)):
            parts = [self.part(element) for element in right.elts]
            for part, element in zip(parts, right.elts, strict=True):
                self.check_comparable(first, part, "==", left, element)
            return Part(Kind.TRUTH, lambda case: holds(first.of(case), [part.of(case) for part in parts]))
        second = self.part(right)
        if not word.endswith("in"):
            self.check_comparable(first, second, word, left, right)
        elif not first.kind is second.kind is Kind.TEXT:
            raise self.refusal(f"looks for {self.source(left)} in {self.source(right)}, which holds nothing")
        return Part(Kind.TRUTH, lambda case: holds(first.of(case), second.of(case)))

    def check_comparable(self, first: Part, second: Part, word: str, left: ast.expr, right: ast.expr) -> None:
        kinds = {first.kind, second.kind}
        if len(kinds) == 2 and not (Kind.NUMBER in kinds and kinds & {Kind.PAIR, Kind.SIDES}):
            operands = f"{self.source(left)}, {first.kind}, with {self.source(right)}, {second.kind}"
            raise self.refusal(f"compares {operands}")
        if kinds <= {Kind.TEXT, Kind.TRUTH} and word not in ("==", "!="):
            raise self.refusal(f"orders {self.source(left)} and {self.source(right)}, which are not numbers")


def _either(parts: list[Part], *, decides: bool) -> Part:
    """`or` if the first true part `decides`, `and` if the first false part does."""
    functions = [part.of for part in parts]

    def decided(case: Case) -> bool:
        return decides if any(bool(of(case)) is decides for of in functions) else not decides

    return Part(Kind.TRUTH, decided)


def _shortened(text: str) -> str:
    """`text` in quotes, cut to what fits into a sentence."""
    return repr(text if len(text) <= _MOST_QUOTED else text[:_MOST_QUOTED] + "...")
