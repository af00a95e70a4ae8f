"""The release that broke an answer, where `convbench bisect` has found it before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packaging.version import InvalidVersion, Version

from convbench.store.verification_log import BISECTION_SUFFIX, Event, logs
from convbench.verification.question import Question


def first_wrong_release(folder: Path, question: Question) -> str:
    """A sentence from the newest bisection of `question` among the logs in `folder`; empty where none says it. Raises
    `ResultsError` for a log that cannot be read."""
    for _, request, events in logs(folder, BISECTION_SUFFIX):
        is_asked = isinstance(request, dict) and request.get("question") == str(question)
        if is_asked and (sentence := _sentence(str(request.get("library")), events)):
            return sentence
    return ""


def _sentence(library: str, events: Sequence[Event]) -> str:
    right, wrong = (_versions(events, is_right=is_right) for is_right in (True, False))
    if not wrong or not (before := [version for version in right if version < min(wrong)]):
        return ""
    return f"Right in {library} {max(before)}, wrong from {min(wrong)} on, of the releases that were tried."


def _versions(events: Sequence[Event], *, is_right: bool) -> list[Version]:
    """Those of the releases that gave an answer of this kind; a commit has none."""
    versions = []
    for event in events:
        if event.get("event") == "answered" and (event.get("kind") == "ok") is is_right:
            try:
                versions.append(Version(str(event.get("label"))))
            except InvalidVersion:
                continue
    return versions
