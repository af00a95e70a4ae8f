"""The section of a report on what int8 and bfloat16 bring each engine: its figures, its labels in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser import opened, what_is_missing
from made_records import PROBLEM, made

from convbench.reporting.page.narrower_numbers import narrower_numbers
from convbench.reporting.page.page import Report, page_of
from convbench.reporting.page.rows import groups_of
from convbench.store.schema import Record

EVIL = '"></td><script>window.ran = 1</script><img src=x onerror="window.ran = 1">'
IN_INT8 = PROBLEM.replace(quantization="u8z:s8:u8z")


def record(backend: str, dtype: str, seconds: float, machine: str = "laptop", **more: Any) -> Record:
    problem = (IN_INT8 if dtype == "int8" else PROBLEM.replace(dtype=dtype)).as_dict()
    fields = {"dtype": dtype, "problem": problem, "case": f"layer {dtype}", "machine": {"machine": machine}}
    return made(backend, (seconds, seconds, seconds), **(fields | more))


def test_a_backend_in_two_dtypes_is_compared_on_its_own_machine() -> None:
    records = [
        record("torch", "float32", 0.5),
        record("torch", "bfloat16", 0.25),
        record("torch", "int8", 0.125),
        record("jax", "float32", 0.5),
        record("jax", "int8", 2.0),
        record("numpy", "float32", 0.5),  # in one dtype
        record("torch", "float32", 8.0, machine="server"),  # another machine, and one dtype
    ]
    (table,) = narrower_numbers(groups_of(records))
    assert table["machine"] == "laptop"
    rows = [(backend, dtype, fast.strip(), widest) for _, backend, dtype, fast, _, widest, *_ in table["rows"]]
    assert rows == [
        ("torch", "int8", "4.00x", "float32"),
        ("torch", "bfloat16", "2.00x", "float32"),
        ("jax", "int8", "0.25x", "float32"),
    ]
    assert narrower_numbers(groups_of(records[-2:])) == []


@pytest.mark.skipif(what_is_missing() is not None, reason=what_is_missing() or "")
def test_a_browser_shows_the_table_and_labels_stay_text(tmp_path: Path) -> None:
    named = {"suite": EVIL, "machine": EVIL}
    shown = [record(EVIL, "float32", 0.5, **named), record(EVIL, "int8", 0.25, **named)]
    path = tmp_path / "report.html"
    path.write_text(page_of(Report("dtypes", shown))[0], encoding="utf-8")
    with opened() as driver:
        driver.get(path.as_uri())
        script = "return [...document.querySelectorAll('#dtypes h3, #dtypes td')].map(one => one.textContent)"
        heading, setting, backend, dtype, fast, _, widest, *_ = driver.execute_script(script)
        assert (heading, backend, dtype, fast.strip(), widest) == (EVIL, EVIL, "int8", "2.00x", "float32")
        assert setting == f"{EVIL}, 1 thread"
        assert driver.execute_script("return window.ran") is None
        assert driver.execute_script("return document.querySelectorAll('#dtypes img').length") == 0
        assert driver.execute_script("return [...document.querySelectorAll('nav a')].some(a => a.hash == '#dtypes')")
