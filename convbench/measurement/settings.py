"""How to measure: precision, limits, threads, priority, allocator and caches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from convbench.isa import Isa
from convbench.measurement.machine.affinity import AUTO
from convbench.measurement.machine.priority import Priority
from convbench.measurement.workers.process_environment import Allocator
from convbench.verification.timed_data import NORMAL

Cache = Literal["warm", "cold", "pass"]
"""What the caches hold when a call begins: what the call before it left; nothing of the layer; or what a pass through a
model leaves there (`convbench.measurement.sampling.cache_state`)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure. Records store these fields under their names."""

    threads: int = 1
    precision: float = 0.01
    """A pair is done when the 95 % interval of its median reaches no further than this share to either side."""
    sample_s: float = 0.005
    fewest_rounds: int = 10
    most_rounds: int = 30
    budget_s: float = 1.0
    """Sampling time after which a pair is done in any case, once it has the six samples of an interval; after twice
    that time `fewest_slow_samples` are enough."""
    fewest_slow_samples: int = 3
    settle_s: float = 0.05
    time_limit_s: float = 60.0
    """The longest that a worker may take for one reply: preparation with the first call, or one sample."""
    allocator: Allocator = "steady"
    processes: int = 1
    """Worker processes per backend, all sampled in each round."""
    self_check: bool = False
    """Whether each round also samples one backend of the case in an A/A process, which measures the run's own error."""
    pin: str = AUTO
    """The CPUs that workers run on: `auto`, `none` or a list such as `2,3`."""
    priority: Priority = "normal"
    """Whether timed calls run before the other programs of the machine."""
    cache: Cache = "warm"
    pass_bytes: int | None = None
    """With `pass`, how much memory a pass through the model touches between two calls of a layer."""
    isa: Isa | None = None
    """The widest instruction set that libraries may use, by switches of their own; None for all that the CPU has."""
    data: str = NORMAL
    """What is computed while it is timed: the label of `verification.timed_data.TimedData`."""
    energy_s: float = 1.0
    """How long a GPU computes at the end to measure its energy; its counter moves in steps of up to a tenth."""
    time_wrong: bool = False
    seed: int = 0
    explain: bool = True
    """Whether a backend is asked, after its last timed call, which kernel ran (`Ready.explain`)."""
    handed_over: bool = False
    """Whether each call gets a torch tensor and returns one, as in a torch model (`sampling.handing_over`)."""

    @classmethod
    def quick(cls, **changes: Any) -> Settings:
        """Settings for a first look: fewer and shorter samples."""
        rounds = {"fewest_rounds": 6, "most_rounds": 6, "fewest_slow_samples": 1}
        seconds = {"sample_s": 0.003, "budget_s": 0.2, "settle_s": 0.02, "energy_s": 0.0}
        return cls(**({"precision": 0.05} | rounds | seconds | changes))
