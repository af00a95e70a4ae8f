"""Records of many machines: each in its journal, none twice, and none outside the results folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convbench.fleet import collection
from convbench.fleet.campaign import campaign, gathered, note_gathered
from convbench.fleet.collection import Collection, record_id, with_neighbours
from convbench.fleet.kept import NEWEST, remove_gathered
from convbench.measurement.hazards.catalogue import Hazard
from convbench.store.journal import read_records


def record(machine: str, number: int, run: str = "r") -> Any:
    case = f"n1c{number}h8w8_o8k3"
    return {
        "run": run,
        "case": case,
        "backend": "b",
        "status": "ok",
        "median_s": 0.1 + number,
        "machine": {"machine": machine},
    }


def test_each_record_is_written_once_also_by_the_next_coordinator(tmp_path: Path) -> None:
    with Collection(tmp_path) as first:
        assert first.add(record("a", 1)) and first.add(record("b", 1)) and not first.add(record("a", 1))
    with Collection(tmp_path) as second:
        assert not second.add(record("a", 1)) and second.add(record("a", 2))
    assert [r["median_s"] for r in read_records(tmp_path / "a" / "r.jsonl")] == [1.1, 2.1]
    assert len(list(read_records(tmp_path / "b" / "r.jsonl"))) == 1


def test_a_record_with_neighbours_is_the_one_that_its_machine_kept_without_them(tmp_path: Path) -> None:
    kept = record("a", 1) | {"hazards": [{"hazard": "spread", "spread": 0.1}]}
    with Collection(tmp_path) as first:
        assert first.add(with_neighbours(kept, ["tls://10.0.0.1:1"])) and not first.add(kept)
    with Collection(tmp_path) as second:
        assert not second.add(kept)
    [read] = read_records(tmp_path / "a" / "r.jsonl")
    assert [hazard["hazard"] for hazard in read["hazards"]] == ["spread", "neighbour"]
    hazard = Hazard.from_dict(read["hazards"][1])
    assert hazard is not None and "tls://10.0.0.1:1" in hazard.sentence


def test_a_torn_last_line_of_a_killed_coordinator_is_fetched_again(tmp_path: Path) -> None:
    with Collection(tmp_path) as first:
        first.add(record("a", 1))
        first.add(record("a", 2))
    journal = tmp_path / "a" / "r.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    with Collection(tmp_path) as second:
        assert [second.add(record("a", number)) for number in (1, 2)] == [False, True]
    assert [r["case"] for r in read_records(journal)] == ["n1c1h8w8_o8k3", "n1c2h8w8_o8k3"]


def test_more_journals_than_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "_MOST_OPEN", 2)
    with Collection(tmp_path) as many:
        for number in range(3):
            for machine in "abcde":
                assert many.add(record(machine, number))
    assert all(len(list(read_records(tmp_path / machine / "r.jsonl"))) == 3 for machine in "abcde")


@pytest.mark.parametrize(("machine", "run"), [("..", "r"), ("a/b", "r"), ("a", "../r"), ("", "r"), ("a", ".r")])
def test_a_record_cannot_be_written_elsewhere(machine: str, run: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with Collection(results) as guarded, pytest.raises(ValueError, match="a record of a machine"):
        guarded.add(record(machine, 1, run))
    assert not any(tmp_path.rglob("*.jsonl"))


def test_the_id_of_a_record_survives_the_way_through_json() -> None:
    made = record("a", 1) | {"median_s": 0.1 + 0.2, "low_s": float("nan"), "reason": "ä\ud800"}
    assert record_id(json.loads(json.dumps(made).replace("NaN", "null"))) == record_id(made)


def test_resume_finds_the_last_campaign_of_the_same_request(tmp_path: Path) -> None:
    first, _ = campaign(tmp_path, {"a": 1}, resume=False)
    other, _ = campaign(tmp_path, {"a": 2}, resume=True)
    again, begun = campaign(tmp_path, {"a": 1}, resume=True)
    assert (again, begun) == (first, True) and other != first
    (tmp_path / "campaigns.jsonl").open("a").write("torn {\n")
    assert campaign(tmp_path, {"a": 2}, resume=True) == (other, True)
    assert campaign(tmp_path, {"a": 1}, resume=False)[0] != first


def test_a_machine_removes_what_a_coordinator_has_but_the_newest_and_the_campaign_under_way(tmp_path: Path) -> None:
    names = [f"fleet-20260101T00000{number}Z" for number in range(NEWEST + 4)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "r.jsonl").write_text("{}\n")
        (tmp_path / name / "process-pairs").write_text("")
    (tmp_path / names[1] / "other.jsonl").write_text("{}\n")
    has = {name: ["r"] for name in names if name != names[2]}
    remove_gathered(tmp_path, has, under_way=names[3])
    left = {name: sorted(path.name for path in (tmp_path / name).glob("*.jsonl")) for name in names}
    assert not (tmp_path / names[0]).exists()
    assert left[names[1]] == ["other.jsonl"]  # which no coordinator has
    assert all(left[name] == ["r.jsonl"] for name in names[2:])


def test_a_campaign_that_was_gathered_and_begun_again_is_not_said_to_be_here(tmp_path: Path) -> None:
    first, _ = campaign(tmp_path, {"a": 1}, resume=False)
    other, _ = campaign(tmp_path, {"a": 2}, resume=False)
    journal = tmp_path / "r.jsonl"
    journal.write_text("{}\n")
    for name in (first, other):
        note_gathered(tmp_path, name, "north", [journal])
    assert gathered(tmp_path) == {"north": {first: ["r"], other: ["r"]}}
    assert campaign(tmp_path, {"a": 1}, resume=True) == (first, True)
    assert gathered(tmp_path) == {"north": {other: ["r"]}}
