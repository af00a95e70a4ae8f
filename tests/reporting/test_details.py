"""The table of details: figures as records have them, columns that some record knows, and nothing that stops it."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from convbench.analysis.ranking import rank
from convbench.measurement.outcome import OnDevice, Outcome, RoundSample
from convbench.measurement.sampling.sample import Sample
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.reporting.numbers import mebibytes
from convbench.reporting.run.details_table import GROUPS
from convbench.reporting.run.suite_tables import suite_report
from convbench.stats.session_drift import SessionDrift
from convbench.status import Status
from convbench.store.locations import CheckoutState
from convbench.store.records import record_of
from convbench.suite import Case

MEBIBYTE = 2**20
PROBLEM = ConvProblem(batch=4, in_channels=16, height=32, width=32, out_channels=32, kernel_size=3, padding=1)
HEADINGS = [column.heading for group in GROUPS for column in group]
OF_A_GPU = {"send ms", "fetch ms", "device MiB", "launch µs", "GPU MHz"}
OF_LATER_VERSIONS = ("images_per_s", "gbytes_per_s", "steady_bytes", "implementation")


def record(backend: str = "torch", median_s: float = 2e-3, problem: ConvProblem = PROBLEM, **more: Any) -> Any:
    """As a run makes it: 8 samples of 10 calls, 3 faults a call, a twentieth of the CPU time the system's."""
    sample = Sample(10, median_s, median_s, median_s / 20, 30)
    told: dict[str, Any] = {
        "prepare_s": 0.0123,
        "first_call_s": 0.456,
        "stopped": "precision",
        "implementation": "brg_conv:avx512_core",
        "before_bytes": 100 * MEBIBYTE,
        "peak_bytes": 164 * MEBIBYTE,
        "steady_bytes": 132 * MEBIBYTE + MEBIBYTE // 2,
        "drift": SessionDrift(scale=0.01, pairs=40),
    }
    told["samples"] = tuple(RoundSample(number, 0.0, sample) for number in range(8))
    outcome = Outcome(
        suite="s", case=Case(problem), backend=backend, status=Status.OK, settings=Settings(), **(told | more)
    )
    return record_of(outcome, "r", "s", CheckoutState())


def shown(*records: Any, width: int = 200, details: bool = True) -> str:
    console = Console(file=StringIO(), width=width, highlight=False)
    for ranking in rank(records):
        console.print(suite_report(ranking, details=details))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def cells(text: str, backend: str = "torch") -> dict[str, str]:
    """The cells of a backend in the details of the first case, by heading, wherever the table was broken."""
    found: dict[str, str] = {}
    lines = text.splitlines()
    for number, line in enumerate(lines):
        # A heading may have a blank in it, and figures are flush right under it.
        headings = [h for h in HEADINGS if re.search(rf"(?<= ){re.escape(h)}(?=  |\s*$)", line)]
        if not line.startswith("backend ") or "median ms" in line or not headings:
            continue
        row = next(line for line in lines[number:] if line.startswith(f"  {backend} "))
        found |= dict(zip(headings, row.removeprefix(f"  {backend} ").split(), strict=True))
    return found


def test_the_figures_are_those_of_the_record() -> None:
    assert cells(shown(record())) == {
        "images/s": "2,000",
        "GB/s": f"{PROBLEM.bytes / 2e-3 / 1e9:.3f}",
        "prepare ms": "12.3",
        "first call ms": "456",
        "peak MiB": "64.0",
        "steady MiB": "32.5",
        "CPU ms": "2.00",
        "faults/call": "3.0",
        "system %": "5.0",
        "processes ±%": "1.3",
        "sessions ±%": "2.8",
        "samples": "8",
        "calls": "80",
        "ended by": "precision",
        "implementation": "brg_conv:avx512_core",
    }


def test_what_is_known_of_a_gpu_stands_there_too() -> None:
    sample = Sample(10, 2e-3, 2e-3, 0.0, 0, launch_s=4.2e-6, sm_mhz=1410)
    seen = OnDevice(timer="device", held_bytes=3 * MEBIBYTE, peak_bytes=5 * MEBIBYTE, send_s=1e-3, fetch_s=2e-3)
    rounds = tuple(RoundSample(number, 0.0, sample) for number in range(8))
    text = shown(record("gpu", samples=rounds, on_device=seen), record("cpu"))
    expected = {"send ms": "1.00", "fetch ms": "2.00", "device MiB": "5.0", "launch µs": "4.2", "GPU MHz": "1,410"}
    assert {heading: cells(text, "gpu")[heading] for heading in OF_A_GPU} == expected
    assert {cells(text, "cpu")[heading] for heading in OF_A_GPU} == {"–"}
    assert "which are in no call" in text
    held = record("gpu", on_device=OnDevice(timer="host", held_bytes=3 * MEBIBYTE))
    assert cells(shown(held), "gpu")["device MiB"] == "3.0"


def test_they_stand_below_the_times_in_the_same_order_and_say_how_to_read_them() -> None:
    text = shown(record("slow", 4e-3), record("fast", 1e-3))
    assert text.index("median ms") < text.index("images/s") < text.index("was fastest")
    details = text[text.index("images/s") :]
    assert details.index("fast") < details.index("slow")
    words = " ".join(details.split())
    assert "memory beyond the inputs: the most that was resident" in words
    assert "GB/s counts each operand once" in words


