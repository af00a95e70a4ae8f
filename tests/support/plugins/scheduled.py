"""A backend that is right, and notes in the file that NOTED names how the scheduler treats each of its calls."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from convbench.backend import Arithmetic, Backend, Ready
from convbench.problem import ConvProblem
from convbench.verification.reference import convolve


class Noting(Backend):
    name = "noting"
    arithmetic = Arithmetic("direct")

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait, daemon=True)
        thread.start()  # as a library's own threads are, which compute with it

        def run() -> Any:
            policies = {os.sched_getscheduler(0), os.sched_getscheduler(thread.native_id or 0)}
            with Path(os.environ["NOTED"]).open("a", encoding="utf-8") as file:
                file.write(" ".join(map(str, sorted(policies))) + "\n")
            return convolve(problem, x, w, b).astype(x.dtype)

        return Ready(run)


BACKENDS = [Noting()]
