"""docs/suites.md: its suite files are suites, its answer is the tutorial's, and its case ids parse."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from places import DOCS

from convbench.problem import ConvProblem
from convbench.suite import load_suite

PAGE = (DOCS / "suites.md").read_text(encoding="utf-8")


def test_the_suite_of_ones_own_is_one(tmp_path: Path) -> None:
    own = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]
    (tmp_path / "mine.toml").write_text(own, encoding="utf-8")
    suite = load_suite(tmp_path / "mine.toml")
    assert (suite.name, len(suite.cases)) == ("mine", 5)
    assert [case.layer for case in suite.cases if case.layer] == ["stem"]


def test_the_tutorial_stands_there_as_it_is_and_has_the_answer_that_is_shown(tmp_path: Path) -> None:
    shown = 'name = "t"\nsummary = "."\n' + re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1]
    (tmp_path / "t.toml").write_text(shown, encoding="utf-8")
    case, original = (load_suite(name).cases[0] for name in (tmp_path / "t.toml", "tutorial"))
    assert case.problem == original.problem and case.data and original.data
    data, expected = case.data.load(case.problem), original.data.load(original.problem)
    assert {name: array.tolist() for name, array in data.items()} == {n: a.tolist() for n, a in expected.items()}
    (example,) = re.findall(r"<!-- example: tutorial -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(example, {})
    assert re.findall(r"\d+", printed.getvalue()) == ["11", "12", "15", "16"]
    assert "[[11, 12],\n [15, 16]]" in PAGE


def test_every_part_of_a_case_id_is_explained() -> None:
    parts = "".join(re.findall(r"^\| `(_[^`]*)`", PAGE, re.MULTILINE))
    assert re.findall(r"_[a-z]+", parts) == ["_o", "_s", "_p", "_d", "_g", "_bias", "_reflect", "_f", "_dgrad"]
    assert ConvProblem.parse("mb1ic64ih56oc64oh56kh3ph1").case_id == "n1c64h56w56_o64k3_p1"
    wordy = "n1c8h9w9_o8k3x5_s2x1_pt0b1l0r1_d2_g4_bias_replicate_bf16"
    assert ConvProblem.parse(wordy).case_id == wordy
