"""`VerifyObserver`: how a verification tells whoever looks on what it does. This one ignores everything."""

from __future__ import annotations

from convbench.runner.verify.rows import Row
from convbench.runner.verify.workload import Workload
from convbench.store.verification_log import Event


class VerifyObserver:
    """Told of each step, in the order in which they happen; a subclass takes what it needs."""

    def message(self, text: str) -> None:
        """A sentence for a person, such as which machine this is."""

    def begin(self, workload: Workload) -> None:
        """This will be asked."""

    def event(self, backend: str, event: Event) -> None:
        """An answer, or another step, of the campaign of `backend`."""

    def row(self, row: Row) -> None:
        """All that will be known of one backend: a row of `convbench verify --json`."""

    def end(self) -> None:
        """No more will be asked."""
