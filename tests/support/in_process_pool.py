"""A pool that has no processes: it asks a backend where it stands, so that a campaign takes no start of a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from convbench.backend import Backend
from convbench.measurement.workers.messages import Check, Checked, Examined
from convbench.measurement.workers.process import WorkerError
from convbench.registry import Entry, Origin
from convbench.runner.verify.examiner import Examiner
from convbench.status import Status
from convbench.verification.adversarial_calls import examine
from convbench.verification.author_frames import author_frames, traceback_text, where_raised
from convbench.verification.operands import Operands


class InProcessPool:
    """Its worker takes as long as `needs_s` says of a request, without that time passing. `waited_s` are the limits."""

    def __init__(self, backend: Backend, needs_s: Callable[[Any], float] = lambda request: 0.0) -> None:
        self.versions: dict[str, dict[str, str]] = {}
        self.waited_s: list[float] = []
        self._backend, self._needs_s = backend, needs_s
        self._runs = True

    def runs(self, _: Entry) -> bool:
        return self._runs

    def start(self, _: Any) -> dict[str, WorkerError]:
        self._runs = True
        return {}

    def shutdown(self) -> None:
        self._runs = False

    def request(self, _: Entry, request: Any, limit_s: float, meanwhile: Callable[[], None] = lambda: None) -> Any:
        self.waited_s.append(limit_s)
        meanwhile()
        if limit_s < self._needs_s(request):
            self._runs = False
            raise WorkerError(Status.TIMEOUT, f"no answer within {limit_s:g} s")
        try:
            return self._reply(
                request, Operands(request.operands["x"], request.operands["w"], request.operands.get("b"))
            )
        except Exception as error:
            inner = error.__traceback__ and error.__traceback__.tb_next  # below the frames of this file
            error.__traceback__ = inner and inner.tb_next
            frames = author_frames(error)
            where, text = where_raised(frames), traceback_text(frames, error)
            raise WorkerError(Status.ERROR, f"raised {type(error).__name__}: {error}", "", where, text) from None

    def _reply(self, request: Any, operands: Operands) -> Any:
        if isinstance(request, Check):
            ready = self._backend.prepare(request.problem, operands.x, operands.w, operands.b)
            return Checked(prepare_s=0.0, call_s=0.0, output=ready.to_numpy(ready.run()).copy())
        seen = examine(self._backend, request.problem, operands, request.layout, request.calls)
        return Examined(answers=seen.answers, overwritten=seen.overwritten, kernel=seen.kernel)


def in_process_examiner(
    backend: Backend, needs_s: Callable[[Any], float] = lambda request: 0.0, limit_s: float = 40.0, **more: Any
) -> tuple[Examiner, InProcessPool]:
    """An examiner of `backend` with such a pool."""
    examiner = Examiner(Entry(backend.name, Origin("file", str(Path(__file__))), backend), limit_s, **more)
    pool = InProcessPool(backend, needs_s)
    examiner._pool = pool  # type: ignore[assignment]
    return examiner, pool
