"""What a run says of who is fastest: claims that the records bear out, in words that do not contradict each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.console import Console

from convbench.analysis.ranking import rank
from convbench.analysis.roofline import Limits
from convbench.problem import ConvProblem
from convbench.reporting.page.page import Report, page_of
from convbench.reporting.page.rows import groups_of, rows_of
from convbench.reporting.progress import PlainProgress
from convbench.reporting.run.suite_tables import suite_report
from convbench.suite import Case

ROUNDS = 12


def record(backend: str, case: str, scale: float, **more: Any) -> Any:
    """As a run on a quiet machine makes it: 12 rounds, side by side with the others."""
    walls = [scale * 1e-3 * (1 + 1e-4 * ((number * 7 + len(backend)) % 5)) for number in range(ROUNDS)]
    middle = sorted(walls)[ROUNDS // 2]
    return {
        "suite": "s", "case": case, "case_id": case, "backend": backend, "status": "ok", "reason": None,
        "median_s": middle, "low_s": min(walls), "high_s": max(walls), "interval": "interval", "gflops": 1.0,
        "flops": 10**6, "prepare_s": 1e-3, "first_call_s": 1e-3, "max_error_over_bound": 0.1, "session": "x",
        "dtype": "float32", "count": 2, "samples": {"round": [*range(ROUNDS)], "wall_s": walls}, "threads": 1,
    } | more  # fmt: skip


def untimed(backend: str, case: str) -> Any:
    nothing = dict.fromkeys(("median_s", "low_s", "high_s", "gflops", "prepare_s", "first_call_s"))
    return record(backend, case, 1.0) | nothing | {"status": "timeout", "reason": "slow", "samples": {}}


def in_bfloat16(record: Any) -> Any:
    return record | {"declared": {"operand": "bfloat16"}}


def shown(records: Sequence[Any], lower: bool = False, **options: Any) -> str:
    console = Console(file=StringIO(), width=160, highlight=False)
    for ranking in rank(records, lower):
        console.print(suite_report(ranking, **options))
    assert isinstance(console.file, StringIO)
    return re.sub(r"\s+", " ", console.file.getvalue())


def progress_line(records: Sequence[Any], lower: bool = False) -> str:
    console = Console(file=StringIO(), width=160)
    observer = PlainProgress(console, lower=lower)
    observer.begin("s", Case(ConvProblem.parse("n1c1h3w3_o1k1")))
    for one in records:
        observer.record(one)
    observer.end(1.0)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


# --- less precision than asked ----------------------------------------------------------------------------------------

CHEAP = [in_bfloat16(record("cheap", "c1", 1.0)), record("exact", "c1", 2.0), record("slow", "c1", 4.0)]


def test_a_backend_in_bfloat16_never_wins_a_float32_ranking_unless_it_is_let() -> None:
    text = shown(CHEAP)
    assert "exact was fastest in 1 of 1 case" in text
    assert "Not ranked: cheap (in bfloat16)" in text and "--lower-precision" in text
    assert re.search(r" exact 2\.00 \S+ \S+ 1\.00 100 ", text) and re.search(
        r" cheap 1\.00 .* 200 .* in bfloat16", text
    )
    let = shown(CHEAP, lower=True)
    assert "cheap (in bfloat16) was fastest in 1 of 1 case" in let and "Not ranked" not in let


def test_the_line_of_progress_names_the_fastest_of_those_that_compete() -> None:
    assert "fastest exact 2.00 ms" in progress_line(CHEAP)
    assert "fastest cheap (in bfloat16) 1.00 ms" in progress_line(CHEAP, lower=True)
    alone = progress_line([record("exact", "c1", 2.0)])
    assert "1 timed, 0 not; exact 2.00 ms" in alone and "fastest" not in alone


def test_the_page_marks_it_and_ranks_the_others() -> None:
    rows = {row["backend"]: row for row in rows_of(groups_of(CHEAP), Limits(()))}
    assert (rows["exact"]["share"], rows["exact"]["level"], rows["exact"]["precision"]) == (1.0, True, "")
    assert (rows["cheap"]["share"], rows["cheap"]["level"], rows["cheap"]["precision"]) == (2.0, False, "bfloat16")
    assert "exact was fastest in 1 of 1 case" in page_of(Report("p", CHEAP))[0]


def test_where_nothing_computes_as_asked_no_winner_is_named() -> None:
    text = shown(CHEAP[:1])
    assert "No backend is ranked." in text and "Not ranked: cheap" in text and "was fastest" not in text


# --- claims ---------------------------------------------------------------------------------------------------------


def test_who_wins_most_cases_and_loses_the_mean_is_not_said_to_lead() -> None:
    scales = {"often": (1.0, 1.0, 1.0, 9.0), "seldom": (1.1, 1.1, 1.1, 1.0)}
    text = shown([record(name, f"c{i}", s) for name, values in scales.items() for i, s in enumerate(values)])
    assert "often was fastest in 3 of 4 cases. The others take so many times as long" in text
    assert re.search(r"0\.\d\dx seldom \[[^]]+\], faster over these cases", text) and "lead" not in text


def test_cases_that_nobody_was_timed_in_are_not_counted_as_lost() -> None:
    timed = [record(name, f"c{i}", s) for i in range(3) for name, s in (("a", 1.0), ("b", 2.0))]
    text = shown([*timed, *(untimed("a", f"c{i}") for i in range(3, 6))])
    assert "a was fastest in 3 of 3 cases that were timed." in text
    text = shown([*timed, record("b", "c3", 1.0)])
    assert "a was fastest in 3 of 4 cases (it ran 3)." in text
    text = shown([record("a", "c0", 1.0), record("b", "c0", 2.0), untimed("a", "c1")])
    assert "a was fastest in 1 of 1 case that was timed." in text


def test_a_part_of_a_suite_is_no_whole_model() -> None:
    two = [record("a", "c1", 1.0), record("a", "c2", 1.0)]
    assert "whole model ms" in shown(two)
    assert "whole model ms" not in shown(two, whole=False) and "these layers ms" in shown(two, whole=False)
