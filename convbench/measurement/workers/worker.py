"""The worker process: one backend, alone in an interpreter, answering requests until its input ends.

Started as `python -m convbench.measurement.workers.worker`. Requests arrive on standard input and replies leave on what
was standard output. The backend's own prints go to standard error, which the run keeps to explain a crash.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import platform
import signal
import sys
import tempfile
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BufferedReader
from time import perf_counter  # kept from a backend that replaces the one in `time`
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Backend, Ready
from convbench.measurement.machine.affinity import move_here
from convbench.measurement.machine.energy import Meter, energy_meter
from convbench.measurement.machine.gpu import Gpu, first_gpu
from convbench.measurement.machine.memory import MemoryWatch, be_killed_first, limit_memory
from convbench.measurement.machine.priority import Priority, before_others
from convbench.measurement.machine.run_queue import thread_queued_s
from convbench.measurement.sampling import device
from convbench.measurement.sampling.cache_state import CacheState
from convbench.measurement.sampling.handing_over import NotApplicableError, handed_over, layout_of
from convbench.measurement.sampling.sample import Sample, SamplingPlan, take_apart, take_visit, warm_up
from convbench.measurement.sampling.sync_check import check_sync
from convbench.measurement.sampling.tampering import Tampering
from convbench.measurement.workers import messages, protocol
from convbench.measurement.workers.failure import failure_of, one_line
from convbench.measurement.workers.pipes import private_streams, wait_for_hang_up
from convbench.measurement.workers.protocol import (
    SENT_DTYPES,
    ProtocolError,
    read_frame,
    request_of,
    write_message,
)
from convbench.measurement.workers.stage import StageFile
from convbench.problem import ConvProblem
from convbench.registry import find, versions
from convbench.status import Status
from convbench.verification.adversarial_calls import Stage, examine, spoil
from convbench.verification.operands import Operands
from convbench.verification.step.answers import NoResults, arrays_in, in_a_row

_SAMPLING = ("sample", "device", "sync_check", "tampering")
_WATCHED = (__name__, *(f"convbench.measurement.sampling.{name}" for name in _SAMPLING), protocol.__name__)


class Worker:
    """One method for each request, under its name, which takes the request and returns its reply."""

    backend: Backend
    ready: Ready
    problem: ConvProblem
    x: NDArray[Any]
    memory: MemoryWatch
    output: Any = None
    meter: Meter | None = None
    gpu: Gpu | None = None
    is_held = False  # to an instruction set
    priority: Priority = "normal"
    backend_s = 0.0  # seconds spent in the backend's own code for this problem, in calls of any purpose
    on_stage: Callable[[Stage], None] = staticmethod(lambda stage: None)
    stops = 0  # how often this process was stopped (SIGSTOP, Ctrl-Z) and continued, which falsifies what it timed

    def __init__(self) -> None:
        self.caches = CacheState()

    def start(self, request: messages.Start) -> messages.Started | messages.Failed:
        limit_memory(request.memory_limit_bytes)
        self.tampering = Tampering([sys.modules[name] for name in _WATCHED])
        self.backend, self.is_held = find(request.origin, request.backend), request.asks_isa
        self.priority = request.priority
        if reason := self.backend.unavailable():
            return messages.Failed(status=Status.UNAVAILABLE, reason=reason)
        begin = perf_counter()
        self.backend.limit_threads(request.threads)
        try:
            for module in self.backend.requires:
                __import__(module)
        except Exception as error:
            return messages.Failed(status=Status.UNAVAILABLE, reason=f"importing it raised {one_line(error)}")
        import_s = perf_counter() - begin
        self.meter = energy_meter() if self.backend.device == "cpu" else None
        self.gpu = first_gpu() if self.backend.device == "cuda" else None
        gc.freeze()  # imported objects stay, and scanning them after each case would take longer than small cases
        # Libraries have counted CPUs and started threads by now: their threads move along, and new ones are born there.
        return messages.Started(
            import_s=import_s,
            versions=versions(self.backend),
            python=platform.python_version(),
            cores=move_here(tuple(request.cores)),
            gpu=None if self.gpu is None else self.gpu.facts(),
            isa=self.backend.isa_in_use() if request.asks_isa else None,
        )

    def prepare(self, request: messages.Prepare) -> messages.Prepared:
        self.forget()
        self.problem, self.x = request.problem, _written_before(request)
        self.inputs = list(request.operands.values())
        self.digests = [_digest(array) for array in self.inputs]
        self.caches.reserve(request.flush_bytes)  # no memory of the backend's
        self.memory = MemoryWatch()
        stops = self.stops
        self.ready, self.output, prepare_s, first_call_s = self._call(request)
        return messages.Prepared(
            prepare_s=prepare_s,
            first_call_s=first_call_s,
            before_bytes=self.memory.before_bytes,
            inputs_changed=self._inputs_changed(),
            was_stopped=self.stops > stops,
            timer="host" if self.ready.instruments.clock is None else "device",
            flushes=self.ready.instruments.flush is not None,
            touches=self.ready.touch is not None,
            output=self._converted(self.ready, self.output),
            takes=tuple(self.ready.on),
            gives=layout_of(self.output) if request.handed_over else None,
        )

    def check(self, request: messages.Check) -> messages.Checked:
        ready, output, prepare_s, call_s = self._call(request)
        return messages.Checked(prepare_s=prepare_s, call_s=call_s, output=self._converted(ready, output))

    def examine(self, request: messages.Examine) -> messages.Examined:
        calls = examine(self.backend, request.problem, _operands(request), request.layout, request.calls, self.on_stage)
        answers = tuple(replace(answer, output=_sendable(answer.output)) for answer in calls.answers)
        return messages.Examined(answers=answers, overwritten=calls.overwritten, kernel=calls.kernel)

    def warm_up(self, request: messages.WarmUp) -> messages.WarmedUp:
        """Warm up, and check that `sync` waits for the work."""
        self.output = None  # it was sent, and would be in the way of new outputs
        if self.backend.device == "cpu":
            self._spoil()
        start = perf_counter()
        with before_others(self.priority):
            call_s = warm_up(self.ready.run, self.ready.sync, request.limit_s)
        check_sync(self.ready, call_s, self.backend.device)
        self.backend_s += perf_counter() - start
        return messages.WarmedUp(call_s=call_s)

    def visit(self, request: messages.Visit) -> messages.Visited:
        self.output = None
        start = perf_counter()
        with _no_garbage_collection(), before_others(self.priority):
            _, readings, _ = self._visit(request.plan)
        spent_s = perf_counter() - start
        self.backend_s += spent_s
        return messages.Visited(readings=readings, spent_s=spent_s)

    def sample(self, request: messages.TakeSample) -> messages.Sampled:
        plan, stops = request.plan, self.stops
        readings: tuple[float, ...] = ()
        self.output = None
        before_s = thread_queued_s() if request.asks_queue else None
        start = perf_counter()
        with _no_garbage_collection(), before_others(self.priority):
            if self.backend.device != "cpu":
                sample, self.output = device.take_device_sample(self.ready, plan)
            else:
                sample, each, self.output = self._visit(plan)
                readings = () if plan.flush_bytes else each
        self.backend_s += perf_counter() - start
        queued_s = None if before_s is None else (thread_queued_s() or 0.0) - before_s
        if self.gpu is not None:
            sample = replace(sample, **self.gpu.state())
        self.samples.append(sample)
        return messages.Sampled(sample=sample, was_stopped=self.stops > stops, readings=readings, queued_s=queued_s)

    def finish(self, request: messages.Finish) -> messages.Finished:
        """Return the last timed call's output and what is only read at the end, and forget the problem."""
        self.tampering.refuse()
        device.refuse_wrong_clock(self.samples)
        memory, inputs_changed = self.memory.at_the_end(), self._inputs_changed()
        output = _sendable(in_a_row(self.ready.to_numpy(self.output)))
        start = perf_counter()
        send_s, fetch_s = device.transfers(self.ready, self.output)
        energy_j = device.energy_per_call(self.ready, self.gpu, request.energy_s)
        self.output = None
        held, peak = device.memory_use(self.ready)
        backend_s = self.backend_s + perf_counter() - start
        if not request.keeps_prepared:
            self.forget()
        metrics = device.DeviceMetrics(
            held_bytes=held, peak_bytes=peak, send_s=send_s, fetch_s=fetch_s, energy_j=energy_j
        )
        return messages.Finished(
            inputs_changed=inputs_changed, output=output, backend_s=backend_s, device=metrics, **memory
        )

    def explain(self, request: messages.Explain) -> messages.Explained:
        """Ask which kernel ran. Nothing that the backend does here counts, but that it ends the process."""
        said: object = None
        try:
            said = self.ready.kernel if self.ready.explain is None else self.ready.explain()
        except BaseException:
            traceback.print_exc()
        finally:
            self.forget()
        return messages.Explained(implementation=messages.implementation_of(said))

    def _spoil(self) -> None:
        """Overwrite an output with NaN. A backend that computes anew in each call takes no notice; one that returns an
        answer which it has kept returns this from now on."""
        for array in arrays_in(self.ready.to_numpy(self.ready.run())):
            if array.flags.writeable:
                spoil(array)

    def forget(self) -> None:
        """Release everything that belongs to a problem."""
        for name in ("ready", "x"):
            self.__dict__.pop(name, None)
        self.output, self.inputs, self.samples, self.backend_s = None, [], list[Sample](), 0.0
        gc.collect()

    def _call(self, request: messages.Prepare | messages.Check) -> tuple[Ready, Any, float, float]:
        """Prepare and call once: what is ready, its output, and the seconds of either."""
        operands = _operands(request)
        if self.is_held and (reason := self.backend.unsupported(request.problem)):  # with all instructions it is not
            raise NotApplicableError(reason)
        self.on_stage("prepare")
        start = perf_counter()
        ready = operands.prepared_by(self.backend, request.problem)
        prepare_s = perf_counter() - start
        if request.handed_over:
            ready = handed_over(self.backend, ready, operands.x, operands.r)
        self.on_stage("run")
        start = perf_counter()
        output = ready.run()
        ready.sync()
        call_s = perf_counter() - start
        self.backend_s += prepare_s + call_s
        return ready, output, prepare_s, call_s

    def _converted(self, ready: Ready, output: Any) -> Any:
        self.on_stage("to_numpy")
        return _sendable(in_a_row(ready.to_numpy(output)))

    def count_stop(self, *_: object) -> None:
        self.stops += 1

    def _visit(self, plan: SamplingPlan) -> tuple[Sample, tuple[float, ...], Any]:
        """The calls of `plan` with the caches in its state: the sample, all readings, and the last output."""
        run, sync, size = self.ready.run, self.ready.sync, plan.flush_bytes
        if plan.as_in_pass:
            before_call = self.caches.as_in_pass(self.backend, self.problem, self.ready, self.x, size)
        elif size:
            before_call = self.caches.cold(size)
        else:
            return take_visit(run, sync, plan, meter=self.meter)
        return take_apart(run, sync, plan, before_call, meter=None if plan.as_in_pass else self.meter)

    def _inputs_changed(self) -> bool:
        return [_digest(array) for array in self.inputs] != self.digests


