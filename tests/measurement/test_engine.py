"""The engine's schedule, with workers and a clock made for the test: no process is started and no time passes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.errors import SuiteError
from convbench.measurement.outcome import Outcome
from convbench.measurement.sampling.sample import Sample, SamplingPlan
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.scheduling.race import Race
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import (
    Check,
    Checked,
    Explain,
    Explained,
    Finish,
    Finished,
    Prepare,
    Prepared,
    ReplyT,
    Request,
    Sampled,
    Start,
    Started,
    TakeSample,
    Visit,
    Visited,
    WarmedUp,
    WarmUp,
)
from convbench.measurement.workers.process import Wait, WorkerError
from convbench.problem import ConvProblem
from convbench.registry import Entry, Origin
from convbench.status import Status
from convbench.store.locations import CheckoutState
from convbench.store.records import record_of
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

    def unavailable(self) -> str | None:
        return None

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        raise AssertionError("only workers prepare")


@dataclass
class ScriptedWorker:
    """Replies as a worker would, correctly, each call taking `call_s` of the shared clock; logs its requests."""

    name: str
    clock: Clock
    log: list[tuple[str, str, Request[Any]]]
    call_s: float = 0.001
    compiles_s: float = 0.0
    """What its first call takes besides."""
    jitter: Sequence[float] = (1.0,)
    fails: dict[str, WorkerError] = field(default_factory=dict)
    wrong_at_the_end: bool = False
    between_s: float = 0.0
    """What lies between two calls that are timed by themselves."""
    import_s: float = 0.1
    alive: bool = True
    killed: int = 0
    samples: int = 0
    peak_bytes: int = 3
    steady_bytes: int | None = 2
    waits: Sequence[Wait] = ()
    clock_speed: float = 1.0
    """Its clock's. The system does not say how long it waits for a CPU."""
    implementation: str | None = None
    stops: Sequence[int] = ()
    """The samples in which it is stopped and continued, and stands still for a while."""

    def send(self, request: Request[ReplyT]) -> None:
        self.sent = request
        self.log.append((self.name, request.name, request))

    def receive(self, request: Request[ReplyT], time_limit_s: float) -> ReplyT:
        assert self.sent is request
        if request.name in self.fails:
            self.alive = self.fails[request.name].status is not Status.TIMEOUT
            raise self.fails[request.name]
        reply: ReplyT = getattr(self, request.name)(request)
        return reply

    def kill(self) -> None:
        self.alive = False
        self.killed += 1

    def start(self, request: Start) -> Started:
        return Started(import_s=self.import_s, versions={"library": "1.0"})

    def prepare(self, request: Prepare) -> Prepared:
        self.output = convolve(request.problem, request.operands["x"], request.operands["w"], None).astype(np.float32)
        self.clock.now_s += self.call_s
        return Prepared(
            prepare_s=0.5,
            first_call_s=self.compiles_s + self.call_s,
            before_bytes=1,
            inputs_changed=False,
            was_stopped=False,
            timer="host",
            flushes=False,
            output=self.output,
        )

    def check(self, request: Check) -> Checked:
        output = convolve(request.problem, request.operands["x"], request.operands["w"], None).astype(np.float32)
        return Checked(prepare_s=0.5, call_s=self.call_s, output=output)

    def warm_up(self, request: WarmUp) -> WarmedUp:
        return WarmedUp(call_s=self.call_s)

    def visit(self, request: Visit) -> Visited:
        readings = request.plan.all_calls // request.plan.calls_per_reading
        self.clock.now_s += self.call_s * request.plan.all_calls
        return Visited(readings=(self.call_s,) * readings, spent_s=readings * (self.call_s + self.between_s))

    def sample(self, request: TakeSample) -> Sampled:
        cpu_s = self.call_s * self.jitter[self.samples % len(self.jitter)]
        stopped = self.samples in self.stops
        wall_s = cpu_s + (50.0 if stopped else 0.0)
        self.samples += 1
        self.clock.now_s += wall_s * request.plan.all_calls
        if self.clock_speed != 1:
            accounted_s = wall_s * request.plan.all_calls
            self.waits = [*self.waits, Wait(accounted_s / self.clock_speed, accounted_s)]
        return Sampled(sample=Sample(request.plan.calls, wall_s, cpu_s, 0.0, 0), was_stopped=stopped)

    def finish(self, request: Finish) -> Finished:
        return Finished(
            inputs_changed=False,
            output=self.output + 1 if self.wrong_at_the_end else self.output,
            peak_bytes=self.peak_bytes,
            steady_bytes=self.steady_bytes,
            backend_s=0.0,
        )

    def explain(self, request: Explain) -> Explained:
        return Explained(implementation=self.implementation)


