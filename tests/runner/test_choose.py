"""`convbench choose` as a user calls it: real workers, of which some are slow by a known factor, wrong, or hang."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from places import PLUGINS

import convbench
from convbench.plans.plan import read_plan

RACERS = PLUGINS / "racers.py"
SUITE = """
name = "mine"
summary = "Four tiny layers."
case = [
    { layer = "first", count = 1, in_channels = 2, height = 6, width = 6, out_channels = 3, kernel_size = 3 },
    { layer = "second", count = 4, in_channels = 3, height = 6, width = 6, out_channels = 3, kernel_size = 3 },
    { layer = "third", count = 2, in_channels = 3, height = 8, width = 8, out_channels = 3, kernel_size = 3 },
    { layer = "last", count = 1, in_channels = 3, height = 6, width = 6, out_channels = 4, kernel_size = 1 },
]
"""
ONE = "n1c2h6w6_o3k3"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(SUITE)
    return path


def choose(
    results: Path, *words: str | Path, backends: str = "", plugin: bool = True
) -> subprocess.CompletedProcess[str]:
    chosen = [word for name in backends.split() for word in ("--backend", name)]
    plugins = ("--plugin", RACERS) if plugin else ()
    return subprocess.run(
        [sys.executable, "-m", "convbench", "choose", "--results", str(results), *map(str, plugins), *chosen]
        + [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"CONVBENCH_MACHINE": "here"},
    )


def lines(done: subprocess.CompletedProcess[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The layers, and the summary."""
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in found] == ["layer"] * (len(found) - 1) + ["summary"], done.stderr
    return found[:-1], found[-1]


def records(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in (results / "here").glob("*.jsonl") for line in path.read_text().splitlines()]


# --- one problem ------------------------------------------------------------------------------------------------------


def test_the_first_line_is_the_answer_with_the_lead_and_its_interval(tmp_path: Path) -> None:
    done = choose(tmp_path, "--problem", ONE, backends="one two six")
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert re.match(r"one, [\d.]+ ms a call; [\d.]+x over two [\[(][\d.]+(, | … )[\d.]+[\])]\.$", first), first


def test_a_tie_is_called_a_tie_and_the_far_behind_are_dropped_early(tmp_path: Path) -> None:
    done = choose(tmp_path, "--problem", ONE, "--tie", "10%", "--json", backends="one one-more six")
    (layer,), summary = lines(done)
    assert {layer["choice"]["backend"], *layer["level"]} == {"one", "one-more"}
    assert layer["lead"]["over"] == "six" and layer["lead"]["low"] > 3
    kept = {record["backend"]: record for record in records(tmp_path)}
    assert kept["six"]["stopped"] == "beaten"
    assert 1 <= len(kept["six"]["samples"]["wall_s"]) < len(kept["one"]["samples"]["wall_s"])
    assert summary["chosen"] == 1


