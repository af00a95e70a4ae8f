"""Which machine for a model: the answer of `choose` for each of several machines, by time, by price and by energy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from convbench.analysis.hardware.prices import CURRENCY, price_of
from convbench.analysis.hardware.throughput import Throughput
from convbench.errors import ConvbenchError, NothingMeasuredError
from convbench.runner.choose.answer import Answer, Request
from convbench.runner.choose.choose import answer_from_records, requested_layers
from convbench.runner.observer import Observer
from convbench.store.readings import number


@dataclass(frozen=True)
class MachineAnswer:
    """What one machine does with the model. A pass computes a batch of images."""

    machine: str
    answer: Answer
    price_per_hour: float | None = None

    @property
    def backend(self) -> str | None:
        """The best backend for all layers; None where none has a time on each."""
        single = self.answer.model.single
        return single.backend if single else None

    @property
    def pass_s(self) -> float | None:
        """Seconds of a pass with that backend."""
        single = self.answer.model.single
        return single.known_s if single else None

    @property
    def pass_range_s(self) -> tuple[float, float] | None:
        """From the sum of the lower ends of the layers' intervals to that of the upper ends, which is wider than an
        interval of the pass; None where `pass_s` is."""
        if self.pass_s is None or self.backend is None:
            return None
        calls = [(c.case.count, call) for c in self.answer.model.choices if (call := c.of(self.backend)) is not None]
        total_s = sum(times * call.call_s for times, call in calls)
        low_s = sum(times * call.low_s for times, call in calls)
        high_s = sum(times * call.high_s for times, call in calls)
        return self.pass_s * low_s / total_s, self.pass_s * high_s / total_s

    @property
    def images_range(self) -> tuple[float, float] | None:
        """The images a second of that range."""
        images, span = self._brings.images, self.pass_range_s
        return (images / span[1], images / span[0]) if images and span and span[0] > 0 else None

    @property
    def images_per_s(self) -> float | None:
        return self._brings.images_per_s

    @property
    def images_per_price(self) -> float | None:
        """Images for one unit of the currency."""
        return self._brings.images_per_price

    @property
    def images_per_j(self) -> float | None:
        """Images for one joule; None unless the energy of every layer is known."""
        return self._brings.images_per_j

    @cached_property
    def _brings(self) -> Throughput:
        choices = self.answer.model.choices
        joules = [_energy_j(choice, self.backend) for choice in choices]
        known = [energy for energy in joules if energy is not None]
        return Throughput(
            pass_s=self.pass_s,
            images=choices[0].case.problem.batch if choices else None,
            pass_j=sum(known) if len(known) == len(joules) else None,
            price_per_hour=self.price_per_hour,
        )

    def as_json(self) -> dict[str, Any]:
        names = ("backend", "pass_s", "images_per_s", "price_per_hour", "images_per_price", "images_per_j")
        best_s = self.answer.model.best_s if self.answer.model.choices else None
        return {
            "type": "machine",
            "machine": self.machine,
            "cpu": self.answer.cpu,
            **{name: getattr(self, name) for name in names},
            "pass_range_s": self.pass_range_s,
            "best_s": best_s,
            "layers": len(self.answer.choices),
            "chosen": len(self.answer.model.choices),
            "measured": list(self.answer.days),
        }


@dataclass(frozen=True)
class HardwareAnswer:
    """The machines, the fastest first; those without a time for every layer last."""

    machines: tuple[MachineAnswer, ...]
    currency: str = CURRENCY

    @property
    def fastest(self) -> MachineAnswer | None:
        return self._best("images_per_s")

    @property
    def cheapest(self) -> MachineAnswer | None:
        """The one with the most images for its price, where two prices are known."""
        priced = [each for each in self.machines if each.images_per_price is not None]
        return self._best("images_per_price") if len(priced) > 1 else None

    @property
    def is_level(self) -> bool:
        """Whether the range of another machine overlaps with that of the fastest: nothing is claimed between them."""
        spans = [span for each in self.machines if (span := each.pass_range_s) is not None]
        return any(span[0] <= spans[0][1] for span in spans[1:])

    def _best(self, figure: str) -> MachineAnswer | None:
        known = [each for each in self.machines if getattr(each, figure) is not None]
        return max(known, key=lambda each: getattr(each, figure), default=None)

    def as_json(self) -> list[dict[str, Any]]:
        """A line for each machine, and one for which is best."""
        summary = {
            "type": "hardware",
            "fastest": self.fastest.machine if self.fastest else None,
            "cheapest": self.cheapest.machine if self.cheapest else None,
            "currency": self.currency,
        }
        return [*(each.as_json() for each in self.machines), summary]


def answer_for_machines(
    request: Request, machines: Sequence[str], prices: Mapping[str, float], currency: str, observer: Observer
) -> HardwareAnswer:
    """The answers of these machines, from their records. One without records is a message. Raises
    `NothingMeasuredError` where none has any."""
    suite = requested_layers(request, observer)
    answers = []
    for name in machines:
        try:
            answer = answer_from_records(replace(request, machine=name), suite, observer)
        except ConvbenchError as error:
            observer.message(f"{name}: {error}")
            continue
        answers.append(MachineAnswer(name, answer, price_of(name, prices)))
    if not answers:
        raise NothingMeasuredError(f"there is an answer for none of {', '.join(machines)}.")
    ordered = sorted(answers, key=lambda each: each.pass_s if each.pass_s is not None else math.inf)
    return HardwareAnswer(tuple(ordered), currency)


def _energy_j(choice: Any, backend: str | None) -> float | None:
    """The energy of a layer in a pass with this backend."""
    record = next((timed.record for timed in choice.ranked if timed.backend == backend), None)
    energy = number(record, "energy_j") if record is not None else None
    return choice.case.count * energy if energy is not None else None