class Stage:
    """An engine over scripted workers, and the log of everything they were asked."""

    def __init__(self, settings: Settings, race: Race | None = None, **scripts: dict[str, Any]) -> None:
        self.clock, self.log, self.activities = Clock(), [], []
        self.workers: dict[str, list[ScriptedWorker]] = {}
        self.entries = [Entry(name, Origin("module", "test"), Declared(name)) for name in scripts if "#" not in name]

        def start_worker(entry: Entry, settings: Settings, slot: int) -> ScriptedWorker:
            script = scripts.get(entry.name) or scripts[entry.name.partition("#")[0]]
            worker = ScriptedWorker(entry.name, self.clock, self.log, **script)
            self.workers.setdefault(entry.name, []).append(worker)
            return worker

        self.engine = Engine(settings, self.doing, start_worker, self.clock, self.clock.sleep, race)

    def doing(self, activity: str, done: float) -> None:
        self.activities.append((activity, done))

    def measure(self, case: Case = CASE) -> dict[str, Outcome]:
        with self.engine as engine:
            return {outcome.backend: outcome for outcome in engine.measure("test", case, self.entries)}

    def sampled(self) -> list[str]:
        return [name for name, command, _ in self.log if command == "sample"]

    def plans(self) -> list[SamplingPlan]:
        return [request.plan for _, _, request in self.log if isinstance(request, TakeSample)]


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


@pytest.mark.parametrize(("device", "asked"), [("cpu", True), ("cuda", False)])
def test_the_next_is_asked_while_one_is_judged_unless_it_has_transfers_to_time(device: str, asked: bool) -> None:
    stage = Stage(Settings(), a={}, b={})
    second = stage.entries[1].backend
    assert second is not None
    second.device = device
    with stage.engine as engine:
        outcomes = engine.measure("test", CASE, stage.entries)
        assert next(outcomes).backend == "a"
        assert (("b", "finish") in [(name, command) for name, command, _ in stage.log]) == asked
        assert [outcome.backend for outcome in outcomes] == ["b"]


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
    assert all((plan.calls, plan.discarded) == (1, 0) for plan in stage.plans())
    assert "warm_up" not in [command for _, command, _ in stage.log]


def test_a_fast_backend_is_sampled_in_batches_with_calls_discarded_after_the_switch() -> None:
    stage = Stage(Settings(sample_s=0.005), fast={"call_s": 0.0001})
    stage.measure()
    assert all((plan.calls, plan.discarded) == (50, 10) for plan in stage.plans())


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


# --- several processes ------------------------------------------------------------------------------------------------


def test_each_round_samples_every_process_of_every_backend_once() -> None:
    stage = Stage(Settings(processes=3), a={}, b={})
    outcomes = stage.measure()
    everyone = {"a", "a#2", "a#3", "b", "b#2", "b#3"}
    sampled = stage.sampled()
    rounds = [sampled[i : i + 6] for i in range(0, len(sampled), 6)]
    assert all(set(taken) == everyone for taken in rounds)
    for name in "ab":
        seen = Counter((s.round, s.process) for s in outcomes[name].samples)
        assert seen == Counter((r, p) for r in range(len(rounds)) for p in range(3))


def test_the_interval_of_several_processes_includes_what_they_differ_by() -> None:
    slower = {"call_s": 0.0011}
    one = Stage(Settings(), a={}).measure()["a"].estimate
    three = Stage(Settings(processes=3), **{"a": {}, "a#2": slower, "a#3": {}}).measure()["a"].estimate
    assert one is not None and three is not None
    assert one.low == one.high == pytest.approx(0.001)
    assert three.low < 0.001 < three.median < 0.0011 < three.high
    assert (three.processes, three.covers) == (3, True)


