"""`convbench.load()`: the frame is what the records say, however it was read; columns that are decoded late."""

from __future__ import annotations

import io
import json
import math
import pickle
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import made

import convbench
from convbench.errors import ResultsError
from convbench.store import parallel_read as parts
from convbench.store.lazy_json import LazyJson
from convbench.store.line_file import JournalWarning
from convbench.store.records import records
from convbench.store.schema import FIELDS, MACHINE_KEPT, ON_REQUEST, SAMPLES, SETTINGS_KEPT, Record


def write(path: Path, *lines: Record | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((x if isinstance(x, bytes) else json.dumps(x).encode()) + b"\n" for x in lines))
    return path


def loaded(path: Any, columns: list[str] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """The frame, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = convbench.load(path, columns)
    assert all(w.category is JournalWarning for w in caught)
    return frame, [str(w.message) for w in caught]


def row_by_row(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """What a frame has to say, read without any of what makes `load` fast."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = list(records(path))
    rows = []
    for record in found:
        tables = {name: record.get(name) or {} for name in ("problem", "settings", "machine", "samples")}
        row = {name: value for name, value in record.items() if name not in (*tables, *ON_REQUEST)}
        row |= {k: tuples(v) for k, v in tables["problem"].items() if k not in row}
        row |= {name: tables["settings"].get(name) for name in SETTINGS_KEPT}
        row |= {name: tables["machine"].get(name) for name in MACHINE_KEPT}
        rows.append(row | tables["samples"])
    return rows, [str(w.message) for w in caught]


def tuples(value: Any) -> Any:
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def assert_same(frame: pd.DataFrame, rows: list[dict[str, Any]]) -> None:
    assert len(frame) == len(rows)
    for name in frame.columns:
        for found, row in zip(frame[name], rows, strict=True):
            expected = row.get(name)
            missing = expected is None or expected != expected
            assert found is None or found != found if missing else found == expected, (name, found, expected)
    assert {name for row in rows for name in row if row[name] is not None} <= set(frame.columns)


# --- the fields -------------------------------------------------------------------------------------------------------


def test_every_field_of_a_record_has_a_kind() -> None:
    assert set(made()) <= set(FIELDS), "give it a kind in convbench/store/schema.py"
    assert set(FIELDS) - set(made()) == {"release", "began", "ended"}, "which a run over releases and a session add"
    where_known = {
        "energy_j",
        "host_s",
        "launch_s",
        "sm_mhz",
        "slowed",
        "process",
    }  # where it can be read; of a GPU; of several
    assert tuple(made()["samples"]) == tuple(name for name in SAMPLES if name not in where_known)


# --- the frame is what the records say --------------------------------------------------------------------------------

texts = st.none() | st.text(max_size=6)
GARBAGE = [
    b"",
    b"  ",
    b"null",
    b"[1]",
    b'{"case":"c"}',
    b'{"case":"c","backend":"b","status":1}',
    b"\xff\xfe",
    b"{",
    b'{"case":"c","backend":"b","status":"ok","samples":[1]}',
    b'{"case":"c","backend":"b","status":"ok"} {}',
    b'{"case":"c","backend":"b","status":"ok","problem":"x"}',
    b'{"case":"c","x":"\xff","backend":"b","status":"ok"}',
]
ODD = [b'"median_s":NaN', b'"layer":"\\ud800"', b'"samples":null', b'"samples":[]', b'"samples":{"wall_s":[1e400]}',
       b'"flops":1e3', b'"count":123456789012345678901234567890', '"layer":"µ🙂"'.encode(),
       b'"threads":1 ,\t"dirty": true']  # fmt: skip
ODD_LINES = [b' {"case":"c","backend":"b","status":"ok",%s} \r' % odd for odd in ODD]


@st.composite
def changed(draw: st.DrawFn) -> Record:
    record = made(draw(st.sampled_from(["torch", "jax", "é"])), tuple(draw(st.lists(st.floats(1e-9, 1e3), max_size=4))))
    record |= draw(st.dictionaries(st.sampled_from(["layer", "reason", "stopped"]), texts))
    record |= draw(
        st.dictionaries(
            st.sampled_from(["peak_bytes", "median_s", "count", "dirty"]), st.none() | st.integers(0, 2**53)
        )
    )
    for name in draw(st.sets(st.sampled_from(["machine", "settings", "problem", "versions", "reason", "threads"]))):
        del record[name]
    return record


@given(st.lists(changed() | st.sampled_from(GARBAGE), max_size=8))
@settings(max_examples=100, deadline=None)
def test_a_frame_says_what_the_records_say_and_passes_over_what_is_none(lines: list[Record | bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.jsonl", *lines)
        frame, told = loaded(path)
        rows, expected = row_by_row(path)
    assert told == expected
    assert_same(frame, rows)


@pytest.mark.parametrize("line", ODD_LINES)
def test_a_record_that_is_odd_is_read_among_others_that_are_not(line: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", made(), line, made("jax", ()))
    frame, told = loaded(path)
    rows, expected = row_by_row(path)
    assert told == expected == []
    assert len(rows) == 3
    assert_same(frame, rows)


@pytest.mark.parametrize("value", [["x"], {"a": 1}, "1.5", True, 3, 2.5, 10**30, -1, "", [], None], ids=repr)
@pytest.mark.parametrize("field", ["reason", "median_s", "count", "dirty", "declared", "verdicts", "unheard_of"])
def test_a_value_of_another_type_spoils_no_other_row(field: str, value: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", made(), made("odd", **{field: value}), made("jax"))
    frame, told = loaded(path)
    assert told == []
    assert frame["backend"].tolist() == ["torch", "odd", "jax"]
    rows = row_by_row(path)[0]
    assert_same(
        frame.drop(columns=[field], errors="ignore"), [{k: v for k, v in row.items() if k != field} for row in rows]
    )
    if field != "verdicts":
        assert_same(frame.iloc[[0, 2]].reset_index(), [rows[0] | {"index": 0}, rows[2] | {"index": 2}])


def test_a_field_that_this_version_does_not_know_is_a_column_all_the_same(tmp_path: Path) -> None:
    later = made(temperature_c=[40, 41], site="lab")
    later["samples"]["device_s"] = [1.0, 2.0, 3.0]
    frame, _ = loaded(write(tmp_path / "a.jsonl", later, made("jax")))
    assert frame["site"][0] == "lab" and frame["site"].isna().tolist() == [False, True]
    assert frame["temperature_c"][0] == [40, 41]
    assert frame["device_s"][0] == [1.0, 2.0, 3.0]
    assert math.isnan(frame["device_s"][1])


# --- columns and places -----------------------------------------------------------------------------------------------


def test_columns_are_those_asked_for_in_that_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", made(verdicts=[{"check": "bound"}]), made("jax", ()))
    names = ["wall_s", "backend", "vector_isa", "sample_s", "kernel_size", "verdicts", "machine", "problem"]
    frame, _ = loaded(path, names)
    assert frame.columns.tolist() == names
    first = made()
    assert frame["sample_s"].tolist() == [0.005, 0.005]
    assert frame["vector_isa"][0] == first["machine"]["vector_isa"]
    assert frame["verdicts"][0] == [{"check": "bound"}]
    assert frame["problem"][0] == first["problem"]
    assert frame["machine"][0] == first["machine"]["machine"]
    everything = loaded(path)[0]
    assert everything["wall_s"].tolist()[0] == frame["wall_s"].tolist()[0] == [0.5, 0.25, 0.75]
    assert "verdicts" not in everything


def test_a_column_that_is_nowhere_is_told_with_what_was_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", made())
    with pytest.raises(ResultsError, match=r"no record has a column 'medain_s'.*median_s"):
        convbench.load(path, ["backend", "medain_s"])


def test_several_places_are_one_frame_and_a_journal_named_twice_is_there_once(tmp_path: Path) -> None:
    for number, machine in enumerate(("one", "two", "three")):
        facts = made()["machine"] | {"machine": machine}
        write(tmp_path / machine / f"2024010{number}T000000Z-a.jsonl", made(f"b{number}", machine=facts))
    places = [tmp_path / "two", tmp_path / "one", tmp_path / "two" / "20240101T000000Z-a.jsonl"]
    assert loaded(places)[0]["machine"].tolist() == ["two", "one"]
    assert loaded(tmp_path)[0]["machine"].tolist() == ["one", "two", "three"]
    with pytest.raises(ResultsError, match="there are no results at"):
        convbench.load([tmp_path / "one", tmp_path / "four"])


def test_a_journal_without_a_record_is_a_frame_without_a_row(tmp_path: Path) -> None:
    for path in (write(tmp_path / "a.jsonl"), write(tmp_path / "b.jsonl", b"", b"")):
        frame, _ = loaded(path)
        assert frame.empty and {"backend", "median_s", "wall_s", "kernel_size"} <= set(frame.columns)
    assert loaded(tmp_path, ["case"])[0].columns.tolist() == ["case"]


# --- in parts ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Journals of some hundred records, with lines between them that are none."""
    for journal in range(3):
        lines: list[Record | bytes] = [made(f"b{journal}-{i}", (0.5 + i, 0.25)) for i in range(80)]
        for place in (0, 7, 40, 79):
            lines.insert(place, GARBAGE[(journal + place) % len(GARBAGE)])
        write(tmp_path / f"2024010{journal}T000000Z-a.jsonl", *lines, b'{"torn": ')
    write(tmp_path / "20240109T000000Z-empty.jsonl")
    return tmp_path


@pytest.mark.parametrize("count", [2, 3, 7])
def test_parts_read_by_other_processes_are_the_same_frame(
    damaged: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, told = loaded(damaged)
    fields = ("case", "backend", "samples.wall_s")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        slim = list(records(damaged, fields))
    assert [str(w.message) for w in caught] == told and len(told) > 3
    monkeypatch.setattr(parts, "usable_cpus", lambda: count)
    monkeypatch.setattr(parts, "WORTH_A_PROCESS_BYTES", 1000)
    frame, told_in_parts = loaded(damaged)
    assert told_in_parts == told
    assert frame["backend"].tolist() == [f"b{journal}-{i}" for journal in range(3) for i in range(80)]
    pd.testing.assert_frame_equal(frame, whole)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert list(records(damaged, fields)) == slim
    assert [str(w.message) for w in caught] == told


def test_a_part_whose_process_cannot_start_is_read_all_the_same(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, told = loaded(damaged)
    monkeypatch.setattr(parts, "usable_cpus", lambda: 3)
    monkeypatch.setattr(parts, "WORTH_A_PROCESS_BYTES", 1000)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    frame, told_in_parts = loaded(damaged)
    assert told_in_parts == told
    pd.testing.assert_frame_equal(frame, whole)


def test_fields_asked_for_are_those_of_the_whole_record(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", made(), made("jax", ()), ODD_LINES[0], made("x", reason="µ"))
    names = ("suite", "reason", "samples.wall_s", "machine.cpu", "threads")
    for whole, slim in zip(records(path), records(path, names), strict=True):
        for name in names:
            table, _, member = name.partition(".")
            expected = (whole.get(table) or {}).get(member) if member else whole.get(table)
            assert ((slim.get(table) or {}).get(member) if member else slim.get(table)) == expected


# --- columns that are decoded late ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    lines = [made("a", (3.0, 1.0)), made("b", ()), made("a", (2.0,)), made("b", (5.0, 4.0, 6.0))]
    return convbench.load(write(tmp_path_factory.mktemp("late") / "a.jsonl", *lines))


WALLS = [[3.0, 1.0], None, [2.0], [5.0, 4.0, 6.0]]


def plain(column: Any) -> list[Any]:
    return [cell if isinstance(cell, list) else None for cell in column]


WAYS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "iterated": lambda f: f["wall_s"],
    "as a list": lambda f: f["wall_s"].tolist(),
    "as an array": lambda f: f["wall_s"].to_numpy(),
    "by numpy": lambda f: np.array(f["wall_s"], dtype=object),
    "as objects": lambda f: f["wall_s"].astype(object),
    "cell by cell": lambda f: [f.loc[i, "wall_s"] for i in f.index],
    "row by row": lambda f: [row.wall_s for row in f.itertuples()],
    "of rows": lambda f: [f.iloc[i]["wall_s"] for i in range(len(f))],
    "copied": lambda f: f.copy(deep=True)["wall_s"],
    "pickled": lambda f: pickle.loads(pickle.dumps(f))["wall_s"],
    "merged": lambda f: f[["wall_s"]].reset_index().merge(f[["backend"]].reset_index(), on="index")["wall_s"],
    "put together": lambda f: pd.concat([f.iloc[:1], f.iloc[1:]])["wall_s"],
    "turned twice": lambda f: f["wall_s"][::-1][::-1],
    "mapped": lambda f: f["wall_s"].map(lambda cell: cell),
    "in JSON": lambda f: [row.get("wall_s") for row in json.loads(f[["wall_s"]].to_json(orient="records"))],
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_late_column_is_lists_however_it_is_looked_at(way: Callable[[Any], Any], frame: pd.DataFrame) -> None:
    assert plain(way(frame)) == WALLS


def test_a_late_column_can_be_selected_counted_and_grouped(frame: pd.DataFrame) -> None:
    assert frame["wall_s"].isna().tolist() == [False, True, False, False]
    timed = frame.dropna(subset=["wall_s"])
    assert plain(timed[timed.backend == "b"]["wall_s"]) == [[5.0, 4.0, 6.0]]
    assert timed["wall_s"].map(max).tolist() == [3.0, 2.0, 6.0]
    assert timed["wall_s"].apply(np.median).tolist() == [2.0, 2.0, 5.0]
    assert timed.groupby("backend")["wall_s"].agg(lambda cells: sum(map(sum, cells))).to_dict() == {"a": 6.0, "b": 15.0}
    assert timed.sort_values("backend", ascending=False)["wall_s"].iloc[0] == [5.0, 4.0, 6.0]
    exploded = timed[["backend", "wall_s", "round"]].explode(["wall_s", "round"])
    assert exploded["wall_s"].tolist() == [3.0, 1.0, 2.0, 5.0, 4.0, 6.0]
    assert exploded["round"].tolist() == [0, 1, 0, 0, 1, 2]
    assert plain(frame["wall_s"].where(frame.backend == "a")) == [[3.0, 1.0], None, [2.0], None]
    assert plain(frame["wall_s"].reindex([3, 99])) == [[5.0, 4.0, 6.0], None]


def test_what_is_done_to_a_cell_changes_nothing_in_the_frame(frame: pd.DataFrame) -> None:
    frame["wall_s"][0].append(99.0)
    emptied = frame["wall_s"].where(frame.backend == "none")
    assert emptied.isna().all()
    assert plain(frame["wall_s"]) == WALLS
    assert plain(frame["cpu_s"])[2] == [4.0]
    with pytest.raises(TypeError, match="are not written"):
        frame.copy()["wall_s"].array[0] = [1.0]


def test_a_frame_is_shown_with_its_samples(frame: pd.DataFrame) -> None:
    assert "[3.0, 1.0]" in repr(frame[["backend", "wall_s"]])
    frame.info(memory_usage="deep", buf=io.StringIO())
    assert frame["wall_s"].array.nbytes > 0
    assert isinstance(frame["wall_s"].array, LazyJson)
    assert str(frame["wall_s"].dtype) == "deferred"


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb"])
def test_a_field_may_have_any_name(tmp_path: Path, name: str) -> None:
    journal = tmp_path / "a.jsonl"
    record = {"case": "c", "backend": "b", "status": "ok", name: 1}
    journal.write_text(f"{json.dumps(record)}\n" * 2, encoding="utf-8")
    frame = convbench.load(journal)
    assert list(frame[name]) == [1, 1] and list(frame["case"]) == ["c", "c"]
