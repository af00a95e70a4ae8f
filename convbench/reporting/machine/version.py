"""What a report of a bug needs to say: convbench, its commit, Python, this machine, and the libraries under test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from convbench.installation import CHECKOUT
from convbench.measurement.machine.facts import machine_facts
from convbench.registry import discover, versions
from convbench.reporting.numbers import count, in_columns
from convbench.reporting.terminal_text import printable
from convbench.store.locations import checkout_state


def version_facts() -> str:
    """A line for each fact. Versions of libraries are read from their metadata; none is imported."""
    return "\n".join(line.removeprefix("  ") for line in in_columns(list(_facts()), gap="  "))


def _facts() -> Iterator[tuple[str, str]]:
    facts = machine_facts()
    if CHECKOUT is not None:
        state = checkout_state(Path(CHECKOUT))
        yield "commit", f"{state.commit or 'unknown'}{', with changes' if state.dirty else ''}"
    yield "Python", f"{facts['implementation']} {facts['python']}"
    yield "OS", ", ".join(filter(None, (facts["os"], facts["arch"], facts["libc"])))
    cpus = count(facts["num_cpu"], "CPU") + (
        f" of which {facts['usable_cpus']} usable" if facts["usable_cpus"] != facts["num_cpu"] else ""
    )
    yield "CPU", ", ".join(filter(None, (facts["cpu"], cpus, facts["vector_isa"])))
    yield "memory", f"{int(facts['ram']) / 2**30:.1f} GiB"
    yield "libraries", ", ".join(f"{name} {version}" for name, version in _libraries().items()) or "none"


def _libraries() -> dict[str, str]:
    """The installed libraries of all backends with their versions, by name."""
    installed: dict[str, str] = {}
    for entry in discover():
        installed |= versions(entry.backend)
    return {printable(name): printable(installed[name]) for name in sorted(installed, key=str.lower)}
