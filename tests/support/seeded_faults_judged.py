"""How `convbench verify` would judge a seeded fault on one question, in this process."""

from __future__ import annotations

from convbench.backend import Backend
from convbench.verification.adversarial_calls import OF_CHANGED, examine
from convbench.verification.oracle import oracle_for
from convbench.verification.question import Question


def overwritten_and_wrong(backend: Backend, question: Question) -> tuple[str | None, list[str]]:
    """The operand that was written to, if any, and the phases whose answers are wrong."""
    key = oracle_for(question, backend.arithmetic)
    behaviour = examine(backend, question.problem, key.operands, question.layout, question.calls)
    wrong = []
    for answer in behaviour.answers:
        judge = key.judge_changed if answer.phase in OF_CHANGED else key.judge
        wrong += [] if judge(backend.arithmetic, answer.output).passed else [answer.phase]
    return behaviour.overwritten, wrong


def complaints(backend: Backend, question: Question) -> list[str]:
    """All that is wrong: the operand that was written to, and the phases whose answers are wrong."""
    overwritten, wrong = overwritten_and_wrong(backend, question)
    return wrong if overwritten is None else [overwritten, *wrong]
