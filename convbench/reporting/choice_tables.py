"""The answer of `convbench choose` in a terminal: first the answer, then what it rests on, then what to know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convbench.analysis.backend_times import BackendTime
from convbench.analysis.choice import LayerChoice
from convbench.analysis.explanation import explanation, explanation_of_winner
from convbench.analysis.model_total import LEFT_OUT_IS_BEHIND, ModelChoice
from convbench.reporting.choice_notes import notes
from convbench.reporting.console import plain_table
from convbench.reporting.numbers import aligned, duration, milliseconds, percent, significant
from convbench.runner.choose.answer import Answer, names
from convbench.stats.ratio import Ratio

_MOST_LAYERS, _MOST_TOTALS, _MOST_DIFFERENCES = 40, 8, 3
_WIDEST_NAME = 28


def answer_report(answer: Answer) -> RenderableType:
    """All that a person sees."""
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
    told = Text().append(winner.backend, style="bold green")
    told.append(f", {_about(winner.basis)}{duration(winner.call_s)} a call")
    if level:
        told.append(f", level with {names(level)}")
    if lead is not None:
        ahead = f"; {_times(lead.ratio.value)} over {lead.time.backend} {_between(lead.ratio)}"
        told.append(ahead)
    return told.append(".")


def _answer_of_model(answer: Answer) -> Iterator[Text]:
    model = answer.model
    single, about = model.single, "~" if answer.is_predicted else ""
    if single is None:
        yield Text("No backend has a time on every layer, so there is none for all of them.", style="bold")
    else:
        told = Text().append(single.backend, style="bold green")
        known, asked = len(model.choices), len(answer.choices)
        layers = "all layers" if known == asked else f"the {known} of {asked} layers of which something is known"
        told.append(f" for {layers}: {about}{duration(single.known_s)} a pass")
        rival = next((total for total in model.totals if total.is_whole and total is not single), None)
        lead = model.lead(rival.backend, single.backend) if rival else None
        if rival is not None and lead is not None:
            word = ", level with " if lead.includes_one else f", {_times(lead.value)} over "
            told.append(f"{word}{rival.backend} {_between(lead)}")
        yield told.append(".")
    used = len({choice.ranked[0].backend for choice in model.choices})
    best = f"The fastest for each layer: {about}{duration(model.best_s)} a pass with {used} backends"
    lead = model.lead(single.backend) if single else None
    if lead is not None:
        saved = f", {percent(1 - 1 / lead.value)} % less" if lead.value > 1.0005 else ", no less"
        best += saved
    yield Text(f"{best}; a bound: handing tensors over is not in it.")
    yield from _where(model)


def _where(model: ModelChoice) -> Iterator[Text]:
    found = model.differences()
    if not found:
        return
    whole = sum(one.saved_s for one in found)
    shown = found[:_MOST_DIFFERENCES]
    parts = [
        f"{one.choice.case.layer or one.choice.case.name} ({one.choice.ranked[0].backend}, "
        f"{milliseconds(one.saved_s)} ms)"
        for one in shown
    ]
    share = sum(one.saved_s for one in shown) / whole
    yield Text(f"{percent(share)} % of that lies in {names(parts)}.")


# --- the tables -------------------------------------------------------------------------------------------------------


def _layers(answer: Answer) -> RenderableType:
    """A row for each layer, those shown that take the most of a pass."""
    choices = sorted(answer.model.choices, key=lambda c: -c.case.count * c.ranked[0].call_s)[:_MOST_LAYERS]
    shown = [choice for choice in answer.model.choices if choice in choices]
    headers = ("layer", "times", "fastest", "ms", "next", "takes", "95 %")
    basis = [_about(choice.ranked[0].basis) for choice in shown]
    times = aligned([milliseconds(choice.ranked[0].call_s) for choice in shown])
    rows = [
        (
            _short(choice.case.layer or choice.case.name),
            str(choice.case.count),
            Text(choice.ranked[0].backend, style="bold green"),
            about + ms,
            *_next(choice),
        )
        for choice, about, ms in zip(shown, basis, times, strict=True)
    ]
    table = plain_table(headers, rows, right=(1, 3, 5))
    left = len(answer.model.choices) - len(shown)
    return Group(table, Text(f"... and {left} layers that take less; --json has all.", style="dim")) if left else table


def _why(answer: Answer) -> Iterator[Text]:
    """A line for each backend that is the fastest somewhere, with the layers that it wins and how it computes."""
    won: dict[str, list[LayerChoice]] = {}
    for choice in answer.model.choices:
        won.setdefault(choice.ranked[0].backend, []).append(choice)
    widest = max(map(len, won), default=0)
    for backend, choices in sorted(won.items(), key=lambda one: -len(one[1])):
        yield Text(backend.ljust(widest), style="bold green").append(
            f"  {explanation_of_winner(choices, answer.limits)}", style="not bold default"
        )


def _next(choice: LayerChoice) -> tuple[Text, str, Text]:
    """Who comes next, and how many times as long that takes; of a tie, that it is one, and with how many more."""
    rival, level = choice.runner_up, choice.level
    if rival is None:
        return Text("–"), "", Text()
    more = f" and {len(level) - 1} more" if len(level) > 1 and rival.level else ""
    between = Text(_between(rival.ratio))
    if rival.level:
        between.append(" tie" + more, style="green")
    return Text(rival.time.backend), _times(rival.ratio.value), between


def _ranking(choice: LayerChoice, answer: Answer) -> Table:
    """Of one problem: a row for each backend."""
    ranked = choice.ranked
    lows, highs = (aligned([milliseconds(one) for one in ends]) for ends in _ends(ranked))
    ratios = {rival.time.backend: rival for rival in choice.rivals}
    rows = []
    for timed, ms, low, high in zip(
        ranked, aligned([milliseconds(t.call_s) for t in ranked]), lows, highs, strict=True
    ):
        rival = ratios.get(timed.backend)
        over = (_times(rival.ratio.value), _between(rival.ratio)) if rival else ("", "")
        style = "bold green" if rival is None or rival.level else ""
        name = Text(timed.backend, style=style)
        mark = Text("level" if rival and rival.level else "", style="green")
        span = f"{low} {'–' if timed.covers else '…'} {high}"
        rows.append((name, _about(timed.basis) + ms, span, *over, mark, explanation(timed, answer.limits)))
    return plain_table(("backend", "ms", "95 % interval ms", "takes", "95 %", "", "how"), rows, right=(1, 2, 3))


def _totals(model: ModelChoice) -> RenderableType:
    """A row for each backend over all layers, and the bound above them."""
    shown = model.totals[:_MOST_TOTALS]
    seconds = [total.known_s if total.is_whole else total.expected_s for total in shown]
    passes = aligned(["–" if s is None else milliseconds(s) for s in (model.best_s, *seconds)])
    firsts = aligned(["–" if t.first_s is None else significant(t.first_s) for t in shown])
    rows = [(Text("fastest for each", style="dim"), str(len(model.choices)), passes[0], "", "", "", "")]
    for total, call_s, ms, first in zip(shown, seconds, passes[1:], firsts, strict=True):
        lead = model.lead(total.backend) if total.is_whole else None
        at_least = "" if total.is_whole or call_s is None else "≥ "
        takes = _times(lead.value) if lead else "" if call_s is None else at_least + _times(call_s / model.best_s)
        name = Text(total.backend, style="bold green" if total is model.single else "")
        memory = "–" if total.peak_bytes is None else f"{total.peak_bytes / 2**20:,.0f}"
        rows.append((name, str(total.layers), at_least + ms, takes, _between(lead) if lead else "", first, memory))
    headers = ("all layers by", "layers", "a pass ms", "takes", "95 %", "first answers s", "memory MiB")
    told = []
    if any(not total.is_whole and total.expected_s is not None for total in shown):
        told.append(f"≥ has {LEFT_OUT_IS_BEHIND} times the fastest's time on the layers that it was not asked on.")
    if hidden := len(model.totals) - len(shown):
        told.append(f"... and {hidden} more backends; --json has all.")
    return Group(plain_table(headers, rows, right=(1, 2, 3, 5, 6)), *(Text(note, style="dim") for note in told))


# --- the sentences after them -----------------------------------------------------------------------------------------


def _confidence(answer: Answer) -> Iterator[Text]:
    """How sure the answer is, and what it rests on."""
    choices = answer.model.choices
    ties = sum(bool(choice.level) for choice in choices)
    alone = sum(len(choice.ranked) == 1 for choice in choices)
    if len(choices) > 1:
        clear = len(choices) - ties - alone
        told = f"{clear} of {len(choices)} layers have a fastest beyond doubt, {ties} a tie"
        told += f", {alone} a single backend" if alone else ""
        yield Text(f"{told}; a tie is a ratio whose 95 % interval holds 1 or lies within {percent(answer.tie)} %.")
    if answer.is_recorded:
        days = " to ".join(answer.days)
        when = f" of {days}" if days else ""
        yield Text(f"From records of {answer.machine}{when}, {_threads(answer.threads)}; nothing was measured now.")
    predicted = [choice for choice in choices if choice.ranked[0].basis == "predicted"]
    if predicted:
        plural = "layer was" if len(predicted) == 1 else "layers were"
        yield Text(
            f"~ {len(predicted)} {plural} never measured: predicted from measured ones like them, with an interval "
            "that holds for 90 %."
        )


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _about(basis: str) -> str:
    return "~" if basis == "predicted" else ""


def _times(value: float) -> str:
    return f"{value:.2f}x" if value < 10 else f"{significant(value)}x"


def _between(ratio: Ratio) -> str:
    ends = (f"{end:.2f}" if end < 10 else significant(end) for end in (ratio.low, ratio.high))
    return f"[{', '.join(ends)}]" if ratio.covers else f"({' … '.join(ends)})"


def _ends(ranked: Sequence[BackendTime]) -> tuple[list[float], list[float]]:
    return [timed.low_s for timed in ranked], [timed.high_s for timed in ranked]


def _short(name: str) -> str:
    return name if len(name) <= _WIDEST_NAME else f"{name[:12]}…{name[-15:]}"
