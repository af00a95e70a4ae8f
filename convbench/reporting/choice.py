"""The answer of `convbench choose`: first the answer itself, then its evidence, then notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.backend_times import BackendTime, is_applicable
from convbench.analysis.choice import LayerChoice
from convbench.analysis.explanation import explanation, explanation_of_winner
from convbench.analysis.model_total import LEFT_OUT_IS_BEHIND, ModelChoice
from convbench.extraction.file_kinds import is_onnx
from convbench.reporting.console import Sentence, spaced
from convbench.reporting.numbers import (
    aligned,
    count,
    duration,
    interval_column,
    interval_text,
    milliseconds,
    percent,
    significant,
    times,
)
from convbench.reporting.run.suite_tables import absent_sentence
from convbench.reporting.tables import plain_table
from convbench.runner.choose.answer import Answer
from convbench.runner.choose.competitors import CANNOT_BE_APPLIED, COMPUTES
from convbench.runner.choose.next_step import next_step
from convbench.runner.selection import is_exact
from convbench.stats.ratio import Ratio
from convbench.status import Status
from convbench.store.schema import Record

_MOST_LAYERS, _MOST_TOTALS, _MOST_DIFFERENCES = 40, 8, 3
_WIDEST_NAME = 28
_MOST_LEFT_OUT = 5


def answer_report(answer: Answer) -> RenderableType:
    """Everything that the command shows of an answer."""
    model, remarks = answer.model, list(_notes(answer))
    if not model.choices:
        return Group(Text("There is no choice: nothing was timed.", style="bold"), *remarks)
    if len(answer.choices) == 1:
        parts: list[RenderableType] = [_answer_of_one(model.choices[0]), _ranking(model.choices[0], answer)]
    else:
        selected = answer.request.where is not None
        answers = (*_answer_of_model(model, len(answer.choices), selected), *_layouts(answer))
        parts = [Group(*answers), _layers(model, answer)]
        parts += [Group(*_why(answer)), _totals(model, answer)]
    steps = [Sentence(line) for line in next_step(answer)]
    return spaced(*parts, *(Group(*lines) for lines in (list(_confidence(answer)), remarks, steps) if lines))


def _answer_of_one(choice: LayerChoice) -> Text:
    winner, lead, level = choice.ranked[0], choice.lead, choice.level
    sentence = f", {_about(winner)}{duration(winner.call_s)} a call"
    sentence += f", level with {_names(level)}" if level else ""
    sentence += f"; {times(lead.ratio.value)} over {lead.time.backend} {_between(lead.ratio)}" if lead else ""
    return Text().append(winner.backend, style="bold green").append(f"{sentence}.")


def _answer_of_model(model: ModelChoice, layers: int, selected: bool) -> Iterator[Text]:
    single, known = model.single, len(model.choices)
    about = "~" if any(choice.ranked[0].basis == "predicted" for choice in model.choices) else ""
    if single is None:
        yield Text("No backend has a time on every layer, so none can be named for all of them.", style="bold")
    else:
        all_of_them = f"the {count(layers, 'layer')} that --where selects" if selected else "all layers"
        scope = all_of_them if known == layers else f"the {known} of {layers} layers with a known time"
        sentence = f" for {scope}: {about}{duration(single.known_s)} a pass"
        rival = next((total for total in model.totals if total.is_whole and total is not single), None)
        lead = model.lead(rival.backend, single.backend) if rival else None
        if rival is not None and lead is not None:
            word = ", level with " if lead.includes_one else f", {times(lead.value)} over "
            sentence += f"{word}{rival.backend} {_between(lead)}"
        yield Text().append(single.backend, style="bold green").append(f"{sentence}.")
    used = len({choice.ranked[0].backend for choice in model.choices})
    best = f"The fastest for each layer: {about}{duration(model.best_s)} a pass with {used} backends"
    lead = model.lead(single.backend) if single else None
    if lead is not None:
        best += f", {percent(1 - 1 / lead.value)} % less" if lead.value > 1.0005 else ", no less"
    yield Text(f"{best}; a bound, because it does not include handing tensors over.")
    if differences := model.differences():
        shown = differences[:_MOST_DIFFERENCES]
        parts = [
            f"{d.choice.case.layer or d.choice.case.name} ({d.choice.ranked[0].backend}, {milliseconds(d.saved_s)} ms)"
            for d in shown
        ]
        share = sum(d.saved_s for d in shown) / sum(d.saved_s for d in differences)
        yield Text(f"{percent(share)} % of that lies in {_names(parts)}.")


def _layouts(answer: Answer) -> Iterator[Text]:
    """In which layout a torch model would follow the choices."""
    if not answer.layouts:
        return
    best, *others = answer.layouts
    kept = f"A plan keeps to one layout of tensors, {best.layout}: {duration(best.pass_s)} a pass"
    kept += f" by {_names(best.backends)}" if len(best.backends) < 4 else f" with {len(best.backends)} backends"
    beside = "; ".join(f"{other.layout} {duration(other.pass_s)}" for other in others)
    yield Text(f"{kept} ({beside})." if beside else f"{kept}.")


def _layers(model: ModelChoice, answer: Answer) -> RenderableType:
    """A row for each layer, or for the layers that take the most time of a pass."""
    longest = sorted(model.choices, key=lambda c: -c.case.count * c.ranked[0].call_s)[:_MOST_LAYERS]
    shown = [choice for choice in model.choices if choice in longest]
    calls = aligned([milliseconds(choice.ranked[0].call_s) for choice in shown])
    rows = []
    for choice, ms in zip(shown, calls, strict=True):
        name, winner = choice.case.layer or choice.case.name, choice.ranked[0]
        short = name if len(name) <= _WIDEST_NAME else f"{name[:12]}…{name[-15:]}"
        fastest = Text(winner.backend, style="bold green")
        rows.append((short, str(choice.case.count), fastest, _about(winner) + ms, *_next(choice)))
    headers = ("layer", "times", "fastest", "ms", "next", "takes", "95 %", "")
    applies = _applies([[choice.ranked[0]] for choice in shown], answer)
    table = _table(headers, rows, applies, right=(1, 3, 5), drops=(6, 1, 8, 5, 4, 7))
    left = len(model.choices) - len(shown)
    return Group(table, Text(f"... and {left} layers that take less; --json has all.", style="dim")) if left else table


def _applies(times: Sequence[Sequence[BackendTime]], answer: Answer) -> list[str]:
    """For each row whether `convbench.apply` can use what has these times; empty where that is unknown or no matter."""
    if answer.request.purpose is not None or is_onnx(answer.request.model):
        return []
    known = [{is_applicable(time.record) for time in row if time.record is not None} - {None} for row in times]
    cells = ["" if not values else "no" if False in values else "yes" for values in known]
    return cells if any(cells) else []


def _table(
    headers: Sequence[str], rows: Sequence[Sequence[str | Text]], applies: Sequence[str], **layout: Any
) -> RenderableType:
    """A table with the column `apply`, if there is something in it."""
    if not applies:
        columns = len(headers)
        return plain_table(headers, rows, **layout | {"drops": [i for i in layout["drops"] if i < columns]})
    return plain_table((*headers, "apply"), [(*row, cell) for row, cell in zip(rows, applies, strict=True)], **layout)


def _why(answer: Answer) -> Iterator[Text]:
    """A line for each backend that is the fastest on some layer, with the layers that it wins and how it computes."""
    won: dict[str, list[LayerChoice]] = {}
    for choice in answer.model.choices:
        won.setdefault(choice.ranked[0].backend, []).append(choice)
    widest = max(map(len, won), default=0)
    for backend, choices in sorted(won.items(), key=lambda item: -len(item[1])):
        name = Text().append(backend.ljust(widest), style="bold green")
        yield name.append(f"  {explanation_of_winner(choices, answer.limits)}")


def _next(choice: LayerChoice) -> tuple[str, str, str, Text]:
    """The backend that decides whether this is a tie, how many times as long it takes, and with how many it is one."""
    rival = choice.nearest
    if rival is None:
        return "–", "", "", Text("alone", style="dim")
    word = "" if not rival.level else f"tie of {len(choice.level) + 1}" if len(choice.level) > 1 else "tie"
    return rival.time.backend, times(rival.ratio.value), _between(rival.ratio), Text(word, style="green")


def _ranking(choice: LayerChoice, answer: Answer) -> RenderableType:
    """A row for each backend on one problem."""
    ranked = choice.ranked
    spans = interval_column((t.low_s * 1e3, t.high_s * 1e3, t.covers) for t in ranked)
    rivals = {rival.time.backend: rival for rival in choice.rivals}
    rows = []
    for timed, ms, span in zip(ranked, aligned([milliseconds(t.call_s) for t in ranked]), spans, strict=True):
        rival = rivals.get(timed.backend)
        over = (times(rival.ratio.value), _between(rival.ratio)) if rival else ("", "")
        name = Text(timed.backend, style="bold green" if rival is None or rival.level else "")
        mark = Text("level" if rival and rival.level else "", style="green")
        rows.append((name, _about(timed) + ms, span, *over, mark, explanation(timed, answer.limits)))
    headers = ("backend", "ms", "95 % interval ms", "takes", "95 %", "", "how")
    applies = _applies([[timed] for timed in ranked], answer)
    return _table(headers, rows, applies, right=(1, 2, 3), wraps=(6,), drops=(2, 6, 4))


def _totals(model: ModelChoice, answer: Answer) -> RenderableType:
    """A row for each backend over all layers, below the bound."""
    shown = model.totals[:_MOST_TOTALS]
    seconds = [total.known_s if total.is_whole else total.expected_s for total in shown]
    passes = aligned(["–" if s is None else milliseconds(s) for s in (model.best_s, *seconds)])
    firsts = aligned(["–" if t.first_s is None else significant(t.first_s) for t in shown])
    rows = [(Text("fastest for each", style="dim"), str(len(model.choices)), passes[0], "", "", "", "")]
    for total, call_s, ms, first in zip(shown, seconds, passes[1:], firsts, strict=True):
        lead = model.lead(total.backend) if total.is_whole else None
        at_least = "" if total.is_whole or call_s is None else "≥ "
        takes = times(lead.value) if lead else "" if call_s is None else at_least + times(call_s / model.best_s)
        name = Text(total.backend, style="bold green" if total is model.single else "")
        memory = "–" if total.peak_bytes is None else f"{total.peak_bytes / 2**20:,.0f}"
        rows.append((name, str(total.layers), at_least + ms, takes, _between(lead) if lead else "", first, memory))
    headers = ("all layers by", "layers", "a pass ms", "takes", "95 %", "first answers s", "memory MiB")
    times_of = [[time for choice in model.choices if (time := choice.of(t.backend)) is not None] for t in shown]
    applies = _applies([[], *times_of], answer)
    lines: list[RenderableType] = [_table(headers, rows, applies, right=(1, 2, 3, 5, 6), drops=(6, 5, 4, 1))]
    if any(not total.is_whole and total.expected_s is not None for total in shown):
        behind = f"≥ counts {LEFT_OUT_IS_BEHIND} times the fastest's time for layers that the backend did not run."
        lines.append(Text(behind, style="dim"))
    if hidden := len(model.totals) - len(shown):
        lines.append(Text(f"... and {hidden} more backends; --json has all.", style="dim"))
    return Group(*lines)


def _confidence(answer: Answer) -> Iterator[Text]:
    """How certain the answer is, and on what evidence."""
    choices = answer.model.choices
    ties = sum(bool(choice.level) for choice in choices)
    alone = sum(len(choice.ranked) == 1 for choice in choices)
    if len(choices) > 1:
        clear = len(choices) - ties - alone
        sentence = f"{clear} of {len(choices)} layers have a clear fastest backend, {ties} a tie"
        sentence += f", {alone} a single backend" if alone else ""
        tie = percent(answer.request.tie)
        yield Text(f"{sentence}; a tie is a ratio whose 95 % interval contains 1 or lies within {tie} %.")
    if circles := sum(choice.is_circle for choice in choices):
        where = "" if len(choices) == 1 else f" on {count(circles, 'layer')}"
        yield Text(
            f"A ratio below 1: backends beat each other in a circle{where}, in rounds apart; that is a tie, too."
        )
    if not answer.request.measures:
        when = f" of {' to '.join(answer.days)}" if answer.days else ""
        threads = count(answer.request.threads, "thread")
        yield Text(f"From records of {answer.machine}{when}, {threads}; nothing was measured now.")
    if predicted := sum(choice.ranked[0].basis == "predicted" for choice in choices):
        layers = count(predicted, "layer was", "layers were")
        how = "predicted from similar layers that were, with an interval that covers 90 % of such layers"
        yield Text(f"~ {layers} never measured: {how}.")


def _about(time: BackendTime) -> str:
    return "~" if time.basis == "predicted" else ""


def _between(ratio: Ratio) -> str:
    return interval_text(ratio.low, ratio.high, ratio.covers)


# --- what is missing, and why -----------------------------------------------------------------------------------------


def _notes(answer: Answer) -> Iterator[Text]:
    """Layers without a choice, and backends that were not timed, were wrong or broken, or did not run."""
    missing = [choice.case.layer or choice.case.name for choice in answer.choices if not choice.ranked]
    if missing and answer.model.choices:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        yield Text(f"Without a choice: {', '.join(missing[:3])}{more}.", style="yellow")
    groups: dict[tuple[str, Status], list[Record]] = {}
    for record in (record for choice in answer.choices for record in choice.untimed):
        groups.setdefault((record["backend"], Status(record["status"])), []).append(record)
    not_timed: dict[str, list[str]] = {}
    absent: list[str] = []
    for (backend, status), records in groups.items():
        if status.is_failure:
            yield Text(f"{backend} {status}{_where_and_why(records, answer)}", style="red")
        elif records[0].get("reason") in CANNOT_BE_APPLIED:
            continue  # `_left_out` says so
        elif status is Status.UNAVAILABLE and not any(is_exact(name) for name in answer.request.backends):
            absent.append(backend)
        elif status is not Status.OK:
            not_timed.setdefault(_where_and_why(records, answer), []).append(backend)
    for reason, backends in not_timed.items():
        yield Text(f"{_names(backends)} not timed{reason}", style="dim")
    if absent:
        yield Text(absent_sentence(absent), style="dim")
    yield from _left_out(answer)


def _where_and_why(records: Sequence[Record], answer: Answer) -> str:
    """Of the records of one backend with one status: on how many layers, and the reason on the first of them."""
    where = "" if len(records) == len(answer.choices) else f" on {count(len(records), 'layer')}"
    reasons = list(dict.fromkeys(str(r.get("reason") or Status(r["status"]).sentence) for r in records))
    return f"{where}: {reasons[0]}{' (and the like)' if len(reasons) > 1 else ''}"


def _left_out(answer: Answer) -> Iterator[Text]:
    """The backends that did not compete, and those not run because of other layers or, for one problem, of earlier
    records."""
    reasons: dict[str, list[str]] = {}
    for choice in answer.choices:
        refused = {r["backend"]: str(r["reason"]) for r in choice.untimed if r.get("reason") in CANNOT_BE_APPLIED}
        for backend, reason in {**refused, **choice.left_out}.items():
            reasons.setdefault(backend, []).append(reason)
    out_of_it: dict[str, list[str]] = {}
    for backend, (first, *_) in list(reasons.items()):
        if first.startswith(COMPUTES) or first in CANNOT_BE_APPLIED:
            out_of_it.setdefault(first, []).append(backend)
            del reasons[backend]
    for reason, backends in out_of_it.items():
        yield Text(f"{_names(backends)} did not compete: it {reason}.", style="dim")
    if reasons and len(answer.choices) == 1:
        parts = [f"{backend} ({first})" for backend, (first, *_) in reasons.items()]
        more = [f"{len(parts) - _MOST_LEFT_OUT} more"] if len(parts) > _MOST_LEFT_OUT else []
        named = _names([*parts[:_MOST_LEFT_OUT], *more])
        yield Text(f"Not run, because of earlier records of this machine: {named}.", style="dim")
        yield Text("Up to three backends that --backend names are all run.", style="dim")
    elif reasons:
        most = sorted(reasons.items(), key=lambda item: -len(item[1]))
        parts = [f"{backend} on {len(layers)}" for backend, layers in most[:_MOST_LEFT_OUT]]
        parts += [f"{len(most) - _MOST_LEFT_OUT} more on fewer"] if len(most) > _MOST_LEFT_OUT else []
        where = "not run on layers similar to layers on which they were far behind"
        yield Text(f"Of {count(len(answer.choices), 'layer')}, {where}: {_names(parts)}.", style="dim")


def _names(backends: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(backends[:-1]), *backends[-1:])))
