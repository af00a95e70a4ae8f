"""Which machine measures what."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.analysis.hardware.differences import differences
from convbench.errors import FleetError
from convbench.fleet.assignment import anchor_places, assignments
from convbench.fleet.cluster.neighbours import by_host, neighbours_of
from convbench.fleet.machines.machine import Machine
from convbench.problem import ConvProblem
from convbench.suite import Case, Suite


def machine(name: str, cpu: str = "A", **facts: object) -> Machine:
    return Machine(name=name, addresses=(), facts={"cpu": cpu, "num_cpu": 2, **facts}, backends={"numpy-gemm": {}})


def suite(cases: int) -> Suite:
    problems = [
        ConvProblem(in_channels=c, out_channels=1, height=4, width=4, kernel_size=1) for c in range(1, cases + 1)
    ]
    return Suite("s", "", (), tuple(map(Case, problems)), Path("s"))


def test_without_names_one_machine_of_each_kind_measures_everything() -> None:
    parts = assignments([machine("b"), machine("a"), machine("c", "B")], [suite(4)])
    assert [(part.machine.name, len(part.cases)) for part in parts] == [("a", 4), ("c", 4)]


def test_named_machines_measure_everything_each_and_an_unknown_name_is_refused() -> None:
    machines = [machine("node-1"), machine("node-2"), machine("other")]
    parts = assignments(machines, [suite(2)], ["node-*"])
    assert [(part.machine.name, len(part.cases)) for part in parts] == [("node-1", 2), ("node-2", 2)]
    with pytest.raises(FleetError, match=r"node-3.*Did you mean 'node-"):
        assignments(machines, [suite(2)], ["node-3"])


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 3))
def test_shards_cover_every_case_and_share_the_anchors_alone(cases: int, alike: int, others: int) -> None:
    machines = [machine(f"a{n}") for n in range(alike)] + [machine(f"b{n}", "B") for n in range(others)]
    parts = assignments(machines, [suite(cases)], shard=True)
    for kind, count in (("a", alike), ("b", others)):
        names = Counter(case.name for part in parts if part.machine.name[0] == kind for case in part.cases)
        if count:
            assert set(names) == {case.name for case in suite(cases).cases}
            shared = [name for name, times in names.items() if times > 1]
            assert len(shared) == (len(anchor_places(cases)) if count > 1 else 0)
            assert all(names[name] == count for name in shared)


def test_like_machines_that_differ_are_a_sentence_and_unlike_ones_are_not() -> None:
    few = [machine("a", governor="powersave"), machine("b", governor="performance"), machine("c", "B", governor="x")]
    [sentence] = differences(few)
    assert "the governor: powersave on a; performance on b" in sentence
    assert differences([machine("a", ram="1"), machine("c", "B", ram="2")]) == []


def test_other_work_on_a_host_is_a_neighbour_and_that_of_convbench_is_none() -> None:
    processing = {
        "tls://10.0.0.1:1": ("in_child-ab12",),
        "tls://10.0.0.1:2": ("inc-1", "in_child-cd"),
        "tls://10.0.0.2:1": (),
        "tls://[::1]:7": (("sum-3f", 0),),
    }
    busy = by_host(processing)
    assert busy == {"10.0.0.1": ["tls://10.0.0.1:2"], "::1": ["tls://[::1]:7"]}
    assert neighbours_of(["tls://10.0.0.1:1"], busy) == ["tls://10.0.0.1:2"]
    assert neighbours_of(["tls://10.0.0.2:1"], busy) == []
