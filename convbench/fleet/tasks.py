"""Tasks on machines, followed until each has ended: by itself, by the loss of its machine, or by an interrupt.

Dask sends the tasks, carries what they say and starts a task again where a worker takes the place of one that died.
What is decided here is when a machine is given up: its process failed, its worker is gone, or it is silent.
"""

from __future__ import annotations

import contextlib
import json
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from convbench.fleet.cluster.announced import workers_of
from convbench.fleet.cluster.connection import Client
from convbench.fleet.cluster.neighbours import neighbours_by_host, neighbours_of
from convbench.fleet.cluster.quiet import resource_of
from convbench.fleet.machines.machine import Machine
from convbench.fleet.remote import LAST_WORDS_S, in_child

Message = dict[str, Any]
GONE_S = 20.0
"""How long a machine may be without a worker before it is given up: one that is started again takes some seconds."""
_LOOK_EVERY_S, _LOOKED_AT_PER_S = 1.0, 200


@dataclass
class _Task:
    machine: Machine
    future: Any
    heard_s: float = field(default_factory=time.monotonic)
    gone_since_s: float | None = None
    neighbours: list[str] = field(default_factory=list)


class Tasks:
    """The tasks of one campaign. `messages` gives what they say, and for each at last `ended` with a reason or None."""

    def __init__(
        self, client: Client, topic: str, silent_s: float, work: Callable[[str, str, str, str], str] = in_child
    ) -> None:
        self._work = work
        self._client, self._topic, self._silent_s, self._clock = client, topic, silent_s, time.monotonic
        self._events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._tasks: dict[str, _Task] = {}
        client.subscribe_topic(topic, lambda event: self._events.put(event[1]))

    def start(self, kind: str, machine: Machine, request: Mapping[str, Any], sender: str | None = None) -> None:
        """Send a task to a machine. `sender` names it in its messages: by default the machine does."""
        name = sender or machine.name
        where: dict[str, Any] = {"resources": {machine.resource: 1}}
        if machine.replaceable:
            where["resources"][resource_of(machine.name)] = 1
        else:
            where |= {"workers": list(machine.addresses), "allow_other_workers": False}
        future = self._client.submit(self._work, kind, json.dumps(request), self._topic, name, pure=False, **where)
        self._tasks[name] = _Task(machine, future)

    def messages(self) -> Iterator[tuple[str, Message]]:
        """(sender, message) as they come; the last of each sender has the type `ended` and a `reason`, None where the
        task came to its own end, whose answer is in `answer`."""
        looked_s = 0.0
        while self._tasks:
            with contextlib.suppress(queue.Empty):
                yield from self._heard(self._events.get(timeout=0.2))
            if self._clock() - looked_s >= max(_LOOK_EVERY_S, len(self._tasks) * _LOOK_EVERY_S / _LOOKED_AT_PER_S):
                looked_s = self._clock()
                yield from self._waiting()  # what was said before
                yield from self._disturbed()
                yield from self._ended()

    def cancel(self) -> None:
        """Ask every task to end, and give them a moment for it."""
        for task in self._tasks.values():
            _cancel(task)
        until_s = self._clock() + LAST_WORDS_S
        while self._tasks and self._clock() < until_s and self._still_works():
            time.sleep(0.2)

    def _still_works(self) -> bool:
        """Whether a worker still has something of this campaign under way."""
        try:
            return any(self._client.processing().values())
        except Exception:  # the scheduler is gone
            return False

    def _heard(self, text: str) -> Iterator[tuple[str, Message]]:
        heard: list[tuple[str, Message]] = []
        with contextlib.suppress(ValueError, TypeError, AttributeError):  # a topic is open to all clients
            message = json.loads(text)
            sender = str(message.get("sender"))
            task = self._tasks.get(sender)
            if task is not None and isinstance(message.get("type"), str):  # else it was given up before
                task.heard_s = self._clock()
                heard = [(sender, message)]
        yield from heard

    def _waiting(self) -> Iterator[tuple[str, Message]]:
        for _ in range(self._events.qsize()):
            yield from self._heard(self._events.get_nowait())

    def _disturbed(self) -> Iterator[tuple[str, Message]]:
        """`neighbours`, the workers with other work on the host of a task, where they are others than before."""
        try:
            busy = neighbours_by_host(self._client)
        except Exception:  # the scheduler is gone
            return
        for name, task in self._tasks.items():
            workers = neighbours_of(task.machine.addresses, busy)
            if workers != task.neighbours:
                task.neighbours = workers
                yield name, {"type": "neighbours", "workers": workers}

    def _ended(self) -> Iterator[tuple[str, Message]]:
        present = self._present()
        reasons = {name: self._reason(task, present) for name, task in self._tasks.items()}
        if not any(reason is not _GOES_ON for reason in reasons.values()):
            return
        yield from self._waiting()  # everything that was said before the end
        for name, reason in reasons.items():
            if reason is not _GOES_ON:
                task = self._tasks.pop(name)
                yield name, {"type": "ended", "reason": reason, "answer": _answer(task) if reason is None else {}}
                if reason is not None:
                    _cancel(task)

    def _reason(self, task: _Task, present: set[str] | None) -> Any:
        """Why a task has ended: None if by itself."""
        status = task.future.status
        if status == "finished":
            return None
        if status == "error":
            return _of_error(task)
        if self._client.status != "running" or status in ("lost", "cancelled"):
            return "the scheduler is gone"
        if self._is_gone(task, present):
            return "its worker is gone"
        if self._clock() - task.heard_s > self._silent_s:
            return f"it was silent for {self._silent_s:g} s"
        return _GOES_ON

    def _present(self) -> set[str] | None:
        """The addresses of all workers, and the names that they announce; None where the scheduler does not say."""
        try:
            workers = workers_of(self._client)
        except Exception:  # of many kinds, where the scheduler dies meanwhile; the client's status says so in a moment
            return None
        return set(workers).union(*(worker["resources"] for worker in workers.values()))

    def _is_gone(self, task: _Task, present: set[str] | None) -> bool:
        machine = task.machine
        names = [resource_of(machine.name)] if machine.replaceable else machine.addresses
        if present is None or present.intersection(names):
            task.gone_since_s = None
            return False
        task.gone_since_s = task.gone_since_s or self._clock()
        return self._clock() - task.gone_since_s > GONE_S


_GOES_ON = object()


def _cancel(task: _Task) -> None:
    with contextlib.suppress(Exception):  # of many kinds, where the scheduler is gone
        task.future.cancel()


def _of_error(task: _Task) -> str:
    try:
        error = task.future.exception(timeout=30)
    except Exception:
        return "the scheduler is gone"
    if type(error).__name__ == "KilledWorker":
        return "its workers died, one after the other"
    return f"{type(error).__name__}: {error}"


def _answer(task: _Task) -> Message:
    try:
        answer: Message = json.loads(task.future.result(timeout=30))
    except Exception as error:
        return {"failure": f"its answer did not arrive ({type(error).__name__})"}
    return answer
