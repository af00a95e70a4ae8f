"""Work left to `to_numpy` is found out, and a conversion that is slow while its output is not in the caches is none."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from convbench.backend import Ready
from convbench.measurement.late_work import LateWorkError, refuse_late_work

CONVERSION_S = 0.002


class Output:
    conversions = 0


def ready(first_takes_besides_s: list[float]) -> Ready:
    """Whose first conversion of an output takes so much longer than the next; the last is for all outputs after."""

    def to_numpy(output: Any) -> np.ndarray:
        besides_s = 0.0
        if not output.conversions:
            besides_s = first_takes_besides_s.pop(0) if len(first_takes_besides_s) > 1 else first_takes_besides_s[0]
        output.conversions += 1
        time.sleep(CONVERSION_S + besides_s)
        return np.zeros(1)

    return Ready(Output, to_numpy=to_numpy)


def test_a_conversion_that_waits_for_the_work_is_refused() -> None:
    with pytest.raises(LateWorkError, match=r"to_numpy waited .* ms for an output of run after"):
        refuse_late_work(ready([0.004]), call_s=1e-5)


def test_a_conversion_from_memory_is_not() -> None:
    # ncnn on 3072 channels of 12x12: 0.57 and 0.37 ms, after a call of 0.25 ms.
    refuse_late_work(ready([0.54 * CONVERSION_S]), call_s=0.68 * CONVERSION_S)


def test_two_outputs_that_were_there_are_enough_and_one_is_not() -> None:
    refuse_late_work(ready([0.004, 0.0, 0.004, 0.004, 0.0]), call_s=1e-5)
    with pytest.raises(LateWorkError):
        refuse_late_work(ready([0.004, 0.0, 0.004]), call_s=1e-5)


def test_a_call_that_lasts_was_waited_for() -> None:
    refuse_late_work(ready([0.004]), call_s=0.06)
