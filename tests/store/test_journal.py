"""What was measured is never lost: the journal through torn lines, kills, full disks and second writers; and `load`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems

import convbench
from convbench.errors import ResultsError
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.sampling.sample import Sample
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.store.journal import Journal, journals, line_of, parse_line, read_records
from convbench.store.line_file import JournalWarning, end_last_line
from convbench.store.locations import CheckoutState
from convbench.store.records import record_of, records
from convbench.store.schema import Record
from convbench.suite import Case
from convbench.verification.verdict import Verdict

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
PROBLEM = ConvProblem(in_channels=4, height=8, width=9, out_channels=6, kernel_size=(3, 5), padding=((0, 1), (2, 2)))


def record(number: int, **more: Any) -> Record:
    return {"backend": f"b{number}", "case": "n1", "status": "ok", "number": number, **more}


def write(path: Path, *written: Record) -> Path:
    with Journal(path) as journal:
        for one in written:
            journal.append(one)
    return path


def read(path: Path) -> list[Record]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", JournalWarning)
        return list(read_records(path))


def read_with_warnings(path: Path) -> tuple[list[Record], list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = list(read_records(path))
    assert all(issubclass(w.category, JournalWarning) for w in caught)
    return found, [str(w.message) for w in caught]


# --- there and back ---------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(json_values, max_size=5))
@settings(max_examples=60)
def test_what_is_appended_is_read_back_whatever_characters_it_has(values: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = [record(i, value=value) for i, value in enumerate(values)]
        path = Path(folder) / "a.jsonl"
        write(path, *written)
        assert (read(path) if written else []) == written
        assert path.exists() == bool(written)
        if written:
            assert path.read_bytes().count(b"\n") == len(written)


@pytest.mark.parametrize("text", ["\udcff", "a\ud800b", "\u2028\u0085\x1c\r\n", "\x00", "🙂\ufeff", '"\\'])
def test_characters_that_break_lines_or_encodings_come_back(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", record(0, reason=text), record(1))
    assert read(path) == [record(0, reason=text), record(1)]


def test_not_a_number_and_infinities_become_null_wherever_they_are(tmp_path: Path) -> None:
    odd = {"a": math.nan, "b": [1.5, math.inf, (-math.inf, 2)], "c": {"d": math.nan, 3: math.inf}}
    path = write(tmp_path / "a.jsonl", record(0, **odd))
    assert read(path) == [record(0, a=None, b=[1.5, None, [None, 2]], c={"d": None, "3": None})]
    assert json.loads(path.read_text(), parse_constant=lambda c: pytest.fail(c))


def test_every_record_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Journal(path) as journal:
        assert not path.exists()
        for i in range(3):
            journal.append(record(i))
            assert read(path) == [record(j) for j in range(i + 1)]
            assert journal.written == i + 1


def test_a_journal_that_is_opened_again_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", record(0))
    write(path, record(1), record(2))
    assert read(path) == [record(0), record(1), record(2)]


def test_journals_of_one_second_and_label_do_not_share_a_file(tmp_path: Path) -> None:
    made = []
    for i in range(4):
        with Journal.new(tmp_path, "sizes+my suite/é") as journal:
            journal.append(record(i))
        made.append(journal.path)
    assert len(set(made)) == 4
    assert all(path.parent == tmp_path and path.suffix == ".jsonl" for path in made)


# --- torn lines -------------------------------------------------------------------------------------------------------


def test_a_last_record_torn_at_any_byte_costs_nothing_before_it_and_nothing_after(tmp_path: Path) -> None:
    before, torn, new = record(0, text="é" * 5), record(1, text="ü🙂", wall_s=[0.5, 1e-9]), record(2)
    whole = write(tmp_path / "whole.jsonl", before, torn).read_bytes()
    start = whole.index(b"\n") + 1
    for end in range(start, len(whole) + 1):
        path = tmp_path / f"{end:04}.jsonl"
        path.write_bytes(whole[:end])
        complete = end >= len(whole) - 1  # but for the end of its line
        found, told = read_with_warnings(path)
        assert found == [before, torn] if complete else found == [before]
        assert path.read_bytes() == whole[:end], "reading changes nothing"
        assert len(told) == (start < end and not complete)
        assert all(f"{path}, line 2: an unfinished line" in message for message in told)

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            write(path, new)
        assert read(path) == ([before, torn, new] if complete else [before, new])
        aside = path.with_suffix(".torn")
        if start < end and not complete:
            assert aside.read_bytes() == whole[start:end] + b"\n"
            assert [w.category for w in caught] == [JournalWarning]
            assert aside.name in str(caught[0].message)
        else:
            assert not aside.exists()
            assert caught == []


def test_a_journal_of_a_torn_line_alone_is_one_without_records(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"backend": "b')
    assert read_with_warnings(path)[0] == []
    with pytest.warns(JournalWarning):
        assert end_last_line(path, lambda line: parse_line(line) is not None) == tmp_path / "a.torn"
    assert path.read_bytes() == b""
    assert end_last_line(path, lambda line: parse_line(line) is not None) is None


def test_what_is_torn_twice_is_kept_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for torn in (b"first", b"\xff\x00second"):
        with path.open("ab") as file:
            file.write(torn)
        with pytest.warns(JournalWarning):
            write(path, record(0))
    assert (tmp_path / "a.torn").read_bytes() == b"first\n\xff\x00second\n"
    assert read(path) == [record(0), record(0)]


FOREIGN = {
    "words": b"not a record at all",
    "binary": bytes(b for b in range(256) if b != 10),
    "zeros": b"\x00" * 5000,
    "utf-16": '{"backend": 1}'.encode("utf-16"),
    "deeply nested": b"[" * 200_000,
    "deeply nested object": b'{"a":' * 100_000,
    "a list": b"[1, 2]",
    "a number": b"17",
    "null": b"null",
    "a huge number": b"9" * 10_000,
    "another object": b'{"backend": "b", "case": "n1"}',
    "a status that is no word": b'{"backend": "b", "case": "n1", "status": 3}',
    "two records glued": b'{"backend":"b","case":"n1","status":"ok"}{"backend":"b","case":"n1","status":"ok"}',
    "half a record": b'{"backend":"b","case":"n1","sta',
}


@pytest.mark.parametrize("line", FOREIGN.values(), ids=FOREIGN)
def test_a_line_that_is_no_record_is_passed_over_with_a_warning_and_kept(line: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", record(0))
    with path.open("ab") as file:
        file.write(line + b"\n\n   \n")
    write(path, record(1))
    found, told = read_with_warnings(path)
    assert found == [record(0), record(1)]
    assert told == [f"{path}, line 2: not a record, passed over ({len(line) + 1} bytes)."]
    assert line in path.read_bytes()
    assert not path.with_suffix(".torn").exists()


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_no_bytes_between_records_cost_a_record(garbage: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.jsonl", record(0))
        with path.open("ab") as file:
            file.write(garbage)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JournalWarning)
            write(path, record(1))
        found, _ = read_with_warnings(path)
        assert found[0] == record(0)
        assert found[-1] == record(1)
        aside = path.with_suffix(".torn")
        kept = path.read_bytes() + (aside.read_bytes() if aside.exists() else b"")
        assert all(piece in kept for piece in garbage.split(b"\n"))


# --- what cannot be written or read -----------------------------------------------------------------------------------


def test_a_journal_that_cannot_be_written_says_so_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.jsonl").mkdir()
    for path in (tmp_path / "file" / "a.jsonl", tmp_path / "missing" / "a.jsonl", tmp_path / "folder.jsonl"):
        with Journal(path) as journal, pytest.raises(ResultsError) as raised:
            journal.append(record(0))
        assert str(path) in str(raised.value)
        assert "cannot be written" in str(raised.value)
        assert "The 0 records before are kept" in str(raised.value)


def test_a_journal_that_cannot_be_read_says_so_with_its_path(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "missing.jsonl", "no such file"), (tmp_path, "this is a folder")):
        with pytest.raises(ResultsError, match=words) as raised:
            list(read_records(path))
        assert str(path) in str(raised.value)


@contextlib.contextmanager
def python(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that runs `code`; what is left of it in the end is killed."""
    preamble = "import sys\nfrom pathlib import Path\nfrom convbench.store.journal import Journal\n"
    preamble += "def record(i, **more):\n"
    preamble += "    return {'backend': f'b{i}', 'case': 'n1', 'status': 'ok', 'number': i, **more}\n"
    process = subprocess.Popen(
        [sys.executable, "-c", preamble + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@on_linux
def test_a_full_disk_is_an_error_that_says_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.symlink_to("/dev/full")
    code = """
        import resource
        from convbench.errors import ResultsError
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))  # /dev/full has no end, should anything read it
        with Journal(Path(sys.argv[1])) as journal:
            try:
                journal.append(record(0))
            except ResultsError as error:
                print(error)
    """
    with python(code, path) as process:
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert f"the journal {path} cannot be written: No space left on device." in told
    assert "The 0 records before are kept; go on with --resume" in told


@on_linux
def test_a_disk_that_fills_in_the_middle_of_a_record_keeps_all_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    code = """
        import resource
        from convbench.errors import ResultsError
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        with Journal(Path(sys.argv[1])) as journal:
            try:
                for i in range(10):
                    journal.append(record(i, text="x" * 3000))
            except ResultsError as error:
                print(error)
            print(journal.written)
    """
    with python(code, path) as process:
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "The 3 records before are kept" in told
    assert told.splitlines()[-1] == "3"
    kept = [record(i, text="x" * 3000) for i in range(3)]
    assert read_with_warnings(path)[0] == kept
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JournalWarning)
        write(path, record(99))
    assert read(path) == [*kept, record(99)]


@on_linux
def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    code = """
        with Journal(Path(sys.argv[1])) as journal:
            journal.append(record(0))
            print("open", flush=True)
            sys.stdin.readline()
            journal.append(record(1))
    """
    with python(code, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        before = path.read_bytes()
        with Journal(path) as second, pytest.raises(ResultsError, match="another run is writing") as raised:
            second.append(record(7))
        assert str(path) in str(raised.value)
        assert path.read_bytes() == before
        process.communicate("go on\n", timeout=60)
    assert process.returncode == 0
    assert read(path) == [record(0), record(1)]
    write(path, record(2))
    assert read(path) == [record(0), record(1), record(2)]


@on_linux
def test_a_writer_killed_at_any_time_loses_at_most_the_record_in_flight(tmp_path: Path) -> None:
    code = """
        with Journal(Path(sys.argv[1])) as journal:
            for i in range(100_000):
                journal.append(record(i, text="x" * 400_000))
                print(i, flush=True)
    """
    for attempt, delay_s in enumerate((0.0, 0.003, 0.0071, 0.0113)):
        path = tmp_path / f"{attempt}.jsonl"
        with python(code, path) as process:
            assert process.stdout is not None
            acknowledged = [int(process.stdout.readline()) for _ in range(3)]
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in process.stdout.read().split()]
        numbers = [r["number"] for r in read_with_warnings(path)[0]]
        assert numbers in (acknowledged, [*acknowledged, len(acknowledged)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JournalWarning)
            write(path, record(-1))
        assert [r["number"] for r in read(path)] == [*numbers, -1]


# --- journals and records of a folder ---------------------------------------------------------------------------------


def test_journals_are_found_in_all_folders_below_the_oldest_first(tmp_path: Path) -> None:
    names = [
        "b/20240101T000000Z-sizes.jsonl", "a/20240101T000000Z-sizes-2.jsonl", "b/20240102T000000Z-a.jsonl",
        "20240103T000000Z-a.jsonl", "a/b/20250101T000000Z-a.jsonl",
    ]  # fmt: skip
    for name in [*reversed(names), "b/20200101T000000Z-a.torn", "b/machine.json"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert [str(path.relative_to(tmp_path)) for path in journals(tmp_path)] == names
    assert journals(tmp_path / "nowhere") == []


def test_records_come_from_a_journal_or_a_folder_or_say_that_there_is_none(tmp_path: Path) -> None:
    one = write(tmp_path / "20240101T000000Z-a.jsonl", record(0))
    (tmp_path / "m").mkdir()
    write(tmp_path / "m" / "20240102T000000Z-a.jsonl", record(1))
    assert list(records(one)) == [record(0)]
    assert list(records(str(tmp_path))) == [record(0), record(1)]
    with pytest.raises(ResultsError, match="there are no results at") as raised:
        list(records(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in str(raised.value)


# --- load -------------------------------------------------------------------------------------------------------------


def outcome(backend: str = "torch", times: tuple[float, ...] = (0.5, 0.25, 0.75), **more: Any) -> Outcome:
    arguments: dict[str, Any] = {
        "suite": "sizes",
        "case": Case(PROBLEM, count=2, layer="layer1"),
        "backend": backend,
        "status": Status.OK if times else Status.UNSUPPORTED,
        "settings": Settings(threads=2, seed=5),
        "samples": tuple(RoundSample(i, 0.5 * i, Sample(3, s, 2 * s, s / 4, i)) for i, s in enumerate(times)),
        "verdicts": (Verdict("bound", True, 0.25, 1e-7, element=(0, 1, 2, 3), got=1.0, expected=1.5, elements=9),),
        "declared": {"algorithm": "gemm"},
        "versions": {"torch": "2.4"},
    }
    return Outcome(**(arguments | more))


def problem_of(row: Any) -> ConvProblem:
    return ConvProblem(**{name: row[name] for name in PROBLEM.as_dict()} | {"bias": bool(row["bias"])})


def test_load_gives_a_row_for_each_record_with_scalars_and_what_one_groups_by_as_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        record_of(outcome(), "a", "one", CheckoutState()),
        record_of(outcome("numpy", (), reason="does not compute groups"), "a", "one", CheckoutState()),
    )
    frame = convbench.load(path)
    assert frame["backend"].tolist() == ["torch", "numpy"]
    assert frame["status"].tolist() == ["ok", "unsupported"]
    first, second = (frame.iloc[i] for i in range(2))
    assert first["kernel_size"] == (3, 5)
    assert first["padding"] == ((0, 1), (2, 2))
    assert problem_of(first) == PROBLEM
    assert first["wall_s"] == [0.5, 0.25, 0.75]
    assert (first["cpu_s"], first["round"], first["load"]) == ([1.0, 0.5, 1.5], [0, 1, 2], [0.0, 0.5, 1.0])
    assert (first["median_s"], first["low_s"], first["high_s"], first["interval"]) == (0.5, 0.25, 0.75, "range")
    assert first["gflops"] == pytest.approx(PROBLEM.flops / 0.5 / 1e9)
    assert (first["case_id"], first["count"], first["layer"]) == (PROBLEM.case_id, 2, "layer1")
    assert (first["threads"], first["seed"], first["allocator"]) == (2, 5, "steady")
    assert first["max_error_over_bound"] == 0.25
    assert first["machine"]
    assert second["reason"] == "does not compute groups"
    assert math.isnan(second["median_s"])
    kinds = {
        "median_s": "f", "low_s": "f", "gflops": "f", "images_per_s": "f", "gbytes_per_s": "f", "count": "i",
        "threads": "i", "batch": "i", "in_channels": "i", "groups": "i", "flops": "i", "bias": "b",
    }  # fmt: skip
    assert {name: frame[name].dtype.kind for name in kinds} == kinds
    assert not {"problem", "settings", "samples"} & set(frame.columns)
    assert frame.groupby("kernel_size")["median_s"].min().to_dict() == {(3, 5): 0.5}


def test_load_of_a_folder_has_every_machine_the_oldest_first(tmp_path: Path) -> None:
    for i, (machine, name) in enumerate((("m2", "20240101T000000Z-a"), ("m1", "20240102T000000Z-a"))):
        (tmp_path / machine).mkdir()
        one = record_of(outcome(f"b{i}"), name, "one", CheckoutState())
        one["machine"] = one["machine"] | {"machine": machine, "cpu": f"cpu of {machine}"}
        write(tmp_path / machine / f"{name}.jsonl", one)
    frame = convbench.load(tmp_path)
    assert frame["machine"].tolist() == ["m2", "m1"]
    assert frame["cpu"].tolist() == ["cpu of m2", "cpu of m1"]
    assert frame["run"].tolist() == ["20240101T000000Z-a", "20240102T000000Z-a"]
    assert convbench.load(tmp_path / "m1")["backend"].tolist() == ["b1"]


def test_load_reads_around_what_is_no_record(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", record_of(outcome(), "a", "one", CheckoutState()))
    with path.open("ab") as file:
        file.write(b'garbage\n{"backend": "torn')
    with pytest.warns(JournalWarning):
        assert len(convbench.load(path)) == 1


def test_load_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="there are no results"):
        convbench.load(tmp_path / "results")


def test_load_without_a_place_reads_where_runs_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "asv.conf.json").write_text("{}")
    (tmp_path / "results").mkdir()
    (tmp_path / "below").mkdir()
    write(tmp_path / "results" / "a.jsonl", record_of(outcome(), "a", "one", CheckoutState()))
    monkeypatch.chdir(tmp_path / "below")
    assert convbench.load()["backend"].tolist() == ["torch"]


@given(problems(), st.floats(1e-9, 1e4))
def test_throughput_is_per_median_and_counts_each_operand_once(problem: ConvProblem, median_s: float) -> None:
    timed = Outcome(
        suite="s", case=Case(problem), backend="b", status=Status.OK, settings=Settings(),
        samples=(RoundSample(0, 0.0, Sample(1, median_s, median_s, 0.0, 0)),),
    )  # fmt: skip
    record = record_of(timed, "a", "one", CheckoutState())
    assert record["images_per_s"] == pytest.approx(problem.batch / median_s)
    assert record["gbytes_per_s"] == pytest.approx(problem.bytes / median_s / 1e9)
    assert record["gflops"] == pytest.approx(record["gbytes_per_s"] * problem.arithmetic_intensity)
    untimed = record_of(dataclasses.replace(timed, samples=()), "a", "one", CheckoutState())
    assert [untimed[name] for name in ("gflops", "images_per_s", "gbytes_per_s")] == [None] * 3


seconds = st.floats(1e-9, 1e4)
figures = st.none() | seconds
short_texts = st.none() | st.text(max_size=30)
verdicts = st.builds(
    Verdict,
    st.sampled_from(["exact", "bound"]), st.booleans(), st.floats(min_value=0), st.floats(min_value=0),
    warned=st.booleans(), element=st.none() | st.just((0, 1, 2, 3)), got=st.none() | st.floats(), reason=short_texts,
)  # fmt: skip


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    status = draw(st.sampled_from(Status))
    timed = status in (Status.OK, Status.WRONG) and draw(st.booleans())
    taken = st.builds(Sample, st.integers(1, 10_000), seconds, seconds, st.floats(0, 1e4), st.integers(0, 10**6))
    return Outcome(
        suite=draw(st.text(max_size=10)),
        case=Case(draw(problems()), count=draw(st.integers(1, 99)), layer=draw(short_texts)),
        backend=draw(st.text(max_size=10)),
        status=status,
        settings=draw(
            st.builds(Settings, threads=st.integers(1, 64), seed=st.integers(0, 2**40), time_wrong=st.booleans())
        ),
        reason=draw(short_texts),
        verdicts=tuple(draw(st.lists(verdicts, max_size=3))),
        prepare_s=draw(figures),
        first_call_s=draw(figures),
        samples=tuple(
            RoundSample(i, draw(st.floats(0, 100)), draw(taken)) for i in range(draw(st.integers(1, 8)) if timed else 0)
        ),
        stopped=draw(st.sampled_from([None, "precision", "rounds", "time"])),
        peak_bytes=draw(st.none() | st.integers(0, 2**50)),
        steady_bytes=draw(st.none() | st.integers(0, 2**50)),
        stderr_tail=draw(short_texts),
    )


def same(loaded: Any, expected: Any) -> bool:
    if expected is None:
        return loaded is None or loaded != loaded
    return bool(loaded == expected)


@given(st.lists(outcomes(), min_size=1, max_size=4))
@settings(max_examples=40)
def test_an_outcome_comes_back_from_its_record_by_load(given_outcomes: list[Outcome]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(
            Path(folder) / "a.jsonl", *(record_of(one, "a run", "one", CheckoutState()) for one in given_outcomes)
        )
        frame = convbench.load(path)
        raw = read(path)
    assert len(frame) == len(given_outcomes)
    for i, one in enumerate(given_outcomes):
        row, estimate = frame.iloc[i], one.estimate
        if estimate and estimate.covers and estimate.processes == 1:
            estimate = estimate.widened(one.variation.half_width_of_time)  # that of several processes has it already
        assert problem_of(row) == one.case.problem
        expected = {
            "run": "a run", "suite": one.suite, "backend": one.backend, "status": str(one.status),
            "layer": one.case.layer, "case": one.case.name, "count": one.case.count, "reason": one.reason,
            "prepare_s": one.prepare_s,
            "first_call_s": one.first_call_s, "stopped": one.stopped, "peak_bytes": one.peak_bytes,
            "steady_bytes": one.steady_bytes,
            "stderr_tail": one.stderr_tail, "threads": one.settings.threads, "seed": one.settings.seed,
            "median_s": estimate and estimate.median, "low_s": estimate and estimate.low,
            "high_s": estimate and estimate.high,
        }  # fmt: skip
        for name, value in expected.items():
            assert same(row[name], value), name
        samples = [sample.sample for sample in one.samples]
        for name in ("calls", "wall_s", "cpu_s", "system_s", "minor_faults"):
            assert not samples or row[name] == [getattr(sample, name) for sample in samples], name
            assert bool(samples) == (name in raw[i]["samples"])
        assert not samples or row["round"] == [sample.round for sample in one.samples]
        assert raw[i]["settings"] == dataclasses.asdict(one.settings)
        assert [verdict["passed"] for verdict in raw[i]["verdicts"]] == [verdict.passed for verdict in one.verdicts]


def test_a_set_that_a_backend_declares_is_a_list_in_order() -> None:
    """A set has no order of its own, and two records of one backend have to be equal."""
    line = line_of({"declared": {"quantized": {"float_sums": frozenset({"u8z", "s8z"})}}})
    assert json.loads(line) == {"declared": {"quantized": {"float_sums": ["s8z", "u8z"]}}}
