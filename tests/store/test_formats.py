"""Records out to other programs' files and in again: nothing is lost, nothing is run, and pyperf reads what it gets."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import made

import convbench
from convbench.installation import pip_line
from convbench.store.formats.cells import record_of_row, row_of, text_of, value_of
from convbench.store.formats.files import export_records, format_of, import_records
from convbench.store.journal import line_of
from convbench.store.records import records
from convbench.store.schema import TABLES, Record

BOTH_WAYS = ["csv", "parquet", "jsonl"]


def journal(path: Path, *written: Record) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(map(line_of, written)), errors="backslashreplace")
    return path


def convbench_(*words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convbench", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)


def without_nulls(value: Any) -> Any:
    """What a record says: a member that is null says as much as none."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return list(map(without_nulls, value)) if isinstance(value, list) else value


def of_load(path: Path) -> pd.DataFrame:
    return convbench.load(path).dropna(axis=1, how="all")


# --- cells ------------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
words = st.sampled_from(["a", "b-c", "x_1", "a.b", "=x", "", '"q', "é", "samples", "problem"])


@given(st.text(st.characters(), max_size=20) | json_values)
@settings(max_examples=300)
def test_a_cell_s_text_stands_for_what_it_was_made_of(value: Any) -> None:
    assert value_of(text_of(value)) == value
    assert "\n" not in text_of(value) and "\r" not in text_of(value)


FORMULAS = ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")', "'=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_begins_as_a_formula_does(text: str) -> None:
    assert text_of(text)[0] not in "=+-@\t\r"
    assert value_of(text_of(text)) == text


@given(st.dictionaries(words, json_values | st.dictionaries(words, json_values, max_size=3), max_size=6))
@settings(max_examples=200)
def test_a_row_stands_for_the_record_it_was_made_of(record: Record) -> None:
    said = {name: value for name, value in record.items() if value or name not in TABLES}
    assert without_empty_tables(record_of_row(row_of(record))) == without_empty_tables(said)


def without_empty_tables(value: Any) -> Any:
    """Tables of nulls alone are no more there than their members."""
    if not isinstance(value, dict):
        return without_nulls(value)
    members = {name: without_empty_tables(member) for name, member in value.items()}
    return {name: member for name, member in members.items() if member is not None and member != {}}


# --- out and in again -------------------------------------------------------------------------------------------------


@st.composite
def recorded(draw: st.DrawFn) -> Record:
    record = made(
        draw(st.sampled_from(["torch", "=cmd", "é\ud800"])), tuple(draw(st.lists(st.floats(1e-9, 1e3), max_size=4)))
    )
    names = st.sampled_from(["reason", "layer", "stderr_tail", "site", "=x", "a.b"])
    record |= draw(st.dictionaries(names, st.none() | st.text(max_size=8)))
    record |= draw(st.dictionaries(st.sampled_from(["dirty", "extra"]), json_values))
    record |= draw(st.dictionaries(st.just("peak_bytes"), st.none() | st.integers(0, 2**40)))
    record["versions"] = draw(
        st.dictionaries(st.sampled_from(["torch", "opencv-python-headless", "odd.name"]), st.text(max_size=6))
    )
    return record


