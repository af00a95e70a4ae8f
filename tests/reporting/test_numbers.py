"""Figures as people read them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.reporting.numbers import (
    aligned,
    count,
    duration,
    flops,
    interval_column,
    interval_text,
    milliseconds,
    percent,
    significant,
)

numbers = st.floats(1e-12, 1e12) | st.floats(-1e12, -1e-12)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "1.00"), (0.0123, "0.0123"), (1.23, "1.23"), (12.3, "12.3"), (123, "123"), (12346, "12,346"),
        (1234567.8, "1,234,568"), (0.1, "0.100"), (-4.567, "-4.57"), (1e-6, "0.00000100"), (100, "100"),
        (9.994, "9.99"), (9.996, "10.0"), (99.96, "100"), (99.94, "99.9"), (0.9996, "1.00"), (999.6, "1,000"),
        (0.09999, "0.100"), (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_significant(value: float, text: str) -> None:
    assert significant(value) == text


@pytest.mark.parametrize(("digits", "text"), [(1, "3"), (2, "3.1"), (3, "3.14"), (5, "3.1416")])
def test_significant_to_other_numbers_of_digits(digits: int, text: str) -> None:
    assert significant(math.pi, digits) == text


@given(numbers, st.integers(1, 8))
def test_significant_round_trips_within_its_digits(value: float, digits: int) -> None:
    read = float(significant(value, digits).replace(",", ""))
    assert abs(read - value) <= 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1) * (1 + 1e-9)


@given(numbers, st.integers(1, 8))
def test_significant_has_as_many_digits_as_asked_and_more_only_before_the_point(value: float, digits: int) -> None:
    text = significant(value, digits)
    shown = re.sub(r"[-,.]", "", text).lstrip("0")
    assert len(shown) == digits or (len(shown) > digits and "." not in text)
    assert "e" not in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.001, "1.00"), (0.0123456, "12.3"), (1.5, "1,500"), (2.5e-7, "0.000250")]
)
def test_milliseconds(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text


def test_milliseconds_to_other_numbers_of_digits() -> None:
    assert milliseconds(0.0123456, 5) == "12.346"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (5e-10, "0.500 ns"), (12.3e-9, "12.3 ns"), (1e-6, "1.00 µs"), (12.34e-6, "12.3 µs"),
        (4.56e-3, "4.56 ms"), (1, "1.00 s"), (1.234, "1.23 s"), (59.9, "59.9 s"), (60, "1 min 00 s"),
        (125.9, "2 min 05 s"), (7260, "121 min 00 s"),
    ],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(1e-9, 59))
def test_a_duration_reads_back_as_what_it_was(seconds: float) -> None:
    figure, unit = duration(seconds).split()
    scale = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]
    assert float(figure.replace(",", "")) * scale == pytest.approx(seconds, rel=0.006)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0"), (1, "100"), (0.834, "83"), (0.0951, "9.5"), (0.0995, "10"), (0.0994, "9.9"), (0.041, "4.1"),
        (0.00999, "1.0"), (0.0003, "0.030"), (0.999, "100"), (2.5, "250"),
    ],
)  # fmt: skip
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 FLOP"), (18, "18 FLOP"), (999, "999 FLOP"), (1000, "1.00 kFLOP"), (231_211_008, "231 MFLOP"),
        (1.5e9, "1.50 GFLOP"), (8.2e12, "8.20 TFLOP"), (8.2e15, "8,200 TFLOP"),
    ],
)  # fmt: skip
def test_flops(count: float, text: str) -> None:
    assert flops(count) == text


@pytest.mark.parametrize(
    ("texts", "padded"),
    [
        ([], []),
        (["1", "22"], ["1", "22"]),
        (["1.5", "22", "0.125"], ["1.5  ", "22    ", "0.125"]),
        (["–", "1.5"], ["–  ", "1.5"]),
        (["12,346", "0.0123"], ["12,346     ", "0.0123"]),
    ],
)
def test_aligned(texts: list[str], padded: list[str]) -> None:
    assert aligned(texts) == padded


@given(st.lists(st.floats(0, 1e9), max_size=8), st.integers(1, 5))
def test_aligned_texts_set_flush_right_have_their_points_under_one_another(values: list[float], digits: int) -> None:
    texts = [significant(value, digits) for value in values]
    padded = aligned(texts)
    assert [text.rstrip() for text in padded] == texts
    widest = max(map(len, padded), default=0)
    flush = [text.rjust(widest) for text in padded]
    points = {text.index(".") if "." in text else len(text.rstrip()) for text in flush}
    assert len(points) <= 1


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1.02, 1.13, "[1.02, 1.13]"), (0.995, 1.014, "[0.995, 1.014]"), (0.05281, 0.05633, "[0.0528, 0.0563]"),
        (450.2, 523.9, "[450, 524]"), (1022, 1164, "[1,022, 1,164]"), (9.98, 10.1, "[9.98, 10.10]"),
        (0.5, 100, "[0.5, 100.0]"), (0.05, 12.3, "[0.05, 12.30]"), (1.0012, 1.0031, "[1.001, 1.003]"),
        (1.00012, 1.00031, "[1.0001, 1.0003]"), (1.0, 1.0, "[1.00, 1.00]"), (1.0, 1.0 + 1e-9, "[1.00, 1.00]"),
        (0, 0.5, "[0.000, 0.500]"), (0, 0, "[0, 0]"), (2, math.inf, "[2.0, inf]"),
    ],
)  # fmt: skip
def test_both_ends_of_an_interval_have_the_same_decimals_and_look_different(low: float, high: float, text: str) -> None:
    assert interval_text(low, high) == text
    assert interval_text(low, high, covers=False) == text.replace("[", "(").replace(", ", " … ").replace("]", ")")


def test_an_interval_with_more_digits() -> None:
    assert interval_text(1.0413, 1.0631, digits=4) == "[1.041, 1.063]"


def test_a_column_of_intervals_has_one_width_and_its_separators_under_one_another() -> None:
    assert interval_column([(0.05281, 0.05633, True), (450, 524, False), (1022, 1164, True)]) == [
        "[0.0528, 0.0563]",
        "  (450 … 524)   ",
        " [1,022, 1,164] ",
    ]
    assert interval_column([]) == []


@pytest.mark.parametrize(("number", "text"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps"), (1234, "1,234 steps")])
def test_count(number: int, text: str) -> None:
    assert count(number, "step") == count(number, "step", "steps") == text
    assert count(1234, "series", "series") == "1,234 series"
