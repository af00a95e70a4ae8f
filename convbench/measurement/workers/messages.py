"""What a run asks of a worker process, and what the worker replies: a frozen dataclass for each.

A request names the type of its reply, so that `pool.request(entry, Prepare(...))` is a `Prepared`. To add one, write
both classes here and a method in `worker.py`; `protocol.py` encodes whatever fields they have, arrays included.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, get_args

from numpy.typing import NDArray

from convbench.measurement.machine.priority import Priority
from convbench.measurement.sampling.device import DeviceMetrics, Timer
from convbench.measurement.sampling.sample import Sample, SamplingPlan
from convbench.problem import ConvProblem
from convbench.registry import Origin
from convbench.status import Status
from convbench.verification.adversarial_calls import Behaviour
from convbench.verification.question import Calls, Layout

Arrays = Mapping[str, NDArray[Any]]
Output = Any  # an array as `to_numpy` gave it, or the name of the type that it gave instead


@dataclass(frozen=True, kw_only=True)
class Started:
    """`versions` of the backend's libraries, `python`'s version, the CPUs it is pinned to, facts of its GPU, and what
    its library says of the instruction set that it uses, if that was asked."""

    import_s: float
    versions: dict[str, str]
    python: str = ""
    cores: tuple[int, ...] = ()
    gpu: dict[str, Any] | None = None
    isa: str | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The first call's output, with its time and that of `Backend.prepare`."""

    prepare_s: float
    first_call_s: float
    before_bytes: int | None  # resident memory before `prepare`, inputs included; None where the system does not tell
    inputs_changed: bool
    was_stopped: bool
    """Whether the process was stopped (SIGSTOP) and continued meanwhile, which makes the times meaningless."""
    timer: Timer
    flushes: bool  # whether its device can overwrite its caches
    output: Output
    takes: tuple[str, ...] = ()  # the kinds of arrays that it takes as another input (`Ready.on`)
    gives: str | None = None  # the layout of its output where it is handed tensors; None where that may be any
    touches: bool = True  # whether it says where its input is (`Ready.touch`)


@dataclass(frozen=True, kw_only=True)
class Checked:
    prepare_s: float
    call_s: float
    output: Output


@dataclass(frozen=True, kw_only=True)
class Examined(Behaviour):
    """The outputs to judge, and which operands the backend overwrote."""

    def __post_init__(self) -> None:
        if not self.answers:
            raise ValueError("no answers")


@dataclass(frozen=True, kw_only=True)
class WarmedUp:
    """Seconds per call at the end of the warm-up."""

    call_s: float


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """One sample. `was_stopped` as for `Prepared`; `readings` are those of `Visit`, empty on other devices. `queued_s`
    is how long the sampling thread waited for a CPU during the calls, if that was asked and the system tells."""

    sample: Sample
    was_stopped: bool
    readings: tuple[float, ...] = ()
    queued_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Visited:
    """Seconds per call of each reading since the switch to this worker, and all seconds that the visit took, what lies
    between the readings included."""

    readings: tuple[float, ...]
    spent_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The last timed call's output, and what is read after all samples."""

    inputs_changed: bool
    output: Output
    peak_bytes: int | None
    steady_bytes: int | None
    backend_s: float
    device: DeviceMetrics = field(default_factory=DeviceMetrics)


LONGEST_IMPLEMENTATION = 80
_IMPLEMENTATION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:,;+*/<>()\[\]@ -]*")


def implementation_of(text: object) -> str | None:
    """`text`, if it is what `Ready.explain` may say; else None."""
    is_short = isinstance(text, str) and len(text) <= LONGEST_IMPLEMENTATION
    return str(text) if is_short and _IMPLEMENTATION.fullmatch(str(text)) else None


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The kernel or algorithm that ran, in words of the library; None where that is not known."""

    implementation: str | None


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The worker could not do what was requested."""

    status: Status
    reason: str
    where: str | None = None
    """Of an exception, the file, line and function of the backend's author; None where there is none."""
    traceback: str = ""
    """The author's own frames."""


_SPARE_TIMES, _SPARE_BYTES = 8, 2**26
"""A wrong output may be larger than the right one, and should be received, because it is no garbage."""
_MOST_ANSWERS = 16

Reply = Started | Prepared | Checked | Examined | WarmedUp | Visited | Sampled | Finished | Explained | Failed
ReplyT = TypeVar("ReplyT", covariant=True)


REQUESTS: dict[str, type[Request[Any]]] = {}


class Request(Generic[ReplyT]):
    """Something that a worker is asked to do, answered by a `ReplyT` or by `Failed`."""

    name: ClassVar[str]  # as it appears in frames and in messages to users

    def __init_subclass__(cls, name: str) -> None:
        super().__init_subclass__()
        cls.name = name
        REQUESTS[name] = cls

    @classmethod
    def reply_type(cls) -> type[ReplyT]:
        reply: type[ReplyT] = get_args(cls.__orig_bases__[0])[0]  # type: ignore[attr-defined]
        return reply

    @property
    def most_bytes(self) -> int | None:
        """The most that the arrays of a reply may take; None for as much as for the problem that was prepared."""
        return 0

    def claimed_s(self, reply: Any) -> Iterable[float]:
        """Seconds that passed while the worker made `reply`, according to itself, one after the other."""
        return ()

    def objection(self, reply: Any) -> str | None:
        """What in the figures of `reply`, which has the right types, cannot be; None if nothing is."""
        least = min(self.claimed_s(reply), default=0.0)
        return f"{least:.3g} seconds" if least < 0 else None


