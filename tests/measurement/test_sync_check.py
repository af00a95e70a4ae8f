"""Work left to `to_numpy` is found out, and a conversion that is slow while its output is not in the caches is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convbench.backend import Ready
from convbench.measurement.sampling.sync_check import SyncError, check_sync

CONVERSION_S = 0.002


class Output:
    conversions = 0


class Converter:
    """Whose first conversion of an output takes so much longer than the next; the last is for all outputs after. Time
    passes in conversions alone, so that none is held up by what else the machine does."""

    def __init__(self, first_takes_besides_s: list[float]) -> None:
        self._besides_s = first_takes_besides_s
        self.now_s = 0.0

    def to_numpy(self, output: Any) -> np.ndarray:
        if not output.conversions:
            self.now_s += self._besides_s.pop(0) if len(self._besides_s) > 1 else self._besides_s[0]
        output.conversions += 1
        self.now_s += CONVERSION_S
        return np.zeros(1)


def refuse(first_takes_besides_s: list[float], call_s: float, device: str = "cpu") -> None:
    converter = Converter(first_takes_besides_s)
    check_sync(Ready(Output, to_numpy=converter.to_numpy), call_s, device, clock=lambda: converter.now_s)


def test_a_conversion_that_waits_for_the_work_is_refused() -> None:
    with pytest.raises(SyncError, match=r"to_numpy waited 4 ms for an output of run after"):
        refuse([0.004], call_s=1e-5)


def test_a_conversion_from_memory_is_not() -> None:
    # ncnn on 3072 channels of 12x12: 0.57 and 0.37 ms, after a call of 0.25 ms.
    refuse([0.54 * CONVERSION_S], call_s=0.68 * CONVERSION_S)


def test_two_outputs_that_were_there_are_enough_and_one_is_not() -> None:
    refuse([0.004, 0.0, 0.004, 0.004, 0.0], call_s=1e-5)
    with pytest.raises(SyncError):
        refuse([0.004, 0.0, 0.004], call_s=1e-5)


def test_of_a_device_each_output_is_brought_over_once_and_none_is_late_where_all_take_as_long() -> None:
    refuse([0.004], call_s=1e-5, device="cuda")
    with pytest.raises(SyncError):
        refuse([0.004, 0.0] * 5, call_s=1e-5, device="cuda")


def test_a_call_that_lasts_was_waited_for() -> None:
    refuse([0.004], call_s=0.06)
