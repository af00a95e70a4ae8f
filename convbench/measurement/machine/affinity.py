"""Pinning: every worker of a run on the same cores, and the run itself off them while they are timed.

Two workers pinned to one core differed by 0.25 % where the scheduler's choice gave 0.35 %, and by half as much at
worst: whatever is particular about a core is then in both. Linux only; elsewhere nothing is pinned. An affinity belongs
to a thread, so a process is moved thread by thread.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from convbench.errors import ConvbenchError
from convbench.measurement.machine.sysfs import ROOT, listed, text

Cores = tuple[int, ...]
AUTO, NONE = "auto", "none"
_LOOK_S, _BUSY_PERCENT = 0.1, 50


def can_pin() -> bool:
    """Whether this system lets a process choose the CPUs that it runs on."""
    return sys.platform == "linux" and hasattr(os, "sched_setaffinity")


def parse_pin(given: str) -> str:
    """`given` in its one spelling: `auto`, `none` or CPUs such as `2,3`. Raises `ValueError` for anything else."""
    word = given.strip().lower()
    if word in (AUTO, NONE):
        return word
    cpus: set[int] = set()
    for part in word.split(","):
        first, dash, last = part.partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise ValueError(given)
        low, high = int(first), int(last or first)
        if not 0 <= high - low < 4096:
            raise ValueError(given)
        cpus |= set(range(low, high + 1))
    return ",".join(map(str, sorted(cpus)))


def _is_number(word: str) -> bool:
    return word.strip().isascii() and word.strip().isdigit()


def choose_cores(
    pin: str,
    threads: int,
    usable: Collection[int],
    siblings: Sequence[frozenset[int]] = (),
    taken: Collection[int] = (),
    busy: Collection[int] = (),
) -> Cores:
    """The CPUs that workers of `threads` threads run on; none means that nothing is pinned.

    With `auto`: one a thread, of different physical cores (`siblings` are the CPUs of each), those first that no other
    run has `taken`, then those that are not `busy`, and CPU 0, which most interrupts go to, last. Where there are not
    that many cores, none.
    """
    if pin == NONE:
        return ()
    if pin != AUTO:
        return tuple(int(cpu) for cpu in pin.split(","))
    of_core = {cpu: min(core) for core in siblings for cpu in core}
    firsts = {of_core.get(cpu, cpu): cpu for cpu in sorted(usable, reverse=True)}
    avoided = [{of_core.get(cpu, cpu) for cpu in some} for some in (taken, busy, (0,))]
    ranked = sorted(firsts, key=lambda core: (*(core in cores for cores in avoided), core))
    return tuple(sorted(firsts[core] for core in ranked[:threads])) if len(ranked) >= threads else ()


def cores_here(pin: str, threads: int) -> Cores:
    """`choose_cores` for this machine as it is now. Raises `ConvbenchError` for CPUs that cannot be had."""
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
    return choose_cores(pin, threads, usable, _siblings(usable), _taken_by_other_runs(), _busy())


def starting_cores(cores: Cores, number: int) -> Cores:
    """Where the `number`-th of several workers starts: on as many CPUs as it will have, which libraries count when they
    are imported, and not all on the same ones, for importing is work."""
    if not cores or not can_pin():
        return cores
    usable = sorted(os.sched_getaffinity(0))
    groups = [tuple(usable[i : i + len(cores)]) for i in range(0, len(usable) - len(cores) + 1, len(cores))]
    return groups[number % len(groups)] if groups else cores


@contextlib.contextmanager
def children_on(cores: Cores) -> Iterator[None]:
    """What this thread starts meanwhile starts on `cores`."""
    before = _affinity(0)
    if not cores or before is None:
        yield
        return
    _move(0, cores)
    try:
        yield
    finally:
        _move(0, before)


def move_here(cores: Cores) -> Cores:
    """Move this process, all of its threads, to `cores`; gives where it runs now, nothing if that is not known."""
    if not cores or not can_pin():
        return ()
    for _ in range(2):  # a thread that was being started meanwhile
        for thread in _threads():
            _move(thread, cores)
    return tuple(sorted(_affinity(0) or ()))


@contextlib.contextmanager
def kept_off(cores: Cores) -> Iterator[None]:
    """This process runs on other CPUs than `cores` meanwhile, where it may use others."""
    before = {thread: _affinity(thread) for thread in _threads()} if cores and can_pin() else {}
    for thread, allowed in before.items():
        if allowed and (others := allowed - set(cores)):
            _move(thread, others)
    try:
        yield
    finally:
        for thread, allowed in before.items():
            if allowed:
                _move(thread, allowed)


def _siblings(cpus: Collection[int]) -> list[frozenset[int]]:
    folder = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    return [listed(text(ROOT, folder.format(cpu))) & frozenset(cpus) or frozenset((cpu,)) for cpu in cpus]


def _threads() -> list[int]:
    try:
        return [int(path.name) for path in Path("/proc/self/task").iterdir()]
    except OSError:
        return [0]


def _affinity(thread: int) -> set[int] | None:
    if can_pin():
        with contextlib.suppress(OSError):
            return os.sched_getaffinity(thread)
    return None


def _move(thread: int, cores: Collection[int]) -> None:
    with contextlib.suppress(OSError):  # the thread has ended, or the CPUs are no longer ours to use
        os.sched_setaffinity(thread, cores)


def _busy() -> list[int]:
    """The CPUs that have something to do now."""
    import psutil

    return [cpu for cpu, share in enumerate(psutil.cpu_percent(_LOOK_S, percpu=True)) if share > _BUSY_PERCENT]


def _taken_by_other_runs() -> set[int]:
    """The CPUs that other runs' workers are pinned to."""
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
