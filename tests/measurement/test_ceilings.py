"""Ceilings are measured in processes of their own, kept in files of their own, and shown by `convbench machine`."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import CHECKOUT

import convbench
from convbench.errors import NothingMeasuredError, ResultsError
from convbench.measurement.ceilings import process
from convbench.measurement.ceilings.bandwidth import extents
from convbench.measurement.ceilings.figures import Ceilings, Figure, Level, figure_of
from convbench.measurement.ceilings.instruction_sets import NARROW, further_multiply_adds, instruction_sets
from convbench.measurement.ceilings.machine_code import FORBIDDEN, RefusedError, permit_tiles
from convbench.measurement.ceilings.process import measure_ceilings, missing_further, with_further
from convbench.measurement.ceilings.side_by_side import Task, WrongResultError, rates
from convbench.measurement.machine.facts import cpu_flags, machine_facts, usable_cpus
from convbench.measurement.machine.sysfs import cpu_list
from convbench.measurement.machine.topology import CPUS, caches, fastest_cpus
from convbench.store.ceilings import keep_ceilings, kept_ceilings
from convbench.store.line_file import JournalWarning

HERE = instruction_sets(platform.machine(), cpu_flags())
FURTHER_HERE = further_multiply_adds(platform.machine(), cpu_flags())
needs_machine_code = pytest.mark.skipif(not HERE, reason="no machine code for this CPU")
needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads cannot be held to CPUs")
BRIEF_S = 0.005


def ceilings(threads: int = 1, cpu: str = "a CPU", **changes: Any) -> Ceilings:
    """Made-up ones: 100 GFLOP/s and 10 GB/s from memory."""
    one = Figure("made up", 100e9, 99e9, 101e9, 20)
    given = {
        "threads": threads,
        "time": "2026-01-02T03:04:05+00:00",
        "cpu": cpu,
        "convbench": "0",
        "versions": {},
        "cpus": None,
        "clock": Figure("made up", 2e9, 2e9, 2e9, 20),
        "multiply_adds": {"float32": (one,)},
        "matrix_products": {},
        "levels": (Level(name="memory", bytes=None, figures=(Figure("made up", 10e9, 9e9, 11e9, 20),)),),
        "further": tuple(loop.key for loop in FURTHER_HERE),
    }
    return Ceilings(**(given | changes))


# --- threads side by side ---------------------------------------------------------------------------------------------


def busy(work: float) -> Task:
    def run(times: int) -> None:
        end = time.thread_time() + 1e-4 * times
        while time.thread_time() < end:
            pass

    return Task(run, work)


def test_the_rates_of_all_threads_are_added_up() -> None:
    made_in = set()

    def make() -> Task:
        made_in.add(threading.get_ident())
        return busy(len(made_in))  # 1 in one thread, 2 in the other: 10,000 and 20,000 a second

    found = rates(make, [None, None], 0.02)
    assert len(made_in) == 2
    assert found.samples
    assert max(found.samples) <= 30_000
    assert 0 < found.cpu_share < 2


@pytest.mark.parametrize("failing", [0, 1])
def test_what_one_thread_raises_is_raised_and_the_other_does_not_wait_for_ever(failing: int) -> None:
    order = iter(range(2))

    def make() -> Task:
        if next(order) == failing:
            raise WrongResultError("two and two are five")
        return busy(1)

    with pytest.raises(WrongResultError, match="two and two"):
        rates(make, [None, None], 0.01)


@needs_affinity
def test_a_thread_is_held_to_its_cpu_and_this_one_is_not() -> None:
    before = os.sched_getaffinity(0)
    seen: list[set[int]] = []

    def make() -> Task:
        seen.append(os.sched_getaffinity(0))
        return busy(1)

    cpu = max(before)
    rates(make, [cpu], 0.001)
    assert seen == [{cpu}]
    assert os.sched_getaffinity(0) == before


# --- CPUs and caches --------------------------------------------------------------------------------------------------


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / CPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("text", "cpus"), [("", set()), ("3", {3}), ("0-2,8", {0, 1, 2, 8}), ("0,2-3", {0, 2, 3}), ("nonsense", set())]
)
def test_lists_of_cpus(text: str, cpus: set[int]) -> None:
    assert cpu_list(text) == cpus


@needs_affinity
def test_the_fastest_core_comes_first_and_its_second_thread_last(tmp_path: Path) -> None:
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        pytest.skip("there is but one CPU")
    second = others[0]
    fast = {f"cpu{cpu}/cpufreq/cpuinfo_max_freq": str(1000 * cpu + 1000) for cpu in (first, second)}
    assert (fastest_cpus(1, system(tmp_path / "a", fast)) or ())[0] != first
    siblings = {f"cpu{cpu}/topology/thread_siblings_list": f"{first},{second}" for cpu in (first, second)}
    chosen = fastest_cpus(len(others) + 1, system(tmp_path / "b", fast | siblings)) or ()
    assert chosen[-1] == second
    assert sorted(chosen) == [first, *others]


def test_a_shared_cache_counts_once_and_an_instruction_cache_not_at_all(tmp_path: Path) -> None:
    def cache(cpu: int, index: int, level: int, kind: str, size: str, shared: str) -> dict[str, str]:
        of = {"level": str(level), "type": kind, "size": size, "shared_cpu_list": shared}
        return {f"cpu{cpu}/cache/index{index}/{name}": value for name, value in of.items()}

    files: dict[str, str] = {}
    for cpu in (0, 1, 2):
        files |= cache(cpu, 0, 1, "Data", "32K", str(cpu)) | cache(cpu, 1, 1, "Instruction", "64K", str(cpu))
        files |= cache(cpu, 2, 2, "Unified", "1024K", str(cpu))
        files |= cache(cpu, 3, 3, "Unified", "16M", "0-1" if cpu < 2 else "2-3")
    root = system(tmp_path, files)
    assert caches([0], root) == {"L1": 32 << 10, "L2": 1 << 20, "L3": 16 << 20}
    assert caches([0, 1], root) == {"L1": 64 << 10, "L2": 2 << 20, "L3": 16 << 20}
    assert caches([0, 2], root) == {"L1": 64 << 10, "L2": 2 << 20, "L3": 32 << 20}
    assert caches([7], root) == {}


@given(st.lists(st.integers(12, 30).map(lambda n: 1 << n), min_size=1, max_size=4), st.integers(20, 40))
def test_what_is_measured_of_a_level_is_held_by_it_and_not_by_those_inside(sizes: list[int], memory: int) -> None:
    known = {f"L{i}": size for i, size in enumerate(sorted(sizes), 1)}
    found = extents(known, 1 << memory)
    assert [extent.name for extent in found[: len(known)]] == list(known)
    inside = 0
    for extent in found:
        assert extent.measured > inside
        if extent.holds is not None:
            assert extent.measured <= inside + extent.holds
            inside += extent.holds
    if (1 << memory) >= 16 * max(inside, 128 << 20):  # four times the caches are at most a quarter of it
        assert found[-1].name == "memory"
    for extent in found[len(known) :]:
        assert extent.holds is None
        assert extent.measured >= 2 * inside
        assert extent.measured <= (1 << memory) // 4


def test_without_known_caches_nothing_is_said_of_bandwidth() -> None:
    assert extents({}, 1 << 34) == []


# --- measuring --------------------------------------------------------------------------------------------------------


@needs_machine_code
def test_a_measurement_finds_every_loop_and_product_and_level() -> None:
    told: list[str] = []
    found = measure_ceilings(usable_cpus(), told.append, BRIEF_S)
    assert found.threads == usable_cpus()
    assert found.cpu == machine_facts()["cpu"]
    narrow = {loop.dtype for loop in FURTHER_HERE}
    assert {"float32", "float64"} <= set(found.multiply_adds) <= {"float32", "float64"} | narrow
    assert narrow <= set(found.multiply_adds) | set(found.unmeasured)
    assert found.further == tuple(loop.key for loop in FURTHER_HERE)
    for loop in FURTHER_HERE:
        measured = [figure.how for figure in found.multiply_adds.get(loop.dtype, ())]
        assert f"{loop.name} multiply-adds" in measured or any(note.startswith(loop.key) for note in found.notes)
    assert set(found.matrix_products) == {"float32", "float64"}
    assert found.clock is not None
    product, loop = found.matrix_products["float32"][0], found.multiply_adds["float32"][0]
    if platform.machine() in ("x86_64", "AMD64"):  # elsewhere a library may use wider vectors or a matrix unit
        assert loop.value > 0.9 * product.value
    assert (found.peak("float32") or product).value >= product.value
    figures = [one for level in found.levels for one in level.figures] + [product, loop, found.clock]
    assert all(0 < one.low <= one.value <= one.high and one.samples for one in figures)
    if platform.system() == "Linux":
        assert [level.name for level in found.levels][-1] == "memory"
        assert all(level.figures for level in found.levels)
    assert any("float32" in what for what in told)


def test_where_code_is_refused_products_remain_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORBIDDEN, "1")
    found = measure_ceilings(1, seconds=BRIEF_S)
    assert not found.multiply_adds
    assert found.clock is None
    assert (found.peak("float32") or figure_of("none", [1])).how.startswith(("NumPy", "SciPy"))
    assert all("NumPy" in one.how for level in found.levels for one in level.figures)
    assert any(note.startswith("no machine code") for note in found.notes)
    assert {loop.dtype for loop in FURTHER_HERE} <= set(found.unmeasured)
    assert all(found.peak(dtype) is None for dtype in NARROW)


CRASHING = """
import os, signal, sys
if "convbench.measurement.ceilings.worker" in sys.orig_argv and not ({forbidden} and "{name}" in os.environ):
    os.kill(os.getpid(), signal.SIGILL)
