"""The zoo: what its table holds is what the models run, and its samples stand for all of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections import Counter

import pytest
import suite_of_zoo
from hypothesis import given, settings
from hypothesis import strategies as st

from convbench.problem import ConvProblem
from convbench.suite import Suite, load_suite

ZOO = load_suite("zoo")
SAMPLES = {size: load_suite(f"zoo-{size}") for size in suite_of_zoo.SAMPLES}


def runs(suite: Suite) -> int:
    return sum(case.count for case in suite.cases)


def test_the_zoo_has_what_is_known_of_two_models() -> None:
    """Of the suites that were made from a trace of these models."""
    counts = {case.problem: case.count for case in ZOO.cases}
    for name in ("resnet50", "mobilenet-v2"):
        assert all(counts[case.problem] >= case.count for case in load_suite(name).cases)


def test_layers_are_named_with_their_models() -> None:
    for case in ZOO.cases:
        assert case.layer is not None and re.match(r"(timm|torchvision):\w+", case.layer), case
        assert case.problem.dtype == "float32"
        assert 1 <= case.models <= case.count


@pytest.mark.parametrize("size", SAMPLES)
def test_a_sample_stands_for_all_runs(size: int) -> None:
    sample = SAMPLES[size]
    assert len(sample.cases) == size
    assert runs(sample) == runs(ZOO)
    assert {case.problem for case in sample.cases} < {case.problem for case in ZOO.cases}
    assert {case.problem.kind for case in sample.cases} == {case.problem.kind for case in ZOO.cases}
    work, all_work = (sum(case.problem.macs * case.count for case in suite.cases) for suite in (sample, ZOO))
    assert 0.7 < work / all_work < 1.4


def test_the_samples_are_within_each_other() -> None:
    assert {case.problem for case in SAMPLES[100].cases} < {case.problem for case in SAMPLES[1000].cases}


def operation(channels: int, kernel: int, count: int) -> suite_of_zoo.Operation:
    problem = ConvProblem(in_channels=channels, height=9, width=9, out_channels=channels, kernel_size=kernel)
    return suite_of_zoo.Operation(problem, count, 1, "m", "l")


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 10_000)), min_size=1, max_size=40, unique=True
    ),
    st.data(),
)
def test_a_sample_has_its_size_and_loses_no_run(drawn: list[tuple[int, int, int]], data: st.DataObject) -> None:
    models = [suite_of_zoo.Model("m", ((operation(c, k, 1).problem.case_id, n, "l"),)) for c, k, n in drawn]
    every = suite_of_zoo.operations(models)
    size = data.draw(st.integers(min(len(every), 2), len(every)))
    sample = suite_of_zoo.sample(every, size)
    assert len(sample) == size
    assert sum(taken.count for taken in sample) == sum(count for *_, count in drawn)
    assert len({taken.problem for taken in sample}) == size
    if size == len(every):
        assert sample == every


def test_alike_operations_of_several_models_are_one() -> None:
    model = suite_of_zoo.Model("timm:a", (("n1c1h9w9_o1k1", 2, "x"), ("n1c1h9w9_o1k3", 1, "y")))
    other = suite_of_zoo.Model("timm:b", (("n1c1h9w9_o1k1", 3, "z"),))
    found = suite_of_zoo.operations([model, other])
    assert [(o.problem.case_id, o.count, o.models, o.model, o.layer) for o in found] == [
        ("n1c1h9w9_o1k1", 5, 2, "timm:a", "x"),
        ("n1c1h9w9_o1k3", 1, 1, "timm:a", "y"),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "timm:resnetblur18",
        "timm:tf_efficientnet_b0",
        "timm:mobilenetv4_conv_small",
        "torchvision:shufflenet_v2_x0_5",
        "torchvision:ssdlite320_mobilenet_v3_large",
    ],
)
def test_what_a_model_runs_is_in_the_zoo(source: str) -> None:
    library = source.partition(":")[0]
    if any(importlib.util.find_spec(name) is None for name in suite_of_zoo.LIBRARIES):
        pytest.skip("timm and torchvision are not both installed")
    version = importlib.metadata.version(library).partition("+")[0]
    if f"{library} {version}" not in ZOO.path.read_text(encoding="utf-8"):
        pytest.skip(f"the zoo was made from another {library} than {version}")
    model = suite_of_zoo.read(source)
    assert model.layers and not model.error
    counts = Counter({case.problem.case_id: case.count for case in ZOO.cases})
    assert all(counts[case] >= count for case, count, _ in model.layers)
