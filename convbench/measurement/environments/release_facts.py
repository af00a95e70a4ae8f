"""What an installed release says of itself: where its changelog is, and which libraries are compiled into it.

Asked of the environment's own interpreter, which runs this module. It sends `{"urls": [...], "bundled": {...}}`.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from convbench.measurement.workers.json_child import JsonChild, read_request, send_message
from convbench.registry import Entry, Origin, find

_LIMIT_S = 120.0
_CHANGELOGS = ("changelog", "changes", "releasenotes", "whatsnew", "history", "news")
"""Labels of such a link, the preferred one first, as the metadata's specification lists them ("Well-known labels" of
Project-URL), without punctuation and in lower case."""


@dataclass(frozen=True)
class ReleaseFacts:
    """`bundled` has versions by the name of the library, such as oneDNN."""

    changelog: str | None = None
    bundled: Mapping[str, str] = field(default_factory=dict)


def release_facts(library: str, entry: Entry) -> ReleaseFacts:
    """The facts of `library` in the environment of `entry`; empty ones where it does not answer."""
    request = {"library": library, "origin": asdict(entry.origin), "name": entry.backend.name}
    module = "convbench.measurement.environments.release_facts"
    with JsonChild(module, request, python=entry.python, time_limit_s=_LIMIT_S) as child:
        answer = next((message for message in child.messages() if "urls" in message), None)
    if answer is None:
        return ReleaseFacts()
    bundled = {str(name): str(version) for name, version in answer.get("bundled", {}).items()}
    return ReleaseFacts(changelog_url(answer["urls"]), bundled)


def changelog_url(project_urls: Sequence[str]) -> str | None:
    """The link to a changelog among lines such as `Changelog, https://...`; None without one."""
    by_label = {}
    for line in project_urls:
        label, _, url = line.partition(",")
        if re.fullmatch(r"https?://\S+", url := url.strip()):
            by_label[re.sub(r"[^a-z]", "", label.lower())] = url
    return next((by_label[label] for label in _CHANGELOGS if label in by_label), None)


def main() -> None:
    request = read_request()
    try:
        urls = importlib.metadata.metadata(request["library"]).get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        urls = []
    try:
        bundled = dict(find(Origin(**request["origin"]), request["name"]).bundled_versions())
    except (Exception, SystemExit):
        bundled = {}
    send_message(urls=[str(url) for url in urls], bundled=bundled)


if __name__ == "__main__":
    main()
