"""A machine is its hardware besides its name: what was measured on other hardware is no earlier record of this one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.runner.session import resumable_run
from convbench.store.asv.machine_names import first_hardware, name_of
from convbench.store.readings import Hardware, hardware_of, this_hardware
from convbench.store.records import Conditions, earlier_records
from convbench.suite import Case, Suite

PROBLEM = ConvProblem.parse("n1c1h5w5_o1k3")
SUITE = Suite("mine", "", (), (Case(PROBLEM),), Path())
SETTINGS = Settings()
HERE = {"machine": "here", **dict(zip(("cpu", "num_cpu", "vector_isa"), this_hardware(), strict=True))}
OTHERS = [
    {name: value}
    for name, value in (("cpu", "Imagined 9000"), ("num_cpu", 4096), ("vector_isa", "SSE2"))
    if HERE[name]  # what is unknown here differs from nothing
]
known = st.builds(
    Hardware, st.sampled_from(["", "A", "B"]), st.sampled_from([None, 1, 2]), st.sampled_from(["", "AVX2", "AVX-512"])
)


def journal(folder: Path, *machines: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, machine in enumerate(machines):
        record = {
            "suite": "mine", "case": SUITE.cases[0].name, "case_id": PROBLEM.case_id, "backend": f"b{number}",
            "status": "ok", "reason": None, "median_s": 1e-3, "threads": 1, "problem": PROBLEM.as_dict(),
            "settings": dataclasses.asdict(SETTINGS), "machine": machine,
        }  # fmt: skip
        (folder / f"2026110{number + 1}T000000Z-mine.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    return folder


@given(known, known)
def test_hardware_differs_by_what_is_known_of_both(one: Hardware, other: Hardware) -> None:
    assert one.is_other_than(other) == other.is_other_than(one)
    assert not one.is_other_than(one) and not one.is_other_than(Hardware())
    facts = {"cpu": one.cpu, "num_cpu": one.cpus, "vector_isa": one.isa}
    assert hardware_of(facts) == one


@pytest.mark.parametrize(
    "odd", [{"cpu": 3}, {"cpu": None, "num_cpu": "2"}, {"vector_isa": ["AVX2"]}, {"num_cpu": True}]
)
def test_what_is_no_hardware_is_unknown(odd: dict[str, Any]) -> None:
    assert hardware_of(odd) == Hardware()


@pytest.mark.parametrize("other", OTHERS)
def test_a_run_of_other_hardware_under_this_name_is_not_resumed(other: dict[str, Any], tmp_path: Path) -> None:
    found = resumable_run(journal(tmp_path / "same", HERE), [SUITE], [SETTINGS], {})
    assert found is not None and len(found[1]) == 1
    assert resumable_run(journal(tmp_path / "other", HERE | other), [SUITE], [SETTINGS], {}) is None


@pytest.mark.parametrize("other", OTHERS)
def test_records_of_other_hardware_are_no_times_of_this_machine(other: dict[str, Any], tmp_path: Path) -> None:
    folder = journal(tmp_path, HERE, HERE | other)
    here = earlier_records(folder, Conditions(1, hardware=this_hardware()), whole=False)
    assert [record["backend"] for record in here] == ["b0"]
    newest = earlier_records(folder, Conditions(1), whole=False)
    assert [record["backend"] for record in newest] == ["b1"], "of another machine's name the newest hardware counts"


def test_a_name_belongs_to_the_hardware_of_its_oldest_record(tmp_path: Path) -> None:
    journal(tmp_path / "ci", {"machine": "ci", "cpu": "Old", "num_cpu": 2, "vector_isa": "AVX2"})
    here = Hardware("New", 4, "AVX2")
    first = first_hardware(tmp_path, "ci", here)
    assert first == Hardware("Old", 2, "AVX2")
    assert name_of("ci", first, here) == "ci-New-4-CPUs-AVX2" and name_of("ci", first, first) == "ci"
    for path in (tmp_path / "ci").glob("*.jsonl"):
        path.unlink()
    assert first_hardware(tmp_path, "ci", here) == first, "the file keeps it, whatever becomes of the journals"
    (tmp_path / "ci" / "hardware").write_text("no JSON")
    assert first_hardware(tmp_path, "ci", here) == here


@pytest.mark.parametrize("cpu", ["../../etc", "a/b", "", ".", "x" * 500, "\x1b[31m"])
def test_a_name_with_hardware_in_it_names_a_folder_and_no_other_place(cpu: str) -> None:
    name = name_of("ci", Hardware("Old", 2, "AVX2"), Hardware(cpu, 3, "AVX2"))
    assert Path(name).name == name and name.startswith("ci-") and len(name) < 255
