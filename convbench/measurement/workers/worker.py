"""The worker process: one backend, alone in an interpreter, answering commands until its input ends.

Started as `python -m convbench.measurement.workers.worker`. Commands come in on standard input and answers go out on
what was standard output; the backend's own prints go to standard error, which the run keeps for the reason of a crash.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Backend, Ready
from convbench.measurement.machine.affinity import move_here
from convbench.measurement.machine.energy import Meter, energy_meter
from convbench.measurement.machine.gpu import Gpu, first_gpu
from convbench.measurement.machine.memory import MemoryWatch, be_killed_first, limit_memory
from convbench.measurement.sampling.device_metrics import after_first_call, after_last_sample, on_device
from convbench.measurement.sampling.device_sample import refuse_wrong_clock, take_device_sample
from convbench.measurement.sampling.sample import Sample, SamplingPlan, take_sample, warm_up
from convbench.measurement.sampling.sync_check import check_sync
from convbench.measurement.workers.protocol import SENT_DTYPES, Message, read_message, write_message
from convbench.problem import ConvProblem
from convbench.registry import Origin, find, versions
from convbench.status import Status
from convbench.verification.adversarial_calls import examine
from convbench.verification.operands import Operands

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
    memory: MemoryWatch
    output: Any = None
    flushed: NDArray[np.uint8] | None = None
    meter: Meter | None = None
    gpu: Gpu | None = None
    backend_s = 0.0
    """Seconds in the backend's own code for this case, whatever it was called for."""

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
        import_s = time.perf_counter() - begin
        on_cpu = self.backend.device == "cpu"
        self.meter = energy_meter() if on_cpu else None
        self.gpu = first_gpu() if self.backend.device == "cuda" else None
        gc.freeze()  # what was imported stays, and going through it after each case would take longer than small cases
        # Libraries have counted CPUs and started threads by now: these move along, and those to come are born there.
        cores = move_here(tuple(asked.fields.get("cores") or ()))
        found = {"versions": versions(self.backend), "python": platform.python_version(), "cores": cores}
        return Message({"import_s": import_s, "gpu": self.gpu and self.gpu.facts(), **found})

    def prepare(self, asked: Message) -> Message:
        """Make ready and call once, each timed; answers with the output of that first call."""
        self.forget()
        problem = ConvProblem(**asked.fields["problem"])
        x, w, b = asked.arrays["x"], asked.arrays["w"], asked.arrays.get("b")
        self.inputs = [array for array in (x, w, b) if array is not None]
        self.digests = [_digest(array) for array in self.inputs]
        self.memory = MemoryWatch()
        stops = stopped.times
        start = time.perf_counter()
        self.ready = self.backend.prepare(problem, x, w, b)
        prepared = time.perf_counter()
        self.output = self.ready.run()
        self.ready.sync()
        called = time.perf_counter()
        self.backend_s = called - start
        timings = {
            "prepare_s": prepared - start,
            "first_call_s": called - prepared,
            "before_bytes": self.memory.before_bytes,
        }
        return self._answer(timings | {"stopped": stopped.times > stops} | after_first_call(self.ready))

    def check(self, asked: Message) -> Message:
        """Compute once on other operands, beside the prepared ones, which stay."""
        problem = ConvProblem(**asked.fields["problem"])
        start = time.perf_counter()
        ready = self.backend.prepare(problem, asked.arrays["x"], asked.arrays["w"], asked.arrays.get("b"))
        prepared = time.perf_counter()
        output = ready.run()
        ready.sync()
        call_s = time.perf_counter() - prepared
        self.backend_s += prepared - start + call_s
        return _with_output({"prepare_s": prepared - start, "call_s": call_s}, ready.to_numpy(output))

    def examine(self, asked: Message) -> Message:
        """Answer a question of `convbench verify`: arrays "0", "1", ... are the answers that have to be judged."""
        operands = Operands(asked.arrays["x"], asked.arrays["w"], asked.arrays.get("b"))
        problem = ConvProblem(**asked.fields["problem"])
        conduct = examine(self.backend, problem, operands, asked.fields["layout"], asked.fields["calls"])
        answers: list[dict[str, str]] = []
        arrays: dict[str, np.ndarray] = {}
        for number, answer in enumerate(conduct.answers):
            told = _with_output({"phase": answer.phase}, answer.output)
            answers.append(dict(told.fields))
            arrays |= {str(number): array for array in told.arrays.values()}
        return Message({"answers": answers, "overwritten": conduct.overwritten}, arrays)

    def warm_up(self, asked: Message) -> Message:
        """Warm up; answers with the steady seconds per call."""
        self.output = None  # which was sent, and would lie in the way of those to come
        start = time.perf_counter()
        call_s = warm_up(self.ready.run, self.ready.sync, asked.fields["limit_s"])
        check_sync(self.ready, call_s, self.backend.device)
        self.backend_s += time.perf_counter() - start
        return Message({"call_s": call_s})

    def sample(self, asked: Message) -> Message:
        """Take one sample; `stopped` says that the process was stopped and continued meanwhile."""
        plan, stops = SamplingPlan(**asked.fields), stopped.times
        self.output = None
        start = time.perf_counter()
        with _no_garbage_collection():
            if self.backend.device == "cpu":
                flush = self._flush(plan.flush_bytes) if plan.flush_bytes else None
                sample, self.output = take_sample(self.ready.run, self.ready.sync, plan, flush=flush, meter=self.meter)
            else:
                sample, self.output = take_device_sample(self.ready, plan)
        self.backend_s += time.perf_counter() - start
        if self.gpu is not None:
            sample = replace(sample, **asdict(self.gpu.state()))
        self.samples.append(sample)
        return Message(asdict(sample) | {"stopped": stopped.times > stops})

    def finish(self, asked: Message) -> Message:
        """Answer with the output of the last timed call and with what is only read at the end, and forget the case."""
        refuse_wrong_clock(self.samples)
        answer = self._answer(self.memory.at_the_end())
        start = time.perf_counter()
        told = after_last_sample(self.ready, self.output, self.gpu, asked.fields["energy_s"])
        self.output = None
        told |= on_device(self.ready)
        told["backend_s"] = self.backend_s + time.perf_counter() - start
        self.forget()
        return Message({**answer.fields, **told}, answer.arrays)

    def forget(self) -> None:
        """Let go of everything that belongs to a case."""
        self.__dict__.pop("ready", None)
        self.output, self.inputs, self.samples = None, [], list[Sample]()
        gc.collect()

    def _flush(self, size: int) -> Callable[[], None]:
        """Writes a buffer of `size` bytes, so that nothing else is left in the caches."""
        if self.flushed is None or self.flushed.nbytes != size:
            self.flushed = np.zeros(size, np.uint8)
        flushed = self.flushed

        def flush() -> None:
            np.add(flushed, 1, out=flushed)

        return flush

    def _answer(self, fields: dict[str, Any]) -> Message:
        changed = [_digest(array) for array in self.inputs] != self.digests
        return _with_output(fields | {"inputs_changed": changed}, self.ready.to_numpy(self.output))


class Stopped:
    """Counts how often this process was stopped (SIGSTOP, Ctrl-Z) and continued: what it timed then is no time."""

    def __init__(self) -> None:
        self.times = 0

    def count(self) -> None:
        """Begin to count, where the system has such signals. Call in the main thread."""
        if hasattr(signal, "SIGCONT"):
            signal.signal(signal.SIGCONT, self._continued)
            signal.siginterrupt(signal.SIGCONT, False)  # no library's system call is to fail because of this

    def _continued(self, *_: object) -> None:
        self.times += 1


stopped = Stopped()


def main() -> None:
    """Serve commands until the run closes its end."""
    commands, answers = _private_streams()
    stopped.count()
    faulthandler.enable()
    be_killed_first()
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
        while (message := read_message(commands, from_run=True)) is not None:
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
