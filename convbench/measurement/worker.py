"""The worker process: one backend, alone in an interpreter, answering commands until its input ends.

Started as `python -m convbench.measurement.worker`. Commands come in on standard input and answers go out on what was
standard output; the backend's own prints go to standard error, which the run keeps for the reason of a crash.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import queue
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from convbench.backend import Backend, Ready
from convbench.measurement.protocol import SENT_DTYPES, Message, read_message, write_message
from convbench.measurement.sampling import Plan, settle, take_sample
from convbench.problem import ConvProblem
from convbench.registry import Origin, find, versions
from convbench.status import Status

_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "resource_exhausted",
)


class Worker:
    """The commands, each a method that takes a message and gives one."""

    backend: Backend
    ready: Ready
    output: Any = None

    def start(self, asked: Message) -> Message:
        """Load the backend, limit its threads, import its library."""
        limit_memory(asked.fields["memory_limit_bytes"])
        self.backend = find(Origin(**asked.fields["origin"]), asked.fields["backend"])
        if reason := self.backend.unavailable():
            return Message({"status": Status.UNAVAILABLE, "reason": reason})
        begin = time.perf_counter()
        self.backend.limit_threads(asked.fields["threads"])
        try:
            for module in self.backend.requires:
                __import__(module)
        except Exception as error:
            return Message({"status": Status.UNAVAILABLE, "reason": f"importing it raised {_one_line(error)}"})
        return Message({"import_s": time.perf_counter() - begin, "versions": versions(self.backend)})

    def prepare(self, asked: Message) -> Message:
        """Make ready and call once, each timed; answers with the output of that first call."""
        self.forget()
        problem = ConvProblem(**asked.fields["problem"])
        x, w, b = asked.arrays["x"], asked.arrays["w"], asked.arrays.get("b")
        self.inputs = [array for array in (x, w, b) if array is not None]
        self.digests = [_digest(array) for array in self.inputs]
        before_bytes = start_peak()
        start = time.perf_counter()
        self.ready = self.backend.prepare(problem, x, w, b)
        prepared = time.perf_counter()
        self.output = self.ready.run()
        self.ready.sync()
        called = time.perf_counter()
        timings = {"prepare_s": prepared - start, "first_call_s": called - prepared, "before_bytes": before_bytes}
        return self._answer(timings)

    def check(self, asked: Message) -> Message:
        """Compute once on other operands, beside the prepared ones, which stay."""
        problem = ConvProblem(**asked.fields["problem"])
        start = time.perf_counter()
        ready = self.backend.prepare(problem, asked.arrays["x"], asked.arrays["w"], asked.arrays.get("b"))
        prepared = time.perf_counter()
        output = ready.run()
        ready.sync()
        call_s = time.perf_counter() - prepared
        return _with_output({"prepare_s": prepared - start, "call_s": call_s}, ready.to_numpy(output))

    def settle(self, asked: Message) -> Message:
        """Warm up; answers with the steady seconds per call."""
        return Message({"call_s": settle(self.ready.run, self.ready.sync, asked.fields["limit_s"])})

    def sample(self, asked: Message) -> Message:
        """Take one sample."""
        with _no_garbage_collection():
            sample, self.output = take_sample(self.ready.run, self.ready.sync, Plan(**asked.fields))
        return Message(asdict(sample))

    def finish(self, asked: Message) -> Message:
        """Answer with the output of the last timed call, and forget the case."""
        answer = self._answer({"peak_bytes": peak_bytes()})
        self.forget()
        return answer

    def forget(self) -> None:
        """Let go of everything that belongs to a case."""
        self.__dict__.pop("ready", None)
        self.output, self.inputs = None, []
        gc.collect()

    def _answer(self, fields: dict[str, Any]) -> Message:
        changed = [_digest(array) for array in self.inputs] != self.digests
        return _with_output(fields | {"inputs_changed": changed}, self.ready.to_numpy(self.output))


def main() -> None:
    """Serve commands until the run closes its end."""
    commands, answers = _private_streams()
    faulthandler.enable()
    _be_killed_first()
    asked: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands, asked), daemon=True).start()
    worker = Worker()
    while (message := asked.get()) is not None:
        write_message(answers, _obey(worker, message))
    sys.stderr.flush()
    os._exit(0)  # a library's own exit handlers have hung and crashed before, after all the work was done


def _obey(worker: Worker, message: Message) -> Message:
    try:
        answer: Message = getattr(worker, message.fields["command"])(
            Message({k: v for k, v in message.fields.items() if k != "command"}, message.arrays)
        )
        return answer
    except BaseException as error:
        traceback.print_exc()
        if isinstance(error, SystemExit):
            return Message({"status": Status.CRASHED, "reason": f"called sys.exit({error.code!r})"})
        out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if out_of_memory or any(words in str(error).lower() for words in _MEMORY_WORDS):
            return Message({"status": Status.OUT_OF_MEMORY, "reason": f"raised {_one_line(error)}"})
        return Message({"status": Status.ERROR, "reason": f"raised {_one_line(error)}"})


def _with_output(fields: dict[str, Any], output: Any) -> Message:
    if not isinstance(output, np.ndarray) or output.dtype.name not in SENT_DTYPES:
        told = f"{output.dtype} array" if isinstance(output, np.ndarray) else type(output).__name__
        return Message(fields | {"not_an_output": told})
    return Message(fields, {"output": output})


def _listen(commands: BinaryIO, asked: queue.SimpleQueue[Message | None]) -> None:
    """Pass commands on. When the run is gone there is nobody to answer: end, even in the middle of a call."""
    with contextlib.suppress(EOFError, OSError):
        while (message := read_message(commands)) is not None:
            asked.put(message)
    os._exit(0)


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes for ourselves, whatever a backend, or C code under it, does with descriptors 0 and 1."""
    commands, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return commands, answers


def limit_memory(limit_bytes: int | None) -> None:
    """Make an allocation beyond `limit_bytes` fail here, rather than the system kill something. Linux only."""
    if limit_bytes and sys.platform == "linux":
        import resource

        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _be_killed_first() -> None:
    """Where memory runs out all the same, let the system end this process and not the run."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def start_peak() -> int | None:
    """Start a new peak of this process's memory, where the system can; gives the bytes resident now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status_bytes("VmRSS")


def peak_bytes() -> int | None:
    """The most memory that was resident at once since `start_peak`."""
    return _status_bytes("VmHWM")


def _status_bytes(field: str) -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return None


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _digest(array: Any) -> int:
    return zlib.crc32(array.reshape(-1).view("uint8").data)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}" if text else type(error).__name__


if __name__ == "__main__":
    main()
