"""Random search: reproducible by its seed, within what is supported, and wide."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from idle_backends import Idle, Narrow, Whole
from strategies import SUPPORTS

from convbench.backend import Backend, Supports
from convbench.problem import ConvProblem
from convbench.verification.question import Question
from convbench.verification.sweep.drawing import DECISIONS, MOST_MACS, Drawing
from convbench.verification.sweep.factors import DETAILS, FACTORS, classes
from convbench.verification.sweep.search import search

pytestmark = pytest.mark.slow


class Winograd(Idle):
    """Says no to all but 1 in some thousand questions, for reasons that are not data."""

    def unsupported(self, problem: ConvProblem) -> str | None:
        blocks = problem.in_channels % 16 == 0 == problem.out_channels % 16
        usual = problem.kernel_size == (3, 3) and problem.stride == (1, 1) == problem.dilation
        return super().unsupported(problem) or (None if blocks and usual else "3x3 at stride 1 in blocks of 16 alone")


def first(backend: Backend, number: int, seed: int = 0) -> list[Question]:
    return list(itertools.islice(search(backend, seed), number))


@pytest.mark.parametrize("backend", [Whole(), Narrow(), Winograd()], ids=lambda backend: type(backend).__name__)
def test_every_question_is_supported_and_asked_once(backend: Backend) -> None:
    found = first(backend, 500, seed=3)
    assert len(set(found)) == len({str(question) for question in found}) == 500
    assert all(backend.unsupported(question.problem) is None for question in found)
    assert {question.seed for question in found} == {3}
    assert max(question.problem.macs for question in found) <= MOST_MACS
    assert ("threads" in {question.calls for question in found}) == backend.thread_safe


def test_one_seed_is_one_sequence_however_much_of_it_is_asked() -> None:
    assert first(Whole(), 450, seed=1)[:130] == first(Whole(), 130, seed=1)
    assert not {question.problem for question in first(Whole(), 200, seed=2)} >= {
        question.problem for question in first(Whole(), 100, seed=1)
    }


def test_a_search_ends_when_it_is_told_to_and_when_nothing_is_supported() -> None:
    answers = iter([False] * 40 + [True] * 1000)
    assert 0 < len(list(search(Whole(), until=lambda: next(answers)))) < 40
    assert list(search(type("Mute", (Idle,), {"supports": Supports(dtypes=set())})())) == []
    assert list(search(type("Deaf", (Idle,), {"unsupported": lambda self, problem: "no"})())) == []


def test_a_search_goes_everywhere_and_beyond_the_sweep() -> None:
    found = first(Whole(), 2500)
    seen = Counter(word for question in found for word in classes(question).values())
    bare = {"forward", "no activation", "no residual"}  # all that this backend is asked
    free = [factor for factor in (*FACTORS, *DETAILS) if not bare & set(factor.words)]
    expected = {word for factor in free for word in factor.words} | bare
    assert set(seen) == expected
    assert min(seen[word] for word in expected) >= 20
    problems = [question.problem for question in found]
    assert max(problem.in_channels for problem in problems) > 64
    assert max(max(problem.kernel_size) for problem in problems) == 11
    near_vectors = {width + offset for width in (4, 8, 16, 32, 64) for offset in (-1, 0, 1)}
    assert near_vectors <= {problem.in_channels for problem in problems}
    assert {15, 16, 17, 31, 32, 33} <= {problem.out_width for problem in problems}


@settings(max_examples=300)
@given(SUPPORTS, st.booleans(), st.lists(st.integers(0, 10_000), min_size=DECISIONS, max_size=DECISIONS))
def test_whatever_is_decided_there_is_a_supported_question(
    supports: Supports, thread_safe: bool, decisions: list[int]
) -> None:
    question = Drawing(supports, thread_safe).question(decisions)
    assert supports.reason_against(question.problem) is None
    assert thread_safe or question.calls != "threads"
    assert question.layout != "odd-strides" or 1 in (*question.problem.input_shape, *question.problem.weight_shape)
    assert Question.parse(str(question)) == question


SHOW = """
import plugin
from itertools import islice
from convbench.verification.sweep.search import search
for question in islice(search(plugin.Whole(), 9), 300):
    print(question)
"""
PLUGIN = """
from convbench.backend import WHOLE_OF_CONV2D, Backend
CONSTANTS = [{numbers}, {bytes}]
class Whole(Backend):
    supports, thread_safe, prepare = WHOLE_OF_CONV2D, True, None
"""


def test_a_seed_means_the_same_in_every_process_and_beside_any_source(tmp_path: Path) -> None:
    """Hypothesis mixes constants of local source files into what it draws, and keeps notes in the working folder."""
    shown = []
    for place, numbers in (("one", range(100, 400)), ("other", range(5))):
        folder = tmp_path / place
        folder.mkdir()
        constants = ", ".join(repr(bytes([n % 256]) * (2 * DECISIONS)) for n in numbers)
        text = PLUGIN.format(numbers=", ".join(map(str, numbers)), bytes=constants)
        (folder / "plugin.py").write_text(text, encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HYPOTHESIS")}
        environment |= {"PYTHONHASHSEED": str(len(numbers)), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(
            [sys.executable, "-c", SHOW], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        shown.append(done.stdout.splitlines())
        assert [path.name for path in folder.iterdir() if path.name != "__pycache__"] == ["plugin.py"]
    assert shown[0] == shown[1] == [str(question) for question in first(Whole(), 300, seed=9)]
