"""The table of known wrong answers, held against the libraries that are installed: what it names is wrong indeed.

An entry that no longer shows, on a CPU and with a version that it names, fails here: narrow it, or take it out.
"""

from __future__ import annotations

import pytest

from convbench.measurement.machine.facts import cpu_flags
from convbench.registry import Entry, discover, versions
from convbench.runner.verify.examiner import Examiner
from convbench.verification.known import KnownWrong, own_table

TABLE = own_table()


def why_not_here(known: KnownWrong, entry: Entry) -> str | None:
    return entry.unavailable() or known.inapplicable(entry.name, versions(entry.backend), cpu_flags())


def shows(known: KnownWrong, entry: Entry) -> bool:
    with Examiner(entry) as examiner:
        asked = (question for question in known.questions if examiner.supports(question.problem))
        return any(failure and known.explains(failure) for failure in map(examiner, asked))


@pytest.mark.parametrize("known", TABLE, ids=[f"{'+'.join(known.backends)}-{known.cases[0]}" for known in TABLE])
def test_a_known_wrong_answer_still_shows(known: KnownWrong) -> None:
    named = [e for e in discover(entry_points=False).select(known.backends) if isinstance(e, Entry)]
    reasons = {entry.name: why_not_here(known, entry) for entry in named}
    here = [entry for entry in named if reasons[entry.name] is None]
    if not here:
        pytest.skip("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
    assert any(shows(known, entry) for entry in here), f"no longer wrong: {known.label}"
