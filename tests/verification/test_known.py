"""Tables of known wrong answers: what an entry names, what it explains, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from idle_backends import Whole

from convbench.errors import KnownWrongError
from convbench.status import Status
from convbench.suite import Case
from convbench.suite.filter import parse
from convbench.verification.causes.grouping import Cause, causes
from convbench.verification.causes.known_entry import known_entry, toml_text
from convbench.verification.causes.trait_counts import Combination
from convbench.verification.known import KnownWrong, applicable, own_table, read_known
from convbench.verification.question import Failure, Question
from convbench.verification.sweep.factors import DETAILS, FACTORS, NOT_OF_THE_PROBLEM, classes, level_condition
from convbench.verification.sweep.search import search

DOCS = Path(__file__).resolve().parents[2] / "docs"
TABLE = own_table()
ENTRY = {"seen": "wrong", "backends": ("torch*",), "cases": ("n1c1h1w1_o1k1",)}


def entry(**fields: Any) -> KnownWrong:
    return KnownWrong(**(ENTRY | fields))


def failure(text: str, status: Status = Status.WRONG, check: str = "exact") -> Failure:
    return Failure(Question.parse(text), status, check, "got 1, expected 2")


# --- the table that comes along ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", TABLE, ids=[f"{'+'.join(known.backends)}-{known.cases[0]}" for known in TABLE])
def test_an_entry_names_its_own_cases_and_says_where_more_is_said(known: KnownWrong) -> None:
    assert all(known.names(question) for question in known.questions)
    assert known.first_seen is not None
    reference = known.reference or ""
    if reference.startswith("docs/"):
        page, _, anchor = reference.removeprefix("docs/").partition("#")
        headings = re.findall(r"^#+ (.+)$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    else:
        assert reference.startswith("https://")


# --- what an entry is about -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "backend", "told"),
    [
        ({}, "torch-packed", None),
        ({}, "jax", "about torch*"),
        ({"library": "torch", "versions": ">=2.13,<2.14"}, "torch", None),
        ({"library": "torch", "versions": ">=2.14"}, "torch", "here it is 2.13.0+cpu"),
        ({"library": "onednn"}, "torch", "not installed"),
        ({"library": "ml-named", "versions": ">=1"}, "torch", None),
        ({"library": "tensorflow", "versions": ">=2.21,<2.22"}, "torch", None),
        ({"library": "tensorflow", "versions": ">=2.22"}, "torch", "here it is 2.21.0"),
        ({"cpu_with": frozenset({"amx_bf16"})}, "torch", "has no amx_bf16"),
        ({"cpu_without": frozenset({"avx512f"})}, "torch", "has avx512f"),
        ({"cpu_with": frozenset({"avx512f"}), "cpu_without": frozenset({"amx_bf16"})}, "torch", None),
    ],
)
def test_it_is_about_backends_versions_and_cpus(fields: dict[str, Any], backend: str, told: str | None) -> None:
    installed = {"torch": "2.13.0+cpu", "ml_named": "1.0", "tensorflow_cpu": "2.21.0"}  # as their metadata has them
    reason = entry(**fields).inapplicable(backend, installed, {"avx512f", "avx2"})
    assert reason is None if told is None else told in (reason or "")


def test_a_version_that_is_none_is_not_a_known_one() -> None:
    assert not applicable([entry(library="torch", versions=">=2")], "torch", {"torch": "mine"}, set())


@pytest.mark.parametrize(
    ("fields", "question", "named"),
    [
        ({}, "n1c1h1w1_o1k1", True),
        ({}, "n1c1h1w1_o1k1 wide sliced many seed=3", True),
        ({}, "n1c1h1w1_o1k1_bf16", False),
        ({"where": "stride_width > 1"}, "n1c1h9w9_o1k1_s1x2", True),
        ({"where": "stride_width > 1"}, "n1c1h9w9_o1k1_s2x1", False),
        ({"where": "1 // (height - 1) > 0"}, "n1c1h1w2_o1k1", False),
        ({"values": ("special",)}, "n1c1h1w1_o1k1", False),
        ({"values": ("special",)}, "n1c1h1w1_o1k1 special", True),
        ({"layouts": ("sliced",)}, "n1c1h1w1_o1k1", False),
        ({"calls": ("threads",)}, "n1c1h1w1_o1k1 threads", True),
    ],
)
def test_it_names_questions(fields: dict[str, Any], question: str, named: bool) -> None:
    assert entry(**fields).names(Question.parse(question)) is named


def test_it_explains_failures_of_its_status_only() -> None:
    assert entry().explains(failure("n1c1h1w1_o1k1"))
    assert not entry().explains(failure("n1c1h1w1_o1k1", Status.CRASHED, "call"))
    assert entry(status=(Status.CRASHED,)).explains(failure("n1c1h1w1_o1k1", Status.CRASHED, "call"))


# --- files ------------------------------------------------------------------------------------------------------------

GOOD = '[[wrong]]\nseen = "x"\nbackends = ["a"]\ncases = ["n1c1h1w1_o1k1"]\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wrong = 3", "no table of known wrong answers"),
        ("[[wrong", "no table of known wrong answers"),
        ("\x00", "no table of known wrong answers"),
        ("a" * 5000 + " = " + "[" * 3000, "no table of known wrong answers"),
        ("[[wrong]]\nseen = 'x'\n", "backends"),
        (GOOD + "whre = 'True'", "whre"),
        (GOOD + "where = 'groupz > 1'", "entry 1: 'groupz > 1' has 'groupz', which no layer has"),
        (GOOD + "where = '__import__(\"os\")'", "entry 1"),
        (GOOD + "where = '1 // (height - 1) > 0'", "entry 1"),
        (GOOD + "status = ['odd']", "odd"),
        (GOOD + "values = ['integer']", "integer"),
        (GOOD + "versions = '>=2'", "add library"),
        (GOOD + "library = 'x'\nversions = 'two'", "entry 1: Invalid specifier"),
        (GOOD + GOOD.replace("o1k1", "o1k9"), "entry 2"),
        (GOOD.replace('["n1c1h1w1_o1k1"]', "[]"), "at least one case"),
    ],
)
def test_a_malformed_file_is_refused_in_a_sentence(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(KnownWrongError) as refused:
        read_known(path)
    assert told in str(refused.value) and str(path) in str(refused.value)
    assert "\n" not in str(refused.value).strip()


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(KnownWrongError, match="there is no such file"):
        read_known(tmp_path / "none.toml")


# --- entries of what was found ----------------------------------------------------------------------------------------


def test_every_level_s_condition_holds_for_just_its_problems() -> None:
    drawn = search(Whole(), 0, lambda: False)
    questions = [next(drawn) for _ in range(300)]
    levels = [classes(question) for question in questions]
    for factor in (*FACTORS, *DETAILS):
        for level in factor.levels if factor.name not in NOT_OF_THE_PROBLEM else ():
            text = level_condition(factor.name, level)
            if len(text) > 700:  # too long for a condition: the cases themselves are written
                continue
            holds = parse(text)
            for question, own in zip(questions, levels, strict=True):
                assert holds(Case(question.problem)) == (own[factor.name] == level), (level, text, question)


def cause_of(failures: list[Failure], *traits: tuple[str, str]) -> Cause:
    shared = (Combination(traits, len(failures), len(failures), 0, 100),) if traits else ()
    return Cause(failures[0], tuple(failures), shared)


def read_back(known: KnownWrong, tmp_path: Path) -> KnownWrong:
    path = tmp_path / "written.toml"
    path.write_text(toml_text([known]), encoding="utf-8")
    (back,) = read_known(path)
    return back


def test_an_entry_has_what_the_failures_share_and_reads_back(tmp_path: Path) -> None:
    met = [failure("n1c2h3w3_o2k1_g2_f16"), failure("n1c3h9w9_o3k1_g3_f16 wide")]
    known = known_entry(cause_of(met, ("grouping", "grouped"), ("dtype", "float16")), "mine")
    assert known == read_back(known, tmp_path)
    assert known.cases == ("n1c2h3w3_o2k1_g2_f16",)
    assert all(known.explains(one) for one in [*met, failure("n7c4h5w5_o4k3_g2_f16 sliced")])
    assert not known.explains(failure("n1c4h5w5_o4k3_f16")) and not known.explains(failure("n1c2h3w3_o2k1_g2"))


def test_what_the_condition_does_not_reach_is_written_as_it_is(tmp_path: Path) -> None:
    met = [failure("n1c2h3w3_o2k1_g2"), failure("n1c3h9w9_o3k1")]
    known = read_back(known_entry(cause_of(met, ("grouping", "grouped")), "mine"), tmp_path)
    assert known.cases == ("n1c2h3w3_o2k1_g2", "n1c3h9w9_o3k1")
    alone = read_back(known_entry(cause_of(met), "mine"), tmp_path)
    assert alone.where is None and all(alone.explains(one) for one in met)
    assert not alone.explains(failure("n1c2h4w3_o2k1_g2"))


def test_special_values_alone_are_not_all_values(tmp_path: Path) -> None:
    met = [failure("n1c1h1w1_o1k1 special", check="special"), failure("n2c1h1w1_o1k1 special", check="special")]
    known = read_back(known_entry(cause_of(met, ("values", "NaN and infinities")), "mine"), tmp_path)
    assert known.values == ("special",)
    assert known.explains(failure("n1c9h9w9_o1k3 special")) and not known.explains(failure("n1c1h1w1_o1k1"))


def test_an_extent_is_a_condition_too(tmp_path: Path) -> None:
    least = "n2c4h3w9_o6k1x3_s1x2_pt0b0l1r0_g2_bias_f16"
    extent = ("extent", f"all that {least} has, or more")
    known = read_back(known_entry(cause_of([failure(least)], extent), "mine"), tmp_path)
    assert known.explains(failure("n2c4h5w9_o6k2x3_s1x3_pt0b0l2r1_g2_bias_bf16"))
    for less in ("n1c4h3w9_o6k1x3_s1x2_pt0b0l1r0_g2_bias_f16", "n2c4h3w9_o6k1x3_s1x2_pt0b0l1r0_g2_bias"):
        assert not known.explains(failure(less))


def test_whatever_a_library_said_is_text(tmp_path: Path) -> None:
    said = 'a "quote" \\ and\n[[wrong]]\x00\x7f\ud800 end'
    hostile = Failure(Question.parse("n1c1h1w1_o1k1"), Status.ERROR, "call", said * 20)
    back = read_back(known_entry(cause_of([hostile]), "mine"), tmp_path)
    assert "[[wrong]]" in back.seen and len(back.seen) <= 200 and back.explains(hostile)


def test_grouped_causes_become_entries_that_explain_every_failure() -> None:
    drawn = search(Whole(), 3, lambda: False)
    questions = [next(drawn) for _ in range(400)]
    wrong = {q for q in questions if (q.problem.groups > 1 and q.problem.bias) or q.problem.stride[1] > 2}
    failures = [Failure(question, Status.WRONG, "exact", "wrong") for question in questions if question in wrong]
    passed = [question for question in questions if question not in wrong]
    entries = [known_entry(cause, "mine") for cause in causes(failures, passed, classes)]
    assert all(any(known.explains(one) for known in entries) for one in failures)
