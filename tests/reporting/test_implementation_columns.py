"""Which kernel ran, as a person and a program see it: its change beside a ratio, and nothing where it is not known."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import made
from rich.console import Console

from convbench.analysis.comparison import compare
from convbench.analysis.roofline import Limits
from convbench.analysis.series import series_of
from convbench.reporting.history import comparison, implementations
from convbench.reporting.page.rows import groups_of, rows_of
from convbench.store.readings import implementation

FAST, SLOW = "brg_conv:avx512_core", "ref:any"
WALLS = tuple(1e-3 + 1e-5 * n for n in range(8))


def compared(before: Any, after: Any) -> Any:
    base = made(times=WALLS, implementation=before, session="a")
    new = made(times=tuple(3 * wall for wall in WALLS), implementation=after, session="b")
    return compare([base], [new], 0.05)


def text_of(found: Any, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(comparison.report(found, 0.05))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_change_stands_beside_the_ratio_in_a_sentence_in_markdown_and_in_json() -> None:
    found = compared(FAST, SLOW)
    assert f"{FAST} -> {SLOW}" in next(line for line in text_of(found).splitlines() if line.startswith("slower"))
    assert "Another implementation ran in 1 pair: torch on" in " ".join(text_of(found, width=60).split())
    assert f"{FAST} -" in comparison.markdown(found, 0.05).replace("\\", "")
    (row,) = comparison.rows(found)
    assert (row["base_implementation"], row["new_implementation"]) == (FAST, SLOW)


@pytest.mark.parametrize(("before", "after"), [(None, None), (None, FAST), (FAST, None), (FAST, FAST)])
def test_without_a_change_that_is_known_none_is_said(before: str | None, after: str | None) -> None:
    text = text_of(compared(before, after))
    assert "->" not in text and "Another implementation" not in text
    assert (FAST in text) == ("implementation" in text) == (before is not None or after is not None)


@pytest.mark.parametrize("hostile", [17, ["a"], {"a": 1}, "", "x" * 10_000, True])
def test_what_is_no_short_text_in_a_journal_is_not_known(hostile: Any) -> None:
    assert implementation(made(implementation=hostile)) is None
    assert "->" not in text_of(compared(hostile, FAST))


def test_a_text_from_a_journal_moves_no_cursor_and_is_no_markup() -> None:
    found = compared("[red]a[/red]\x1b[2J", "<b>b</b>")
    assert "[red]a[/red]" in text_of(found) and "\x1b" not in text_of(found)
    assert "<b>" not in comparison.markdown(found, 0.05)


def test_records_without_the_field_read_as_before() -> None:
    old = made(times=WALLS)
    del old["implementation"]
    old["settings"].pop("explain")
    assert implementation(old) is None
    (change,) = compare([old], [made(times=WALLS, implementation=FAST)], 0.05).changes
    assert change.implementations == (None, FAST)
    assert [series.points[0].implementation for series in series_of([old])[0]] == [None]
    (row,) = rows_of(groups_of([old]), Limits(()))
    assert row["implementation"] == ""


def test_a_series_and_the_page_have_the_kernel() -> None:
    record = made(times=WALLS, implementation=FAST)
    assert [series.points[0].implementation for series in series_of([record])[0]] == [FAST]
    (row,) = rows_of(groups_of([record]), Limits(()))
    assert row["implementation"] == FAST


KERNELS = st.none() | st.sampled_from(["a", "b", "c"])


@given(st.lists(st.tuples(KERNELS, KERNELS)))
def test_of_several_cases_a_change_is_never_hidden(kernels: list[tuple[str | None, str | None]]) -> None:
    words = implementations.in_words_of_all(kernels)
    assert ("->" in words) == any(map(implementations.is_change, kernels))
    assert bool(words) == any(kernel is not None for pair in kernels for kernel in pair)
    named = implementations.sentence((f"pair {n}", pair) for n, pair in enumerate(kernels))
    assert bool(named) == ("->" in words)