"""


def crashing(folder: Path, monkeypatch: pytest.MonkeyPatch, *, even_without_code: bool) -> None:
    """From now on the process that measures dies of an instruction that its CPU does not have."""
    source = CRASHING.format(name=FORBIDDEN, forbidden=not even_without_code)
    (folder / "sitecustomize.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delenv(FORBIDDEN, raising=False)


@pytest.mark.skipif(sys.platform != "linux", reason="signals are Linux's here")
def test_where_the_code_crashes_products_remain_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashing(tmp_path, monkeypatch, even_without_code=False)
    found = measure_ceilings(1, seconds=BRIEF_S)
    assert found.matrix_products and not found.multiply_adds
    assert [note for note in found.notes if note.startswith("no machine code")] == [
        "no machine code: the process that ran it was ended by SIGILL"
    ]


CODE_OF_FURTHER = """
import sys
if "convbench.measurement.ceilings.worker" in sys.orig_argv:
    from dataclasses import replace
    from convbench.measurement.ceilings import instruction_sets
    from convbench.measurement.ceilings.machine_code import Instruction, Listing
    listing = Listing((Instruction("{text}", {code}),))
    instruction_sets.FURTHER = tuple(
        (machines, flags, replace(loop, listing=lambda: listing)) for machines, flags, loop in instruction_sets.FURTHER
    )
