"""What did not compete in a choice, and why: a line for each reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from convbench.analysis.choice import LayerChoice
from convbench.reporting.numbers import count
from convbench.runner.choose.answer import Answer, names
from convbench.status import Status
from convbench.store.journal import Record

_MOST_LEFT_OUT = 5
_COMPUTES = "computes in"  # begins the reason of those that compute in a lower precision


def notes(answer: Answer) -> Iterator[Text]:
    """Layers without a choice, and backends that were not timed, were wrong or broken, or were not asked."""
    if answer.without and answer.model.choices:
        missing = [choice.case.layer or choice.case.name for choice in answer.without]
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        yield Text(f"Without a choice: {', '.join(missing[:3])}{more}.", style="yellow")
    failed = [r for r in _untimed(answer) if Status(r["status"]).is_failure]
    for backend, told in _by_backend(failed, answer):
        yield Text(f"{backend} {told}", style="red")
    same: dict[str, list[str]] = {}
    for backend, told in _by_backend([r for r in _untimed(answer) if not Status(r["status"]).is_failure], answer):
        same.setdefault(told, []).append(backend)
    for told, backends in same.items():
        yield Text(f"{names(backends)} {told}", style="dim")
    yield from _left_out(answer.choices)


def _untimed(answer: Answer) -> list[Record]:
    return [r for choice in answer.choices for r in choice.untimed if Status(r["status"]) is not Status.OK]


def _by_backend(records: Iterable[Record], answer: Answer) -> Iterator[tuple[str, str]]:
    """Each backend with what became of it: where, and why on the first of its layers."""
    found: dict[tuple[str, Status], list[Record]] = {}
    for r in records:
        found.setdefault((r["backend"], Status(r["status"])), []).append(r)
    for (backend, status), mine in found.items():
        where = "" if len(mine) == len(answer.choices) else f" on {_layers_of(len(mine))}"
        reasons = {str(r.get("reason") or status.sentence): None for r in mine}
        first, several = next(iter(reasons)), " (and the like)" if len(reasons) > 1 else ""
        yield backend, f"{status if status.is_failure else 'not timed'}{where}: {first}{several}"


def _left_out(choices: Sequence[LayerChoice]) -> Iterator[Text]:
    found: dict[str, list[str]] = {}
    for choice in choices:
        for backend, why in choice.left_out.items():
            found.setdefault(backend, []).append(why)
    for backend, whys in list(found.items()):
        if whys[0].startswith(_COMPUTES):
            yield Text(f"{backend} did not compete: it {whys[0]}, which is less than was asked for.", style="dim")
            del found[backend]
    if found:
        most = sorted(found.items(), key=lambda one: -len(one[1]))
        told = [f"{backend} on {len(whys)}" for backend, whys in most[:_MOST_LEFT_OUT]]
        told += [f"{len(most) - _MOST_LEFT_OUT} more on fewer"] if len(most) > _MOST_LEFT_OUT else []
        where = "not asked on layers like those on which they were far behind"
        yield Text(f"Of {_layers_of(len(choices))}, {where}: {names(told)}.", style="dim")


def _layers_of(number: int) -> str:
    return count(number, "layer", "layers")