def test_without_being_asked_for_there_are_none() -> None:
    assert not any(heading in shown(record(), details=False) for heading in HEADINGS)


def test_samples_weigh_by_their_calls() -> None:
    one = record()
    one["samples"] |= {
        "calls": [1, 3] * 4,
        "minor_faults": [1, 0] * 4,
        "system_s": [0.0, 1e-3] * 4,
        "cpu_s": [4e-3, 2e-3] * 4,
    }
    found = cells(shown(one))
    assert (found["faults/call"], found["system %"], found["calls"]) == ("0.25", "30", "16")


def test_a_record_of_an_earlier_version_has_a_dash_where_it_knows_nothing() -> None:
    old = {name: value for name, value in record("old", 1e-3).items() if name not in OF_LATER_VERSIONS}
    found = cells(shown(old, record("new")), "old")
    assert [found[heading] for heading in ("images/s", "GB/s", "steady MiB")] == ["–"] * 3
    assert (found["peak MiB"], found["calls"]) == ("64.0", "80")


def test_a_column_that_no_record_knows_is_left_out_and_so_is_its_note() -> None:
    old = {name: value for name, value in record().items() if name not in OF_LATER_VERSIONS}
    text = shown(old)
    assert set(HEADINGS) - set(cells(text)) == {"images/s", "GB/s", "steady MiB", "implementation"} | OF_A_GPU
    assert "each operand once" not in text and "beyond the inputs" in text
    unread = record(before_bytes=None, peak_bytes=None, steady_bytes=None)
    assert "MiB" not in shown(unread)


def test_where_nothing_is_known_there_is_no_table() -> None:
    kept = "suite case case_id backend status reason median_s low_s high_s gflops max_error_over_bound flops".split()
    bare = {name: record()[name] for name in kept} | {"prepare_s": None, "first_call_s": None}
    assert shown(bare) == shown(bare, details=False)


@pytest.mark.parametrize(
    "name", [*OF_LATER_VERSIONS, "before_bytes", "peak_bytes", "prepare_s", "first_call_s", "stopped", "samples"]
)
def test_one_field_that_is_missing_is_no_error(name: str) -> None:
    kept = {key: value for key, value in record().items() if key != name}
    kept |= {key: None for key in ("prepare_s", "first_call_s") if key == name}  # which every version has had
    assert "torch" in shown(kept, record("other"))


JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text("xyz", max_size=3)
    | st.lists(st.none() | st.floats() | st.integers() | st.text(max_size=1), max_size=3)
    | st.just(10**400)
)
FIELDS = ("images_per_s", "gbytes_per_s", "before_bytes", "peak_bytes", "steady_bytes", "stopped")
OF_SAMPLES = ("calls", "cpu_s", "system_s", "minor_faults")


@given(st.dictionaries(st.sampled_from(FIELDS), JUNK), st.dictionaries(st.sampled_from(OF_SAMPLES), JUNK))
def test_whatever_a_journal_says_there_is_a_table(fields: dict[str, Any], samples: dict[str, Any]) -> None:
    odd = record("odd") | fields
    odd["samples"] = odd["samples"] | samples
    text = shown(odd, record("torch"))
    assert cells(text, "torch")["calls"] == "80"
    assert "nan" not in text and "inf" not in text


@given(width=st.integers(40, 260), name=st.text("abc-", max_size=9))
def test_what_does_not_fit_stands_below_and_nothing_is_lost(width: int, name: str) -> None:
    text = shown(record(f"x{name}x"), record("other"), width=width)
    assert set(cells(text, "other")) == set(HEADINGS) - OF_A_GPU
    assert cells(text, "other") == cells(shown(record("other")), "other")
    details = text[text.index("images/s") :].splitlines()
    if width >= 60:  # which has room for any two
        assert any("peak MiB" in line and "steady MiB" in line for line in details)
    rows = [len(line.rstrip()) for line in details if line.startswith(("backend ", "  "))]
    assert max(rows) <= width


@given(st.integers(-(2**50), 2**50))
def test_mebibytes_are_to_a_tenth_and_never_less_than_nothing_by_rounding(count: int) -> None:
    text = mebibytes(count)
    assert float(text.replace(",", "")) == pytest.approx(count / MEBIBYTE, abs=0.0501)
    assert text != "-0.0"


def test_a_fused_problem_says_what_of_its_epilogue_is_fused_without_details() -> None:
    problem = PROBLEM.replace(epilogue="add_relu")
    kernels = {"one": "brg_conv, fused", "two": "jit, add and relu apart", "three": "direct", "odd": "x, [red] apart"}
    records = [record(name, 1e-3, problem, implementation=kernel) for name, kernel in kernels.items()]
    lines = shown(*records, details=False).splitlines()
    end = next(line.index("epilogue") + len("epilogue") for line in lines if line.startswith("backend"))
    rows = {name: next(line[:end] for line in lines if line.startswith(f"  {name} ")) for name in kernels}
    assert {name: re.split("  +", row)[-1] for name, row in rows.items()} == {
        "one": "fused",
        "two": "add and relu apart",
        "three": "–",
        "odd": "–",
    }
    assert "epilogue" not in shown(record("one", implementation="brg_conv, fused"), details=False)
    assert "epilogue" not in shown(record("one", 1e-3, problem, implementation=None), details=False)
