"""A limit is one: what no direct computation can do without, at measured ceilings; and tables say the share of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from strategies import forward_problems, gradient_problems, problems

from convbench.analysis.ranking import rank
from convbench.analysis.roofline import Limit, Limits, bytes_needed, flops_needed, limit
from convbench.measurement.ceilings.figures import Ceilings, Figure, Level
from convbench.problem import ITEMSIZE_BYTES, ConvProblem
from convbench.reporting.run.suite_tables import suite_report

PLAIN = {"device": "cpu", "algorithm": "direct", "operand": None, "accumulate": None, "prepacks": []}


def found(value: float) -> Figure:
    return Figure("made up", value, value, value, 20)


def levels(*given: tuple[str, int | None, float | None]) -> tuple[Level, ...]:
    return tuple(
        Level(name=name, bytes=holds, figures=() if rate is None else (found(rate / 2), found(rate)))
        for name, holds, rate in given
    )


CACHES = levels(("L1", 32 << 10, 400e9), ("L2", 1 << 20, 100e9), ("memory", None, 20e9))


def ceilings(
    peaks: dict[str, float] | None = None, memory: Sequence[Level] = CACHES, threads: int = 1, **changes: Any
) -> Ceilings:
    peaks = {"float32": 100e9, "float64": 50e9} if peaks is None else peaks
    given = {
        "threads": threads,
        "time": "2026-01-02T03:04:05+00:00",
        "cpu": "a CPU",
        "convbench": "0",
        "versions": {},
        "cpus": None,
        "clock": None,
        "multiply_adds": {dtype: (found(peak),) for dtype, peak in peaks.items()},
        "matrix_products": {dtype: (found(peak / 2),) for dtype, peak in peaks.items()},
        "levels": tuple(memory),
    }
    return Ceilings(**(given | changes))


# --- what cannot be done without --------------------------------------------------------------------------------------


def taps(problem: ConvProblem) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """Every (output place, kernel place, input place) of one plane, the input place within or on padding."""
    (top, _), (left, _) = problem.padding
    for y in range(problem.out_height):
        for x in range(problem.out_width):
            for r in range(problem.kernel_size[0]):
                for s in range(problem.kernel_size[1]):
                    row = y * problem.stride[0] + r * problem.dilation[0] - top
                    column = x * problem.stride[1] + s * problem.dilation[1] - left
                    yield (y, x), (r, s), (row, column)


@given(forward_problems())
def test_flops_are_counted_as_a_loop_over_all_taps_counts_them(problem: ConvProblem) -> None:
    inside = sum(0 <= row < problem.height and 0 <= column < problem.width for _, _, (row, column) in taps(problem))
    channels = problem.in_channels // problem.groups * problem.out_channels
    if problem.padding_mode == "zeros":
        assert flops_needed(problem) == 2 * problem.batch * channels * inside
    else:
        assert flops_needed(problem) == problem.flops
    assert flops_needed(problem) <= problem.flops


@given(forward_problems())
def test_bytes_are_those_of_what_a_loop_over_all_taps_meets(problem: ConvProblem) -> None:
    met = [
        (kernel, place)
        for _, kernel, place in taps(problem)
        if 0 <= place[0] < problem.height and 0 <= place[1] < problem.width
    ]
    pixels, weights = len({place for _, place in met}), len({kernel for kernel, _ in met})
    n, o, c = problem.batch, problem.out_channels, problem.in_channels
    elements = n * c * pixels + o * (c // problem.groups) * weights + n * o * problem.out_height * problem.out_width
    elements += o * problem.bias
    assert bytes_needed(problem, PLAIN) == elements * ITEMSIZE_BYTES[problem.dtype]
    assert bytes_needed(problem, PLAIN) <= problem.bytes


@given(gradient_problems())
def test_a_gradient_is_written_whole_and_what_it_does_not_take_is_not_read(problem: ConvProblem) -> None:
    itemsize = ITEMSIZE_BYTES[problem.dtype]
    operand_g, result = math.prod(problem.output_shape), math.prod(problem.result_shape)
    assert itemsize * (operand_g + result) <= bytes_needed(problem, PLAIN) <= problem.bytes
    assert flops_needed(problem) <= problem.flops
    if problem.direction == "bias_gradient":
        assert bytes_needed(problem, PLAIN) == problem.bytes


@given(problems(("step",)))
def test_a_step_moves_what_forward_does_the_output_gradient_and_every_gradient(problem: ConvProblem) -> None:
    forward, *gradients = problem.parts
    more = math.prod(problem.output_shape) + sum(math.prod(part.result_shape) for part in gradients)
    expected = bytes_needed(forward, PLAIN) + more * ITEMSIZE_BYTES[problem.dtype]
    assert bytes_needed(problem, PLAIN) == expected <= problem.bytes
    assert flops_needed(problem) == sum(map(flops_needed, problem.parts)) <= problem.flops


def test_what_was_converted_beforehand_to_less_is_less_to_move() -> None:
    problem = ConvProblem.parse("n1c16h8w8_o16k3")
    halved = PLAIN | {"operand": "bfloat16", "prepacks": ["weight"]}
    weights = math.prod(problem.weight_shape)
    assert bytes_needed(problem, PLAIN) - bytes_needed(problem, halved) == 2 * weights
    assert bytes_needed(problem, PLAIN | {"operand": "bfloat16"}) == bytes_needed(problem, PLAIN)
    assert bytes_needed(problem, PLAIN | {"operand": "float64", "prepacks": ["weight"]}) == bytes_needed(problem, PLAIN)


# --- the limit --------------------------------------------------------------------------------------------------------

rates = st.floats(1e6, 1e15)
capacities = st.lists(st.integers(1, 1 << 24), min_size=0, max_size=3)


@st.composite
def machines(draw: st.DrawFn) -> Ceilings:
    caches = [(f"L{i}", size, draw(rates)) for i, size in enumerate(draw(capacities), 1)]
    memory = levels(*caches, ("memory", None, draw(rates)))
    peaks = {dtype: draw(rates) for dtype in ("float32", "float64", "bfloat16", "float16")}
    return ceilings(peaks, memory)


def known_limit(problem: ConvProblem, machine: Ceilings, cold: bool = False) -> Limit:
    found = limit(problem, PLAIN, machine, cold)
    assert found is not None
    return found


@given(problems(), machines())
def test_a_limit_is_no_less_than_its_arithmetic_and_no_more_than_all_from_the_slowest_level(
    problem: ConvProblem, machine: Ceilings
) -> None:
    found, peak = known_limit(problem, machine), machine.peak(problem.dtype)
    assert peak is not None
    arithmetic = flops_needed(problem) / peak.value
    slowest = min(level.fastest.value for level in machine.levels if level.fastest)
    assert arithmetic <= found.seconds <= max(arithmetic, bytes_needed(problem, PLAIN) / slowest) * (1 + 1e-12)
    assert (found.bound == "compute") == (found.seconds == arithmetic) or found.seconds == arithmetic
    assert found.bound in ("compute", *(level.name for level in machine.levels))


@given(problems(), machines(), st.floats(1.5, 100))
def test_a_machine_so_many_times_as_fast_has_a_limit_so_many_times_as_short(
    problem: ConvProblem, machine: Ceilings, times: float
) -> None:
    faster = ceilings(
        {dtype: figures[0].value * times for dtype, figures in machine.multiply_adds.items()},
        levels(*((level.name, level.bytes, level.fastest.value * times) for level in machine.levels if level.fastest)),
    )
    one, other = known_limit(problem, machine), known_limit(problem, faster)
    assert one.seconds == pytest.approx(times * other.seconds)


@given(problems(), machines())
def test_cold_caches_never_make_it_shorter_than_memory_alone_does(problem: ConvProblem, machine: Ceilings) -> None:
    found, memory = known_limit(problem, machine, cold=True), machine.levels[-1].fastest
    assert memory is not None
    assert found.seconds >= bytes_needed(problem, PLAIN) / memory.value
    assert found.bound in ("compute", "memory")


FAST = {"float32": 1e18}


@pytest.mark.parametrize(
    ("size", "bound", "seconds"),
    [
        # 1x1, one channel to one: size * size floats in and out, and a weight.
        (32, "L1", (2 * 32**2 * 4 + 4) / 400e9),
        (256, "L2", (2 * 256**2 * 4 + 4 - (32 << 10)) / 100e9),
        (2048, "memory", (2 * 2048**2 * 4 + 4 - (32 << 10) - (1 << 20)) / 20e9),
    ],
)
def test_bytes_come_from_the_level_that_holds_them(size: int, bound: str, seconds: float) -> None:
    found = known_limit(ConvProblem.parse(f"n1c1h{size}w{size}_o1k1"), ceilings(FAST))
    assert (found.bound, found.seconds) == (bound, pytest.approx(seconds))


def test_a_dense_layer_is_bound_by_arithmetic() -> None:
    problem = ConvProblem.parse("n1c64h56w56_o64k3")
    found = known_limit(problem, ceilings())
    assert (found.bound, found.seconds) == ("compute", pytest.approx(problem.flops / 100e9))
    assert found.share(2 * found.seconds) == pytest.approx(0.5)


def test_a_level_that_was_not_measured_limits_nothing() -> None:
    unknown = levels(("L1", 32 << 10, None), ("L2", 1 << 20, None))
    for memory in (unknown, ()):
        assert known_limit(ConvProblem.parse("n1c1h256w256_o1k1"), ceilings(FAST, memory)).bound == "compute"


HALF = ConvProblem.parse("n1c64h56w56_o64k3_bf16")


def seconds(machine: Ceilings, problem: ConvProblem = HALF, **declared: Any) -> float | None:
    found = limit(problem, PLAIN | declared, machine)
    return None if found is None else found.seconds


def test_a_half_format_has_its_own_peak_where_the_cpu_multiplies_it() -> None:
    machine = ceilings({"float32": 100e9, "bfloat16": 200e9})
    assert seconds(machine) == pytest.approx(HALF.flops / 200e9)
    assert seconds(machine, ConvProblem.parse("n1c64h56w56_o64k3"), operand="bfloat16") == seconds(machine)


def test_a_half_format_is_computed_in_float32_elsewhere_and_that_is_said() -> None:
    machine = ceilings()
    found = limit(HALF, PLAIN, machine)
    assert found is not None
    assert found.seconds == pytest.approx(HALF.flops / 100e9)
    assert found.assumed is not None and "bfloat16 is computed in float32" in found.assumed
    assert limit(HALF, PLAIN | {"accumulate": "float32"}, machine) == found
    assert limit(HALF, PLAIN | {"accumulate": "float16"}, machine) is None


def test_a_half_format_that_a_matrix_unit_multiplies_has_no_limit() -> None:
    assert seconds(ceilings(unmeasured={"bfloat16": "AMX tiles"})) is None


def test_a_half_format_has_no_limit_where_no_instruction_could_be_tried() -> None:
    refused = ceilings(matrix_products={"float32": (found(100e9),)}, multiply_adds={})
    assert seconds(refused) is None
    assert seconds(refused, ConvProblem.parse("n1c64h56w56_o64k3")) is not None


def test_a_slower_loop_is_no_limit_where_a_matrix_unit_was_not_measured() -> None:
    machine = ceilings({"float32": 100e9, "bfloat16": 200e9}, unmeasured={"bfloat16": "AMX tiles"})
    assert seconds(machine) is None
    assert seconds(machine, ConvProblem.parse("n1c64h56w56_o64k3"), operand="bfloat16") is None


def test_the_fastest_of_loop_and_product_is_the_peak() -> None:
    machine = ceilings(matrix_products={"float32": (found(300e9),)})
    assert seconds(machine, ConvProblem.parse("n1c64h56w56_o64k3")) == pytest.approx(HALF.flops / 300e9)


# --- records ----------------------------------------------------------------------------------------------------------


def record(backend: str, share: float = 0.5, case_id: str = "n1c64h56w56_o64k3", **more: Any) -> dict[str, Any]:
    """A record at that share of what `ceilings()` allow."""
    problem = ConvProblem.parse(case_id)
    median_s = known_limit(problem, ceilings()).seconds / share
    return {
        "suite": "s",
        "case": case_id,
        "case_id": case_id,
        "backend": backend,
        "status": "ok",
        "reason": None,
        "median_s": median_s,
        "low_s": median_s,
        "high_s": median_s,
        "interval": "median, 95 %",
        "gflops": problem.flops / median_s / 1e9,
        "prepare_s": 0.001,
        "first_call_s": 0.001,
        "max_error_over_bound": 0.01,
        "flops": problem.flops,
        "threads": 1,
        "dtype": problem.dtype,
        "declared": PLAIN,
        "machine": {"cpu": "a CPU"},
        "problem": problem.as_dict(),
        "samples": {"round": list(range(8)), "wall_s": [median_s] * 8},
        **more,
    }


def test_a_record_has_the_share_of_its_own_machine() -> None:
    limits = Limits([ceilings(), ceilings(threads=2, peaks={"float32": 200e9})])
    assert limits.share(record("a", 0.62)) == pytest.approx(0.62)
    assert limits.share(record("a", 0.62, threads=2)) == pytest.approx(0.31)


@pytest.mark.parametrize(
    "more",
    [
        {"threads": 4},
        {"machine": {"cpu": "another CPU"}},
        {"machine": None},
        {"declared": PLAIN | {"device": "cuda"}},
        {"declared": PLAIN | {"operand": "tf32"}},
        {"median_s": None},
        {"problem": None},
        {"problem": {"in_channels": 1}},
        {"problem": {"nonsense": 1}},
        {"problem": dict(HALF.as_dict(), kernel_size=[99, 99])},
    ],
)
def test_a_record_without_what_it_takes_has_no_share(more: dict[str, Any]) -> None:
    assert Limits([ceilings()]).share(record("a") | more) is None


IN_FLOAT32 = PLAIN | {"operand": "float32", "accumulate": "float32"}
HALF_ID = "n1c64h56w56_o64k3_bf16"


def doubted(machine: Ceilings, share: float) -> dict[str, Any]:
    """A record in bfloat16 that declares float32 and is so many times as fast as that can be."""
    one = record("a", case_id=HALF_ID, declared=IN_FLOAT32)
    limit_of_float32 = limit(HALF, IN_FLOAT32, machine)
    assert limit_of_float32 is not None
    return one | {"median_s": limit_of_float32.seconds / share}


def test_a_time_that_a_matrix_unit_explains_doubts_the_declaration() -> None:
    tiles = ceilings({"float32": 100e9, "bfloat16": 1600e9})
    one = doubted(tiles, 3.8)
    assert Limits([tiles]).share(one) == pytest.approx(3.8)
    assert Limits([tiles]).undeclared(one) == "bfloat16"
    unmeasured = ceilings(unmeasured={"bfloat16": "AMX tiles"})
    assert Limits([unmeasured]).undeclared(doubted(unmeasured, 3.8)) == "bfloat16"


def test_a_time_that_no_instruction_explains_is_doubted_itself() -> None:
    tiles, plain = ceilings({"float32": 100e9, "bfloat16": 1600e9}), ceilings()
    assert Limits([tiles]).undeclared(doubted(tiles, 40.0)) is None
    assert Limits([plain]).undeclared(doubted(plain, 3.8)) is None  # this CPU multiplies it in float32
    assert Limits([tiles]).undeclared(record("a", 3.8)) is None
    assert Limits([tiles]).undeclared(record("a", 3.8, case_id=HALF_ID)) is None
    assert Limits([tiles]).undeclared(record("a", 3.8) | {"problem": None}) is None


def test_a_cold_record_is_limited_by_memory() -> None:
    small = "n1c1h32w32_o1k1"
    warm, cold = record("a", case_id=small), record("a", case_id=small, settings={"cache": "cold"})
    limits = Limits([ceilings(FAST)])
    found = [limits.of(one) for one in (warm, cold)]
    assert [one.bound for one in found if one] == ["L1", "memory"]


# --- tables -----------------------------------------------------------------------------------------------------------


def shown(records: Sequence[dict[str, Any]], limits: Limits | None, width: int = 160) -> str:
    console = Console(file=StringIO(), width=width, highlight=False)
    for ranking in rank(records):
        console.print(suite_report(ranking, limits))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def cells(text: str, backend: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(f"  {backend} ")).split()


def test_the_share_of_the_limit_is_a_column_where_ceilings_are_known() -> None:
    records = [record("quick", 0.94), record("slow", 0.047)]
    text = shown(records, Limits([ceilings()]))
    headings = next(line for line in text.splitlines() if line.startswith("backend"))
    assert headings.index("% of fastest") < headings.index("% of limit") < headings.index("first answer ms")
    assert "94" in cells(text, "quick") and "4.7" in cells(text, "slow")
    # Set flush right under its heading.
    end = headings.index("% of limit") + len("% of limit")
    line = next(line for line in text.splitlines() if line.startswith("  slow "))
    assert line[:end].endswith("4.7")
    assert "error/bound" in headings


@pytest.mark.parametrize(
    "limits",
    [None, Limits([]), Limits([ceilings(threads=2)]), Limits([ceilings(cpu="another CPU")]), Limits([ceilings({})])],
)
def test_without_ceilings_for_them_tables_are_as_before(limits: Limits | None) -> None:
    records = [record("quick", 0.94), record("slow", 0.047)]
    text = shown(records, limits)
    assert "limit" not in text
    assert "this machine" not in text
    assert "% of fastest" in text and "error/bound" in text


def test_one_without_a_limit_has_a_dash_in_the_column() -> None:
    gpu = record("gpu", 8, declared=PLAIN | {"device": "cuda"})
    text = shown([record("cpu", 0.5), gpu], Limits([ceilings()]))
    assert "50" in cells(text, "cpu") and "–" in cells(text, "gpu")[5:]
    assert "times as fast as" not in text


def test_a_doubt_is_about_the_declaration_where_the_cpu_may_have_changed_it() -> None:
    tiles = ceilings({"float32": 100e9, "bfloat16": 1600e9})
    text = words(shown([doubted(tiles, 3.8)], Limits([tiles])))
    assert "a on n1c64h56w56_o64k3_bf16 is 3.8 times as fast as this machine can be in float32" in text
    assert "on this CPU it may compute in bfloat16" in text and "wait for its work" not in text
    assert "wait for its work to end" in words(shown([doubted(tiles, 40.0)], Limits([tiles])))


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_narrow_terminal_has_fewer_columns_and_no_broken_lines(width: int) -> None:
    records = [record("one", 0.5), record("other", 0.5), record("third", 0.2)]
    text = shown(records, Limits([ceilings()]), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert not any(line.strip() == "level" for line in text.splitlines())
    assert cells(text, "one")[-1] == "level"


def test_the_case_says_its_limit_and_what_sets_it() -> None:
    text = shown([record("a", 0.5, case_id="n1c64h56w56_o64k3")], Limits([ceilings()]))
    problem = ConvProblem.parse("n1c64h56w56_o64k3")
    assert f"limit {problem.flops / 100e9 * 1e3:.2f} ms (compute)" in text
    assert "(L2 bandwidth)" in shown([record("a", 0.5, case_id="n1c64h28w28_o64k1_g64")], Limits([ceilings()]))


def test_a_sentence_says_who_came_nearest_and_where() -> None:
    records = [record("good", 0.7), record("best", 0.3), record("best", 0.9, "n1c32h56w56_o64k3"), record("other", 0.1)]
    text = words(shown(records, Limits([ceilings()])))
    assert "best came nearest to what this machine can do: 90 % of it, compute-bound, on n1c32h56w56_o64k3." in text
    assert "Winograd" not in text


@pytest.mark.parametrize("algorithm", ["winograd", "fft", "auto"])
def test_winograd_and_fft_may_pass_the_limit_and_it_is_said(algorithm: str) -> None:
    clever = record("clever", 1.6, declared=PLAIN | {"algorithm": algorithm})
    text = shown([clever, record("honest", 0.8)], Limits([ceilings()]))
    assert "160" in cells(text, "clever")
    assert "may pass 100 %" in words(text)
    assert "times as fast as" not in text
    assert "honest came nearest" in words(text)


@pytest.mark.parametrize("algorithm", ["direct", "gemm"])
def test_a_direct_computation_beyond_the_limit_is_not_believed(algorithm: str) -> None:
    unbelievable = record("no-[b]sync", 1.4, declared=PLAIN | {"algorithm": algorithm})
    text = words(shown([unbelievable, record("honest", 0.8)], Limits([ceilings()])))
    assert "no-[b]sync on n1c64h56w56_o64k3 is 1.4 times as fast as this machine can be" in text
    assert "(sync)" in text
    assert "honest came nearest" in text
    nearly = words(shown([record("a", 1.05), record("honest", 0.8)], Limits([ceilings()])))
    assert "times as fast as" not in nearly


def test_what_is_assumed_of_half_formats_is_said_once() -> None:
    records = [record(name, 0.5, "n1c64h56w56_o64k3_bf16") for name in ("a", "b")]
    text = words(shown(records, Limits([ceilings()])))
    assert text.count("bfloat16 is computed in float32, since this CPU does not multiply it") == 1


def test_a_quantised_problem_is_limited_by_products_of_integers_whatever_is_declared_of_floats() -> None:
    quantised = ConvProblem(in_channels=256, height=56, width=56, out_channels=256, kernel_size=3, dtype="int8")
    machine = ceilings({"float32": 100e9, "int8": 400e9})
    for declared in (PLAIN, PLAIN | {"operand": "bfloat16", "prepacks": ["weight", "input"]}):
        least = limit(quantised, declared, machine)
        assert least is not None
        assert (least.bound, least.seconds) == ("compute", flops_needed(quantised) / 400e9)
        assert bytes_needed(quantised, declared) == quantised.bytes
    assert limit(quantised, PLAIN, ceilings()) is None
    assert bytes_needed(quantised.replace(quantization="u8:s8:s32"), PLAIN) > quantised.bytes


def test_a_table_of_a_quantised_case_has_its_share_of_the_limit_of_int8() -> None:
    problem = ConvProblem.parse("n1c64h56w56_o64k3_bias_u8zs8u8z")
    machine = ceilings({"float32": 100e9, "int8": 400e9})
    median_s = known_limit(problem, machine).seconds / 0.25
    times = dict.fromkeys(("median_s", "low_s", "high_s"), median_s)
    case = {"case": problem.case_id, "case_id": problem.case_id, "problem": problem.as_dict()}
    records = [record("quick") | times | case]
    text = shown(records, Limits([machine]))
    assert "% of limit" in text and "25" in cells(text, "quick")
    assert "% of limit" not in shown(records, Limits([ceilings()])), "no ceiling of another dtype stands in"
