"""The times of earlier sessions: kept per machine and conditions, whatever lies in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from convbench.measurement.settings import Settings
from convbench.store.session_times import NAME, case_times, keep_times, kept_times, marked


def test_times_are_kept_by_the_conditions_that_make_them_comparable(tmp_path: Path) -> None:
    one = Settings()
    for number, settings in enumerate(
        [one, replace(one, threads=2), replace(one, cache="cold"), replace(one, pin="0")]
    ):
        keep_times(tmp_path, [case_times(settings, f"s{number}", "case", 1000, {"torch": 0.001})])
    (times,) = kept_times(tmp_path, replace(one, precision=0.5, seed=7))
    assert (times.session, times.case_id, times.visit) == ("s0", "case", 0)
    (timed,) = times.timed()
    assert (timed.thing, timed.size, timed.seconds) == (("torch",), 1000.0, 0.001)


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"cpu": 3}', b"\xff", b'"' * 5000, b"null"])
def test_a_line_that_is_something_else_is_passed_over(line: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(line + b"\n")
    keep_times(tmp_path, [case_times(Settings(), "s", "case", 1000, {"torch": 0.001})])
    assert len(kept_times(tmp_path, Settings())) == 1


def test_impossible_times_and_sizes_are_left_out(tmp_path: Path) -> None:
    keep_times(tmp_path, [case_times(Settings(), "s", "case", 0, {"torch": 0.001})])
    keep_times(tmp_path, [case_times(Settings(), "s", "case", 8, {"a": 0.0, "b": -1.0, "c": 1e300, "d": 0.5})])
    (times,) = kept_times(tmp_path, Settings())
    assert [timed.seconds for timed in times.timed()] == [0.5]


def test_other_versions_are_another_thing() -> None:
    assert marked("torch", {"torch": "2.1"}) == marked("torch", {"torch": "2.1"}) != marked("torch", {"torch": "2.2"})
    assert marked("torch", {}) != marked("jax", {})


def test_without_a_folder_nothing_is_known_and_nothing_fails(tmp_path: Path) -> None:
    keep_times(tmp_path / "none", [case_times(Settings(), "s", "case", 8, {})])
    assert kept_times(tmp_path / "none", Settings()) == []
