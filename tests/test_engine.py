"""The engine's schedule, with workers and a clock made for the test: no process is started and no time passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.errors import SuiteError
from convbench.measurement.engine import Engine
from convbench.measurement.outcome import Outcome, Settings
from convbench.measurement.process import WorkerError
from convbench.measurement.protocol import Message
from convbench.problem import ConvProblem
from convbench.registry import Entry, Origin
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.reference import convolve

PROBLEM = ConvProblem(in_channels=2, height=5, width=5, out_channels=2, kernel_size=3)
CASE = Case(PROBLEM)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept_s = getattr(self, "slept_s", 0.0) + seconds


class Declared(Backend):
    arithmetic = Arithmetic("direct")
    supports = Supports(dtypes={"float32"})

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        raise AssertionError("only workers prepare")


@dataclass
class ScriptedWorker:
    """Answers as a worker would, right, each call taking `call_s` of the shared clock; notes what it was asked."""

    name: str
    clock: Clock
    log: list[tuple[str, str, dict[str, Any]]]
    call_s: float = 0.001
    jitter: Sequence[float] = (1.0,)
    fails: dict[str, WorkerError] = field(default_factory=dict)
    wrong_at_the_end: bool = False
    alive: bool = True
    killed: int = 0
    samples: int = 0

    def tell(self, command: str, arrays: Mapping[str, Any] | None = None, **fields: Any) -> None:
        self.asked = (command, arrays or {}, fields)
        self.log.append((self.name, command, fields))

    def answer(self, command: str, time_limit_s: float) -> Message:
        asked, arrays, fields = self.asked
        assert asked == command
        if command in self.fails:
            self.alive = self.fails[command].status is not Status.TIMEOUT
            raise self.fails[command]
        return getattr(self, command)(arrays, fields)

    def kill(self) -> None:
        self.alive = False
        self.killed += 1

    def start(self, arrays: Any, fields: Any) -> Message:
        return Message({"import_s": 0.1, "versions": {"library": "1.0"}})

    def prepare(self, arrays: Any, fields: Any) -> Message:
        self.output = convolve(PROBLEM, arrays["x"], arrays["w"], None).astype(np.float32)
        self.clock.now_s += self.call_s
        fields = {"prepare_s": 0.5, "first_call_s": self.call_s, "before_bytes": 1, "inputs_changed": False}
        return Message(fields, {"output": self.output})

    def check(self, arrays: Any, fields: Any) -> Message:
        output = convolve(PROBLEM, arrays["x"], arrays["w"], None).astype(np.float32)
        return Message({"prepare_s": 0.5, "call_s": self.call_s}, {"output": output})

    def settle(self, arrays: Any, fields: Any) -> Message:
        return Message({"call_s": self.call_s})

    def sample(self, arrays: Any, fields: Any) -> Message:
        wall_s = self.call_s * self.jitter[self.samples % len(self.jitter)]
        self.samples += 1
        self.clock.now_s += wall_s * (fields["calls"] + fields["discarded"])
        return Message(
            {"calls": fields["calls"], "wall_s": wall_s, "cpu_s": wall_s, "system_s": 0.0, "minor_faults": 0}
        )

    def finish(self, arrays: Any, fields: Any) -> Message:
        output = self.output + 1 if self.wrong_at_the_end else self.output
        return Message({"peak_bytes": 2, "inputs_changed": False}, {"output": output})


class Stage:
    """An engine over scripted workers, and the log of everything they were asked."""

    def __init__(self, settings: Settings, **scripts: dict[str, Any]) -> None:
        self.clock, self.log, self.activities = Clock(), [], []
        self.workers: dict[str, list[ScriptedWorker]] = {name: [] for name in scripts}
        self.entries = [Entry(name, Origin("module", "test"), Declared(name)) for name in scripts]

        def start_worker(entry: Entry, settings: Settings) -> ScriptedWorker:
            worker = ScriptedWorker(entry.name, self.clock, self.log, **scripts[entry.name])
            self.workers[entry.name].append(worker)
            return worker

        self.engine = Engine(settings, self, start_worker, self.clock, self.clock.sleep)

    def doing(self, activity: str, done: float) -> None:
        self.activities.append((activity, done))

    def measure(self, case: Case = CASE) -> dict[str, Outcome]:
        with self.engine as engine:
            return {outcome.backend: outcome for outcome in engine.measure("test", case, self.entries)}

    def sampled(self) -> list[str]:
        return [name for name, command, _ in self.log if command == "sample"]


def test_every_backend_is_verified_before_any_is_sampled() -> None:
    stage = Stage(Settings(), a={}, b={}, c={})
    stage.measure()
    commands = [command for _, command, _ in stage.log]
    assert max(i for i, c in enumerate(commands) if c in ("prepare", "check")) < commands.index("sample")


def test_each_round_samples_every_backend_once_in_an_order_that_changes() -> None:
    stage = Stage(Settings(), a={}, b={}, c={})
    stage.measure()
    sampled = stage.sampled()
    rounds = [tuple(sampled[i : i + 3]) for i in range(0, len(sampled), 3)]
    assert all(Counter(r) == Counter("abc") for r in rounds)
    assert len(set(rounds)) > 1


def test_the_order_of_rounds_follows_from_the_seed() -> None:
    orders = [Stage(Settings(seed=seed), a={}, b={}, c={}) for seed in (1, 1, 2)]
    for stage in orders:
        stage.measure()
    first, again, other = (stage.sampled() for stage in orders)
    assert first == again != other


def test_sampling_stops_at_the_precision_asked() -> None:
    settings = Settings(fewest_rounds=10, most_rounds=30, precision=0.01)
    outcome = Stage(settings, steady={}).measure()["steady"]
    assert (outcome.stopped, len(outcome.samples)) == ("precision", 10)


def test_a_noisy_backend_is_sampled_to_the_most_rounds_while_a_steady_one_is_left_alone() -> None:
    settings = Settings(fewest_rounds=10, most_rounds=20, precision=0.01, budget_s=100)
    outcomes = Stage(settings, steady={}, noisy={"jitter": (1.0, 1.5, 0.7, 1.2, 0.9)}).measure()
    assert (outcomes["noisy"].stopped, len(outcomes["noisy"].samples)) == ("rounds", 20)
    assert (outcomes["steady"].stopped, len(outcomes["steady"].samples)) == ("precision", 10)


def test_a_slow_backend_is_sampled_few_times_one_call_each_and_nothing_is_thrown_away() -> None:
    settings = Settings(budget_s=1.0, fewest_slow_samples=3)
    stage = Stage(settings, slow={"call_s": 5.0})
    outcome = stage.measure()["slow"]
    assert (outcome.stopped, len(outcome.samples)) == ("time", 3)
    assert all((fields["calls"], fields["discarded"]) == (1, 0) for _, c, fields in stage.log if c == "sample")
    assert "settle" not in [command for _, command, _ in stage.log]


def test_a_fast_backend_is_sampled_in_batches_with_calls_discarded_after_the_switch() -> None:
    stage = Stage(Settings(sample_s=0.005), fast={"call_s": 0.0001})
    stage.measure()
    plans = [fields for _, command, fields in stage.log if command == "sample"]
    assert all((p["calls"], p["discarded"]) == (50, 10) for p in plans)


def test_a_pause_lets_threads_fade_only_where_there_are_several() -> None:
    one, two = Stage(Settings(threads=1), a={}), Stage(Settings(threads=2), a={})
    one.measure()
    two.measure()
    assert getattr(one.clock, "slept_s", 0) == 0
    assert two.clock.slept_s > 0


def test_a_backend_that_fails_in_the_rounds_loses_its_times_and_the_others_keep_theirs() -> None:
    crash = WorkerError(Status.CRASHED, "killed by SIGSEGV", "the last words")
    outcomes = Stage(Settings(), good={}, bad={"fails": {"sample": crash}}).measure()
    assert outcomes["bad"].status is Status.CRASHED
    assert outcomes["bad"].samples == () and outcomes["bad"].stderr_tail == "the last words"
    assert outcomes["good"].status is Status.OK and len(outcomes["good"].samples) >= 10


def test_a_worker_that_does_not_start_is_no_reason_to_stop() -> None:
    refusal = WorkerError(Status.UNAVAILABLE, "importing it raised ImportError")
    stage = Stage(Settings(), good={}, bad={"fails": {"start": refusal}})
    outcomes = stage.measure()
    assert outcomes["bad"].status is Status.UNAVAILABLE
    assert outcomes["good"].status is Status.OK
    assert stage.workers["bad"][0].killed


def test_a_worker_that_died_is_started_anew_for_the_next_case() -> None:
    hang = WorkerError(Status.TIMEOUT, "no answer")
    stage = Stage(Settings(), a={"fails": {"prepare": hang}})
    with stage.engine as engine:
        for _ in range(2):
            outcomes = list(engine.measure("test", CASE, stage.entries))
            assert [o.status for o in outcomes] == [Status.TIMEOUT]
    assert len(stage.workers["a"]) == 2


def test_one_worker_serves_all_cases() -> None:
    stage = Stage(Settings(), a={})
    with stage.engine as engine:
        for _ in range(3):
            list(engine.measure("test", CASE, stage.entries))
    assert len(stage.workers["a"]) == 1


def test_an_answer_that_goes_wrong_while_timed_is_wrong() -> None:
    outcome = Stage(Settings(), a={"wrong_at_the_end": True}).measure()["a"]
    assert outcome.status is Status.WRONG
    assert outcome.samples == ()
    assert (outcome.reason or "").startswith("after the timed calls: bound check")


def test_leaving_the_engine_ends_its_workers_even_on_an_interrupt() -> None:
    stage = Stage(Settings(), a={}, b={})
    with pytest.raises(KeyboardInterrupt), stage.engine as engine:
        for _ in engine.measure("test", CASE, stage.entries):
            raise KeyboardInterrupt
    assert all(worker.killed for workers in stage.workers.values() for worker in workers)


def test_what_it_is_doing_is_told_with_a_share_that_never_falls() -> None:
    stage = Stage(Settings(), a={}, b={"jitter": (1.0, 1.5, 0.7)})
    stage.measure()
    shares = [done for _, done in stage.activities]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)


def test_a_case_whose_expected_answer_is_not_the_reference_s_is_refused(tmp_path: Any) -> None:
    from convbench.suite import load_suite

    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nsummary = "s"\n[[case]]\nin_channels = 1\nheight = 2\nwidth = 2\nout_channels = 1\n'
        "kernel_size = 1\n[case.data]\ninput = [[1, 2], [3, 4]]\nweight = [[[[2]]]]\nexpected = [[2, 4], [6, 9]]\n"
    )
    (case,) = load_suite(str(path)).cases
    with pytest.raises(SuiteError, match=r"expected .* 9.* at \[0, 0, 1, 1\].* 8"):
        Stage(Settings(), a={}).measure(case)
