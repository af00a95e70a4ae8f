"""Which state of caches each suite is measured in: that of the options, or the one of what the suite stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from convbench.errors import SuiteError
from convbench.measurement.settings import Cache, Settings
from convbench.suite import Suite


@dataclass(frozen=True)
class Caches:
    """The options `--cache` and `--pass-bytes`; None where they were not given."""

    cache: Cache | None = None
    pass_bytes: int | None = None

    def of_suite(self, suite: Suite, settings: Settings) -> Settings:
        """`settings` with the caches that `suite` is measured in: a suite that stands for a model as in a pass, others
        warm. Raises `SuiteError` when it is not known how much memory a pass touches."""
        default: Cache = "pass" if suite.stands_for_model or self.pass_bytes is not None else "warm"
        cache = self.cache or default
        if cache != "pass":
            if self.pass_bytes is not None:
                raise SuiteError(f"--pass-bytes is for --cache pass, not for --cache {cache}; leave one of them out.")
            return replace(settings, cache=cache)
        size = self.pass_bytes or (suite.pass_bytes if suite.stands_for_model else None)
        if size is None:
            raise SuiteError(
                f"--cache pass needs --pass-bytes, because {suite.name!r} is not the layers of one model: give the "
                "memory that a pass through yours touches, its weights above all, such as --pass-bytes 100MB."
            )
        return replace(settings, cache="pass", pass_bytes=size)

    def sentences(self, suites: Sequence[Suite], settings: Settings) -> Iterator[str]:
        """For each suite that is measured as in a pass, a sentence that says so."""
        for suite in suites:
            own = self.of_suite(suite, settings)
            if own.cache == "pass":
                size = f"{(own.pass_bytes or 0) / 1e6:,.3g} MB"
                model = f"a pass of {suite.name}" if self.pass_bytes is None else "a pass"
                yield (
                    f"Caches are as in {model}, which touches {size}: a layer's input was just written, its weights "
                    "were read one pass ago (--cache warm keeps both in the caches)."
                )