@dataclass(frozen=True, kw_only=True)
class Start(Request[Started], name="start"):
    """Load the backend, import its libraries, limit its threads and memory, pin it. Its timed calls will have
    `priority`. With `asks_isa` its library is held to an instruction set, and asked which it uses."""

    backend: str
    origin: Origin
    threads: int
    cores: tuple[int, ...] = ()
    memory_limit_bytes: int | None = None
    asks_isa: bool = False
    priority: Priority = "normal"

    def claimed_s(self, reply: Started) -> Iterable[float]:
        return (reply.import_s,)


@dataclass(frozen=True, kw_only=True)
class Prepare(Request[Prepared], name="prepare"):
    """Prepare the backend for a problem and call it once; this is what the next requests time. With `handed_over` it is
    called with a torch tensor. Memory of `flush_bytes` is allocated first, if the plans of its samples have them."""

    problem: ConvProblem
    operands: Arrays
    handed_over: bool = False
    flush_bytes: int = 0

    @property
    def most_bytes(self) -> int:
        return _most_bytes(self.problem)

    def claimed_s(self, reply: Prepared) -> Iterable[float]:
        return reply.prepare_s, reply.first_call_s


@dataclass(frozen=True, kw_only=True)
class Check(Request[Checked], name="check"):
    """Compute once on other operands. What is prepared stays."""

    problem: ConvProblem
    operands: Arrays
    handed_over: bool = False

    @property
    def most_bytes(self) -> int:
        return _most_bytes(self.problem)

    def claimed_s(self, reply: Checked) -> Iterable[float]:
        return reply.prepare_s, reply.call_s


@dataclass(frozen=True, kw_only=True)
class Examine(Request[Examined], name="examine"):
    problem: ConvProblem
    operands: Arrays
    layout: Layout
    calls: Calls

    @property
    def most_bytes(self) -> int:
        return _MOST_ANSWERS * _most_bytes(self.problem)

    def objection(self, reply: Examined) -> str | None:
        return f"{len(reply.answers)} answers" if len(reply.answers) > _MOST_ANSWERS else None


@dataclass(frozen=True, kw_only=True)
class WarmUp(Request[WarmedUp], name="warm_up"):
    """Call until the time of a call no longer falls, for `limit_s` seconds at most."""

    limit_s: float

    def claimed_s(self, reply: WarmedUp) -> Iterable[float]:
        return (reply.call_s,)


@dataclass(frozen=True, kw_only=True)
class Visit(Request[Visited], name="visit"):
    """Make the calls of `plan` after a switch to this worker and read the clock meanwhile, without taking a sample."""

    plan: SamplingPlan

    def claimed_s(self, reply: Visited) -> Iterable[float]:
        return (reading * self.plan.calls_per_reading for reading in reply.readings)

    def objection(self, reply: Visited) -> str | None:
        return _not_these(self.plan, reply.readings)


@dataclass(frozen=True, kw_only=True)
class TakeSample(Request[Sampled], name="sample"):
    """Time the calls of `plan`. With `asks_queue` the waits for a CPU are read as well, which disturbs the caches."""

    plan: SamplingPlan
    asks_queue: bool = False

    def claimed_s(self, reply: Sampled) -> Iterable[float]:
        if reply.readings:
            return (reading * self.plan.calls_per_reading for reading in reply.readings)
        per_call_s = reply.sample.wall_s if reply.sample.host_s is None else reply.sample.host_s
        return (per_call_s * reply.sample.calls,)

    def accounted_s(self, reply: Sampled) -> float:
        """Seconds of all calls, the discarded ones as well."""
        if reply.readings:
            return sum(self.claimed_s(reply))
        return sum(self.claimed_s(reply)) / self.plan.calls * self.plan.all_calls

    def objection(self, reply: Sampled) -> str | None:
        sample = reply.sample
        if sample.calls != self.plan.calls:
            return f"a sample of {sample.calls} calls, where {self.plan.calls} were asked for"
        if sample.wall_s <= 0:
            return f"{sample.wall_s:.3g} seconds for {sample.calls} calls: its clock stands still or runs backwards"
        return _not_these(self.plan, reply.readings) if reply.readings else super().objection(reply)


@dataclass(frozen=True, kw_only=True)
class Finish(Request[Finished], name="finish"):
    """Send the last output, measure a GPU's energy for `energy_s` seconds, and forget the problem, unless it
    `keeps_prepared` what is asked about next."""

    energy_s: float
    keeps_prepared: bool = False

    @property
    def most_bytes(self) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class Explain(Request[Explained], name="explain"):
    """Say which kernel ran, and forget the problem."""

    def objection(self, reply: Explained) -> str | None:
        text = reply.implementation
        return None if text == implementation_of(text) else "an implementation in other than a few words"


def _not_these(plan: SamplingPlan, readings: Sequence[float]) -> str | None:
    """Why `readings` are not those of a visit by `plan`; None if they may be."""
    expected = plan.discarded // plan.calls_per_reading + plan.calls // plan.calls_per_reading
    if len(readings) != expected:
        return f"{len(readings)} readings of a visit that has {expected}"
    least_s = min(readings)
    return (
        None
        if least_s > 0
        else f"{least_s:.3g} seconds for some of its calls: its clock stands still or runs backwards"
    )


def _most_bytes(problem: ConvProblem) -> int:
    return _SPARE_TIMES * 8 * math.prod(problem.result_shape) + _SPARE_BYTES
