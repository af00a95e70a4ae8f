"""Which kernel ran is asked after the timing, and an answer that does harm loses nothing but itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import PLUGINS

from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.scheduling.explainer import Explainer
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import LONGEST_IMPLEMENTATION, Explain, implementation_of
from convbench.measurement.workers.worker import Worker
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.status import Status
from convbench.suite import Case

CASE = Case(ConvProblem(in_channels=2, height=6, width=5, out_channels=3, kernel_size=3, padding=1))
SAID = {
    "explains": "brg_conv:avx512_core",
    "names-a-kernel": "jit:avx2",
    "explains-and-names": "winograd",
    "says-nothing": None,
    "does-not-know": None,
    "prints": "brg_conv:avx512_core",
    "raises": None,
    "exits": None,
    "says-a-number": None,
    "says-too-much": None,
    "says-two-lines": None,
    "says-markup": None,
}


def measure(*names: str, cases: int = 1, limit_s: float = 60.0, explain: bool = True) -> list[dict[str, Outcome]]:
    entries = discover([PLUGINS / "explaining.py"]).select(names)
    with Engine(Settings.quick(explain=explain)) as engine:
        engine._explainer = Explainer(limit_s)
        return [{o.backend: o for o in engine.measure("suite", CASE, entries)} for _ in range(cases)]


@pytest.mark.parametrize("name", SAID)
def test_what_a_backend_should_not_say_is_none(name: str) -> None:
    (entry,) = discover([PLUGINS / "explaining.py"]).select([name])
    worker, nothing = Worker(), np.zeros(CASE.problem.input_shape, np.float32)
    worker.ready = entry.backend.prepare(CASE.problem, nothing, nothing, None)
    assert worker.explain(Explain()).implementation == SAID[name]


def test_what_a_backend_says_is_in_its_outcome() -> None:
    (outcomes,) = measure("prints", "raises")
    assert {name: outcome.implementation for name, outcome in outcomes.items()} == {
        "prints": "brg_conv:avx512_core",
        "raises": None,
    }
    assert all(outcome.status is Status.OK and outcome.samples for outcome in outcomes.values())


@pytest.mark.parametrize(("name", "limit_s"), [("crashes", 60.0), ("hangs", 0.5)])
def test_a_worker_that_is_lost_over_the_answer_has_its_times_and_is_not_asked_again(name: str, limit_s: float) -> None:
    cases = measure(name, cases=2, limit_s=limit_s)
    for outcomes in cases:
        outcome = outcomes[name]
        assert (outcome.status, outcome.implementation) == (Status.OK, None)
        assert outcome.samples and outcome.peak_bytes


def test_a_wrong_answer_has_the_kernel_that_gave_it() -> None:
    (outcomes,) = measure("wrong")
    assert (outcomes["wrong"].status, outcomes["wrong"].implementation) == (Status.WRONG, "ref:any")


def test_nothing_is_asked_without_the_setting() -> None:
    (outcomes,) = measure("explains", "crashes", explain=False)
    assert [outcome.implementation for outcome in outcomes.values()] == [None, None]


@given(st.text() | st.binary() | st.integers() | st.none() | st.lists(st.text()))
def test_an_implementation_is_one_short_printable_line_of_ascii_or_none(said: object) -> None:
    text = implementation_of(said)
    assert text is None or (text == said and text.isascii() and text.isprintable())
    assert text is None or 0 < len(text) <= LONGEST_IMPLEMENTATION


@pytest.mark.parametrize(
    "name",
    ["brg_conv:avx512_core", "winograd 6x3", "ref:any", "jit_uni_dw_convolution_fwd:avx2", "a::b<float, 4>(int*)"],
)
def test_names_of_kernels_are_implementations(name: str) -> None:
    assert implementation_of(name) == name
