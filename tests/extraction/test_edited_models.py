"""Files of models with seeded edits: each ends in a sentence, and none misses a convolution without saying so.

`evaluation/accuracy/edited_models.py` makes them, and asks some thousands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import EVALUATION

pytest.importorskip("onnx", reason="onnx is not installed")

sys.path.insert(0, str(EVALUATION / "accuracy"))

from edited_models import extracted, fault_of, judged, named, plain_count
from model_edits import edited

SEEDS = range(100_000, 100_160)


@pytest.mark.parametrize("part", range(4))
def test_an_edited_file_is_read_or_said_to_be_wrong(part: int, tmp_path: Path) -> None:
    outcomes = [judged(seed, tmp_path) for seed in SEEDS[part::4]]
    assert [(outcome.number, outcome.fault) for outcome in outcomes if outcome.fault] == []
    assert {outcome.code for outcome in outcomes} >= {0, 2}


def test_the_judge_sees_what_is_not_said(tmp_path: Path) -> None:
    """With each line of the answer taken away, for files that have several convolutions."""
    judged_lines = 0
    for seed in SEEDS[:40]:
        path = edited(seed, tmp_path)
        code, out, err = extracted(path)
        if code != 0 or (expected := plain_count(path)) != len(out.splitlines()) + named(err):
            continue
        for line in out.splitlines():
            assert fault_of(path, code, out.replace(line + "\n", ""), err) is not None
        judged_lines += expected
    assert judged_lines > 10
    path = edited(SEEDS[0], tmp_path)
    assert fault_of(path, 70, "", "convbench: KeyError: 'a'\nThis is a bug in convbench") is not None
    assert fault_of(path, None, "", "") is not None
    assert fault_of(path, 2, "", "") is not None


def test_as_a_process_it_ends_the_same(tmp_path: Path) -> None:
    for seed in SEEDS[:4]:
        path = edited(seed, tmp_path)
        words = [sys.executable, "-m", "convbench", "extract", str(path), "--json"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        assert (done.returncode, done.stdout) == extracted(path)[:2]
        assert done.returncode == 0 or re.search("^convbench: .", done.stderr, re.MULTILINE)
