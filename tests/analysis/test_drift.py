"""Two runs of one machine, which is another one by then: what is its, and what is the code's."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.analysis.comparison import Change, compare
from convbench.analysis.drift import p_value_of, smallest_between_runs
from convbench.stats.process_variation import half_width_of_process_variation
from convbench.stats.ratio import Ratio
from convbench.stats.session_drift import SessionDrift
from convbench.store.schema import Record

LIBRARIES = {
    "torch": "torch",
    "torch-packed": "torch",
    "jax": "jax",
    "numba": "numba",
    "scipy": "scipy",
    "numpy": "numpy",
}
CASES = tuple(f"case-{number}" for number in range(8))


class Machine:
    """One that is faster and slower for as long as a case takes, and a little from one sample to the next."""

    def __init__(self, seed: int, drift: float = 0.2, noise: float = 0.01) -> None:
        self._rng = np.random.default_rng(seed)
        self._drift, self._noise = drift, noise

    def run(self, session: str, backends: dict[str, float], versions: str = "1", rounds: int = 20) -> list[Record]:
        """What `backends` take there, each so many seconds, on every case."""
        found = []
        for case in CASES:
            level = math.exp(self._rng.normal(0, self._drift))
            for backend, takes_s in backends.items():
                walls = takes_s * level * np.exp(self._rng.normal(0, self._noise, rounds))
                found.append(record(case, backend, walls.tolist(), session, versions))
        return found


def record(case: str, backend: str, walls: list[float], session: str, versions: str = "1", **changes: Any) -> Record:
    library = LIBRARIES.get(backend, backend)
    return {
        "suite": "s",
        "case": case,
        "backend": backend,
        "status": "ok",
        "session": session,
        "median_s": float(np.median(walls)),
        "samples": {"round": list(range(len(walls))), "wall_s": walls},
        "versions": {library: versions},
        "declared": {"device": "cpu"},
    } | changes


def by_backend(changes: tuple[Change, ...]) -> dict[str, list[Change]]:
    return {name: [change for change in changes if change.backend == name] for name in {c.backend for c in changes}}


ALIKE = dict.fromkeys(LIBRARIES, 1e-3)


def test_a_machine_that_is_half_as_fast_again_in_the_second_run_is_no_change_of_anything() -> None:
    machine = Machine(0)
    changes = compare(machine.run("a", ALIKE), machine.run("b", ALIKE), 0.05).changes
    assert not any(change.changed for change in changes)
    raw = [math.log(change.new["median_s"] / change.base["median_s"]) for change in changes]
    assert max(map(abs, raw)) > 0.3, "it did move"
    assert all(change.ratio.value == pytest.approx(1, abs=0.03) for change in changes)
    for change, log in zip(changes, raw, strict=True):
        assert change.drift == pytest.approx(math.exp(log), rel=0.03)


@pytest.mark.parametrize("by", [1.15, 0.85])
def test_a_library_that_changed_is_told_from_the_machine_and_its_backends_do_not_vouch_for_each_other(
    by: float,
) -> None:
    machine = Machine(1)
    base = machine.run("a", ALIKE)
    new = machine.run("b", {name: 1e-3 * (by if LIBRARIES[name] == "torch" else 1) for name in LIBRARIES})
    found = by_backend(compare(base, new, 0.05).changes)
    for name, changes in found.items():
        if LIBRARIES[name] == "torch":
            assert {str(change.verdict) for change in changes} == {"slower" if by > 1 else "faster"}
            assert all(change.ratio.low < by < change.ratio.high for change in changes)
        else:
            assert not any(change.changed for change in changes)


def test_who_is_of_another_version_vouches_for_nobody() -> None:
    machine = Machine(2)
    base = machine.run("a", ALIKE)
    new = machine.run("b", ALIKE | {"torch": 1.3e-3, "torch-packed": 1.3e-3}, versions="2")
    changes = compare(base, new, 0.05).changes
    assert all(change.drift is None for change in changes)
    assert all(change.ratio.value == change.new["median_s"] / change.base["median_s"] for change in changes)


def test_a_device_has_a_drift_of_its_own() -> None:
    machine = Machine(3)
    base, new = machine.run("a", ALIKE), machine.run("b", ALIKE)
    for session, side, takes_s in (("a", base, 1e-4), ("b", new, 1.2e-4)):
        side += [record(case, "torch-cuda", [takes_s] * 9, session, declared={"device": "cuda"}) for case in CASES]
    found = by_backend(compare(base, new, 0.05).changes)
    assert all(change.drift is None and change.ratio.value == pytest.approx(1.2) for change in found["torch-cuda"])
    assert all(change.drift is not None for change in found["torch"])


def test_what_two_machines_or_allocators_differ_by_is_what_is_asked_and_no_drift() -> None:
    machine = Machine(9, drift=0.0)
    base, new = machine.run("a", ALIKE), machine.run("b", {name: 3 * takes_s for name, takes_s in ALIKE.items()})
    kinds: list[tuple[str, Any, Any]] = [
        ("machine", {"machine": "fast"}, {"machine": "slow"}),
        ("settings", {"allocator": "steady"}, {"allocator": "system"}),
        ("dtype", "float32", "bfloat16"),
    ]
    for field, here, there in kinds:
        sides = [{**one, field: here} for one in base], [{**one, field: there} for one in new]
        changes = compare(*sides, 0.05).changes
        assert {str(change.verdict) for change in changes} == {"slower"}, field
        assert all(change.drift is None and change.ratio.value == pytest.approx(3, rel=0.03) for change in changes)


def test_only_those_that_were_measured_in_the_same_runs_vouch_for_each_other() -> None:
    machine = Machine(10)
    base = machine.run("a", ALIKE)
    new = [
        *machine.run("b", {"torch": 1e-3, "jax": 1e-3, "numba": 1e-3}),
        *machine.run("c", {"scipy": 1e-3, "numpy": 1e-3}),
    ]
    assert all(change.drift is None for change in compare(base, new, 0.05).changes)


@pytest.mark.parametrize("libraries", [1, 4])
def test_with_few_others_the_interval_holds_as_much_as_the_samples_lie_apart(libraries: int) -> None:
    """Levels of each run that are as far apart as its samples: 1 is within nearly all intervals, and nothing is
    claimed."""
    rng = np.random.default_rng(4)
    names = list(dict.fromkeys(LIBRARIES.values()))[:libraries]
    sides = []
    for session in "ab":
        levels = np.exp(rng.normal(0, 0.045, 300))
        walls = [(level * np.exp(rng.normal(0, 0.07, 30))).tolist() for level in levels]
        sides.append([record(f"c{i}", name, row, session) for i, row in enumerate(walls) for name in names])
    changes = compare(*sides, 0.05).changes
    assert all(change.drift is None for change in changes)
    assert sum(change.ratio.includes_one for change in changes) / len(changes) >= 0.94
    assert not any(change.changed for change in changes)


def test_the_order_of_records_says_nothing() -> None:
    machine = Machine(5)
    base, new = machine.run("a", ALIKE), machine.run("b", ALIKE | {"jax": 1.2e-3})
    expected = {(c.case, c.backend): (c.ratio, c.q_value, c.drift) for c in compare(base, new, 0.05).changes}
    shuffled = random.Random(0)
    shuffled.shuffle(base)
    shuffled.shuffle(new)
    found = {(c.case, c.backend): (c.ratio, c.q_value, c.drift) for c in compare(base, new, 0.05).changes}
    assert found == expected


def test_what_was_measured_side_by_side_has_no_drift_and_vouches_for_nobody() -> None:
    machine = Machine(6)
    run = machine.run("a", ALIKE)
    changes = compare(run, run, 0.05).changes
    assert all(change.paired and change.drift is None for change in changes)
    expected = Ratio(1.0, 1.0, 1.0).widened(half_width_of_process_variation([]))
    assert all(change.ratio == expected for change in changes)


def test_several_processes_of_one_run_know_no_more_of_the_machine_than_one() -> None:
    sides = []
    for session, level in (("a", 1.0), ("b", 1.1)):
        rng = np.random.default_rng(len(sides))
        walls = (level * np.exp(rng.normal(0, 0.1, 80))).tolist()
        samples = {"round": [i // 4 for i in range(80)], "process": [i % 4 for i in range(80)], "wall_s": walls}
        sides.append([record("c", "torch", walls, session) | {"samples": samples}])
    (change,) = compare(*sides, 0.05).changes
    assert not change.paired
    assert change.ratio.low < 0.95 and change.ratio.high > 1.25


def test_what_earlier_sessions_showed_counts_where_the_samples_show_less() -> None:
    walls = [1e-3 + i * 1e-8 for i in range(20)]
    ratios = {}
    for pairs in (0, 20):
        drift: Any = {"session_drift": {"scale": 0.03, "pairs": pairs}}
        base, new = (record("c", "torch", walls, session) | drift for session in "ab")
        (change,) = compare([base], [new], 0.05).changes
        ratios[pairs] = change.ratio
    learned = SessionDrift(0.03, 20).half_width_of_ratio
    assert math.log(ratios[20].high) == pytest.approx(math.hypot(math.log(ratios[0].high), learned), rel=0.02)
    assert ratios[0].high < 1.03 < ratios[20].high


HOSTILE = [None, [], "1", {}, {"torch": None}, {"": 3}, {"torch": [1]}, 7]


@pytest.mark.parametrize("versions", HOSTILE)
def test_versions_that_are_none_stop_nothing(versions: Any) -> None:
    machine = Machine(7)
    base, new = machine.run("a", ALIKE), machine.run("b", ALIKE)
    for one in itertools.chain(base[::2], new[::2]):
        one["versions"] = versions
    for one in base[::3]:
        one["declared"] = versions
    assert len(compare(base, new, 0.05).changes) == len(base)


@pytest.mark.parametrize("beside_others", [False, True])
def test_what_is_said_to_be_told_from_the_machine_is_told_in_80_percent(beside_others: bool) -> None:
    """Where runs are as far apart as it is taken that they may be."""
    rng, spread, trials = np.random.default_rng(12), 0.1, 400
    apart = spread / math.sqrt(16 if beside_others else 2)
    by = 1 + smallest_between_runs(spread, beside_others=beside_others)
    names = [*dict.fromkeys(LIBRARIES.values())] if beside_others else ["torch"]
    told = 0
    for _ in range(trials):
        sides: list[list[Record]] = [[], []]
        for name, (side, session) in itertools.product(names, zip(sides, "ab", strict=True)):
            # Of the others nothing is left, so that they tell exactly what the machine did.
            level = rng.normal(0, apart) if name == "torch" else 0.0
            walls = np.exp(level + np.sort(rng.normal(0, spread, 400)))
            side.append(record("c", name, walls.tolist(), session))
        sides[1][0] = record("c", "torch", [by * wall_s for wall_s in sides[1][0]["samples"]["wall_s"]], "b")
        (change,) = [change for change in compare(*sides, 0.05).changes if change.backend == "torch"]
        told += change.ratio.low > 1
    assert 0.65 <= told / trials <= 0.88


# --- the chance of a ratio --------------------------------------------------------------------------------------------

half_widths = st.floats(0.001, 2)


@given(st.floats(-3, 3), half_widths)
def test_the_chance_of_a_ratio_is_below_5_percent_just_where_its_interval_leaves_1_out(log: float, half: float) -> None:
    found = Ratio(math.exp(log), math.exp(log - half), math.exp(log + half))
    chance = p_value_of(found)
    assert 0 <= chance <= 1
    if abs(abs(log) - half) > 1e-9:
        assert (chance < 0.05) == (not found.includes_one)
    turned = Ratio(math.exp(-log), math.exp(-log - half), math.exp(-log + half))
    assert p_value_of(turned) == pytest.approx(chance)


@given(st.floats(0, 3), st.floats(0, 3), half_widths)
def test_what_is_further_off_is_less_probable(one: float, other: float, half: float) -> None:
    near, far = (
        p_value_of(Ratio(math.exp(log), math.exp(log - half), math.exp(log + half))) for log in sorted((one, other))
    )
    assert far <= near


def test_without_any_width_all_is_certain() -> None:
    assert p_value_of(Ratio(1.0, 1.0, 1.0)) == 1
    assert p_value_of(Ratio(1.1, 1.1, 1.1)) == 0


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_shows_the_drift_and_says_what_it_is(tmp_path: Path) -> None:
    machine = Machine(8)
    journals = []
    for session, backends in (("a", ALIKE), ("b", ALIKE | {"jax": 1.3e-3})):
        journals.append(tmp_path / f"{session}.jsonl")
        journals[-1].write_text("".join(json.dumps(one) + "\n" for one in machine.run(session, backends)))

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        compared = [sys.executable, "-m", "convbench", "compare", *map(str, journals), *words]
        return subprocess.run(compared, capture_output=True, text=True, timeout=60, check=False)

    done = command()
    assert done.returncode == 1
    heading, *rows = done.stdout.splitlines()
    assert heading.split()[4:] == ["base", "ms", "new", "ms", "drift", "new/base", "95", "%", "interval"]
    assert sum(row.startswith("slower") and " jax " in row for row in rows) == len(CASES)
    assert "new/base is without the drift" in " ".join(done.stdout.split())
    told = [json.loads(line) for line in command("--json").stdout.splitlines()]
    assert all(row["drift"] > 0 and not row["paired"] for row in told)
    assert "drift" in command("--markdown").stdout.splitlines()[0]
    alone = [json.loads(line) for line in command("--backend", "jax", "--json").stdout.splitlines()]
    assert {row["backend"] for row in alone} == {"jax"}, "the others are asked what the machine did, and not shown"
    assert {row["case"]: row["drift"] for row in alone} == {
        row["case"]: row["drift"] for row in told if row["backend"] == "jax"
    }
