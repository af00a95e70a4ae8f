"""`convbench doctor`: the command in a process of its own, what it concludes, and how it is shown."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import PLUGINS
from rich.console import Console

from convbench.analysis.diagnosis import ClockError, clock_error, limiting_factor, process_hazards
from convbench.analysis.survey import Level, Processes
from convbench.measurement.hazards.catalogue import Hazard, Kind
from convbench.measurement.machine.clocks import Timer
from convbench.measurement.machine.state import MachineActivity, MachineState
from convbench.measurement.settings import Settings
from convbench.registry import discover
from convbench.reporting.machine.doctor import report, verdict
from convbench.runner.doctor import Diagnosis, KeptPairs, folder_for_pairs
from convbench.stats.minimum_detectable_effect import Spread
from convbench.store.process_pairs import kept_pairs

FAKES = PLUGINS / "fakes.py"
SMALL = "n1c2h6w6_o3k3"
BUSY = Hazard(Kind.BUSY, {"others_cpus": 0.8, "cpus": 2})
BOOST = Hazard(Kind.BOOST, {"boost_off": "echo 0"})
VARIATION = Hazard(Kind.PROCESS_LUCK, {"luck": 0.01})


def doctor(*words: str | Path) -> subprocess.CompletedProcess[str]:
    asked = [sys.executable, "-m", "convbench", "doctor", *map(str, words)]
    return subprocess.run(asked, capture_output=True, text=True, timeout=600)


def test_the_command_gives_one_json_document_and_nothing_else(tmp_path: Path) -> None:
    done = doctor("--quick", "--json", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert (found["backend"], found["threads"], found["confidence"], found["power"]) == ("numpy-gemm", 1, 0.95, 0.8)
    assert [timer["name"] for timer in found["timers"]] == ["perf_counter", "process_time"]
    assert all(timer["cost_s"] > 0 for timer in found["timers"])
    assert found["standing"]["usable_cpus"] >= 1
    assert found["meanwhile"]["seconds"] > 0
    assert 1 <= len(found["rounds"]) <= 3 and min(found["rounds"]) >= 6
    assert set(found["clocks"]) == {"wall", "cpu"}
    for clock in found["clocks"].values():
        assert len(clock["ratios"]) == len(found["rounds"])
        assert all(ratio > 0 for ratio in clock["ratios"])
        assert 0 <= clock["typical_error"] <= clock["worst_error"]
        assert 0 <= clock["intervals_with_one"] <= len(clock["ratios"])
        stated = {(one["seconds"], one["processes"]): one["share"] for one in clock["smallest_difference"]}
        assert list(stated) == [(1, 1), (10, 1), (60, 1), (1, 5), (10, 5), (60, 5)]
        assert 0 < stated[60, 1] <= stated[10, 1]
    between = found["between_runs"]
    assert 0 < between["beside_others"] < between["alone"]
    assert all({"hazard", "sentence", "remedy"} <= hazard.keys() for hazard in found["hazards"])
    assert found["limit"] is None or found["limit"] in [hazard["hazard"] for hazard in found["hazards"]]
    assert found["verdict"].startswith("This machine can")
    assert "Measuring numpy-gemm on working sets, and against itself in 3 pairs" in done.stderr

    for level in found["working_sets"]:  # as many as there was time for
        assert level["bytes"] > 0 and level["case"]
        for backend in level["backends"]:
            assert backend["call_s"] > 0 and backend["noise"] >= 0 and backend["variation"] >= 0
            assert len(backend["processes"]) == 2
            assert backend["smallest_difference"].keys() == {"in_10_s", "run"}
    (kept,) = tmp_path.rglob("process-pairs")
    assert Path(found["pairs"]["file"]) == kept
    sets = sum(len(level["backends"]) for level in found["working_sets"])
    assert found["pairs"]["kept"] == len(found["rounds"]) + sets
    known = kept_pairs(kept.parent, Settings())  # as a run with these settings reads them
    assert len(known) == found["pairs"]["kept"]
    assert [round(pair.log_ratio, 9) for pair in known[: len(found["rounds"])]] == [
        round(float(np.log(ratio)), 9) for ratio in found["clocks"]["wall"]["ratios"]
    ]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--backend", "wrong"), 3, "wrong on n1c2h6w6_o3k3: "),
        (("--backend", "unavailable"), 3, "a_module_that_does_not_exist"),
        (("--backend", "narrow", "--problem", SMALL + "_f64"), 3, "narrow on n1c2h6w6_o3k3_f64: "),
        (("--backend", "no-such"), 2, "no backend matches 'no-such'"),
        (("--backend", "right*"), 2, "should name one backend, and matches right, right-twin"),
        (("--problem", "nonsense"), 2, "nonsense"),
        (("--threads", "0"), 2, "0 is not in the range"),
    ],
)
def test_where_nothing_can_be_measured_it_says_why(words: tuple[str, ...], code: int, says: str) -> None:
    given = words if "--problem" in words else (*words, "--problem", SMALL)
    done = doctor("--quick", "--plugin", FAKES, *given)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_backend_again_has_another_name_and_is_found_by_its_own() -> None:
    (entry,) = discover([FAKES]).select(["right"])
    again = entry.again(2)
    assert again.name != entry.name == entry.again(1).name
    assert again.backend.name == "right"
    assert again.origin == entry.origin


# --- what it concludes ------------------------------------------------------------------------------------------------


def clock(noise: float, between: float = 0.0, pairs: int = 6, rounds: int = 100) -> ClockError:
    rng = np.random.default_rng(11)
    levels = between * np.resize([1.0, -1.0], (pairs, 1))
    return clock_error((noise * rng.normal(size=(pairs, rounds)) + levels).tolist(), round_s=0.02)


def test_the_error_of_a_clock_is_that_of_its_pairs() -> None:
    found = clock_error([[0.01] * 10, [-0.02] * 10, [0.0] * 10], round_s=0.02)
    assert found.answers == pytest.approx((np.exp(0.01), np.exp(-0.02), 1.0))
    assert found.typical == pytest.approx(0.01, rel=0.02)
    assert found.worst == pytest.approx(0.02, rel=0.02)
    assert found.covered == 1
    assert (found.rounds(10), found.rounds(0.01)) == (500, 0)


def test_processes_that_differ_more_than_rounds_do_are_a_hazard_unless_other_work_comes_and_goes() -> None:
    varied, plain = clock(0.01, between=0.02), clock(0.01)
    (hazard,) = process_hazards(varied, varied, [BOOST])
    assert hazard.kind is Kind.PROCESS_LUCK
    assert hazard.figures["luck"] == pytest.approx(0.02 / np.sqrt(2), rel=0.1)
    assert process_hazards(varied, varied, [BUSY]) == []
    assert process_hazards(plain, plain, []) == []
    assert process_hazards(varied, plain, []) == []  # the steadier clock does not see it


def test_what_limits_is_what_takes_the_cpu_away_where_only_the_wall_clock_is_unsteady() -> None:
    found = limiting_factor(clock(0.05), clock(0.01), [BOOST, BUSY])
    assert (found.hazard, found.waiting) == (BUSY, True)
    assert limiting_factor(clock(0.05), clock(0.01), [BOOST]).hazard is None


def test_what_limits_is_what_changes_the_speed_where_both_clocks_are_unsteady() -> None:
    found = limiting_factor(clock(0.05), clock(0.05), [BOOST, VARIATION])
    assert (found.hazard, found.waiting) == (BOOST, False)


def test_what_limits_is_the_processes_where_fresh_processes_differ() -> None:
    varied = clock(0.01, between=0.02)
    assert limiting_factor(varied, varied, [BOOST, VARIATION]).hazard == VARIATION
    assert limiting_factor(varied, None, []).hazard is None


def test_what_limits_is_what_working_sets_show_where_nothing_else_does() -> None:
    switch = Hazard(Kind.SLOW_SWITCH, {"backend": "torch", "level": "L3", "after": "for 60 ms (15 calls)"})
    limit = limiting_factor(clock(0.01), clock(0.01), [switch])
    assert limit.hazard == switch
    assert limiting_factor(clock(0.01), clock(0.01), [BOOST, switch]).hazard == BOOST
    sentence = verdict(examined(clock(0.01), clock(0.01), switch))
    assert sentence.endswith("calls of torch in L3 are not steady for 60 ms (15 calls).")


# --- how it is shown --------------------------------------------------------------------------------------------------


def examined(wall: ClockError, cpu: ClockError | None, *hazards: Hazard, **changes: Any) -> Diagnosis:
    found = Diagnosis(
        facts={"cpu": "[red]CPU[/red] of the test"},
        threads=1,
        backend="numpy-gemm",
        case="n1c64h28w28_o64k3_p1",
        call_s=0.0011,
        rounds=(99, 100, 101),
        timers=(Timer("perf_counter", 4e-8, 1e-7), Timer("process_time", 6e-7, None)),
        machine_state=MachineState(
            usable_cpus=4, cores=2, virtual=True, governors=("powersave",), frequencies_mhz=(800.0, 4200.0), boost=True
        ),
        at_rest=MachineActivity(seconds=1, cpus=4, others_cpus=0.5),
        meanwhile=MachineActivity(seconds=9, cpus=4, others_cpus=0.8, steal_share=0.002, heat_stops=0, swapped_pages=0),
        wall=wall,
        cpu=cpu,
        hazards=hazards,
        limit=limiting_factor(wall, cpu, hazards),
        spread=0.05,
        seconds=28.0,
    )
    return replace(found, **changes)


def shown(found: Diagnosis, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO(), highlight=False)
    console.print(report(found))
    return console.export_text()


@pytest.mark.parametrize("width", [72, 80, 200])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_cut(width: int) -> None:
    found = examined(clock(0.05), clock(0.01), BUSY, BOOST)
    text = shown(found, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "[red]CPU[/red]" in text
    words = " ".join(text.split())
    assert BUSY.sentence in words and BUSY.remedy in words
    assert words.endswith(verdict(found))
    for told in (
        "0.8 of 4 CPUs; 0.5 before the test",
        "governor powersave, 0.800 to 4.20 GHz, boost on",
        "no step seen",
    ):
        assert told in words
    assert "99 to 101 rounds each" in words
    assert "the machine itself hides what is below 15 %; with 4 other libraries in both at least what is below" in words
    assert "hides even what is twice as slow" in shown(replace(found, spread=0.4), 200)


def test_without_a_cpu_clock_only_the_wall_clock_is_shown() -> None:
    text = shown(examined(clock(0.01), None), 80)
    assert "wall clock, one process each" in text
    assert "CPU clock, one process each" not in text
    assert "no hazard was seen" in text


def test_the_verdict_is_one_sentence_that_says_what_limits() -> None:
    assert verdict(examined(clock(0.01), clock(0.01))).endswith(
        "in 10 s on one thread; nothing stands out that limits it."
    )
    told = verdict(examined(clock(0.05), clock(0.01), BUSY, threads=2))
    assert "on 2 threads (by the CPU clock it can tell " in told
    assert told.endswith("; what limits it most: other work keeps 0.8 of 2 CPUs busy.")
    assert "does not report takes the CPU away" in verdict(examined(clock(0.05), clock(0.01)))
    varied = clock(0.01, between=0.02)
    assert "and with --processes 5 it would be" in verdict(examined(varied, varied, VARIATION))


def test_a_machine_that_can_tell_next_to_nothing_apart_is_told_so() -> None:
    assert "apart only differences above" in verdict(examined(clock(0.5), None))
    assert "cannot, as it is, tell what is twice as slow" in verdict(examined(clock(9.0), None))
    assert "> 100 %" in shown(examined(clock(9.0), None), 80)
    slow = replace(clock(0.01), round_s=3.0)
    assert "too long to tell differences apart in 10 s" in verdict(examined(slow, None, call_s=1.4))


# --- working sets -----------------------------------------------------------------------------------------------------


def level(name: str, call_s: float = 0.001, luck: float = 0.003, read_per_s: float = 123.4e9) -> Level:
    backends = tuple(
        Processes(
            backend=backend,
            operand_bytes=1 << 20,
            call_s=call_s,
            alone_s=call_s,
            settle_s=3 * call_s,
            settle_calls=3,
            excess=0.125,
            is_steady=True,
            visit_s=10 * call_s,
            speeds=(0.0, 0.0, 0.0, 0.0),
            pairs=(luck, -luck),
            spread=Spread(noise=0.01, between_processes=luck, pairs=6),
        )
        for backend in ("numpy-gemm", "torch-channels-last")
    )
    return Level(name=name, case="n1c1h1w1_o1k1", bytes=123456789, read_per_s=read_per_s, backends=backends)


LEVELS = tuple(level(name, call_s) for name, call_s in (("L1", 1e-5), ("L2", 2e-4), ("L3", 3e-3), ("memory", 0.0123)))


def test_working_sets_fit_80_columns_and_say_that_their_pairs_were_kept() -> None:
    kept = KeptPairs(14, Path("results/here/process-pairs"))
    text = shown(examined(clock(0.01), clock(0.01), levels=LEVELS, kept=kept), 80)
    assert max(map(len, text.splitlines())) <= 80
    lines = [line.split() for line in text.splitlines()]
    assert ["L1", "L2", "L3", "memory"] in lines
    assert ["read", "there", *["123", "GB/s"] * 4] in lines
    assert ["steady", "after", "a", "switch", "30.0", "µs", "600", "µs", "9.00", "ms", "36.9", "ms"] in lines
    assert "14 pairs of processes kept in results/here/process-pairs" in " ".join(text.split())
    without = " ".join(shown(examined(clock(0.01), None), 80).split())
    assert "There was no time for them" in without and "were not kept" in without


def test_the_verdict_says_where_less_can_be_told_apart() -> None:
    pairs = tuple((1 << 20, sign * 0.05) for sign in (1, -1) for _ in range(10))
    sentence = verdict(examined(clock(0.001), None, levels=LEVELS, known_pairs=pairs))
    assert "% in 10 s on one thread, but none below" in sentence and "where the working set is in" in sentence
    same = tuple((1 << 20, sign * 0.0001) for sign in (1, -1) for _ in range(40))
    assert "but none below" not in verdict(examined(clock(0.1), None, levels=LEVELS, known_pairs=same))


def test_without_a_folder_to_write_to_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert folder_for_pairs(tmp_path / "file") is None
    assert folder_for_pairs(tmp_path) is not None