def test_memory_is_that_of_the_first_process() -> None:
    scripts = {"a": {"peak_bytes": 30, "steady_bytes": 20}, "a#2": {"peak_bytes": 50, "steady_bytes": 40}}
    outcome = Stage(Settings(processes=2), **scripts).measure()["a"]
    assert (outcome.before_bytes, outcome.peak_bytes, outcome.steady_bytes) == (1, 30, 20)
    untold = Stage(Settings(), a={"steady_bytes": None}).measure()["a"]
    assert (untold.status, untold.steady_bytes) == (Status.OK, None)


def test_two_processes_give_a_range_that_holds_both() -> None:
    estimate = Stage(Settings(processes=2), **{"a": {}, "a#2": {"call_s": 0.002}}).measure()["a"].estimate
    assert estimate is not None and not estimate.covers
    assert (estimate.low, estimate.high) == pytest.approx((0.001, 0.002))


def test_harder_questions_are_put_to_one_process_and_every_process_s_answers_are_judged() -> None:
    stage = Stage(Settings(processes=2), a={})
    outcome = stage.measure()["a"]
    asked = Counter((name, command) for name, command, _ in stage.log)
    assert asked["a", "check"] == 1 and asked["a#2", "check"] == 0
    assert [v.check for v in outcome.verdicts] == ["bound", "exact", "bound", "bound", "bound"]


@pytest.mark.parametrize("command", ["start", "prepare", "warm_up", "sample", "finish"])
def test_a_backend_of_which_one_process_fails_has_one_outcome_that_says_so(command: str) -> None:
    crash = WorkerError(Status.CRASHED, "killed by SIGSEGV")
    stage = Stage(Settings(processes=3), **{"a": {}, "a#2": {"fails": {command: crash}}, "b": {}})
    with stage.engine as engine:
        outcomes = list(engine.measure("test", CASE, stage.entries))
    assert sorted((o.backend, o.status) for o in outcomes) == [("a", Status.CRASHED), ("b", Status.OK)]


def test_an_answer_that_is_wrong_in_one_process_is_wrong() -> None:
    outcome = Stage(Settings(processes=2), **{"a": {}, "a#2": {"wrong_at_the_end": True}}).measure()["a"]
    assert outcome.status is Status.WRONG and outcome.samples == ()
    assert (outcome.reason or "").startswith("after the timed calls: in process 2: bound check")


# --- the run's own error ----------------------------------------------------------------------------------------------


def test_one_backend_is_sampled_against_itself_and_all_outcomes_know_the_ratio() -> None:
    scripts = {"a": {"import_s": 2.0}, "b": {"import_s": 0.1}, "b#2": {"call_s": 0.00101}}
    stage = Stage(Settings(self_check=True), **scripts)
    outcomes = stage.measure()
    assert "a#2" not in stage.workers
    for outcome in outcomes.values():
        assert outcome.self_ratio is not None and outcome.self_ratio.backend == "b"
        assert outcome.self_ratio.value == pytest.approx(1 / 1.01)
    assert [s.round for s in outcomes["b"].aa_samples] == [s.round for s in outcomes["b"].samples]
    assert outcomes["a"].aa_samples == ()
    assert {s.sample.wall_s for s in outcomes["b"].samples} == {0.001}  # its own time has nothing of the other process


def test_the_same_backend_tells_the_error_of_all_cases() -> None:
    stage = Stage(Settings(self_check=True), a={}, b={})
    with stage.engine as engine:
        found = [o.self_ratio for _ in range(3) for o in engine.measure("test", CASE, stage.entries)]
    assert len({ratio.backend for ratio in found if ratio}) == 1
    assert len(stage.workers["a"]) + len(stage.workers["b"]) + len(stage.workers.get("a#2", [])) == 3


@pytest.mark.parametrize("command", ["start", "prepare", "sample", "finish"])
def test_an_aa_process_that_fails_costs_no_backend_its_times(command: str) -> None:
    crash = WorkerError(Status.CRASHED, "killed by SIGSEGV")
    outcome = Stage(Settings(self_check=True), **{"a": {}, "a#2": {"fails": {command: crash}}}).measure()["a"]
    assert outcome.status is Status.OK and len(outcome.samples) >= 10
    assert (outcome.self_ratio is None) == (command != "finish")


