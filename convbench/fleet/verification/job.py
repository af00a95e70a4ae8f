"""Campaigns of `convbench verify` in a process on a machine of the fleet, as many at once as it has cores for."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

from convbench.errors import ConvbenchError
from convbench.fleet.machines.machine_lock import machine_lock
from convbench.measurement.workers.json_child import read_request, send_message
from convbench.runner.verify.jobs import Jobs

_MOST_AT_ONCE, _LONGEST_S = 200, 0.5


def main() -> None:
    """Read the requests by name, and send what happens, right answers several at a time."""
    message = read_request()
    threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
    events: list[tuple[str, dict[str, Any]]] = []
    sent_s = time.monotonic()

    def send() -> None:
        nonlocal sent_s
        send_message(type="events", events=events)
        events.clear()
        sent_s = time.monotonic()

    try:
        with machine_lock(message["lock"], lambda sentence: send_message(type="message", text=sentence)):
            for name, event in Jobs(message["requests"], message["at_once"]).events():
                events.append((name, event))
                is_plain = event["event"] == "answered" and not event["finding"]
                if not is_plain or len(events) >= _MOST_AT_ONCE or time.monotonic() - sent_s > _LONGEST_S:
                    send()
    except ConvbenchError as error:
        send_message(type="failed", reason=str(error))
        return
    send()
    send_message(type="done", reason=None)


def _interrupt_at_end_of_input() -> None:
    while sys.stdin.readline():
        pass
    os.kill(os.getpid(), signal.SIGTERM)
