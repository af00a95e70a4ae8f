"""The energy counters of the CPU packages, read from files as the kernel makes them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from convbench.analysis.ranking import rank
from convbench.measurement.machine.energy import Meter, energy_meter, why_not_metered
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.sampling.sample import Sample, SamplingPlan, take_sample
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.reporting.run.suite_tables import suite_report
from convbench.status import Status
from convbench.store.locations import CheckoutState
from convbench.store.records import record_of
from convbench.store.schema import Record
from convbench.suite import Case

MOST_UJ = 262_143_328_850
CASE = Case(ConvProblem(in_channels=1, height=4, width=4, out_channels=1, kernel_size=3))


def zone(root: Path, name: str, kind: str, energy_uj: int | None = 1_000_000) -> Path:
    folder = root / "sys" / "class" / "powercap" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "max_energy_range_uj").write_text(f"{MOST_UJ}\n")
    if energy_uj is not None:
        (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def outcome(*samples: Sample) -> Outcome:
    rounds = tuple(RoundSample(number, 0.5, sample) for number, sample in enumerate(samples))
    return Outcome(suite="s", case=CASE, backend="b", status=Status.OK, settings=Settings(), samples=rounds)


def test_packages_are_counted_and_not_their_parts_nor_the_platform(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 10)
    zone(tmp_path, "intel-rapl:0:0", "core", 5)
    zone(tmp_path, "intel-rapl:1", "package-1", 20)
    zone(tmp_path, "intel-rapl:2", "psys", 99)
    (tmp_path / "sys/class/powercap/intel-rapl").mkdir()
    meter = energy_meter(tmp_path)
    assert meter is not None and why_not_metered(tmp_path) is None
    assert meter.read() == (10, 20)


def test_without_counters_or_the_right_to_read_them_there_is_a_reason(tmp_path: Path) -> None:
    assert energy_meter(tmp_path) is None
    assert "no counters" in str(why_not_metered(tmp_path))
    zone(tmp_path, "intel-rapl:0", "package-0")
    zone(tmp_path, "intel-rapl:1", "package-1", None)
    assert energy_meter(tmp_path) is None
    assert "chmod" in str(why_not_metered(tmp_path))


@pytest.mark.parametrize("garbage", ["", "many", "-", "9" * 40])
def test_a_counter_that_is_no_number_is_no_figure(tmp_path: Path, garbage: str) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0")
    meter = energy_meter(tmp_path)
    assert meter is not None
    counter.write_text(garbage)
    assert meter.read() is None
    assert meter.joules((1,), meter.read()) is None


@given(st.integers(0, MOST_UJ), st.integers(0, MOST_UJ))
def test_a_counter_may_start_again_between_two_readings(before_uj: int, used_uj: int) -> None:
    meter = Meter(Path("/"), (("one", MOST_UJ),))
    after_uj = (before_uj + used_uj) % (MOST_UJ + 1)
    assert meter.joules((before_uj,), (after_uj,)) == pytest.approx(used_uj * 1e-6)


def test_a_samples_energy_is_that_of_its_timed_calls(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)

    def run() -> None:
        counter.write_text(str(int(counter.read_text()) + 3_000))

    sample, _ = take_sample(run, lambda: None, SamplingPlan(calls=4, discarded=3), meter=energy_meter(tmp_path))
    assert sample.energy_j == pytest.approx(3e-3)
    sample, _ = take_sample(run, lambda: None, SamplingPlan(calls=4, discarded=3))
    assert sample.energy_j is None


def test_a_record_has_joules_per_call_over_all_samples_where_all_were_read() -> None:
    read = outcome(Sample(10, 1e-3, 1e-3, 0.0, 0, 2e-3), Sample(30, 1e-3, 1e-3, 0.0, 0, 4e-3))
    record = record_of(read, "r", "s", CheckoutState())
    assert record["energy_j"] == pytest.approx((10 * 2e-3 + 30 * 4e-3) / 40)
    assert record["samples"]["energy_j"] == [2e-3, 4e-3]
    for some in ((None, None), (2e-3, None)):
        record = record_of(outcome(*(Sample(1, 1e-3, 1e-3, 0.0, 0, j) for j in some)), "r", "s", CheckoutState())
        assert record["energy_j"] is None
        assert "energy_j" not in record["samples"]


def shown(*records: Record) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(suite_report(rank(records)[0]))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_table_has_millijoules_a_call_where_they_are_known() -> None:
    read = record_of(outcome(*[Sample(1, 1e-3, 1e-3, 0.0, 0, 0.0123)] * 6), "r", "s", CheckoutState())
    unread = record_of(outcome(*[Sample(1, 2e-3, 1e-3, 0.0, 0)] * 6), "r", "s", CheckoutState()) | {"backend": "c"}
    text = shown(read | {"prepare_s": 0.1, "first_call_s": 0.1}, unread | {"prepare_s": 0.1, "first_call_s": 0.1})
    assert " mJ " in text
    assert "12.3" in text
    assert " mJ " not in shown(unread | {"prepare_s": 0.1, "first_call_s": 0.1})
