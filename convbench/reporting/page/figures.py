"""The figures of a report, as Vega-Lite specifications: data, so that a label stays a label.

A specification names its data and holds none. The page fills in the rows that its reader has selected, `standalone.py`
those of one figure. This module is imported where Altair is installed, which the extra `report` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

_POINT, _WIDTH, _HEIGHT = 55, "container", 340
_FIT = {"type": "fit-x", "contains": "padding"}
_LOGARITHMIC = alt.Scale(type="log", nice=False, padding=24)  # a round power of ten would leave most of it empty
_PAIR = ("backend", "case", "median_ms", "low_ms", "high_ms", "gflops")


@dataclass(frozen=True)
class FigureTemplate:
    """A figure without rows: the name of its data in the page, the field without which a row is not in it, a title, a
    sentence on how to read it, the specification, and what one can do with it in the page."""

    data: str
    needs: str
    title: str
    caption: str
    specification: Mapping[str, Any]
    hint: str = ""

    @property
    def data_names(self) -> list[str]:
        """The names of all data that it draws, its own first."""
        return list(dict.fromkeys((self.data, *sorted(_data_names(self.specification)))))


def _data_names(specification: Any) -> set[str]:
    """The names of the data in a specification or a part of it."""
    if isinstance(specification, Mapping):
        own = specification.get("data")
        names = {str(own["name"])} if isinstance(own, Mapping) and "name" in own else set()
        return names.union(*map(_data_names, specification.values()))
    if isinstance(specification, list):
        return set().union(*map(_data_names, specification))
    return set()


def figure_templates() -> tuple[FigureTemplate, ...]:
    """All figures, in the order of the page. One whose data are empty is not shown."""
    return (
        _changes(),
        _time_against_work(),
        _heat_map(),
        _layers(),
        _roofline(),
        _first_answer(),
        _memory(),
        _scaling(),
        _machines(),
        _history(),
    )


def samples_figure() -> Mapping[str, Any]:
    """The samples of one pair by round: the page opens it for a row of its table."""
    base = alt.Chart(alt.NamedData("samples"))
    points = base.mark_circle(size=_POINT).encode(
        alt.X("round:Q", title="round", axis=alt.Axis(tickMinStep=1)),
        alt.Y("ms:Q", title="ms a call", scale=alt.Scale(zero=False)),
        alt.Color("process:N", title="process"),
        tooltip=["round:Q", "process:N", "ms:Q"],
    )
    band = base.mark_rect(opacity=0.12).encode(alt.Y("min(low_ms):Q"), alt.Y2("max(high_ms):Q"))
    median = base.mark_rule(strokeDash=[4, 3]).encode(alt.Y("mean(median_ms):Q"))
    return _finished(band + median + points, 300)


def _time_against_work() -> FigureTemplate:
    base = alt.Chart(alt.NamedData("rows")).transform_filter("isValid(datum.median_ms)")
    chosen = alt.selection_point(fields=["backend"], bind="legend")
    x = alt.X("mflop:Q", scale=_LOGARITHMIC, title="work, MFLOP a call")
    faded = alt.condition(chosen, alt.value(1.0), alt.value(0.06))
    points = base.mark_point(filled=True, size=_POINT).encode(
        x, _logarithmic_ms("median_ms"), _colour(), opacity=faded, tooltip=_tooltip(*_PAIR, "layer", "conditions")
    )
    intervals = base.mark_rule().encode(x, _logarithmic_ms("low_ms"), alt.Y2("high_ms"), _colour(), opacity=faded)
    return FigureTemplate(
        "rows",
        "median_ms",
        "Time against work",
        "Each point is a case, with its 95 % interval.",
        _finished((intervals + points.add_params(chosen)), 420),
        "Click a backend in the legend to see it alone.",
    )


def _heat_map() -> FigureTemplate:
    refusals = "['unavailable', 'unsupported']"
    base = (
        alt.Chart(alt.NamedData("rows"))
        .transform_calculate(
            times="datum.share ? 1 / datum.share : null",
            shown="datum.share ? format(1 / datum.share, datum.share > 0.1 ? '.2f' : '.0f') : datum.status",
            answered=f"indexof({refusals}, datum.status) < 0 ? 1 : 0",
        )
        .transform_joinaggregate(answers="sum(answered)", groupby=["backend"])
        .transform_filter("datum.answers > 0")
    )
    x, y = alt.X("backend:N", title=None, axis=alt.Axis(labelAngle=-40)), alt.Y("case:N", title=None, sort=None)
    cells = base.mark_rect().encode(
        x,
        y,
        alt.Color(
            "times:Q",
            title="times the fastest",
            scale=alt.Scale(type="log", domain=[1, 10], clamp=True, range=["#2da44e", "#ffe08a", "#e5534b"]),
        ),
        tooltip=_tooltip(*_PAIR, "times", "status", "reason"),
    )
    is_timed = alt.condition("isValid(datum.share)", alt.value("#000"), alt.value("#888"))
    words = base.mark_text(fontSize=10).encode(x, y, alt.Text("shown:N"), color=is_timed)
    return FigureTemplate(
        "rows",
        "share",
        "Backends by cases",
        "How many times as long as the fastest backend of its case each backend takes. 1 is the fastest. An "
        "empty cell was not measured; a backend that can compute none of them is left out.",
        _finished(cells + words, alt.Step(17)),
    )


def _layers() -> FigureTemplate:
    base = alt.Chart(alt.NamedData("layers"))
    y = alt.Y("case:N", sort=None, title=None)
    bars = base.mark_bar().encode(
        alt.X("pass_ms:Q", title="ms per pass"),
        y,
        _colour(),
        tooltip=_tooltip("case", "layer", "count", "backend", "pass_ms"),
    )
    ticks = base.mark_tick(thickness=2, color="#888").encode(
        alt.X("single_ms:Q"), y, tooltip=_tooltip("case", "single", "single_ms")
    )
    return FigureTemplate(
        "layers",
        "pass_ms",
        "Layer by layer",
        "Milliseconds per pass of the model with the fastest backend of each layer; the tick is the best single "
        "backend.",
        _finished(bars + ticks, alt.Step(16)),
    )


def _roofline() -> FigureTemplate:
    x = alt.X("intensity:Q", scale=_LOGARITHMIC, title="work, FLOP for each byte moved")
    y = alt.Y("gflops:Q", scale=_LOGARITHMIC, title="GFLOP/s")
    lines = (
        alt.Chart(alt.NamedData("roof"))
        .mark_line(color="#888")
        .encode(x, y, alt.Detail("limit:N"), strokeDash=alt.StrokeDash("limit:N", title="limit"))
    )
    points = (
        alt.Chart(alt.NamedData("rows"))
        .transform_filter("isValid(datum.intensity) && isValid(datum.median_ms)")
        .mark_point(filled=True, size=_POINT)
        .encode(x, y, _colour(), tooltip=_tooltip(*_PAIR, "intensity", "limit"))
    )
    return FigureTemplate(
        "roof",
        "gflops",
        "Roofline",
        "The lines are what this machine was measured to do at most. A point far below its line leaves time on the "
        "table. Winograd and FFT multiply less often than is counted, and may pass it.",
        _finished(lines + points),
    )


def _first_answer() -> FigureTemplate:
    points = alt.Chart(alt.NamedData("rows")).transform_filter("datum.first_ms > 0 && isValid(datum.median_ms)")
    return FigureTemplate(
        "rows",
        "first_ms",
        "First answer against steady time",
        "The first answer includes preparing and compiling; the steady time is that of later calls.",
        _finished(
            points.mark_point(filled=True, size=_POINT).encode(
                alt.X("median_ms:Q", scale=_LOGARITHMIC, title="later calls, ms"),
                _logarithmic_ms("first_ms", "first answer, ms"),
                _colour(),
                tooltip=_tooltip("backend", "case", "first_ms", "median_ms"),
            )
        ),
    )


def _memory() -> FigureTemplate:
    bars = alt.Chart(alt.NamedData("rows")).transform_filter("isValid(datum.peak_mib)").mark_bar()
    return FigureTemplate(
        "rows",
        "peak_mib",
        "Memory",
        "The most memory that a backend's process held, over all cases.",
        _finished(
            bars.encode(
                alt.X("max(peak_mib):Q", title="peak, MiB"),
                alt.Y("backend:N", title=None, sort="x"),
                tooltip=[alt.Tooltip("backend:N"), alt.Tooltip("max(peak_mib):Q", title="peak, MiB", format=",.0f")],
            ),
            alt.Step(20),
        ),
    )


def _scaling() -> FigureTemplate:
    base = alt.Chart(alt.NamedData("scaling"))
    x = alt.X("threads:O", title="threads", axis=alt.Axis(labelAngle=0))
    line = base.mark_line(point=True).encode(
        x,
        alt.Y("speedup:Q", title="speed-up"),
        _colour(),
        tooltip=_tooltip("backend", "suite", "threads", "speedup", "low", "high"),
    )
    ideal = base.mark_line(color="#888", strokeDash=[4, 3]).encode(x, alt.Y("ideal:Q"))
    return FigureTemplate(
        "scaling",
        "speedup",
        "Scaling over threads",
        "Speed-up over the fewest threads, a geometric mean over the cases, with its 95 % interval.",
        _finished(ideal + line + base.mark_rule().encode(x, alt.Y("low:Q"), alt.Y2("high"), _colour())),
    )


def _machines() -> FigureTemplate:
    bars = alt.Chart(alt.NamedData("machines")).mark_bar()
    return FigureTemplate(
        "machines",
        "total_ms",
        "Conditions side by side",
        "All cases of the suite together, each as often as the model has it, for backends that ran every case.",
        _finished(
            bars.encode(
                alt.X("total_ms:Q", title="ms for the whole suite"),
                alt.Y("backend:N", title=None, sort="x"),
                alt.Color("where:N", title="conditions", legend=alt.Legend(orient="top", columns=1, labelLimit=600)),
                alt.YOffset("where:N"),
                tooltip=_tooltip("where", "suite", "backend", "total_ms"),
            ),
            alt.Step(14),
        ),
    )


def _history() -> FigureTemplate:
    base = alt.Chart(alt.NamedData("history"))
    x = alt.X("place:O", title=None, sort=None, axis=alt.Axis(labelAngle=-40, labelLimit=120))
    line = base.mark_line(point=True).encode(
        x, _logarithmic_ms("median_ms"), _colour(), alt.Detail("series:N"),
        tooltip=_tooltip("series", "place", "date", "median_ms", "low_ms", "high_ms", "implementation"),
    )  # fmt: skip
    intervals = base.mark_rule(opacity=0.5).encode(x, _logarithmic_ms("low_ms"), alt.Y2("high_ms"), _colour())
    steps = (
        base.transform_filter("isValid(datum.step)")
        .mark_rule(strokeDash=[4, 3])
        .encode(x, tooltip=_tooltip("series", "place", "step"))
    )
    # The intervals have all places, and so their order.
    return FigureTemplate(
        "history",
        "median_ms",
        "History",
        "The median of each run with its 95 % interval. A vertical line is a step that the trend test finds.",
        _finished(intervals + line + steps),
    )


def _changes() -> FigureTemplate:
    base = alt.Chart(alt.NamedData("changes"))
    y = alt.Y("pair:N", sort=None, title=None)
    verdicts = alt.Scale(
        domain=["slower", "faster", "same", "unclear"], range=["#cf222e", "#1a7f37", "#8c959f", "#bf8700"]
    )
    colour = alt.Color("verdict:N", scale=verdicts, title=None)
    x = alt.X("ratio:Q", scale=alt.Scale(type="log"), title="new time over base time")
    points = base.mark_point(filled=True, size=_POINT).encode(
        x, y, colour, tooltip=_tooltip("pair", "ratio", "low", "high", "base_ms", "new_ms", "verdict", "implementation")
    )
    intervals = base.mark_rule().encode(alt.X("low:Q", scale=alt.Scale(type="log")), alt.X2("high"), y, colour)
    one = base.mark_rule(strokeDash=[4, 3], color="#888").encode(x=alt.datum(1))
    return FigureTemplate(
        "changes",
        "ratio",
        "What changed",
        "New time over base time with its 95 % interval. Right of 1 is slower.",
        _finished(one + intervals + points, alt.Step(16)),
    )


def _colour() -> alt.Color:
    return alt.Color("backend:N", title="backend", scale=alt.Scale(scheme="tableau20"))


def _logarithmic_ms(field: str, title: str = "ms a call") -> alt.Y:
    return alt.Y(f"{field}:Q", scale=_LOGARITHMIC, title=title)


_FORMATS = {"median_ms": ".4~g", "low_ms": ".4~g", "high_ms": ".4~g", "gflops": ".3~g", "limit": ".0%"}
_TITLES = {
    "median_ms": "median, ms",
    "low_ms": "low, ms",
    "high_ms": "high, ms",
    "gflops": "GFLOP/s",
    "limit": "of the limit",
}
_NUMBERS = {*"intensity times pass_ms single_ms first_ms total_ms ratio low high speedup base_ms new_ms".split()}


def _tooltip(*fields: str) -> list[alt.Tooltip]:
    tooltips = []
    for field in fields:
        is_number = field in _FORMATS or field in _NUMBERS
        form = alt.Undefined if not is_number else _FORMATS.get(field, ".4~g")
        title = _TITLES.get(field, field.replace("_ms", ", ms"))
        tooltips.append(alt.Tooltip(f"{field}:{'Q' if is_number else 'N'}", title=title, format=form))
    return tooltips


def _finished(chart: Any, height: Any = _HEIGHT) -> Mapping[str, Any]:
    """The specification, as wide as the page, without data and without Altair's own look."""
    specification = dict(chart.properties(width=_WIDTH, height=height, autosize=_FIT).to_dict())
    specification["config"] = {
        "axis": {"gridColor": "#888", "gridOpacity": 0.25},
        "axisX": {"tickCount": 8},
        "axisY": {"labelLimit": 320},
    }
    return specification
