"""The plan that a choice makes: which backend computes what, and on what evidence."""

from __future__ import annotations

from datetime import UTC, datetime

from convbench.analysis.choice import LayerChoice
from convbench.analysis.explanation import explanation
from convbench.installation import VERSION
from convbench.plans.plan import Choice, Lead, Plan
from convbench.runner.choose.answer import Answer
from convbench.store.readings import table


def plan_of(answer: Answer) -> Plan:
    """The plan of all layers for which there is a choice."""
    by_problem = {choice.case.problem.case_id: choice for choice in answer.model.choices}
    dtypes = {choice.case.problem.dtype for choice in by_problem.values()}
    versions = {"convbench": VERSION}
    for choice in by_problem.values():
        if (record := choice.ranked[0].record) is not None:
            versions |= {str(name): str(version) for name, version in table(record, "versions").items()}
    single = answer.model.single
    return Plan(
        machine=answer.machine,
        cpu=answer.cpu,
        threads=answer.threads,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        choices=tuple(_choice(choice, answer) for choice in by_problem.values()),
        dtype=dtypes.pop() if len(dtypes) == 1 else None,
        versions=versions,
        allocator=answer.allocator,
        default=single.backend if single else None,
    )


def _choice(choice: LayerChoice, answer: Answer) -> Choice:
    winner, second = choice.ranked[0], choice.runner_up
    between = second.ratio if second else None
    return Choice(
        case_id=choice.case.problem.case_id,
        backend=winner.backend,
        basis=winner.basis,
        call_s=winner.call_s,
        low_s=min(winner.low_s, winner.call_s),
        high_s=max(winner.high_s, winner.call_s),
        runner_up=second.time.backend if second else None,
        lead=Lead(between.value, between.low, between.high) if between else None,
        count=choice.case.count,
        layer=choice.case.layer,
        reason=explanation(winner, answer.limits),
    )
