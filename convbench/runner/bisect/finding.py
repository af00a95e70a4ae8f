"""What a bisection found: pairs of members between which something changed, with what is known of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from convbench.errors import NothingMeasuredError
from convbench.runner.bisect.changed_answer import Skipped
from convbench.runner.bisect.log import Answered, Lost
from convbench.runner.bisect.series import Environments
from convbench.runner.bisect.slow_down import TimeChange
from convbench.stats.bisection.levels import Decision
from convbench.stats.ratio import Ratio
from convbench.status import Status

Kind = Literal["step", "further", "undecided"]
"""A step; a further one that was seen on the way; a range in which there is one that no member can be blamed for."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two members: its `answer` to the question, its median time, the kernel or implementation that ran, and
    the versions of libraries that are compiled into it, as far as they are known."""

    label: str
    date: str | None = None
    subject: str | None = None
    answer: str | None = None
    median_s: float | None = None
    implementation: Any = None
    bundled: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`after` is the first member after the change. `skipped` are those between the two, each with its reason; if there
    are any, the change may be in one of them."""

    kind: Kind
    before: Side
    after: Side
    ratio: Ratio | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    untried: int = 0
    """How many members between the two were not looked at."""
    changelog: str | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """One member that was looked at: a status word, `skipped` or `timed`, and a sentence."""

    label: str
    result: str
    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class Bisected:
    """The answer. Without findings `conclusion` says why there are none."""

    library: str
    word: str
    members: int
    findings: tuple[Finding, ...]
    looks: tuple[Look, ...]
    conclusion: str = ""
    ratio: Ratio | None = None
    """The last member's time over the first one's, of a search for a slow-down or a speed-up."""
    environments: int = 0
    elapsed_s: float = 0.0
    log: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 when a step was found, 3 when there is none, or none that a member can be blamed for."""
        is_found = any(finding.kind == "step" for finding in self.findings)
        return 0 if is_found else NothingMeasuredError.exit_code

    def rows(self) -> list[dict[str, Any]]:
        """JSON-ready: a row for each member that was looked at, then one for each finding, then the conclusion."""
        looks = [{"row": "look", **asdict(look)} for look in self.looks]
        findings = [{"row": "finding", **asdict(finding)} for finding in self.findings]
        more = {"environments": self.environments, "members": self.members, "elapsed_s": self.elapsed_s}
        ratio = asdict(self.ratio) if self.ratio else None
        ending = {"row": "conclusion", "library": self.library, "conclusion": self.conclusion, "ratio": ratio, **more}
        return [*looks, *findings, ending]


@dataclass
class Reporter:
    """Turns members by their numbers into what is said of them."""

    library: str
    environments: Environments
    answers: Mapping[int, Answered | Lost]
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By label, of those that were timed."""

    def __post_init__(self) -> None:
        self._skipped: dict[int, str] = {}

    def skip(self, member: int, skipped: Skipped) -> None:
        """Note that a member could not be timed."""
        self._skipped[member] = skipped.reason

    def changed(self, before: int, after: int, *, ratio: Ratio | None = None, kind: Kind = "step") -> Finding:
        reasons = {member: reason for member in range(before + 1, after) if (reason := self._why_passed_over(member))}
        return Finding(
            kind=kind,
            before=self._side(before),
            after=self._side(after),
            ratio=ratio,
            skipped=tuple((self._label(member), reason) for member, reason in reasons.items()),
            untried=after - before - 1 - len(reasons),
            changelog=self.environments.facts(after).changelog,
        )

    def alike(self, low: int, high: int, kind: str) -> Bisected:
        """Both ends answer alike."""
        word = "right" if kind == Status.OK else kind
        ends = f"{self.library} {self._label(low)} and {self._label(high)} are both {word} here"
        more = "nothing broke between them" if kind == Status.OK else "it began before them: give an older --good"
        return self.result([], conclusion=f"{ends}; {more}.")

    def unchanged(self, change: TimeChange, searched: str) -> Bisected:
        """The last member does not differ from the first in what was `searched`, such as "slower by 5%", or that stays
        undecided."""
        ratio = change.ratio
        if ratio is None:
            ends = f"{self.library} {self._label(change.high)} and {self._label(change.low)}"
            few = "no run had samples enough for an interval; give a smaller problem, or leave out --quick"
            return self.result([], None, f"{ends}: whether the first is {searched} stays undecided, because {few}.")
        figures = f"{ratio.value:.3f} times the time, 95 % interval [{ratio.low:.3f}, {ratio.high:.3f}]"
        ends = f"{self.library} {self._label(change.high)} takes {figures}, of {self._label(change.low)}"
        how = (
            f"it is not {searched}"
            if change.ends is Decision.LEVEL
            else f"whether that is {searched} stays undecided; try again on a quieter machine"
        )
        return self.result([], ratio, f"{ends}: {how}.")

    def result(self, findings: list[Finding], ratio: Ratio | None = None, conclusion: str = "") -> Bisected:
        series = self.environments.series
        return Bisected(
            library=self.library,
            word=series.word,
            members=len(series.labels),
            findings=tuple(findings),
            looks=tuple(self._looks()),
            conclusion=conclusion,
            ratio=ratio,
        )

    def _looks(self) -> list[Look]:
        looks = {}
        for member, label in enumerate(self.environments.series.labels):
            answer = self.answers.get(member)
            if isinstance(answer, Answered):
                looks[member] = Look(label=label, result=answer.kind, sentence=answer.sentence)
            elif (reason := self._why_skipped(member)) is not None:
                looks[member] = Look(label=label, result="skipped", sentence=reason)
            elif label in self.facts:
                looks[member] = Look(label=label, result="timed")
        return list(looks.values())

    def _why_skipped(self, member: int) -> str | None:
        look = self.answers.get(member)
        return look.reason if isinstance(look, Lost) else self._skipped.get(member)

    def _why_passed_over(self, member: int) -> str | None:
        """Of a member between those on both sides of a change, why it is on neither side."""
        look = self.answers.get(member)
        return look.sentence if isinstance(look, Answered) else self._why_skipped(member)

    def _label(self, member: int) -> str:
        return self.environments.series.labels[member]

    def _side(self, member: int) -> Side:
        series, label, answer = self.environments.series, self._label(member), self.answers.get(member)
        facts = self.facts.get(label, {})
        kernel = answer.kernel if isinstance(answer, Answered) else None
        return Side(
            label=label,
            date=self.environments.date(member),
            subject=series.commits[member].subject if series.commits else None,
            answer=f"{answer.kind} {answer.sentence}".rstrip() if isinstance(answer, Answered) else None,
            median_s=facts.get("median_s"),
            implementation=facts.get("implementation") or kernel,
            bundled=self.environments.facts(member).bundled,
        )
