"""`convbench.Cluster` and `convbench.choose_hardware`: many machines from Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_of_processes import CERTIFICATES, FleetOfProcesses, fleet_of

import convbench
from convbench.api.arguments import OptionError
from convbench.errors import FleetError, NothingMeasuredError

pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")
PROBLEM = convbench.ConvProblem.parse("n1c2h4w4_o2k1")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetOfProcesses]:
    with fleet_of(tmp_path_factory.mktemp("fleet"), "north", "south") as running:
        running.wait_for_workers(2)
        yield running


@pytest.fixture
def cluster(fleet: FleetOfProcesses, monkeypatch: pytest.MonkeyPatch) -> convbench.Cluster:
    import dask

    for name, value in CERTIFICATES.items():
        monkeypatch.setenv(name, value)
    dask.config.refresh()
    return convbench.Cluster(fleet.address, machines="north")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_runs_chooses_and_verifies_as_the_commands_do(cluster: convbench.Cluster, tmp_path: Path) -> None:
    there = cluster.machines()
    assert set(there.frame["name"]) == {"north", "south"} and "2 machines of 1 kind" in str(there)
    measured = cluster.run(PROBLEM, backend="numpy-gemm", quick=True, results=tmp_path)
    assert (measured.exit_code, measured.lost, list(measured.by_machine)) == (0, {}, ["north"])
    [record] = measured.records
    assert record["machine"]["machine"] == "north" and "numpy-gemm" in str(measured)
    [journal] = (tmp_path / "north").glob("*.jsonl")
    assert json.loads(journal.read_text())["case"] == "n1c2h4w4_o2k1"
    chosen = cluster.choose(PROBLEM, backend="numpy*", quick=True, price={"north": 0.5}, currency="USD")
    assert chosen.ok and chosen.answer.fastest is not None and chosen.answer.currency == "USD"
    assert chosen.frame.set_index("machine").price_per_hour["north"] == 0.5 and "images per USD" in str(chosen)
    asked = cluster.verify("numpy-gemm", question=PROBLEM)
    assert asked.ok and asked.records[0]["cases"] == 1


def records_of(folder: Path, machine: str, seconds: float) -> None:
    from made_records import made

    (folder / machine).mkdir()
    hardware = {"machine": machine, "cpu": f"CPU of {machine}", "num_cpu": 2}
    named: dict[str, Any] = {"suite": "problem", "case": PROBLEM.case_id, "case_id": PROBLEM.case_id}
    record = made("torch", (seconds,) * 8, machine=hardware, **named)
    record = {**record, "problem": {**record["problem"], **_fields()}}  # type: ignore[assignment]
    (folder / machine / "run.jsonl").write_text(json.dumps(record) + "\n")


def _fields() -> dict[str, Any]:
    from dataclasses import asdict

    fields: dict[str, Any] = json.loads(json.dumps(asdict(PROBLEM)))
    return fields


def test_which_hardware_is_answered_from_records(tmp_path: Path) -> None:
    records_of(tmp_path, "laptop", 0.5)
    records_of(tmp_path, "server", 0.25)
    price = {"laptop": 1.0, "server": 4.0}
    result = convbench.choose_hardware(PROBLEM, ["laptop", "server"], price=price, results=tmp_path)
    assert result.answer.fastest is not None and result.answer.fastest.machine == "server"
    assert result.answer.cheapest is not None and result.answer.cheapest.machine == "laptop"
    assert [row["machine"] for row in result.records if row["type"] == "machine"] == ["server", "laptop"]
    low_s, high_s = next(iter(result.records))["pass_range_s"]
    assert low_s <= 0.25 <= high_s and "range images/s" in str(result) and "level" not in str(result)
    with pytest.raises(NothingMeasuredError, match="for none of nowhere"):
        convbench.choose_hardware(PROBLEM, "nowhere", results=tmp_path)


def test_what_is_of_one_machine_or_no_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="plan is for one machine"):
        convbench.choose_hardware(PROBLEM, "a", plan="plan.json", results=tmp_path)
    with pytest.raises(TypeError, match="nonsense"):
        convbench.choose_hardware(PROBLEM, "a", nonsense=1)
    with pytest.raises(FleetError, match="no such file"):
        convbench.Cluster("nowhere.toml")
