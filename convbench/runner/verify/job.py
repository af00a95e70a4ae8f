"""One backend's campaign in a process of its own: `python -m convbench.runner.verify.job`.

The request comes in as one line of JSON. Every answer goes out as a line, and the report as the last. The campaign ends
early, with its report, when the input is closed.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from convbench.isa import ISAS, flags_within
from convbench.measurement.machine.facts import cpu_flags
from convbench.measurement.workers.json_child import read_request, send_message
from convbench.measurement.workers.process import WorkerError
from convbench.registry import Entry, discover
from convbench.runner.selection import epilogues_named, in_variants
from convbench.runner.verify.campaign import Campaign
from convbench.runner.verify.campaign_plan import CampaignPlan
from convbench.runner.verify.examiner import Examiner
from convbench.runner.verify.rows import row_of, row_of_none
from convbench.status import Status
from convbench.store.line_file import JournalWarning
from convbench.store.verification_log import Event
from convbench.suite import load_suite
from convbench.suite.filter import where_it_holds
from convbench.verification.known import applicable, own_table, read_known
from convbench.verification.question import Failure, Question


def main() -> None:
    """Read the request, and send each event of the campaign."""
    request = read_request()
    over = threading.Event()
    threading.Thread(target=_watch_input, args=(over,), daemon=True).start()
    warnings.simplefilter("ignore", JournalWarning)
    registry = discover([Path(path) for path in request["plugins"]])
    [here] = [entry for entry in registry if entry.name == request["of"]]
    entry = replace(here, name=request["backend"], python=request["python"])
    for event in campaign_events(entry, request, over, send_message):
        send_message(**event)


def _watch_input(over: threading.Event) -> None:
    while sys.stdin.readline():
        pass
    over.set()


def campaign_events(
    entry: Entry, request: dict[str, Any], over: threading.Event, at_once: Callable[..., None]
) -> Iterator[Event]:
    """Everything that happens, the report last. `at_once` is called with the fields of an event in the middle of a
    question."""
    start, limit_s = time.monotonic() - request["seconds_before"], request["time_limit"]

    def waiting(question: Question, waited_s: float) -> None:
        at_once(event="waiting", question=str(question), waited_s=waited_s, limit_s=limit_s)

    isa = next((isa for isa in ISAS if isa == request["isa"]), None)
    with Examiner(entry, limit_s, request["threads"], waiting, isa) as examiner:
        campaign = Campaign(examiner, stop=over.is_set)
        try:
            examiner.start()
            known = own_table() + [entry for path in request["known"] for entry in read_known(Path(path))]
            flags = flags_within(isa, cpu_flags())
            campaign.known = applicable(known, entry.backend.name, examiner.versions, flags)
            for phase, text, failure, *_ in request["answered"]:
                campaign.remember(Question.parse(text), None if failure is None else _failure_of(failure), phase)
            plan = _plan(request)
            yield {"event": "planned", "questions": campaign.expected(plan), "search_s": request["search_time"]}
            for answered in campaign.follow(plan):
                yield {
                    "event": "answered",
                    "phase": answered.phase,
                    "question": str(answered.question),
                    "finding": None if answered.failure is None else _as_json(answered.failure),
                    "seconds": time.monotonic() - start,
                    "searched_s": answered.searched_s + request["searched_s"],
                }
            if request.get("part"):  # the causes are looked for where all parts come together
                yield {"event": "report", "row": row_of(campaign, [], [], time.monotonic() - start, complete=False)}
                return
            if campaign.failures:
                yield {"event": "shrinking"}
            causes, known_causes = campaign.causes(), campaign.known_causes()
        except WorkerError as error:
            yield {"event": "report", "row": row_of_none(entry.name, error.status, error.reason)}
            return
        seconds = time.monotonic() - start
        yield {"event": "report", "row": row_of(campaign, causes, known_causes, seconds, complete=not over.is_set())}


def _plan(request: dict[str, Any]) -> CampaignPlan:
    named = [load_suite(name).over(request["dtypes"]) for name in request["suites"]]
    suites = [suite.select(request["case_glob"] or "*") for suite in named]
    epilogues = epilogues_named(request["epilogue"])
    suites = where_it_holds(in_variants(suites, request["directions"], epilogues), request["where"])
    number, of = part = tuple(request.get("part") or (0, 1))
    return CampaignPlan(
        replay=tuple(Question.parse(text) for text in request["replay"][number::of]),
        cases=tuple(case for suite in suites for case in suite.cases)[number::of],
        exact=request["exact"],
        questions=tuple(Question.parse(text) for text in request["questions"][number::of]),
        part=part,
        directions=tuple(request["directions"] or ("forward",)),
        epilogues=epilogues or (None,),
        dtypes=tuple(request["dtypes"]),
        strength=request["strength"],
        search_s=max(0.0, request["search_time"] - request["searched_s"]),
        seed=request["seed"],
    )


def _as_json(failure: Failure) -> dict[str, Any]:
    return asdict(failure) | {"question": str(failure.question), "status": str(failure.status)}


def _failure_of(fields: dict[str, Any]) -> Failure:
    """The failure that `_as_json` wrote."""
    element = None if fields["element"] is None else tuple(fields["element"])
    read = {"question": Question.parse(fields["question"]), "status": Status(fields["status"]), "element": element}
    return Failure(**(fields | read))


if __name__ == "__main__":
    main()
