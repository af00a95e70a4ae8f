"""The tables of the mutation score, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from criteria import CRITERIA
from mutants_judged import NAMES, Judged
from rich.console import RenderableType
from rich.text import Text

from convbench.reporting.tables import plain_table

NUMBERS = tuple(str(number) for number in range(1, len(NAMES) + 1))
_CAUGHT, _MISSED = "●", "·"


def backends_table(judged: Sequence[Judged]) -> RenderableType:
    """A line for each fault and each control."""
    headers = ["fault", "needs", "shows", "verify", "check", "after", "s", "".join(NUMBERS)]
    return plain_table(headers, [_cells(one) for one in judged], right=(1, 2, 5, 6))


def _cells(one: Judged) -> list[str | Text]:
    label = one.backend.removeprefix("fault-")
    needs = "" if one.fault is None else str(len(one.fault.conditions))
    shows = f"{one.differs}/{one.problems}" if one.problems else ""
    marks = "".join(_CAUGHT if name in one.objections else _MISSED for name in NAMES)
    if one.verified is None:
        return [label, needs, shows, "", "", "", "", marks]
    verdict = Text(one.verified.status, style="green" if one.as_it_should_be else "bold red")
    figures = [f"{one.verified.questions:,}", f"{one.verified.seconds:.1f}"]
    return [label, needs, shows, verdict, one.verified.check or "", *figures, marks]


def score_table(judged: Sequence[Judged]) -> RenderableType:
    """Faults caught, by family."""
    families: dict[str, list[Judged]] = {}
    for one in judged:
        if one.fault is not None:
            families.setdefault(one.fault.family, []).append(one)
    rows = [_counts(family, members) for family, members in families.items()]
    rows.append(_counts("all faults", [one for one in judged if not one.is_control]))
    rows.append(_counts("controls objected to", [one for one in judged if one.is_control]))
    return plain_table(["", "number", "verify", *NUMBERS], rows, right=range(1, len(NUMBERS) + 3))


def _counts(label: str, judged: Sequence[Judged]) -> list[str | Text]:
    asked = [one for one in judged if one.verified is not None]
    by_verify = str(sum(one.verified.caught for one in asked if one.verified)) if asked else "–"
    return [label, str(len(judged)), by_verify, *(str(sum(n in one.objections for one in judged)) for n in NAMES)]


def legend(judged: Sequence[Judged]) -> RenderableType:
    """What the numbered columns are."""
    sources = [*(criterion.source for criterion in CRITERIA), "the six node tests of Conv that come with onnx"]
    lines = [f"{number}  {name}: {source}" for number, name, source in zip(NUMBERS, NAMES, sources, strict=True)]
    lines.append("needs: conditions on the problem; shows: plain calls with another answer than the correct one's")
    lines.append("after: questions until the first failure, and seconds; 1 to 7: a plain call for each problem")
    return Text("\n".join(lines), style="dim")


def sentence(judged: Sequence[Judged]) -> Text:
    """What it comes to."""
    faults, controls = [one for one in judged if one.fault], [one for one in judged if one.is_control]
    told = ""
    if any(one.verified for one in judged):
        caught, passed = (sum(one.as_it_should_be for one in kind) for kind in (faults, controls))
        told = (
            f"convbench verify caught {caught} of {len(faults)} seeded faults and passed {passed} of {len(controls)} "
        )
        told += "correct controls. "
    problems = max((one.problems for one in judged), default=0)
    others = [f"{sum(name in one.objections for one in faults)} by {name}" for name in NAMES]
    return Text(f"{told}Of the same faults, called once for each of {problems} problems: {', '.join(others)}.")
