"""What a run's tables say of the machine's limits: a column, a word beside each case, and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from convbench.analysis.backend_times import lower_precision
from convbench.analysis.ranking import CaseRanking, SuiteRanking
from convbench.analysis.roofline import COMPUTE, IMPLAUSIBLE, Limit, Limits, may_pass
from convbench.reporting.numbers import aligned, duration, percent
from convbench.store.journal import Record

HEADING = "% of limit"


def share_cells(records: Sequence[Record], limits: Limits) -> list[str] | None:
    """The records' shares of their limits, to be set flush right; None where no limit is known for any of them."""
    shares = [limits.share(record) for record in records]
    if all(share is None for share in shares):
        return None
    return aligned(["–" if share is None else percent(share) for share in shares])


def limit_of_case(case: CaseRanking, limits: Limits) -> str | None:
    """The least time that a case can take here in the precision that was asked for, and what sets it."""
    records = [place.record for place in case.places]
    plain = next((record for record in records if lower_precision(record) is None), None)
    found = limits.of(plain) if plain else None
    return f"limit {duration(found.seconds)} ({_by(found)})" if found else None


def limit_sentences(ranking: SuiteRanking, limits: Limits) -> list[Text]:
    """Who came nearest to the limit, who may pass it, what was assumed, and what is not to be believed."""
    judged = list(_judged(ranking, limits))
    believed = [one for one in judged if one[0] <= IMPLAUSIBLE and not may_pass(one[1].get("declared") or {})]
    sentences = []
    if believed:
        share, record, found = max(believed, key=lambda one: one[0])
        came = f" came nearest to what this machine can do: {percent(share)} % of it, {found.bound}-bound, on "
        sentences.append(Text(record["backend"], style="bold").append(came).append(f"{record['case']}."))
    if any(share > 1 and may_pass(record.get("declared") or {}) for share, record, _ in judged):
        sentences.append(Text("Winograd and FFT multiply less often than is counted, and may pass 100 % of the limit."))
    assumed = dict.fromkeys(found.assumed for _, _, found in judged if found.assumed)
    sentences += [Text(f"In % of limit, {assumption}.") for assumption in assumed]
    return sentences + doubts(ranking, limits)


def doubts(ranking: SuiteRanking, limits: Limits) -> list[Text]:
    """A warning for each backend that is faster than any direct computation can be, though it declares to be one."""
    worst: dict[str, tuple[float, Record]] = {}
    for share, record, _ in _judged(ranking, limits):
        if not may_pass(record.get("declared") or {}) and share > worst.get(record["backend"], (IMPLAUSIBLE,))[0]:
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
            if (found := limits.of(place.record)) is not None:
                yield found.share(place.median_s), place.record, found


def _by(found: Limit) -> str:
    return found.bound if found.bound in (COMPUTE, "memory") else f"{found.bound} bandwidth"
