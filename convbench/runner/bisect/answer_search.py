"""Search a series for the member that changed the answer to a question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convbench.registry import Entry
from convbench.runner.bisect.asking import answer_to
from convbench.runner.bisect.changed_answer import Answer, Skipped, find_change
from convbench.runner.bisect.ends import usable_end
from convbench.runner.bisect.finding import Bisected, Reporter
from convbench.runner.bisect.log import Answered, History, Lost
from convbench.runner.bisect.request import Request
from convbench.runner.bisect.series import Environments
from convbench.runner.observer import Observer
from convbench.status import Status
from convbench.verification.question import Question


@dataclass
class _Asking:
    """Asks members, each once; remembers the answers."""

    question: Question
    request: Request
    environments: Environments
    history: History
    say: Callable[[str], object]
    takes_errors: bool = False
    """Whether an exception is an answer. Where the newest member does not raise, it says that an adapter does not fit
    an old release, and nothing of the answer."""

    def __post_init__(self) -> None:
        self.answers: dict[int, Answered | Lost] = {}

    def __call__(self, member: int) -> Answer | Skipped:
        if member not in self.answers:
            self.answers[member] = self._look(member)
        look = self.answers[member]
        if isinstance(look, Lost):
            return Skipped(look.reason)
        if look.kind == Status.ERROR and not self.takes_errors:
            return Skipped(look.sentence)
        return Answer(look.kind, look.sentence, look.kernel)

    def _look(self, member: int) -> Answered | Lost:
        label = self.environments.series.labels[member]
        if isinstance(known := self.history.known(label), (Answered, Lost)):
            return known
        entry = self.environments.entry(member)
        answer = entry if isinstance(entry, Skipped) else self._answer(entry)
        if isinstance(answer, Skipped):
            look: Answered | Lost = Lost(labels=(label,), label=label, reason=answer.reason)
            if answer is not entry:  # what has no environment was announced
                self.say(f"{self.environments.series.library} {label} is skipped: {answer.reason}")
        else:
            look = Answered(label=label, kind=answer.kind, sentence=answer.sentence, kernel=answer.kernel)
            self.say(f"{self.environments.series.library} {label}: {look.kind} {look.sentence}".rstrip())
        self.history.add(look)
        self.environments.discard_used()
        return look

    def _answer(self, entry: Entry) -> Answer | Skipped:
        return answer_to(self.question, entry, self.request.time_limit, self.request.threads)


def changed_answers(request: Request, environments: Environments, history: History, observer: Observer) -> Bisected:
    """Search for the member that made the answer to the request's question wrong, or right."""
    series = environments.series
    ask = _Asking(request.parsed_question(), request, environments, history, observer.message, takes_errors=True)
    newest = len(series.labels) - 1
    last = ask(newest)
    ask.takes_errors = isinstance(last, Answer) and last.kind == Status.ERROR
    high = usable_end(request, ask, range(newest, 0, -1), series, is_given=request.bad is not None)
    low = usable_end(request, ask, range(high), series, is_given=request.good is not None)
    reporter = Reporter(request.library, environments, ask.answers)
    first, final = ask(low), ask(high)
    if isinstance(first, Answer) and isinstance(final, Answer) and first.kind == final.kind:
        return reporter.alike(low, high, first.kind)
    change = find_change(low, high, ask)
    findings = [reporter.changed(change.before, change.after)]
    findings += [reporter.changed(one, other, kind="further") for one, other in change.later]
    return reporter.result(findings)
