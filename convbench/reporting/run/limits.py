"""The machine's limits in the tables of a run: a column, a note beside each case, and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from convbench.analysis.backend_times import lower_precision
from convbench.analysis.ranking import CaseRanking, SuiteRanking
from convbench.analysis.roofline import COMPUTE, IMPLAUSIBLE, Limit, Limits, may_pass
from convbench.reporting.numbers import aligned, duration, percent
from convbench.store.readings import table
from convbench.store.schema import Record

HEADING = "% of limit"


def share_cells(records: Sequence[Record], limits: Limits) -> list[str] | None:
    """The share of its limit that each record reaches; None when no limit is known for any of them."""
    shares = [limits.share(record) for record in records]
    if all(share is None for share in shares):
        return None
    return aligned(["–" if share is None else percent(share) for share in shares])


def limit_of_case(case: CaseRanking, limits: Limits) -> str | None:
    """The least time that a case can take here in its dtype, and the bound that sets it."""
    records = [place.record for place in case.places]
    plain = next((record for record in records if lower_precision(record) is None), None)
    limit = limits.of(plain) if plain else None
    return f"limit {duration(limit.seconds)} ({_bound(limit)})" if limit else None


def limit_sentences(ranking: SuiteRanking, limits: Limits) -> list[Text]:
    """Which backend came nearest to the limit, which kinds may pass it, what was assumed, and the doubtful times."""
    judged = list(_judged(ranking, limits))
    believed = [j for j in judged if j[0] <= IMPLAUSIBLE and not may_pass(table(j[1], "declared"))]
    sentences = []
    if believed:
        share, record, limit = max(believed, key=lambda judgement: judgement[0])
        came = f" came nearest to what this machine can do: {percent(share)} % of it, {limit.bound}-bound, on "
        sentences.append(Text(record["backend"], style="bold").append(came).append(f"{record['case']}."))
    if any(share > 1 and may_pass(table(record, "declared")) for share, record, _ in judged):
        sentences.append(Text("Winograd and FFT multiply less often than is counted, and may pass 100 % of the limit."))
    assumed = dict.fromkeys(limit.assumed for _, _, limit in judged if limit.assumed)
    sentences += [Text(f"In % of limit, {assumption}.") for assumption in assumed]
    return sentences + doubts(ranking, limits)


def doubts(ranking: SuiteRanking, limits: Limits) -> list[Text]:
    """A warning for each backend that declares a direct computation and is faster than any can be."""
    worst: dict[str, tuple[float, Record]] = {}
    for share, record, _ in _judged(ranking, limits):
        if not may_pass(table(record, "declared")) and share > worst.get(record["backend"], (IMPLAUSIBLE,))[0]:
            worst[record["backend"]] = share, record
    return [
        Text(
            f"{record['backend']} on {record['case']} is {share:.1f} times as fast as this machine can be: does the "
            "backend wait for its work to end (sync)? If so, convbench machine --measure when the machine is idle.",
            style="bold yellow",
        )
        for share, record in worst.values()
    ]


def _judged(ranking: SuiteRanking, limits: Limits) -> Iterator[tuple[float, Record, Limit]]:
    for case in ranking.cases:
        for place in case.places:
            if (limit := limits.of(place.record)) is not None:
                yield limit.share(place.median_s), place.record, limit


def _bound(limit: Limit) -> str:
    return limit.bound if limit.bound in (COMPUTE, "memory") else f"{limit.bound} bandwidth"
