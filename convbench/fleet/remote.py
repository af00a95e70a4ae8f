"""What Dask runs on a worker: a task that starts a process of convbench and passes on what it says.

The process does all the work, and the worker's own process stays idle. Text goes in and text comes out. The process
ends when the task is no longer needed: an interrupt asks it to end, and one that does not is ended. When the
worker dies, the kernel ends the process (`measurement.workers.lifeline`).
"""

from __future__ import annotations

import json
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from convbench.measurement.workers.json_child import JsonChild

KINDS: Mapping[str, str] = {
    "describe": "convbench.fleet.machines.describe",
    "run": "convbench.fleet.run_job",
    "verify": "convbench.fleet.verification.job",
}
"""The modules that a message may start, by the word in it."""
LOOK_EVERY_S, ALIVE_EVERY_S, LAST_WORDS_S = 1.0, 10.0, 10.0
LOCK = "convbench-measuring.lock"
_OF_THE_NANNY = ("MALLOC_TRIM_THRESHOLD_",)  # Dask sets it for its workers; what is measured is not Dask
Say = Callable[[Mapping[str, Any]], None]


def in_child(kind: str, request: str, topic: str, sender: str) -> str:
    """The task. Each message of the process goes to `topic` as it comes, with `sender`; the last one is returned, with
    `failure` where the process failed and `clock_s`, the time by this machine's clock."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    fields = json.loads(request) | {"lock": str(Path(tempfile.gettempdir()) / LOCK)}

    def say(message: Mapping[str, Any]) -> None:
        worker.log_event(topic, json.dumps({"sender": sender, **message}))

    def is_over() -> bool:
        task = worker.state.tasks.get(key)
        return worker.status.name not in ("running", "paused") or task is None or task.state == "cancelled"

    return json.dumps(follow(KINDS[kind], fields, say, is_over) | {"clock_s": time.time()})


def follow(module: str, request: Mapping[str, Any], say: Say, is_over: Callable[[], bool]) -> dict[str, Any]:
    """Run the process to its end; its last message. Ends it when `is_over`."""
    environment = {name: value for name, value in os.environ.items() if name not in _OF_THE_NANNY}
    with JsonChild(module, request, environment=environment, keep_input_open=True) as child:
        messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(child, messages), daemon=True).start()
        last: dict[str, Any] = {}
        asked_s, alive_s = None, time.monotonic()
        while True:
            now_s = time.monotonic()
            if asked_s is None and is_over():
                child.close_input()
                asked_s = now_s
            if asked_s is not None and now_s - asked_s > LAST_WORDS_S:
                return last | {"failure": "it did not end when it was interrupted"}
            if now_s - alive_s > ALIVE_EVERY_S:
                alive_s = now_s
                say({"type": "alive"})
            try:
                message = messages.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                continue
            if message is None:
                return last | {"failure": child.failure()}
            last = message
            if asked_s is None:
                say(message)


def _read(child: JsonChild, messages: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for message in child.messages():
        messages.put(message)
    messages.put(None)
