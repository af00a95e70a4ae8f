"""Pinning: all workers of a run share the same CPUs, and the run itself stays off them while they are timed.

Two workers pinned to one core differed by 0.25 %, against 0.35 % where the scheduler chose, and by half as much at
worst, because the peculiarities of a core then affect both. Only Linux can pin. An affinity belongs to a thread, so a
process is moved thread by thread.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence

from convbench.errors import ConvbenchError
from convbench.measurement.machine.sysfs import ROOT, cpu_list, names
from convbench.measurement.machine.topology import siblings

Cores = tuple[int, ...]
AUTO, NONE = "auto", "none"
_LOOK_S, _BUSY_PERCENT = 0.1, 50


def can_pin() -> bool:
    """Whether this system lets a process choose the CPUs that it runs on."""
    return sys.platform == "linux" and hasattr(os, "sched_setaffinity")


def parse_pin(value: str) -> str:
    """`value` in its one spelling: `auto`, `none` or CPUs such as `2,3`. Raises `ValueError` for anything else."""
    word = value.strip().lower()
    if word in (AUTO, NONE):
        return word
    cpus = cpu_list(word)
    if not cpus:
        raise ValueError(value)
    return ",".join(map(str, sorted(cpus)))


def choose_cores(
    pin: str,
    threads: int,
    usable: Collection[int],
    cores: Sequence[frozenset[int]] = (),
    taken: Collection[int] = (),
    busy: Collection[int] = (),
) -> Cores:
    """The CPUs for workers of `threads` threads; none means that nothing is pinned. With `auto`: one CPU per thread,
    each of another physical core (`cores` are the CPUs of each). CPUs that no other run has `taken` come first, then
    those that are not `busy`; CPU 0, which handles most interrupts, comes last. If there are not that many cores,
    none."""
    if pin == NONE:
        return ()
    if pin != AUTO:
        return tuple(int(cpu) for cpu in pin.split(","))
    core_of = {cpu: min(core) for core in cores for cpu in core}
    firsts = {core_of.get(cpu, cpu): cpu for cpu in sorted(usable, reverse=True)}
    avoided = [{core_of.get(cpu, cpu) for cpu in cpus} for cpus in (taken, busy, (0,))]
    ranked = sorted(firsts, key=lambda core: (*(core in group for group in avoided), core))
    return tuple(sorted(firsts[core] for core in ranked[:threads])) if len(ranked) >= threads else ()


def cores_here(pin: str, threads: int) -> Cores:
    """`choose_cores` for this machine as it is now. Raises `ConvbenchError` for CPUs that this process may not use."""
    if pin == NONE or (pin == AUTO and not can_pin()):
        return ()
    if not can_pin():
        raise ConvbenchError(f"--pin is {pin}, but this system lets no process choose its CPUs; leave it out.")
    usable = os.sched_getaffinity(0)
    if pin != AUTO:
        chosen = choose_cores(pin, threads, usable)
        if others := [cpu for cpu in chosen if cpu not in usable]:
            may = ", ".join(map(str, sorted(usable)))
            raise ConvbenchError(f"--pin names CPU {others[0]}, which convbench may not use here; it may use {may}.")
        return chosen
    cores = [siblings(cpu) & usable or frozenset((cpu,)) for cpu in usable]
    import psutil  # a worker in another environment need not have it

    busy = [cpu for cpu, share in enumerate(psutil.cpu_percent(_LOOK_S, percpu=True)) if share > _BUSY_PERCENT]
    return choose_cores(pin, threads, usable, cores, _taken_by_other_runs(), busy)


def starting_cores(cores: Cores, number: int) -> Cores:
    """Where the `number`-th of several workers starts: on as many CPUs as it will have, because libraries count them
    when imported, but not all workers on the same ones, because importing takes time."""
    if not cores or not can_pin():
        return cores
    usable = sorted(os.sched_getaffinity(0))
    groups = [tuple(usable[i : i + len(cores)]) for i in range(0, len(usable) - len(cores) + 1, len(cores))]
    return groups[number % len(groups)] if groups else cores


def children_on(cores: Cores) -> contextlib.AbstractContextManager[None]:
    """Processes that this thread starts meanwhile start on `cores`."""
    return _moved({0: cores})


def move_here(cores: Cores) -> Cores:
    """Move all threads of this process to `cores`. Returns the CPUs it may use now; none if unknown or not moved."""
    if not cores or not can_pin():
        return ()
    for _ in range(2):  # the second time for threads that were being started
        for thread in _threads():
            _move(thread, cores)
    return tuple(sorted(_affinity(0) or ()))


def kept_off(cores: Cores) -> contextlib.AbstractContextManager[None]:
    """Meanwhile this process runs on other CPUs than `cores`, if it may use any others."""
    threads = _threads() if cores and can_pin() else []
    return _moved({thread: (_affinity(thread) or set()) - set(cores) for thread in threads})


@contextlib.contextmanager
def _moved(cores_of: Mapping[int, Collection[int]]) -> Iterator[None]:
    """Meanwhile each of the threads runs on its cores, if it has any."""
    before = {thread: _affinity(thread) for thread, cores in cores_of.items() if cores}
    movable = {thread: allowed for thread, allowed in before.items() if allowed}
    for thread in movable:
        _move(thread, cores_of[thread])
    try:
        yield
    finally:
        for thread, allowed in movable.items():
            _move(thread, allowed)


def _threads() -> list[int]:
    return [int(name) for name in names(ROOT, "proc/self/task")] or [0]


def _affinity(thread: int) -> set[int] | None:
    if can_pin():
        with contextlib.suppress(OSError):
            return os.sched_getaffinity(thread)
    return None


def _move(thread: int, cores: Collection[int]) -> None:
    with contextlib.suppress(OSError):  # the thread has ended, or this process may no longer use the CPUs
        os.sched_setaffinity(thread, cores)


def _taken_by_other_runs() -> set[int]:
    import psutil

    from convbench.measurement.machine.state import other_runs

    everything = set(range(os.cpu_count() or 1))
    taken: set[int] = set()
    for run in other_runs():
        with contextlib.suppress(psutil.Error):
            for worker in psutil.Process(run).children():
                pinned = set(worker.cpu_affinity() or ())
                taken |= pinned if pinned < everything else set()
    return taken
