"""Instruction sets of x86 CPUs as `--isa` names them: each word is the most that a library may use.

Every word includes those before it. A library is held to one by switches of its own (`Backend.isa_switches`), which are
environment variables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal, Protocol, get_args

from convbench.errors import IsaError, did_you_mean

Isa = Literal["avx2", "avx512", "vnni", "bf16", "amx"]
ISAS: tuple[Isa, ...] = get_args(Isa)
"""From the narrowest to the widest."""
NATIVE = "native"
"""The word for no limit, so that one run can measure a limit beside it."""

# A CPU has a set if it has these flags, as Linux names them.
_FLAGS: Mapping[Isa, frozenset[str]] = {
    "avx2": frozenset({"avx2", "fma"}),
    "avx512": frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
    "vnni": frozenset({"avx512_vnni"}),
    "bf16": frozenset({"avx512_bf16"}),
    "amx": frozenset({"amx_tile"}),
}
# What each set adds to those before it. A flag counts to the narrowest set that has it.
_ADDED: tuple[tuple[Isa, re.Pattern[str]], ...] = (
    ("amx", re.compile(r"amx_|avx512_fp16|avx10")),
    ("bf16", re.compile(r"avx512_bf16|avx_ne_convert")),
    ("vnni", re.compile(r"avx512_vnni|avx_vnni")),
    ("avx512", re.compile(r"avx512")),
)
# How libraries name what they use. "jit_avx512_bf16" is a kernel for bfloat16 in AVX-512, so "bf16" alone says nothing.
_NAMED: tuple[tuple[Isa, re.Pattern[str]], ...] = (
    ("amx", re.compile(r"amx", re.I)),
    ("bf16", re.compile(r"avx512_core_bf16|avx512bf16|bfloat16 support", re.I)),
    ("vnni", re.compile(r"avx512_core_vnni|avx512_?vnni|with intel dl boost", re.I)),
    ("avx512", re.compile(r"avx[-_ ]?512|\bzmm", re.I)),
    ("avx2", re.compile(r"avx[-_ ]?2|\bymm", re.I)),
)


def isas_named(words: Iterable[str], cpu: str, cpu_flags: Collection[str]) -> tuple[Isa | None, ...]:
    """The sets in `words`, each once; None stands for `native`. Raises `IsaError` for an unknown word, and for
    a set that this CPU, with these flags, does not have."""
    isas: dict[Isa | None, None] = {}
    for word in words:
        isa = next((known for known in ISAS if known == word), None)
        if isa is None and word != NATIVE:
            known = f"one of {', '.join((*ISAS, NATIVE))}, or several with commas.{did_you_mean(word, (*ISAS, NATIVE))}"
            raise IsaError(f"--isa is {word!r}; it should be {known}")
        if isa is not None and (missing := _missing(isa, cpu_flags)):
            there = ", ".join(each for each in ISAS if not _missing(each, cpu_flags)) or "none of these sets"
            raise IsaError(f"--isa {isa} cannot be measured here: {cpu} has no {', '.join(missing)}. It has {there}.")
        isas[isa] = None
    return tuple(isas)


def _missing(isa: Isa, cpu_flags: Collection[str]) -> list[str]:
    """What a CPU with these flags lacks of a set and of those before it."""
    wanted = frozenset().union(*(_FLAGS[each] for each in ISAS[: ISAS.index(isa) + 1]))
    return sorted(wanted - set(cpu_flags))


def flags_within(isa: Isa | None, cpu_flags: Collection[str]) -> frozenset[str]:
    """The flags of a CPU without those beyond `isa`: what a library sees that is held to it."""
    return frozenset(flag for flag in cpu_flags if isa is None or ISAS.index(_set_of(flag)) <= ISAS.index(isa))


def _set_of(flag: str) -> Isa:
    return next((isa for isa, pattern in _ADDED if pattern.match(flag)), "avx2")


def by_width(isas: Iterable[str]) -> list[str]:
    """Words for sets from the narrowest to `native`, and then words that are not known."""
    order: tuple[str, ...] = (*ISAS, NATIVE)
    return sorted(isas, key=lambda isa: (order.index(isa) if isa in order else len(order), isa))


def widest_named(text: str) -> Isa | None:
    """The widest set that a library's own words name, such as "jit:avx512_core" or "AVX2"; None where they name none.

    >>> widest_named("brg_conv:avx512_core_bf16")
    'bf16'
    """
    return next((isa for isa, pattern in _NAMED if pattern.search(text)), None)


def exceeds(text: str, isa: Isa | None) -> bool:
    """Whether a library's own words name a wider set than the one that it was held to."""
    named = widest_named(text)
    return isa is not None and named is not None and ISAS.index(named) > ISAS.index(isa)


class Held(Protocol):
    """What has switches: a backend (`convbench.backend.Backend`)."""

    isa_switches: Mapping[str, Mapping[str, str]]
    without_isa_switch: str | None


def reason_without_switch(backend: Held, isa: Isa | None) -> str | None:
    """Why a backend cannot be held to `isa`; None when it can."""
    if isa is None or isa in backend.isa_switches:
        return None
    there = ", ".join(each for each in ISAS if each in backend.isa_switches)
    only = f"has a switch for {there} only" if there else "has no switch for instruction sets"
    why = f" ({backend.without_isa_switch})" if backend.without_isa_switch else ""
    return f"it cannot be held to {isa}: the library {only}{why}"


def switches_in(environment: Mapping[str, str], backend: Held) -> dict[str, str]:
    """The backend's switches that are set in an environment, whoever set them."""
    names = {name for switches in backend.isa_switches.values() for name in switches}
    return {name: environment[name] for name in sorted(names) if name in environment}


def switched(inherited: Mapping[str, str], switches: Mapping[str, str]) -> dict[str, str]:
    """The variables of `switches` to set in an environment. To a variable of several flags they are added."""
    return {
        name: f"{inherited[name]} {value}" if name.endswith("FLAGS") and inherited.get(name) else value
        for name, value in switches.items()
    }