"""
UNDEFINED = {True: b"\x0f\x0b", False: b"\x00\x00\x00\x00"}[platform.machine() in ("x86_64", "AMD64")]
RETURN = {True: b"\xc3", False: b"\xc0\x03\x5f\xd6"}[platform.machine() in ("x86_64", "AMD64")]


@needs_machine_code
@pytest.mark.skipif(sys.platform != "linux", reason="signals are Linux's here")
@pytest.mark.parametrize(
    ("code", "why"),
    [
        (UNDEFINED, "not measured, because the process that ran it was ended by SIGILL"),
        (RETURN, "does not compute what it should"),
    ],
    ids=["undefined", "wrong"],
)
def test_an_instruction_that_is_not_there_or_wrong_costs_its_own_ceiling_alone(
    code: bytes, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not FURTHER_HERE:
        pytest.skip("this CPU has no further multiply-adds")
    (tmp_path / "sitecustomize.py").write_text(CODE_OF_FURTHER.format(text="made up", code=code))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    known = ceilings(1, multiply_adds={"float32": (figure_of("loop", [1e9]),)}, further=())
    completed = with_further(known, seconds=BRIEF_S)
    assert completed.multiply_adds == known.multiply_adds
    assert set(completed.unmeasured) == {loop.dtype for loop in FURTHER_HERE}
    assert all(completed.peak(loop.dtype) is None for loop in FURTHER_HERE)
    for loop, note in zip(FURTHER_HERE, completed.notes, strict=True):
        assert note.startswith(f"{loop.key}: not measured, because") and (why in note or "permit" in note)
    assert missing_further(completed) == []  # it is tried once


def test_a_dtype_has_no_peak_where_something_faster_may_exist() -> None:
    known = ceilings(multiply_adds={"bfloat16": (figure_of("loop", [1e9]),)}, unmeasured={"bfloat16": "AMX tiles"})
    assert known.peak("bfloat16") is None
    assert ceilings(multiply_adds=known.multiply_adds).peak("bfloat16") == figure_of("loop", [1e9])


def test_tiles_are_refused_in_a_sentence_where_the_system_does_not_permit_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(RefusedError, match="does not permit AMX tiles"):
        permit_tiles()


@pytest.mark.skipif(sys.platform != "linux", reason="signals are Linux's here")
def test_where_nothing_can_be_measured_that_is_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashing(tmp_path, monkeypatch, even_without_code=True)
    with pytest.raises(NothingMeasuredError, match="threads 1 was ended by SIGILL"):
        measure_ceilings(1, seconds=BRIEF_S)


@pytest.mark.skipif(sys.platform != "linux", reason="signals are Linux's here")
def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        'import sys, time\nif "convbench.measurement.ceilings.worker" in sys.orig_argv:\n    time.sleep(600)\n'
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(process, "_LIMIT_S", 0.5)
    with pytest.raises(NothingMeasuredError, match="was ended by SIGKILL"):
        measure_ceilings(1, seconds=BRIEF_S)


# --- keeping ----------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_read_back_the_newest_of_each_cpu_and_number_of_threads(tmp_path: Path) -> None:
    keep_ceilings(tmp_path, [ceilings(2), ceilings(1), ceilings(1, "another CPU")])
    newer = ceilings(1, notes=("a note",), cpus=(1,))
    keep_ceilings(tmp_path, [newer])
    assert kept_ceilings(tmp_path) == [newer, ceilings(1, "another CPU"), ceilings(2)]
    assert len(list(tmp_path.iterdir())) == 2


def test_ceilings_are_neither_a_journal_nor_asvs(tmp_path: Path) -> None:
    path = keep_ceilings(tmp_path, [ceilings()])
    assert path.suffix not in (".json", ".jsonl")
    assert convbench.load(tmp_path).empty


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert kept_ceilings(tmp_path / "nothing") == []


WHOLE = msgspec.json.encode(ceilings())


@pytest.mark.parametrize(
    "line",
    [
        WHOLE[:-40],
        b"not json",
        b"[1, 2]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        WHOLE.replace(b'"value":100000000000.0', b'"value":0'),
        WHOLE.replace(b'"value":100000000000.0', b'"value":-5'),
        WHOLE.replace(b'"value":100000000000.0', b'"value":"fast"'),
        WHOLE.replace(b'"threads":1', b'"threads":0'),
        WHOLE.replace(b'"threads":1', b'"threads":"[red]1"'),
    ],
)
def test_a_damaged_line_is_told_of_and_the_others_are_read(line: bytes, tmp_path: Path) -> None:
    path = keep_ceilings(tmp_path, [ceilings(1), ceilings(2)])
    first, second = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([line, second]))
    with pytest.warns(JournalWarning, match=f"{path.name}, line 1: .*convbench machine --measure"):
        assert kept_ceilings(tmp_path) == [ceilings(2)]
    assert first == WHOLE


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_fail(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", JournalWarning)
        (Path(folder) / "any.ceilings").write_bytes(content)
        assert kept_ceilings(Path(folder)) == []


def test_what_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="cannot be written"):
        keep_ceilings(tmp_path / "file", [ceilings()])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_files_of_an_earlier_version_are_read_as_they_are() -> None:
    folder = CHECKOUT / "tests" / "store" / "stored_by_aefc737" / "results" / "bench-1"
    (path,) = folder.glob("*.ceilings")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = kept_ceilings(folder)
    assert [one.further for one in kept] == [None] * len(lines)
    for one, line in zip(kept, sorted(lines, key=lambda line: line["threads"]), strict=True):
        assert {name: json.loads(msgspec.json.encode(getattr(one, name))) for name in line} == line
        peak = one.peak("bfloat16")
        assert peak is not None and peak.value == line["multiply_adds"]["bfloat16"][0]["value"]


# --- the command ------------------------------------------------------------------------------------------------------


def machine(results: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "convbench", "machine", "--results", str(results), *words],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"CONVBENCH_MACHINE": "here"} | environment,
        check=False,
    )


def test_a_machine_that_was_not_measured_is_told_how(tmp_path: Path) -> None:
    done = machine(tmp_path)
    assert done.returncode == 0
    assert "convbench machine --measure" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--threads", "1"], "--measure"),
        (["--measure", "--threads", "none"], "--threads': the value is 'none'; it should be whole numbers from 1"),
        (["--measure", "--threads", "0"], "it should be whole numbers from 1"),
        (["--measure", "--threads", "1,,2"], "it should be whole numbers from 1"),
        (["--measure", "--threads", "100000"], "CPUs"),
    ],
)
def test_threads_that_cannot_be_are_refused_before_anything_is_measured(
    words: list[str], told: str, tmp_path: Path
) -> None:
    done = machine(tmp_path, *words)
    assert done.returncode == 2
    assert told in done.stderr and "Traceback" not in done.stderr
    assert not done.stdout


def test_the_command_measures_keeps_and_shows(tmp_path: Path) -> None:
    # Without machine code it is quicker; with it, `measure_ceilings` was tried above.
    done = machine(tmp_path, "--measure", "--threads", "1", "--json", **{FORBIDDEN: "1"})
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert told["machine"] == "here"
    (one,) = told["ceilings"]
    assert one["threads"] == 1 and one["matrix_products"]["float32"][0]["value"] > 0
    assert "float32" in one["matrix_products"] and one["notes"]
    (kept,) = (tmp_path / "here").iterdir()
    assert json.loads(kept.read_text()) == one

    shown = machine(tmp_path)
    assert "measured just now" in shown.stdout or "ago" in shown.stdout
    assert "float32 matrix product, GFLOP/s" in shown.stdout
    assert "no machine code" in shown.stdout


def record(
    backend: str, gflops: float, algorithm: str = "direct", case_id: str = "n1c64h56w56_o64k3"
) -> dict[str, Any]:
    problem = convbench.ConvProblem.parse(case_id)
    return {
        "case": case_id,
        "case_id": case_id,
        "backend": backend,
        "status": "ok",
        "suite": "s",
        "median_s": problem.flops / gflops / 1e9,
        "gflops": gflops,
        "threads": 1,
        "dtype": "float32",
        "declared": {"device": "cpu", "algorithm": algorithm, "operand": None, "accumulate": None, "prepacks": []},
        "machine": {"machine": "here", "cpu": machine_facts()["cpu"]},
        "problem": problem.as_dict(),
    }


def test_the_best_convolution_of_the_journals_stands_beside_the_ceilings(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    keep_ceilings(folder, [ceilings(1, machine_facts()["cpu"])])
    records = [record("good", 80), record("better", 90), record("[red]odd", 70), record("winograd", 300, "winograd")]
    (folder / "run.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    (best,) = json.loads(machine(tmp_path, "--json").stdout)["best_convolutions"]
    assert (best["backend"], best["threads"], best["dtype"]) == ("better", 1, "float32")
    assert best["share"] == pytest.approx(0.9)
    assert "better on n1c64h56w56_o64k3, 90 % of its limit" in machine(tmp_path).stdout

    with (folder / "run.jsonl").open("a") as journal:
        journal.write(json.dumps(record("[red]too fast", 400)) + "\n")
    words = " ".join(machine(tmp_path).stdout.split())
    assert "[red]too fast on n1c64h56w56_o64k3 was 4.0 times as fast as the limit" in words


@needs_machine_code
def test_what_an_earlier_convbench_did_not_know_is_measured_once(tmp_path: Path) -> None:
    if not FURTHER_HERE:
        pytest.skip("this CPU has no further multiply-adds")
    folder, site = tmp_path / "here", tmp_path / "site"
    folder.mkdir()
    site.mkdir()
    (site / "sitecustomize.py").write_text(CODE_OF_FURTHER.format(text="ret", code=RETURN))
    made_up = ceilings(1, machine_facts()["cpu"], unmeasured={"bfloat16": "AMX tiles"})
    earlier = json.loads(msgspec.json.encode(made_up))
    del earlier["further"]  # as its files were
    (folder / "20260101T000000Z-1.ceilings").write_text(json.dumps(earlier) + "\n")

    first = machine(tmp_path, "--json", PYTHONPATH=str(site))
    assert f"measuring {FURTHER_HERE[0].key} on 1 thread, which an earlier convbench did not" in first.stderr
    (one,) = json.loads(first.stdout)["ceilings"]
    assert one["further"] == [loop.key for loop in FURTHER_HERE]
    assert one["multiply_adds"] == earlier["multiply_adds"] and one["time"] == earlier["time"]
    assert set(one["unmeasured"]) == {loop.dtype for loop in FURTHER_HERE}
    assert len(list(folder.iterdir())) == 2

    again = machine(tmp_path, "--json", PYTHONPATH=str(site))
    assert json.loads(again.stdout)["ceilings"] == [one] and "measuring" not in again.stderr
    assert len(list(folder.iterdir())) == 2


def test_ceilings_of_another_cpu_are_not_shown(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    keep_ceilings(folder, [ceilings(1, "another CPU")])
    assert json.loads(machine(tmp_path, "--json").stdout)["ceilings"] == []


def test_damaged_ceilings_are_a_sentence_on_standard_error(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "x.ceilings").write_text("{broken\n")
    done = machine(tmp_path)
    assert done.returncode == 0
    assert "x.ceilings, line 1: these are no ceilings" in done.stderr
    assert "Traceback" not in done.stderr
