"""The seeded faults of evaluation/mutation/: each is shown wrong by its example, by no less than it says.

The controls are right everywhere. A fault that computes the right answer, or a control that is wrong, would make the
mutation score a lie.
"""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import EVALUATION
from strategies import forward_problems

from convbench.backend import Backend, Ready
from convbench.problem import ConvProblem
from convbench.registry import Origin, load
from convbench.verification.layouts import lay_out, memory_of
from convbench.verification.operands import Operands
from convbench.verification.oracle import Oracle, oracle_for
from convbench.verification.question import LAYOUTS, VALUES, Question

PLUGIN = EVALUATION / "mutation" / "faults.py"
BACKENDS = {backend.name: backend for backend in load(Origin("file", str(PLUGIN)))}
FAULTS: dict[str, Any] = {name: backend for name, backend in BACKENDS.items() if hasattr(backend, "fault")}
CONTROLS = [backend for name, backend in BACKENDS.items() if name not in FAULTS]
IN_PROCESS = [name for name, backend in FAULTS.items() if backend.fault.seen != "breakdown"]
CALLS = 25


def fresh(name: str) -> Any:
    """The backend with nothing kept from before."""
    return type(BACKENDS[name])(BACKENDS[name].fault)  # type: ignore[attr-defined, call-arg]


def examples(fault: Any) -> list[Question]:
    """The questions that show the fault; the last one is the one that is answered wrongly."""
    parsed = [ConvProblem.parse(case_id) for case_id in fault.example.split(" then ")]
    return [Question(problem=problem, values=fault.values, layout=fault.layout) for problem in parsed]


def key_to(backend: Backend, question: Question) -> Oracle:
    return oracle_for(question, backend.arithmetic)


def laid_out(key: Oracle, layout: Any) -> Operands:
    x, w, b = key.operands.x, key.operands.w, key.operands.b
    return Operands(lay_out(x, layout), lay_out(w, layout), None if b is None else lay_out(b, layout))


def prepared(backend: Backend, problem: ConvProblem, operands: Operands) -> Ready:
    return backend.prepare(problem, operands.x, operands.w, operands.b)


def called(ready: Ready) -> Any:
    output = ready.run()
    ready.sync()
    return ready.to_numpy(output)


def is_right(backend: Backend, key: Oracle, output: Any) -> bool:
    return key.judge(backend.arithmetic, output).passed


def is_plainly_right(backend: Backend, question: Question) -> bool:
    """Whether one call on contiguous operands is answered rightly."""
    key = key_to(backend, question)
    return is_right(backend, key, called(prepared(backend, question.problem, laid_out(key, "contiguous"))))


# --- what each example shows ------------------------------------------------------------------------------------------


def wrong_answers(backend: Any) -> Iterator[bool]:
    """Whether something is wrong, for everything that the example has to show."""
    fault = backend.fault
    *before, question = examples(fault)
    key, other = key_to(backend, question), key_to(backend, question.replace(seed=1))
    operands = laid_out(key, question.layout)
    match fault.seen:
        case "answer":
            yield not is_right(backend, key, called(prepared(backend, question.problem, operands)))
        case "repeated":
            ready = prepared(backend, question.problem, operands)
            yield from (not is_right(backend, key, called(ready)) for _ in range(CALLS))
        case "anew":
            called(prepared(backend, question.problem, operands))
            for mine, others in zip(vars(operands).values(), vars(other.operands).values(), strict=True):
                if mine is not None:
                    mine[...] = others
            yield not is_right(backend, other, called(prepared(backend, question.problem, operands)))
        case "kept":
            kept = called(prepared(backend, question.problem, operands))
            called(prepared(backend, question.problem, other.operands))
            yield not is_right(backend, key, kept)
        case "heap":
            ready = prepared(backend, question.problem, operands)
            for _ in range(CALLS):
                blocks = [np.full(key.exact.size * operands.x.itemsize, 0xFF, np.uint8) for _ in range(8)]
                del blocks
                yield not is_right(backend, key, called(ready))
        case "operands":
            arrays = [array for array in vars(operands).values() if array is not None]
            memory = [memory_of(array).tobytes() for array in arrays]
            assert is_right(backend, key, called(prepared(backend, question.problem, operands)))
            yield [memory_of(array).tobytes() for array in arrays] != memory
        case "sequence":
            for earlier in before:
                yield not is_plainly_right(backend, earlier)
            yield not is_right(backend, key, called(prepared(backend, question.problem, operands)))
        case "threads":
            yield from (wrong_in_threads(backend, question.problem, (key, other)) for _ in range(CALLS))


