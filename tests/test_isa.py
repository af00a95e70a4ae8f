"""Instruction sets as an axis: which words there are, what a CPU has of them, and what libraries say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.errors import IsaError
from convbench.isa import (
    ISAS,
    NATIVE,
    Isa,
    exceeds,
    flags_within,
    isas_named,
    reason_without_switch,
    switched,
    widest_named,
)
from convbench.registry import discover

HASWELL = {"avx", "avx2", "fma", "f16c", "bmi2"}
SKYLAKE = HASWELL | {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}
ZEN5 = SKYLAKE | {"avx512_vnni", "avx512_bf16", "avx_vnni", "avx512_vp2intersect"}
SAPPHIRE_RAPIDS = ZEN5 | {"avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"}
CPUS: list[tuple[set[str], Isa]] = [
    (HASWELL, "avx2"),
    (SKYLAKE, "avx512"),
    (ZEN5, "bf16"),
    (SAPPHIRE_RAPIDS, "amx"),
]


@pytest.mark.parametrize(("flags", "widest"), CPUS)
def test_a_cpu_has_its_widest_set_and_all_narrower_ones(flags: set[str], widest: Isa) -> None:
    there = ISAS[: ISAS.index(widest) + 1]
    assert isas_named(there, "a CPU", flags) == there
    for beyond in ISAS[len(there) :]:
        with pytest.raises(IsaError, match=rf"a CPU has no .*It has {', '.join(there)}\."):
            isas_named([beyond], "a CPU", flags)


def test_native_is_no_limit_and_needs_no_flag() -> None:
    assert isas_named([NATIVE], "an Arm CPU", {"asimd", "sve"}) == (None,)
    with pytest.raises(IsaError, match="It has none of these sets"):
        isas_named(["avx2"], "an Arm CPU", {"asimd", "sve"})


def test_an_unknown_word_is_refused_with_the_known_ones() -> None:
    with pytest.raises(IsaError, match=r"'avx-2'; it should be one of avx2, .*native.* Did you mean 'avx2'\?"):
        isas_named(["avx-2"], "a CPU", ZEN5)


def test_words_keep_their_order_and_come_once() -> None:
    assert isas_named(["native", "avx2", "native", "bf16"], "a CPU", ZEN5) == (None, "avx2", "bf16")


@pytest.mark.parametrize(("flags", "widest"), CPUS)
def test_a_wider_cpu_held_to_a_set_looks_like_one_that_has_no_more(flags: set[str], widest: Isa) -> None:
    assert flags_within(widest, flags) == flags
    assert flags_within(None, flags) == flags
    if widest != "avx2":
        assert flags_within("avx2", flags) == HASWELL


@given(st.sampled_from(ISAS), st.sampled_from(ISAS))
def test_the_flags_of_narrower_sets_are_among_those_of_wider_ones(one: Isa, other: Isa) -> None:
    narrow, wide = sorted((one, other), key=ISAS.index)
    assert flags_within(narrow, SAPPHIRE_RAPIDS) <= flags_within(wide, SAPPHIRE_RAPIDS)


@pytest.mark.parametrize(
    ("text", "isa"),
    [
        ("brgconv:avx512_core_amx", "amx"),
        ("jit_bf16:avx512_core_bf16", "bf16"),
        ("Intel AVX-512 with Intel DL Boost and bfloat16 support", "bf16"),
        ("jit_int8:avx512_core_vnni", "vnni"),
        ("AVX512_VNNI", "vnni"),
        ("jit_bf16:avx512_core", "avx512"),  # the kernel is for bfloat16, and the instructions are AVX-512's
        ("jit_avx512_bf16", "avx512"),
        ("AVX512", "avx512"),
        ("Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions", "avx512"),
        ("vmulps %zmm1, %zmm2, %zmm3", "avx512"),
        ("jit:avx2", "avx2"),
        ("Intel AVX2", "avx2"),
        ("ymm", "avx2"),
        ("ref:any", None),
        ("DEFAULT", None),
        ("", None),
    ],
)
def test_what_a_library_says_is_read(text: str, isa: Isa | None) -> None:
    assert widest_named(text) == isa
    assert not exceeds(text, None)
    assert exceeds(text, "avx2") == (isa not in (None, "avx2"))


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    assert widest_named(text) in (None, *ISAS)


def test_flags_are_added_to_those_of_the_user_and_other_variables_replaced() -> None:
    inherited = {"XLA_FLAGS": "--mine", "ONEDNN_MAX_CPU_ISA": "ALL", "PATH": "/bin"}
    switches = {"XLA_FLAGS": "--narrow", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    assert switched(inherited, switches) == {"XLA_FLAGS": "--mine --narrow", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    assert switched({}, switches) == switches


def test_every_backend_declares_known_words_or_says_why_it_has_none() -> None:
    """The reason names the words that it has, and its author's clause."""
    backends = [entry.backend for entry in discover(entry_points=False) if hasattr(entry, "backend")]
    assert len(backends) > 20
    for backend in backends:
        assert set(backend.isa_switches) <= set(ISAS), backend.name
        assert backend.device == "cpu" or not backend.isa_switches, backend.name
        for isa in ISAS:
            reason = reason_without_switch(backend, isa)
            assert (reason is None) == (isa in backend.isa_switches)
            if reason and backend.without_isa_switch:
                assert backend.without_isa_switch in reason
        assert reason_without_switch(backend, None) is None
