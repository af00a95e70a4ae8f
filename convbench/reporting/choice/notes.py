"""Notes on a choice: layers without one, and backends that failed or did not compete, a line for each reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from convbench.analysis.choice import LayerChoice
from convbench.reporting.numbers import count
from convbench.runner.choose.answer import Answer
from convbench.status import Status
from convbench.store.schema import Record

_MOST_LEFT_OUT = 5
_COMPUTES = "computes in"  # begins the reason of those that compute in a lower precision


def notes(answer: Answer) -> Iterator[Text]:
    """Layers without a choice, and backends that were not timed, were wrong or broken, or did not run."""
    missing = [choice.case.layer or choice.case.name for choice in answer.choices if not choice.ranked]
    if missing and answer.model.choices:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        yield Text(f"Without a choice: {', '.join(missing[:3])}{more}.", style="yellow")
    failed = [r for r in _untimed(answer) if Status(r["status"]).is_failure]
    for backend, outcome in _by_backend(failed, answer):
        yield Text(f"{backend} {outcome}", style="red")
    same: dict[str, list[str]] = {}
    for backend, outcome in _by_backend([r for r in _untimed(answer) if not Status(r["status"]).is_failure], answer):
        same.setdefault(outcome, []).append(backend)
    for outcome, backends in same.items():
        yield Text(f"{names(backends)} {outcome}", style="dim")
    yield from _left_out(answer.choices)


def _untimed(answer: Answer) -> list[Record]:
    return [r for choice in answer.choices for r in choice.untimed if Status(r["status"]) is not Status.OK]


def _by_backend(records: Iterable[Record], answer: Answer) -> Iterator[tuple[str, str]]:
    """Each backend with its outcome: on how many layers, and the reason on the first of them."""
    groups: dict[tuple[str, Status], list[Record]] = {}
    for r in records:
        groups.setdefault((r["backend"], Status(r["status"])), []).append(r)
    for (backend, status), group in groups.items():
        where = "" if len(group) == len(answer.choices) else f" on {count(len(group), 'layer')}"
        reasons = {str(r.get("reason") or status.sentence): None for r in group}
        first, several = next(iter(reasons)), " (and the like)" if len(reasons) > 1 else ""
        yield backend, f"{status if status.is_failure else 'not timed'}{where}: {first}{several}"


def _left_out(choices: Sequence[LayerChoice]) -> Iterator[Text]:
    reasons: dict[str, list[str]] = {}
    for choice in choices:
        for backend, reason in choice.left_out.items():
            reasons.setdefault(backend, []).append(reason)
    for backend, (first, *_) in list(reasons.items()):
        if first.startswith(_COMPUTES):
            yield Text(f"{backend} did not compete: it {first}, which is less than the layer's dtype.", style="dim")
            del reasons[backend]
    if reasons:
        most = sorted(reasons.items(), key=lambda item: -len(item[1]))
        parts = [f"{backend} on {len(layers)}" for backend, layers in most[:_MOST_LEFT_OUT]]
        parts += [f"{len(most) - _MOST_LEFT_OUT} more on fewer"] if len(most) > _MOST_LEFT_OUT else []
        where = "not run on layers similar to layers on which they were far behind"
        yield Text(f"Of {count(len(choices), 'layer')}, {where}: {names(parts)}.", style="dim")


def names(backends: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(backends[:-1]), *backends[-1:])))