def wrong_in_threads(backend: Backend, problem: ConvProblem, keys: tuple[Oracle, Oracle]) -> bool:
    together, wrong = threading.Barrier(2), []

    def work(key: Oracle) -> None:
        ready = prepared(backend, problem, key.operands)
        together.wait()
        wrong.append(not is_right(backend, key, called(ready)))

    threads = [threading.Thread(target=work, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return any(wrong)


@pytest.mark.parametrize("name", IN_PROCESS)
def test_the_example_shows_the_fault(name: str) -> None:
    backend = fresh(name)
    assert all(backend.unsupported(question.problem) is None for question in examples(backend.fault))
    assert backend.fault.acts_on(examples(backend.fault)[-1].problem)
    assert any(wrong_answers(backend))


@pytest.mark.parametrize("name", [name for name in IN_PROCESS if FAULTS[name].fault.seen not in ("answer", "heap")])
def test_what_shows_in_conduct_only_is_right_when_called_once(name: str) -> None:
    backend = fresh(name)
    assert is_plainly_right(backend, examples(backend.fault)[-1])


@pytest.mark.parametrize("name", [name for name in FAULTS if FAULTS[name].fault.layout != "contiguous"])
def test_what_shows_in_a_layout_only_is_right_in_another(name: str) -> None:
    backend = fresh(name)
    assert is_plainly_right(backend, examples(backend.fault)[-1])


@pytest.mark.parametrize("name", [name for name in IN_PROCESS if FAULTS[name].fault.values == "special"])
def test_what_shows_in_special_values_only_is_right_on_finite_ones(name: str) -> None:
    backend = fresh(name)
    assert is_plainly_right(backend, examples(backend.fault)[-1].replace(values="normal"))


@pytest.mark.parametrize("name", FAULTS)
@settings(max_examples=5, derandomize=True, database=None)
@given(problem=forward_problems(), seed=st.integers(0, 9))
def test_where_a_condition_does_not_hold_the_answer_is_right(name: str, problem: ConvProblem, seed: int) -> None:
    backend = fresh(name)
    problem = problem.replace(direction="forward")
    if not backend.fault.acts_on(problem):
        assert is_plainly_right(backend, Question(problem=problem, seed=seed))


# --- breakdowns, each in a process that it may take down --------------------------------------------------------------

ASK = """
import sys
from pathlib import Path
from convbench.registry import Origin, find
from convbench.problem import ConvProblem
from convbench.verification.oracle import oracle_for
from convbench.verification.question import Question
import resource
backend = find(Origin("file", sys.argv[1]), sys.argv[2])
problem = ConvProblem.parse(sys.argv[3])
operands = oracle_for(Question(problem=problem), backend.arithmetic).operands
ready = backend.prepare(problem, operands.x, operands.w, operands.b)
resource.setrlimit(resource.RLIMIT_DATA, (2**33, 2**33))
print("asked", flush=True)
try:
    ready.run()
except MemoryError:
    print("out of memory")
except RuntimeError:
    print("raised")
else:
    print("answered")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory")
@pytest.mark.parametrize(
    ("name", "said", "status"),
    [
        ("fault-crash", "asked", -signal.SIGSEGV),
        ("fault-exit", "asked", 0),
        ("fault-memory-eaten", "asked out of memory", 0),
        ("fault-exception", "asked raised", 0),
    ],
)
def test_breakdowns(name: str, said: str, status: int) -> None:
    command = [sys.executable, "-c", ASK, str(PLUGIN), name, FAULTS[name].fault.example]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.stdout.split(), run.returncode) == (said.split(), status), run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory")
def test_the_hang() -> None:
    command = [sys.executable, "-c", ASK, str(PLUGIN), "fault-hang", FAULTS["fault-hang"].fault.example]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "asked\n"
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(timeout=0.5)
        run.kill()
        assert run.stdout.read() == ""


def test_read_only_operands_are_refused() -> None:
    backend = fresh("fault-read-only-refused")
    [question] = examples(backend.fault)
    operands = laid_out(key_to(backend, question), question.layout)
    with pytest.raises(ValueError, match="read-only"):
        called(prepared(backend, question.problem, operands))


# --- the controls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
@settings(max_examples=40, derandomize=True, database=None)
@given(
    problem=forward_problems(), layout=st.sampled_from(LAYOUTS), values=st.sampled_from(VALUES), seed=st.integers(0, 9)
)
def test_controls_are_right(control: Backend, problem: ConvProblem, layout: Any, values: Any, seed: int) -> None:
    question = Question(problem=problem.replace(direction="forward"), values=values, layout=layout, seed=seed)
    key = key_to(control, question)
    operands = laid_out(key, layout)
    ready = prepared(control, question.problem, operands)
    for _ in range(2):
        verdict = key.judge(control.arithmetic, called(ready))
        assert verdict.passed, f"{question}: {verdict.reason}"


# --- the table --------------------------------------------------------------------------------------------------------


def test_names_are_unique_and_sentences_differ() -> None:
    faults = [backend.fault for backend in FAULTS.values()]
    assert len({fault.name for fault in faults}) == len(faults) >= 60
    assert len({fault.wrong for fault in faults}) == len(faults)
    assert all(backend.summary for backend in BACKENDS.values())


def test_every_family_and_way_to_be_seen_is_there_and_rare_ones_are() -> None:
    faults = [backend.fault for backend in FAULTS.values()]
    fault = importlib.import_module("seeded_faults.fault")
    assert {f.family for f in faults} == set(get_args(fault.Family))
    assert {f.seen for f in faults} == set(get_args(fault.Seen))
    assert sum(len(f.conditions) >= 3 for f in faults) >= 10