@pytest.mark.parametrize("kind", BOTH_WAYS)
@given(st.lists(recorded(), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_what_is_exported_and_imported_is_what_it_was(kind: str, written: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{kind}"
        assert export_records(path, format_of(path), lambda: written) == len(written)
        (imported,) = import_records(path, format_of(path), Path(folder) / "results")
        assert imported.records == len(written)
        found = list(records(imported.path))
    for record in (*written, *found):
        record["samples"] = record.get("samples") or None
    assert list(map(without_empty_tables, found)) == list(map(without_empty_tables, written))


@pytest.mark.parametrize("kind", BOTH_WAYS)
def test_load_reads_equal_values_from_what_was_exported_and_imported(kind: str, tmp_path: Path) -> None:
    run = journal(tmp_path / "run.jsonl", made(), made("jax", ()), made("torch", (1.0, 2.0), dirty=True, layer="7"))
    to = tmp_path / f"a.{kind}"
    done = convbench_("export", run, "--to", to)
    assert done.returncode == 0 and f"3 records in {to} ({kind})." in done.stdout
    done = convbench_("import", to, "--results", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    (made_of_it,) = (tmp_path / "results").rglob("*.jsonl")
    assert f"3 records of a.{kind} in {made_of_it}." in done.stdout
    assert made_of_it.parent.name == made()["machine"]["machine"]
    pd.testing.assert_frame_equal(of_load(made_of_it), of_load(run), check_dtype=False)
    assert of_load(made_of_it)["wall_s"].tolist() == of_load(run)["wall_s"].tolist()


def test_the_same_records_are_imported_once_whatever_kind_of_file_they_come_in(tmp_path: Path) -> None:
    run = journal(tmp_path / "run.jsonl", made(), made("jax", ()))
    for kind in BOTH_WAYS:
        assert convbench_("export", run, "--to", tmp_path / f"a.{kind}").returncode == 0
    files = [tmp_path / f"a.{kind}" for kind in BOTH_WAYS]
    done = convbench_("import", *files, "--results", tmp_path / "results")
    assert done.returncode == 0
    assert len(list((tmp_path / "results").rglob("*.jsonl"))) == 1
    assert done.stdout.count("already") == 2


def test_what_was_exported_from_a_folder_is_not_imported_into_it_again(tmp_path: Path) -> None:
    results = tmp_path / "results"
    folder = results / made()["machine"]["machine"]
    folder.mkdir(parents=True)
    two = made(), made("jax", ())
    journal(folder / "run.jsonl", *two)
    assert convbench_("export", "--to", tmp_path / "a.csv", "--results", results).returncode == 0
    done = convbench_("import", tmp_path / "a.csv", "--results", results)
    assert done.returncode == 0 and f"a.csv is in {folder} already." in done.stdout
    journal(tmp_path / "b.jsonl", *two, made("numba"))
    done = convbench_("import", tmp_path / "b.jsonl", "--results", results)
    assert done.returncode == 0 and "1 record of b.jsonl" in done.stdout and "2 more were" in done.stdout
    assert sorted(convbench.load(results)["backend"]) == ["jax", "numba", "torch"]


def test_records_of_several_machines_go_to_their_folders_and_nowhere_else(tmp_path: Path) -> None:
    names = ["one", "../../escaped", "/etc", "..", "", "a b\n", "x" * 300, None]
    run = journal(tmp_path / "run.jsonl", *(made(str(i), machine={"machine": name}) for i, name in enumerate(names)))
    results = tmp_path / "inside" / "results"
    results.mkdir(parents=True)
    assert convbench_("import", run, "--results", results).returncode == 0
    made_of_it = list(tmp_path.rglob("*-imported-*.jsonl"))
    assert all(path.parent.parent == results for path in made_of_it)
    assert {path.parent.name for path in made_of_it} == {"one", "escaped", "etc", "unknown-machine", "a-b", "x" * 100}
    assert sorted(convbench.load(results)["backend"]) == sorted(map(str, range(len(names))))
    one = convbench_("export", "one", "etc", "--to", tmp_path / "two.csv", "--results", results)
    assert one.returncode == 0 and "2 records" in one.stdout


def test_a_csv_has_samples_as_lists_columns_by_field_and_no_formula(tmp_path: Path) -> None:
    evil = made("=cmd|' /C calc'!A0", reason="+1", layer="@x", **{"=1": "y"})
    run = journal(tmp_path / "run.jsonl", made("jax", ()), evil)
    assert convbench_("export", run, "--to", tmp_path / "a.csv").returncode == 0
    with (tmp_path / "a.csv").open(newline="") as file:
        header, _, row = csv.reader(file)
    cells = dict(zip(header, row, strict=True))
    assert cells["samples.wall_s"] == "[0.5, 0.25, 0.75]"
    assert (cells["problem.in_channels"], cells["problem.kernel_size"]) == ("4", "[3, 5]")
    assert (
        header.index("backend")
        < header.index("median_s")
        < header.index("samples.wall_s")
        < header.index("machine.cpu")
    )
    numbers = [cell for cell in (*header, *row) if cell[:1] in tuple("=+-@\t\r") and not is_number(cell)]
    assert numbers == []


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# --- hostile and broken files -----------------------------------------------------------------------------------------


def test_rows_that_are_no_records_are_passed_over_and_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "case,backend,status,median_s,samples,problem.x,problem\n"
        "c,good,ok,0.5,,,\n,no case,ok,1,,,\nc,no status,,1,,,\nc,3 is no table,ok,1,3,,\n"
        "short,row,ok\nc,list,ok,,,[1],\n"
    )
    done = convbench_("import", "a.csv", "--results", "results", folder=tmp_path)
    assert done.returncode == 0
    assert "3 records of a.csv" in done.stdout
    assert "a.csv, row 2: passed over, since a record has a text 'case'" in done.stderr
    assert "row 3: passed over, since a record has a text 'status'" in done.stderr
    assert "row 4: passed over, since samples is 3, and should be columns such as samples.wall_s" in done.stderr
    frame = convbench.load(tmp_path / "results")
    assert frame["backend"].tolist() == ["good", "row", "list"]


def exported(tmp_path: Path) -> list[list[str]]:
    """A CSV of three records, as rows of cells."""
    run = journal(tmp_path / "run.jsonl", *(made(name, (0.5, 0.25, 0.125)) for name in ("torch", "jax", "numba")))
    assert convbench_("export", run, "--to", tmp_path / "a.csv").returncode == 0
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def imported(tmp_path: Path, rows: list[list[str]], **options: Any) -> tuple[list[str], str]:
    """The backends that were imported of such rows, in order, and standard error."""
    with (tmp_path / "b.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **options).writerows(rows)
    return imported_file(tmp_path)


def imported_file(tmp_path: Path) -> tuple[list[str], str]:
    done = convbench_("import", tmp_path / "b.csv", "--results", tmp_path / "results")
    assert done.returncode in (0, 3) and "bug in convbench" not in done.stderr, done.stderr
    names = [record["backend"] for record in records(tmp_path / "results")] if done.returncode == 0 else []
    return names, done.stderr


SPOILED = [
    ("median_s", "0,000113", "median_s is '0,000113', and should be a number with a decimal point"),
    ("median_s", "1.234.567", "median_s is '1.234.567'"),
    ("threads", "two", "threads is 'two'"),
    ("gflops", "TRUE!", "gflops is 'TRUE!'"),
    ("samples.wall_s", "[0.5, 0.25, 0.1", "samples.wall_s is '[0.5, 0.25, 0.1', and should be a whole list"),
    ("samples.wall_s", "[0.5, 0.25]", "its samples are of different numbers: samples.round 3, samples.wall_s 2"),
    ("samples.round", '[0, "1", 2]', "samples.round is [0, '1', 2]"),
    ("samples.wall_s", "0.5", "samples.wall_s is 0.5"),
]


@pytest.mark.parametrize(("column", "cell", "reason"), SPOILED)
def test_what_a_spreadsheet_made_of_a_number_loses_its_row_only(
    column: str, cell: str, reason: str, tmp_path: Path
) -> None:
    heading, *rows = exported(tmp_path)
    rows[1][heading.index(column)] = cell
    names, said = imported(tmp_path, [heading, *rows])
    assert names == ["torch", "numba"]
    assert f"b.csv, row 2: passed over, since {reason}" in said


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_the_separator_is_recognised(separator: str, tmp_path: Path) -> None:
    assert imported(tmp_path, exported(tmp_path), delimiter=separator) == (["torch", "jax", "numba"], "")


def test_a_table_with_decimal_commas_throughout_says_so_for_each_row(tmp_path: Path) -> None:
    heading, *rows = exported(tmp_path)
    place = heading.index("median_s")
    for row in rows:
        row[place] = row[place].replace(".", ",")
    names, said = imported(tmp_path, [heading, *rows], delimiter=";")
    assert names == [] and said.count("should be a number with a decimal point") == 3


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_torn_last_row_loses_itself_only(share: float, tmp_path: Path) -> None:
    exported(tmp_path)
    content = (tmp_path / "a.csv").read_bytes().rstrip()
    start = content.rindex(b"\n") + 1
    (tmp_path / "b.csv").write_bytes(content[: start + int(share * (len(content) - start))])
    names, said = imported_file(tmp_path)
    assert names == ["torch", "jax"] and "b.csv, row 3: passed over, since it " in said


def test_a_row_with_more_cells_than_columns_is_passed_over(tmp_path: Path) -> None:
    heading, *rows = exported(tmp_path)
    names, said = imported(tmp_path, [heading, rows[0], [*rows[1], "1"], rows[2]])
    assert names == ["torch", "numba"]
    assert f"row 2: passed over, since it has {len(heading) + 1} cells, and there are {len(heading)} columns" in said


BROKEN = {
    "a.csv": [b"", b"\xff\xfe\x00\x01", b'case,"back\nx', b"case\nx\n", b"\x00" * 100, b'"a\nb', b'"x,y\n1,2\n'],
    "a.parquet": [b"", b"PAR1", b"PAR1" + b"\x00" * 50 + b"PAR1", b"not parquet at all"],
    "a.jsonl": [b"", b"[]", b"\x80" * 50, b"{}\n{}"],
}


@pytest.mark.parametrize(("name", "content"), [(n, c) for n, contents in BROKEN.items() for c in contents])
def test_a_broken_file_is_a_sentence_and_leaves_nothing(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    done = convbench_("import", tmp_path / name, "--results", tmp_path / "results")
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr and "This is a bug" not in done.stderr
    assert name in done.stderr
    assert not list((tmp_path / "results").rglob("*.jsonl"))


@pytest.mark.parametrize("end", [10, 1000, -20])
def test_a_truncated_parquet_file_is_a_sentence(end: int, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    export_records(path, format_of(path), lambda: [made()])
    path.write_bytes(path.read_bytes()[:end])
    done = convbench_("import", path, "--results", tmp_path)
    assert done.returncode == 2
    assert "cannot be read as Parquet" in done.stderr and "Traceback" not in done.stderr


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    run = journal(tmp_path / "run.jsonl", made())
    done = convbench_("export", run, "--to", tmp_path / "nowhere" / "a.csv")
    assert done.returncode == 2 and "cannot be written: No such file" in done.stderr
    before = journal(tmp_path / "a.csv", made())
    content = before.read_bytes()
    done = convbench_("export", "no-such-machine", "--to", before, "--results", tmp_path)
    assert done.returncode == 2 and before.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "run.jsonl"]


def test_a_format_that_is_unknown_or_only_written_is_told(tmp_path: Path) -> None:
    run = journal(tmp_path / "run.jsonl", made())
    done = convbench_("export", run, "--to", tmp_path / "a.xlsx")
    assert done.returncode == 2 and ".csv, .parquet, .jsonl, .pyperf.json" in done.stderr
    done = convbench_("export", run, "--to", tmp_path / "a.xlsx", "--format", "cvs")
    assert done.returncode == 2 and "Did you mean 'csv'" in done.stderr
    assert convbench_("export", run, "--to", tmp_path / "a.txt", "--format", "csv").returncode == 0
    done = convbench_("import", tmp_path / "a.txt", "--format", "pyperf")
    assert done.returncode == 2 and "written, and not read" in done.stderr
    done = convbench_("import", tmp_path / "missing.csv")
    assert done.returncode == 2 and "there is no such file" in done.stderr


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('not here')")
    run = journal(tmp_path / "run.jsonl", made())
    done = subprocess.run(
        [sys.executable, "-m", "convbench", "export", str(run), "--to", str(tmp_path / "a.parquet")],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path)}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert pip_line("convbench[parquet]") in done.stderr


# --- pyperf -----------------------------------------------------------------------------------------------------------


def pyperf(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pyperf", *map(str, words)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def timed(scale: float, **more: Any) -> Record:
    return made(times=tuple(scale * (1 + 0.01 * (i % 5)) for i in range(20)), **more)


def test_pyperf_reads_what_was_exported_for_it(tmp_path: Path) -> None:
    import pyperf as library

    run = journal(
        tmp_path / "run.jsonl", timed(1e-3), timed(2e-3, backend="jax"), made("none", ()), timed(3e-3, threads=2)
    )
    to = tmp_path / "a.pyperf.json"
    done = convbench_("export", run, "--to", to)
    assert done.returncode == 0 and "3 records" in done.stdout
    suite = library.BenchmarkSuite.load(str(to))
    case = made()["case"]
    names = [f"sizes/{case}/torch", f"sizes/{case}/jax", f"sizes/{case}/torch/2 threads"]
    assert suite.get_benchmark_names() == names
    for name, scale in zip(names, (1e-3, 2e-3, 3e-3), strict=True):
        benchmark = suite.get_benchmark(name)
        assert benchmark.get_values() == tuple(timed(scale)["samples"]["wall_s"])
        assert benchmark.get_unit() == "second"
        metadata = benchmark.get_metadata()
        assert metadata["hostname"] == made()["machine"]["machine"]
        assert metadata["case_id"] == made()["case_id"]
    assert "Number of total values: 20" in pyperf("stats", to) or "Total number of values: 20" in pyperf("stats", to)
    assert json.loads(to.read_text())["version"] == "1.0"


def test_pyperf_compares_two_exports(tmp_path: Path) -> None:
    for name, scale in (("base", 1.0), ("new", 1.5)):
        run = journal(tmp_path / f"{name}.jsonl", timed(1e-3 * scale), timed(2e-3, backend="jax"))
        assert convbench_("export", run, "--to", tmp_path / f"{name}.pyperf.json").returncode == 0
    told = pyperf("compare_to", tmp_path / "base.pyperf.json", tmp_path / "new.pyperf.json")
    assert "1.50x slower" in told
    assert "not significant (1)" in told


def test_times_of_several_machines_or_none_are_not_written_for_pyperf(tmp_path: Path) -> None:
    run = journal(
        tmp_path / "run.jsonl", timed(1.0, machine={"machine": "a"}), timed(2.0, backend="b", machine={"machine": "b"})
    )
    done = convbench_("export", run, "--to", tmp_path / "a.pyperf.json")
    assert done.returncode == 2 and "of 2 machines (a, b)" in done.stderr
    none = journal(tmp_path / "none.jsonl", made("x", ()))
    done = convbench_("export", none, "--to", tmp_path / "a.pyperf.json")
    assert done.returncode == 3 and "no record has a time" in done.stderr
    assert not (tmp_path / "a.pyperf.json").exists()
