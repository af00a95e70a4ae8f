"""The words of the house: names that say what they name, one word for one meaning, and plain English in every text."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from places import CHECKOUT

NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "base", "core", "common"}

RETIRED_WORDS = set(  # of docs/glossary.md: in no part of the name of a module, class or function
    """
    acting appoint appointed appointment asked barred competing complaint conduct contest contestant contrast crew
    deferred examination heed heeded insisted likeness luck lucky mine qualifying resemblance shelf shelves
    slack snippet stake standing told transcript twin twinning twins vitals wanted
    """.split()
)
RETIRED_NAMES = set(  # the same as whole names: their words have other meanings, too
    """
    activity alone another answer_key calling detectable dismiss earlier found given lane late_work limit_lines
    gpu_lines own_error place plan_sampling process_contrast sign_evidence stands_out turned_away turns why_not
    """.split()
)
RETIRED_LOCALS = {"another", "asked", "found", "given", "mine", "told"}

PHRASES = {  # of texts: docstrings, help, messages, comments
    "nobody and somebody": r"\b(?:no|some|every|any)body\b",
    "a program is no who": r"\bwhom?\b",
    "told": r"\btold\b",
    "luck": r"(?<!process )(?<!\{)\bluck\b",  # both are stored
    "twin": r"(?<!`)\btwins?\b",
    "shelf, crew, vitals, heed": r"\b(?:shelf|shelves|crew|vitals|heed(?:s|ed)?)\b",
    "of X's": r"\bof (?:torch|numpy|jax|asv|convbench|one|Python|torchvision|timm)'s\b(?! own)",
    "is none": r"(?<!there )\b(?:is|are) none\b(?! of)",
    "where there is one": r"\b(?:where|if) there is one\b",
    "so that ... are there": r"\bare there\b(?=[.,;:)]|$)",
    "as one likes": r"\bas one likes\b|\blessens?\b|\bas ever\b",
    "the ones asked for": r"\b(?:what|those|ones?) (?:is |was |are |were )?asked for\b",
}


def words_of(name: str) -> list[str]:
    """The words of a name in snake_case or CamelCase, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def is_retired(name: str) -> bool:
    words = words_of(name)
    return bool(RETIRED_WORDS.intersection(words)) or "_".join(words) in RETIRED_NAMES


def violations(root: Path) -> Iterator[str]:
    """Every retired name and phrase in `root`'s convbench/."""
    for path in sorted((root / "convbench").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        inside = path.relative_to(root).as_posix()
        tree = ast.parse(source)
        if is_retired(path.stem):
            yield f"{inside}:1: module {path.stem} has a retired name"
        for line, kind, name in _names(tree):
            if name in RETIRED_LOCALS if kind == "local" else is_retired(name):
                yield f"{inside}:{line}: {kind} {name} has a retired name"
        yield from _phrases(inside, [*_texts(tree), *_comments(source)])
    for path in sorted((root / "convbench").rglob("*.toml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        yield from _phrases(path.relative_to(root).as_posix(), enumerate(lines, start=1))


def _phrases(file: str, texts: Iterable[tuple[int, str]]) -> Iterator[str]:
    for line, text in texts:
        for phrase, pattern in PHRASES.items():
            if re.search(pattern, text):
                yield f"{file}:{line}: says {phrase!r}"


def _names(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.lineno, "class", node.name
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, "function", node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, "local", node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, "local", node.id


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """String constants of more than a word: the others are keys and fields, which stored history has."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_no_module_has_a_name_that_says_nothing() -> None:
    paths = [p for folder in ("convbench", "backends", "suites", "evaluation") for p in (CHECKOUT / folder).rglob("*")]
    assert [str(p) for p in paths if p.stem.strip("_") in NAMES_THAT_SAY_NOTHING] == []


def test_no_retired_word_is_used() -> None:
    assert list(violations(CHECKOUT)) == []


SEEDED = {
    "class": ("class WorkerCrew: pass", "class WorkerCrew has a retired name"),
    "whole name of a class": ("class Lane: pass", "class Lane has a retired name"),
    "function": ("def _told_by(x): pass", "function _told_by has a retired name"),
    "method": ("class A:\n    def is_wanted(self): pass", "function is_wanted has a retired name"),
    "local": ("def f():\n    told = 1", "local told has a retired name"),
    "argument": ("def f(mine): pass", "local mine has a retired name"),
    "loop": ("for another in []: pass", "local another has a retired name"),
    "docstring": ('"""Workers that nobody needs."""', "says 'nobody and somebody'"),
    "help": ("option(help='Backends who are fast.')", "says 'a program is no who'"),
    "message": ("raise ValueError(f'{x} is what the user was told')", "says 'told'"),
    "comment": ("x = 1  # a function of torch's", 'says "of X\'s"'),
}


@pytest.mark.parametrize("seeded", SEEDED.values(), ids=SEEDED)
def test_a_seeded_word_is_found(seeded: tuple[str, str], tmp_path: Path) -> None:
    source, message = seeded
    (tmp_path / "convbench").mkdir()
    (tmp_path / "convbench" / "module.py").write_text(source, encoding="utf-8")
    [violation] = violations(tmp_path)
    assert re.sub(r":\d+:", ":", violation) == f"convbench/module.py: {message}"


def test_a_retired_module_is_found(tmp_path: Path) -> None:
    (tmp_path / "convbench").mkdir()
    (tmp_path / "convbench" / "answer_key.py").touch()
    assert list(violations(tmp_path)) == ["convbench/answer_key.py:1: module answer_key has a retired name"]


def test_a_seeded_phrase_in_a_table_of_texts_is_found(tmp_path: Path) -> None:
    (tmp_path / "convbench").mkdir()
    (tmp_path / "convbench" / "texts.toml").write_text('[one]\nremedy = "Ask somebody."\n', encoding="utf-8")
    assert list(violations(tmp_path)) == ["convbench/texts.toml:2: says 'nobody and somebody'"]


@pytest.mark.parametrize(
    "source",
    [
        "class MachineActivity: pass",
        "def minimum_detectable_effect(): pass",
        "def interleaved_turns(): pass",
        'x = "a test of Student\'s, whose name is its own"',
        "twin = record['twin']",
        "def f(): return 'asked for'",
        "lanes = 4",
    ],
)
def test_plain_words_are_allowed(source: str, tmp_path: Path) -> None:
    (tmp_path / "convbench").mkdir()
    (tmp_path / "convbench" / "module.py").write_text(source, encoding="utf-8")
    assert list(violations(tmp_path)) == []