def test_with_several_processes_two_of_them_tell_the_error_and_no_further_one_is_started() -> None:
    stage = Stage(Settings(self_check=True, processes=2), **{"a": {}, "a#2": {"call_s": 0.00099}})
    ratio = stage.measure()["a"].self_ratio
    assert set(stage.workers) == {"a", "a#2"}
    assert ratio is not None and ratio.value == pytest.approx(1 / 0.99)


# --- when sampling ends, and stops on the way -------------------------------------------------------------------------


def test_sampling_ends_when_more_rounds_no_longer_narrow_the_interval() -> None:
    # Within the first ten, one value; then two that alternate for as long as anyone looks: the median stays between.
    drifting = [1.0 + 0.01 * (i % 3) if i < 10 else 1.0 + 0.2 * (i % 2) for i in range(1000)]
    steady_noise = random.Random(5)
    shrinking = [steady_noise.lognormvariate(0, 0.1) for _ in range(1000)]
    settings = Settings(most_rounds=1000, budget_s=100, precision=0.008)
    outcomes = Stage(settings, drifting={"jitter": drifting}, shrinking={"jitter": shrinking}).measure()
    assert (outcomes["drifting"].stopped, len(outcomes["drifting"].samples)) == ("noise", 40)
    assert outcomes["shrinking"].stopped == "precision" and len(outcomes["shrinking"].samples) > 100


def test_without_a_precision_asked_noise_is_no_reason_to_end() -> None:
    drifting = [1.0 + 0.2 * (i % 2) for i in range(1000)]
    settings = Settings(precision=0.0, most_rounds=1000, fewest_rounds=6, fewest_slow_samples=6, budget_s=1.0)
    outcome = Stage(settings, a={"jitter": drifting}).measure()["a"]
    assert outcome.stopped == "time" and len(outcome.samples) > 40


def test_a_sample_in_which_the_process_stood_still_is_kept_and_another_is_taken() -> None:
    plain = Stage(Settings(), a={}).measure()["a"]
    stopped = Stage(Settings(), a={"stops": (3, 5)}).measure()["a"]
    assert len(stopped.samples) == len(plain.samples) + 2
    assert max(s.sample.wall_s for s in stopped.samples) > 50
    assert stopped.estimate == plain.estimate
    assert stopped.stopped == plain.stopped == "precision"  # standing still has not used the time up


def test_cold_caches_are_asked_for_before_each_sample_of_one_call() -> None:
    stage = Stage(Settings(cache="cold"), a={"call_s": 0.0001})
    stage.measure()
    assert all((plan.calls, plan.discarded) == (1, 0) and plan.flush_bytes >= 2**20 for plan in stage.plans())


def test_in_a_pass_calls_are_timed_one_by_one_as_many_as_fit_with_what_lies_between_them() -> None:
    settings = Settings(cache="pass", pass_bytes=2**22, sample_s=0.005, budget_s=0.05)
    stage = Stage(settings, near={"call_s": 0.0001}, far={"call_s": 0.0001, "between_s": 0.0024})
    outcomes = stage.measure()
    plans = stage.plans()
    assert all(plan.as_in_pass and plan.flush_bytes == 2**22 and plan.discarded == 0 for plan in plans)
    assert {plan.calls for plan in plans} == {16, 2}
    assert {outcome.settings for outcome in outcomes.values()} == {settings}
    rounds = {outcome.backend: len(outcome.samples) for outcome in outcomes.values()}
    assert rounds["far"] <= rounds["near"]  # what lies between its calls uses its budget up
    prepared = [request for _, name, request in stage.log if name == "prepare"]
    assert all(isinstance(request, Prepare) and request.flush_bytes == 2**22 for request in prepared)


@pytest.mark.parametrize("load", [0.0, 1e6])
def test_a_clock_that_a_crowd_may_excuse_is_a_hazard_and_otherwise_an_error(
    load: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convbench.measurement.scheduling.clock_check.load_average", lambda: load)
    found = Stage(Settings(), honest={}, slow={"clock_speed": 0.1}).measure()
    assert found["honest"].status is Status.OK and found["honest"].clock_doubt is None
    slow = found["slow"]
    if load:
        assert slow.status is Status.OK and slow.clock_doubt is not None
        record = record_of(slow, "run", "session", CheckoutState())
        assert "clock doubt" in [hazard["hazard"] for hazard in record["hazards"]]
    else:
        assert slow.status is Status.ERROR and "its clock is wrong" in (slow.reason or "")
