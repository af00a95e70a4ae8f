"""The answer of `convbench choose`: first the answer itself, then its evidence, then notes."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convbench.analysis.choice import LayerChoice
from convbench.analysis.explanation import explanation, explanation_of_winner
from convbench.analysis.model_total import LEFT_OUT_IS_BEHIND, ModelChoice
from convbench.reporting.choice.notes import names, notes
from convbench.reporting.console import plain_table
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
from convbench.runner.choose.answer import Answer
from convbench.stats.ratio import Ratio

_MOST_LAYERS, _MOST_TOTALS, _MOST_DIFFERENCES = 40, 8, 3
_WIDEST_NAME = 28


def answer_report(answer: Answer) -> RenderableType:
    """Everything that the command shows of an answer."""
    model = answer.model
    if not model.choices:
        return Group(Text("There is no choice: nothing was timed.", style="bold"), *notes(answer))
    if len(answer.choices) == 1:
        parts: list[RenderableType] = [_answer_of_one(model.choices[0]), Text(), _ranking(model.choices[0], answer)]
    else:
        parts = [*_answer_of_model(answer), Text(), _layers(answer), Text(), *_why(answer), Text(), _totals(model)]
    confidence = list(_confidence(answer))
    left = list(notes(answer))
    return Group(*parts, Text(), *confidence, *([Text(), *left] if left else []))


# --- the first line ---------------------------------------------------------------------------------------------------


def _answer_of_one(choice: LayerChoice) -> Text:
    winner, lead, level = choice.ranked[0], choice.lead, choice.level
    sentence = Text().append(winner.backend, style="bold green")
    sentence.append(f", {_about(winner.basis)}{duration(winner.call_s)} a call")
    if level:
        sentence.append(f", level with {names(level)}")
    if lead is not None:
        sentence.append(f"; {times(lead.ratio.value)} over {lead.time.backend} {_between(lead.ratio)}")
    return sentence.append(".")


def _answer_of_model(answer: Answer) -> Iterator[Text]:
    model = answer.model
    single = model.single
    about = "~" if any(choice.ranked[0].basis == "predicted" for choice in model.choices) else ""
    if single is None:
        yield Text("No backend has a time on every layer, so none can be named for all of them.", style="bold")
    else:
        sentence = Text().append(single.backend, style="bold green")
        known, total_layers = len(model.choices), len(answer.choices)
        layers = "all layers" if known == total_layers else f"the {known} of {total_layers} layers with a known time"
        sentence.append(f" for {layers}: {about}{duration(single.known_s)} a pass")
        rival = next((total for total in model.totals if total.is_whole and total is not single), None)
        lead = model.lead(rival.backend, single.backend) if rival else None
        if rival is not None and lead is not None:
            word = ", level with " if lead.includes_one else f", {times(lead.value)} over "
            sentence.append(f"{word}{rival.backend} {_between(lead)}")
        yield sentence.append(".")
    used = len({choice.ranked[0].backend for choice in model.choices})
    best = f"The fastest for each layer: {about}{duration(model.best_s)} a pass with {used} backends"
    lead = model.lead(single.backend) if single else None
    if lead is not None:
        saved = f", {percent(1 - 1 / lead.value)} % less" if lead.value > 1.0005 else ", no less"
        best += saved
    yield Text(f"{best}; a bound, because it does not include handing tensors over.")
    yield from _where(model)


def _where(model: ModelChoice) -> Iterator[Text]:
    differences = model.differences()
    if not differences:
        return
    whole = sum(difference.saved_s for difference in differences)
    shown = differences[:_MOST_DIFFERENCES]
    parts = [
        f"{d.choice.case.layer or d.choice.case.name} ({d.choice.ranked[0].backend}, {milliseconds(d.saved_s)} ms)"
        for d in shown
    ]
    share = sum(difference.saved_s for difference in shown) / whole
    yield Text(f"{percent(share)} % of that lies in {names(parts)}.")


# --- the tables -------------------------------------------------------------------------------------------------------


def _layers(answer: Answer) -> RenderableType:
    """A row for each layer, or for the layers that take the most time of a pass."""
    choices = sorted(answer.model.choices, key=lambda c: -c.case.count * c.ranked[0].call_s)[:_MOST_LAYERS]
    shown = [choice for choice in answer.model.choices if choice in choices]
    headers = ("layer", "times", "fastest", "ms", "next", "takes", "95 %")
    basis = [_about(choice.ranked[0].basis) for choice in shown]
    texts = aligned([milliseconds(choice.ranked[0].call_s) for choice in shown])
    rows = [
        (
            _short(choice.case.layer or choice.case.name),
            str(choice.case.count),
            Text(choice.ranked[0].backend, style="bold green"),
            about + ms,
            *_next(choice),
        )
        for choice, about, ms in zip(shown, basis, texts, strict=True)
    ]
    table = plain_table(headers, rows, right=(1, 3, 5))
    left = len(answer.model.choices) - len(shown)
    return Group(table, Text(f"... and {left} layers that take less; --json has all.", style="dim")) if left else table


def _why(answer: Answer) -> Iterator[Text]:
    """A line for each backend that is the fastest on some layer, with the layers that it wins and how it computes."""
    won: dict[str, list[LayerChoice]] = {}
    for choice in answer.model.choices:
        won.setdefault(choice.ranked[0].backend, []).append(choice)
    widest = max(map(len, won), default=0)
    for backend, choices in sorted(won.items(), key=lambda item: -len(item[1])):
        yield Text(backend.ljust(widest), style="bold green").append(
            f"  {explanation_of_winner(choices, answer.limits)}", style="not bold default"
        )


def _next(choice: LayerChoice) -> tuple[Text, str, Text]:
    """The backend that comes next, how many times as long it takes, and whether it is a tie, with how many more."""
    rival, level = choice.runner_up, choice.level
    if rival is None:
        return Text("–"), "", Text()
    more = f" and {len(level) - 1} more" if len(level) > 1 and rival.level else ""
    between = Text(_between(rival.ratio))
    if rival.level:
        between.append(" tie" + more, style="green")
    return Text(rival.time.backend), times(rival.ratio.value), between


def _ranking(choice: LayerChoice, answer: Answer) -> Table:
    """A row for each backend on one problem."""
    ranked = choice.ranked
    spans = interval_column((t.low_s * 1e3, t.high_s * 1e3, t.covers) for t in ranked)
    ratios = {rival.time.backend: rival for rival in choice.rivals}
    rows = []
    for timed, ms, span in zip(ranked, aligned([milliseconds(t.call_s) for t in ranked]), spans, strict=True):
        rival = ratios.get(timed.backend)
        over = (times(rival.ratio.value), _between(rival.ratio)) if rival else ("", "")
        style = "bold green" if rival is None or rival.level else ""
        name = Text(timed.backend, style=style)
        mark = Text("level" if rival and rival.level else "", style="green")
        rows.append((name, _about(timed.basis) + ms, span, *over, mark, explanation(timed, answer.limits)))
    return plain_table(("backend", "ms", "95 % interval ms", "takes", "95 %", "", "how"), rows, right=(1, 2, 3))


def _totals(model: ModelChoice) -> RenderableType:
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
    remarks = []
    if any(not total.is_whole and total.expected_s is not None for total in shown):
        remarks.append(
            f"≥ counts {LEFT_OUT_IS_BEHIND} times the fastest's time for layers that the backend did not run."
        )
    if hidden := len(model.totals) - len(shown):
        remarks.append(f"... and {hidden} more backends; --json has all.")
    table = plain_table(headers, rows, right=(1, 2, 3, 5, 6))
    return Group(table, *(Text(remark, style="dim") for remark in remarks))


# --- the sentences after them -----------------------------------------------------------------------------------------


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
    if not answer.request.measures:
        days = " to ".join(answer.days)
        when = f" of {days}" if days else ""
        threads = count(answer.request.threads, "thread", "threads")
        yield Text(f"From records of {answer.machine}{when}, {threads}; nothing was measured now.")
    predicted = [choice for choice in choices if choice.ranked[0].basis == "predicted"]
    if predicted:
        plural = "layer was" if len(predicted) == 1 else "layers were"
        yield Text(
            f"~ {len(predicted)} {plural} never measured: predicted from similar layers that were, with an interval "
            "that covers 90 % of such layers."
        )


def _about(basis: str) -> str:
    return "~" if basis == "predicted" else ""


def _between(ratio: Ratio) -> str:
    return interval_text(ratio.low, ratio.high, ratio.covers)


def _short(name: str) -> str:
    return name if len(name) <= _WIDEST_NAME else f"{name[:12]}…{name[-15:]}"
