"""`convbench run` in a process on a machine of the fleet: `convbench.fleet.remote` starts it.

Records are in a journal of this machine before they are sent. What an earlier process of the same campaign left there
is resumed, and sent again: the coordinator knows which it has.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace

from convbench.errors import ConvbenchError
from convbench.fleet.collection import record_id
from convbench.fleet.kept import kept_folder, remove_gathered
from convbench.fleet.machines.machine_lock import machine_lock
from convbench.fleet.messages import request_of
from convbench.measurement.machine.facts import machine_name
from convbench.measurement.workers.json_child import read_request, send_message
from convbench.runner.observer import Observer
from convbench.runner.run import run_suites
from convbench.store.journal import journals, jsonable
from convbench.store.schema import Record
from convbench.suite import Case


def main() -> None:
    """Read the request, and send what happens; the last message says how it ended."""
    message = read_request()
    threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
    observer = _Sender()
    try:
        request = request_of(message["request"], kept_folder(), message["campaign"], message["checkout"])
        with machine_lock(message["lock"], observer.message):
            remove_gathered(kept_folder() / machine_name(), message["gathered"], message["campaign"])
            begun = any(path.parent.name == message["campaign"] for path in journals(kept_folder()))
            measured = run_suites(replace(request, resume=begun), observer)
    except ConvbenchError as error:
        send_message(type="failed", reason=str(error), ids=observer.ids)
    else:
        send_message(
            type="done",
            ids=observer.ids,
            exit_code=measured.exit_code,
            reason=str(measured.error) if measured.error else None,
            hazards=[hazard.as_dict() for hazard in measured.machine_hazards],
        )


class _Sender(Observer):
    """Sends each step as a message."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def message(self, text: str) -> None:
        send_message(type="message", text=text)

    def begin(self, suite: str, case: Case) -> None:
        send_message(type="begin", suite=suite, case=case.name, case_id=case.problem.case_id)

    def record(self, record: Record) -> None:
        self.ids.append(record_id(record))
        send_message(type="record", record=jsonable(record))

    def end(self, elapsed_s: float) -> None:
        send_message(type="end", elapsed_s=elapsed_s)


def _interrupt_at_end_of_input() -> None:
    while sys.stdin.readline():
        pass
    os.kill(os.getpid(), signal.SIGTERM)