_HANDLERS: dict[type[messages.Request[Any]], Callable[[Worker, Any], messages.Reply]] = {
    request: getattr(Worker, name) for name, request in messages.REQUESTS.items()
}


def main() -> None:
    """Serve requests until the run closes its end."""
    incoming, outgoing = private_streams()
    worker, this_process = Worker(), os.getpid()
    if hasattr(signal, "SIGCONT"):
        signal.signal(signal.SIGCONT, worker.count_stop)
        signal.siginterrupt(signal.SIGCONT, False)  # it must not make a library's system call fail
    faulthandler.enable()
    be_killed_first()
    threading.Thread(target=_end_with_run, args=(incoming,), daemon=True).start()
    worker.on_stage = StageFile(tempfile.gettempdir())
    with contextlib.suppress(EOFError, OSError, ProtocolError):
        while (frame := read_frame(incoming, from_run=True)) is not None:
            reply = _reply(worker, request_of(frame))
            worker.on_stage("")
            if os.getpid() != this_process:  # a fork that came back from the backend's code
                os._exit(0)
            write_message(outgoing, reply, frame.number)
    _leave()


def _reply(worker: Worker, request: messages.Request[Any]) -> messages.Reply:
    try:
        return _HANDLERS[type(request)](worker, request)
    except BaseException as error:
        return failure_of(error)


def _operands(request: messages.Prepare | messages.Check | messages.Examine) -> Operands:
    return Operands(**request.operands)


def _written_before(request: messages.Prepare) -> NDArray[Any]:
    """What the layer computed just before leaves in the caches: the input, or the output's gradient."""
    return request.operands["x" if request.problem.direction in ("forward", "step") else "g"]


def _sendable(output: Any) -> Any:
    """The output, or the name of its type where that cannot be sent."""
    if isinstance(output, np.ndarray):
        return output if output.dtype.name in SENT_DTYPES else f"{output.dtype} array"
    return str(output) if isinstance(output, NoResults) else type(output).__name__


def _end_with_run(incoming: BufferedReader) -> None:
    """When the run is gone, end at once, even in the middle of a call."""
    wait_for_hang_up(incoming)
    _leave()


def _leave() -> NoReturn:
    """End without exit handlers: those of libraries have hung and crashed before."""
    sys.stderr.flush()
    os._exit(0)


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


if __name__ == "__main__":
    main()