def test_wrong_crashing_and_hanging_ones_are_never_chosen_and_are_told(tmp_path: Path) -> None:
    done = choose(
        tmp_path, "--problem", ONE, "--time-limit", "3", backends="one wrong wrong-later crashes hangs six rounds"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("one, ")
    for told in ("wrong wrong: ", "crashes crashed: ", "hangs not timed: ", "rounds did not compete"):
        assert told in done.stdout, told


def test_those_who_were_beaten_by_a_cheat_race_again_without_it(tmp_path: Path) -> None:
    (layer,), _ = lines(choose(tmp_path, "--problem", ONE, "--json", backends="one two wrong-later"))
    assert layer["choice"]["backend"] == "one"
    assert [r["backend"] for r in layer["rivals"]] == ["two"]
    assert [one["backend"] for one in layer["untimed"]] == ["wrong-later"]
    sessions = [r["session"] for r in records(tmp_path) if r["backend"] == "one"]
    assert len(sessions) == len(set(sessions)) == 2


def test_lower_precision_competes_where_it_is_allowed_to(tmp_path: Path) -> None:
    (layer,), _ = lines(choose(tmp_path, "--problem", ONE, "--json", backends="one rounds"))
    assert layer["choice"]["backend"] == "one" and "bfloat16" in layer["left_out"]["rounds"]
    (layer,), _ = lines(choose(tmp_path, "--problem", ONE, "--json", "--lower-precision", backends="one rounds"))
    assert layer["choice"]["backend"] == "rounds"
    (layer,), _ = lines(choose(tmp_path, "--problem", ONE, "--json", "--from-results", backends="one rounds"))
    assert layer["choice"]["backend"] == "one" and "bfloat16" in layer["left_out"]["rounds"]


# --- a suite ----------------------------------------------------------------------------------------------------------


def test_a_suite_has_a_best_single_backend_a_bound_and_a_plan(suite: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    words = ("--suite", suite, "--plan", plan, "--json")
    layers, summary = lines(choose(tmp_path / "r", *words, backends="one two six narrow"))
    assert {layer["layer"]: layer["choice"]["backend"] for layer in layers} == {
        "first": "narrow", "second": "narrow", "third": "narrow", "last": "one"
    }  # fmt: skip
    assert summary["single"] == "one"
    totals = {total["backend"]: total for total in summary["totals"]}
    assert totals["narrow"]["total_s"] is None and totals["one"]["total_s"] > summary["best_s"] > 0
    savings = {each["case"]: each["saved_s"] for each in summary["differences"]}
    assert set(savings) == {"n1c2h6w6_o3k3", "n1c3h6w6_o3k3", "n1c3h8w8_o3k3"}
    assert list(savings.values()) == sorted(savings.values(), reverse=True) and min(savings.values()) > 0
    kept = read_plan(plan)
    assert {c.layer: (c.backend, c.count, c.basis) for c in kept.choices} == {
        "first": ("narrow", 1, "measured"),
        "second": ("narrow", 4, "measured"),
        "third": ("narrow", 2, "measured"),
        "last": ("one", 1, "measured"),
    }
    assert (kept.machine, kept.threads, kept.default) == ("here", 1, "one")


def test_one_that_was_left_out_and_may_be_the_fastest_is_seen_side_by_side(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    of_height = "in_channels = 2, width = 6, out_channels = 3, kernel_size = 3, height"
    cases = "".join(f"{{ count = {count}, {of_height} = {height} }}," for height, count in ((6, 1), (7, 1), (9, 40)))
    own.write_text(f'name = "own"\nsummary = "Three of a kind."\ncase = [{cases}]')
    layers, _ = lines(choose(tmp_path, "--suite", own, "--json", backends="one two six late"))
    assert {"one", "late"} <= {layers[2]["choice"]["backend"], *layers[2]["level"]}
    sessions: dict[str, list[str]] = {}
    for r in records(tmp_path):
        if r["problem"]["height"] == 9 and r["status"] == "ok":
            sessions.setdefault(r["backend"], []).append(r["session"])
    assert len(sessions["late"]) == 2 and len({*sessions["late"], *sessions["one"]}) == 3
    assert sessions["late"][-1] == sessions["one"][-1]  # rounds that both were sampled in
    assert sessions["late"][0] not in sessions["one"]


def test_records_answer_at_once_and_say_what_they_are(suite: Path, tmp_path: Path) -> None:
    before, _ = lines(choose(tmp_path, "--suite", suite, "--json", backends="one two"))
    count = len(records(tmp_path))
    words = ("--suite", suite, "--from-results", "--json")
    after, summary = lines(choose(tmp_path, *words, backends="one two"))
    assert [one["choice"]["backend"] for one in after] == [one["choice"]["backend"] for one in before]
    assert {one["choice"]["basis"] for one in after} == {"recorded"} and summary["machine"] == "here"
    assert len(records(tmp_path)) == count
    told = choose(tmp_path, "--suite", suite, "--machine", "here").stdout
    assert "From records of here of " in told and "nothing was measured now" in told


def test_conditions_select_the_layers(suite: Path, tmp_path: Path) -> None:
    layers, _ = lines(choose(tmp_path, "--suite", suite, "--where", "count > 1", "--json", backends="one"))
    assert [layer["layer"] for layer in layers] == ["second", "third"]


# --- what cannot be answered ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "give one of --suite, --model and --problem"),
        (("--suite", "smoke", "--problem", ONE), 2, "--suite and --problem"),
        (("--suite", "smoek"), 2, "Did you mean 'smoke'?"),
        (("--problem", "n1c2"), 2, "n1c2"),
        (("--problem", ONE, "--dtype", "float23"), 2, "Did you mean 'float32'?"),
        (("--problem", ONE, "--where", "height > 99"), 2, "holds for none"),
        (("--problem", ONE, "--where", "__import__('os')"), 2, "__import__"),
        (("--problem", ONE, "--tie", "200%"), 2, "should be a share"),
        (("--problem", ONE, "--machine", "nowhere"), 2, "no machine 'nowhere'"),
        (("--model", "no-such-model"), 2, "no-such-model"),
        (("--problem", ONE, "--plan", "no/such/folder/plan.json"), 2, "no/such/folder"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(words: tuple[str, ...], code: int, told: str, tmp_path: Path) -> None:
    done = choose(tmp_path, *words, plugin=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr and "Traceback" not in done.stderr


def test_no_choice_leaves_with_3(tmp_path: Path) -> None:
    done = choose(tmp_path, "--problem", ONE, backends="wrong")
    assert done.returncode == 3 and "There is no choice" in done.stdout


def test_an_interrupt_keeps_what_was_measured_and_answers_from_it(suite: Path, tmp_path: Path) -> None:
    plan, results = tmp_path / "plan.json", tmp_path / "r"
    words = ["--suite", suite, "--plugin", RACERS, "--results", results, "--plan", plan, "--backend", "one", "--json"]
    words += ["--precision", "0.0001%", "--budget", "3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "convbench", "choose", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"CONVBENCH_MACHINE": "here"},
    )
    until = time.monotonic() + 60
    while not any(path.stat().st_size for path in results.rglob("*.jsonl")) and time.monotonic() < until:
        time.sleep(0.05)
    process.terminate()
    out, err = process.communicate(timeout=60)
    layers = [json.loads(line) for line in out.splitlines()][:-1]
    assert process.returncode == 130 and "Interrupted" in err
    assert 1 <= sum(layer["choice"] is not None for layer in layers) < 4
    assert not plan.exists()


def test_records_are_ordinary_ones(tmp_path: Path) -> None:
    choose(tmp_path, "--problem", ONE, backends="one six")
    frame = convbench.load(tmp_path)
    assert set(frame["backend"]) == {"one", "six"} and (frame["median_s"] > 0).all()
