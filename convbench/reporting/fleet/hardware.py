"""Which hardware: machines side by side with what a pass takes and costs on each."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.reporting.numbers import interval_text, milliseconds, significant
from convbench.reporting.tables import plain_table
from convbench.runner.choose.hardware import HardwareAnswer, MachineAnswer


def hardware_report(answer: HardwareAnswer) -> RenderableType:
    """A line for each machine, the fastest first, and a sentence on which is the fastest and which the cheapest."""
    priced = any(each.price_per_hour is not None for each in answer.machines)
    metered = any(each.images_per_j is not None for each in answer.machines)
    headers = ["machine", "CPU", "backend", "pass ms", "images/s", "range images/s"]
    headers += [f"{answer.currency} per hour", f"images per {answer.currency}"] if priced else []
    headers += ["images per J"] if metered else []
    rows = [_cells(each, priced, metered) for each in answer.machines]
    table = plain_table(headers, rows, right=tuple(range(3, len(headers))), wraps=(1,))
    return Group(table, Text(), *(Text(sentence) for sentence in _sentences(answer)))


def _cells(each: MachineAnswer, priced: bool, metered: bool) -> tuple[str, ...]:
    backend = each.backend or "none has a time on every layer"
    pass_ms = milliseconds(each.pass_s) if each.pass_s is not None else ""
    span = each.images_range
    cells = [each.machine, each.answer.cpu, backend, pass_ms, _figure(each.images_per_s)]
    cells.append("" if span is None else interval_text(*span, covers=False))
    cells += [_figure(each.price_per_hour), _figure(each.images_per_price)] if priced else []
    cells += [_figure(each.images_per_j)] if metered else []
    return tuple(cells)


def _figure(value: float | None) -> str:
    return "" if value is None else significant(value)


def _sentences(answer: HardwareAnswer) -> list[str]:
    sentences = []
    if (fastest := answer.fastest) is not None:
        level = " Its range overlaps with that of another: they are level." if answer.is_level else ""
        sentences.append(f"Fastest: {fastest.machine}, with {fastest.backend}.{level}")
    if (cheapest := answer.cheapest) is not None:
        sentences.append(f"Most images per {answer.currency}: {cheapest.machine}, with {cheapest.backend}.")
    return [*sentences, "Two machines are two sessions: small differences between them are noise."]
