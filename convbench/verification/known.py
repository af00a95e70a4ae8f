"""Known wrong answers: which libraries compute which convolutions wrongly on which CPUs, as data.

`known_wrong.toml` beside this module has what convbench found itself; a user's own files have the same form:

    [[wrong]]
    seen = "from the second output row on, a value of another channel"
    backends = ["torch-packed"]          # shell patterns
    library = "torch"                    # the distribution whose version counts, under whichever name of its wheels;
                                         # left out: any version
    versions = ">=2.13,<2.14"            # PEP 440
    cpu_with = ["avx512f"]               # flags that the CPU has, as Linux names them
    cpu_without = ["amx_bf16"]           # and flags that it does not have
    where = "out_width == 1 < stride_width"  # a condition on the problem, as for --where
    cases = ["n2c1h4w4_o1k3_s1x2"]       # the smallest questions that show it; named besides those of `where`
    values = ["integers", "normal"]      # and of a question; left out: any
    layouts = ["contiguous"]
    calls = ["few"]
    status = ["wrong"]
    reference = "https://github.com/..."
    first_seen = 2026-11-30
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Set
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from convbench.errors import KnownWrongError, ProblemError, SuiteError
from convbench.files.user_file import FileKind, read_bytes
from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.suite import Case
from convbench.suite.filter import Condition, parse
from convbench.verification.question import Calls, Failure, Layout, Question, Values

_OTHER_WHEELS = {
    "tensorflow": ("tensorflow-cpu", "tensorflow-intel"),
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
}
"""The names of wheels with the same library inside and versions that mean the same."""


class KnownWrong(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """One known wrong answer; the fields are the keys of the file."""

    seen: str
    backends: tuple[str, ...]
    cases: tuple[str, ...]
    where: str | None = None
    library: str | None = None
    versions: str = ""
    cpu_with: frozenset[str] = frozenset()
    cpu_without: frozenset[str] = frozenset()
    values: tuple[Values, ...] = ()
    layouts: tuple[Layout, ...] = ()
    calls: tuple[Calls, ...] = ()
    status: tuple[Status, ...] = (Status.WRONG,)
    reference: str | None = None
    first_seen: datetime.date | None = None

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """The smallest questions that show it. Raises `ProblemError`."""
        return tuple(Question.parse(case) for case in self.cases)

    @cached_property
    def condition(self) -> Condition | None:
        """`where`, read. Raises `SuiteError`."""
        return None if self.where is None else parse(self.where)

    @cached_property
    def specifiers(self) -> SpecifierSet:
        """`versions`, read. Raises `InvalidSpecifier`."""
        return SpecifierSet(self.versions, prereleases=True)

    @property
    def label(self) -> str:
        """What a person reads: what is seen, and where more is said."""
        return f"{self.seen} ({self.reference})" if self.reference else self.seen

    def inapplicable(self, backend: str, versions: Mapping[str, str], cpu_flags: Set[str]) -> str | None:
        """Why it is not about this backend, with these versions of libraries and CPU flags; None when it is."""
        if not any(fnmatchcase(backend, pattern) for pattern in self.backends):
            return f"it is about {', '.join(self.backends)}"
        if missing := self.cpu_with - cpu_flags:
            return f"the CPU has no {', '.join(sorted(missing))}"
        if present := self.cpu_without & cpu_flags:
            return f"the CPU has {', '.join(sorted(present))}"
        if not self._has_version(versions):
            installed = self._installed(versions) or "not installed"
            return f"it is about {self.library} {self.versions}, and here it is {installed}"
        return None

    def names(self, question: Question) -> bool:
        """Whether the answer to `question` may be wrong."""
        if self.values and question.values not in self.values:
            return False
        if (self.layouts and question.layout not in self.layouts) or (self.calls and question.calls not in self.calls):
            return False
        return self.covers(question.problem)

    def covers(self, problem: ConvProblem) -> bool:
        """Whether the answer to some question about `problem` may be wrong."""
        return any(problem == case.problem for case in self.questions) or self._holds(problem)

    def explains(self, failure: Failure) -> bool:
        """Whether `failure` is this one: it is of a question that is named, and of a status that is known."""
        return failure.status in self.status and self.names(failure.question)

    def _has_version(self, versions: Mapping[str, str]) -> bool:
        if self.library is None:
            return True
        installed = self._installed(versions)
        try:
            return installed is not None and self.specifiers.contains(installed)
        except InvalidVersion:
            return False

    def _installed(self, versions: Mapping[str, str]) -> str | None:
        """The version of the library, by the name of any of its wheels."""
        names = (self.library, *_OTHER_WHEELS.get(self.library or "", ()))
        return next((version for name, version in versions.items() if canonicalize_name(name) in names), None)

    def _holds(self, problem: ConvProblem) -> bool:
        try:
            return self.condition is not None and self.condition(Case(problem))
        except SuiteError:  # it divides by 0 for this problem
            return False


_KIND = FileKind(
    "a table of known wrong answers", 4 * 2**20, "give the path of a table of known wrong answers", KnownWrongError
)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    wrong: list[KnownWrong] = []


def read_known(path: Path) -> list[KnownWrong]:
    """The entries of a file. Raises `KnownWrongError`, with the entry and the key, when it is not well formed."""
    content = read_bytes(path, _KIND)
    try:
        entries = msgspec.toml.decode(content, type=_File).wrong
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KnownWrongError(f"{path} is no table of known wrong answers: {error}.") from None
    for number, entry in enumerate(entries, 1):
        try:
            _check(entry)
        except (ProblemError, SuiteError, InvalidSpecifier) as error:
            raise KnownWrongError(f"{path}, entry {number}: {str(error).removeprefix('--where ')}") from None
    return entries


def own_table() -> list[KnownWrong]:
    """The entries that come with convbench."""
    return read_known(Path(__file__).with_name("known_wrong.toml"))


def applicable(
    entries: Iterable[KnownWrong], backend: str, versions: Mapping[str, str], cpu_flags: Set[str]
) -> list[KnownWrong]:
    """Those of `entries` that are about this backend, with libraries of these versions, on a CPU with these flags."""
    return [entry for entry in entries if entry.inapplicable(backend, versions, cpu_flags) is None]


def _check(entry: KnownWrong) -> None:
    if not entry.backends or not entry.questions:
        raise SuiteError("it should name at least one of backends, and at least one case that shows the wrong answer.")
    if entry.versions and entry.library is None:
        raise SuiteError("versions says nothing without library; add library, such as library = 'torch'.")
    _ = entry.specifiers
    if entry.condition is not None:
        for question in entry.questions:
            entry.condition(Case(question.problem))
