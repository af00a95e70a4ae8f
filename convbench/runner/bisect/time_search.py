"""Search a series for the member that made a convolution slower, or faster."""

from __future__ import annotations

from collections.abc import Mapping

from convbench.errors import NothingMeasuredError
from convbench.measurement.environments.release_dates import upload_dates
from convbench.measurement.environments.releases import Release
from convbench.runner.bisect.changed_answer import Answer, Skipped
from convbench.runner.bisect.ends import usable_end
from convbench.runner.bisect.finding import Bisected, Finding, Reporter
from convbench.runner.bisect.log import History
from convbench.runner.bisect.request import Request
from convbench.runner.bisect.series import Environments, Series
from convbench.runner.bisect.slow_down import LostEndError, Ratios, SlowDownSearch, TimeChange
from convbench.runner.bisect.speed_up import speed_up_between
from convbench.runner.bisect.timing import SideBySide
from convbench.runner.observer import Observer
from convbench.stats.bisection.levels import Decision


def changed_times(request: Request, environments: Environments, history: History, observer: Observer) -> Bisected:
    """Search for the member that made the request's case slower, or faster where it says so.

    Environments stay until the end: one may be timed again, in fresh processes or beside the member before it."""
    series = environments.series
    newest = len(series.labels) - 1

    def usable(member: int) -> Answer | Skipped:
        entry = environments.entry(member)
        return entry if isinstance(entry, Skipped) else Answer("ok")

    high = usable_end(request, usable, range(newest, 0, -1), series, is_given=request.bad is not None)
    low = usable_end(request, usable, range(high), series, is_given=request.good is not None)
    timed = SideBySide(request.timing(), environments, history, observer, _releases(series))
    reporter = Reporter(request.library, environments, {}, timed.facts)

    def side_by_side(members: tuple[int, ...]) -> Ratios | tuple[int, Skipped]:
        seen = timed(members)
        if isinstance(seen, tuple):
            reporter.skip(*seen)
        return seen

    try:
        if request.faster is not None:
            change = speed_up_between(low, high, side_by_side, request.faster)
        else:
            change = SlowDownSearch(side_by_side, request.slower).between(low, high)
    except LostEndError as lost:
        label = series.labels[lost.member]
        raise NothingMeasuredError(
            f"{series.library} {label} cannot be measured: {lost}. Give another end of the search with --good or --bad."
        ) from None
    return _result(change, reporter, request)


def _result(change: TimeChange, reporter: Reporter, request: Request) -> Bisected:
    if change.ends is not Decision.SLOWER:
        if request.faster is not None:
            return reporter.unchanged(change, f"faster by {request.faster:.0%}")
        return reporter.unchanged(change, f"slower by {request.slower:.0%}")
    findings: list[Finding] = [reporter.changed(s.before, s.after, ratio=s.ratio) for s in change.steps]
    findings += [reporter.changed(s.before, s.after, ratio=s.ratio, kind="further") for s in change.rest]
    findings += [reporter.changed(*ends, kind="undecided") for ends in change.undecided]
    return reporter.result(findings, change.ratio)


def _releases(series: Series) -> Mapping[int, Release]:
    if series.commits:
        return {}
    dates = upload_dates(series.library, series.labels)
    places = enumerate(series.labels)
    return {place: Release(series.library, label, dates[label]) for place, label in places if label in dates}
