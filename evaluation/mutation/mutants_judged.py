"""One seeded fault, or control, judged: by `convbench verify`, and by criteria in common use. Each is a subprocess."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from criteria import CRITERIA
from plain_calls import ONNX
from seeded_faults.fault import Fault

HERE = Path(__file__).resolve().parent
NAMES = (*(criterion.name for criterion in CRITERIA), ONNX)
_POLL_S = 0.05
_LONGEST_CALL_S = 20.0  # after which a plain call is one that hangs, whoever looks at it


@dataclass(frozen=True)
class Verified:
    """What `convbench verify` said. `questions` and `seconds` are until the first failure, or all of them; the time
    includes starting the processes."""

    status: str
    questions: int
    seconds: float
    check: str | None = None
    question: str | None = None
    reason: str | None = None

    @property
    def caught(self) -> bool:
        """Whether a question was failed. A verification that broke down itself has caught nothing."""
        return self.question is not None


@dataclass
class Judged:
    """One backend of faults.py: what verification said, None where it was not asked; and which criteria objected, each
    with the first case on which it did so and was not mistaken. `differs` counts answers unlike the correct ones."""

    backend: str
    fault: Fault | None
    verified: Verified | None = None
    problems: int = 0
    differs: int = 0
    objections: dict[str, str] = field(default_factory=dict)
    mistakes: dict[str, int] = field(default_factory=dict)
    breakdown: str | None = None

    @property
    def is_control(self) -> bool:
        return self.fault is None

    @property
    def as_it_should_be(self) -> bool:
        """Whether verification, if it was asked, caught the fault or passed the control."""
        if self.verified is None:
            return True
        return self.verified.status == "ok" if self.is_control else self.verified.caught

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        fields = vars(self) | {"verified": asdict(self.verified) if self.verified else None}
        if self.fault is not None:
            fault = self.fault
            fields["fault"] = {name: getattr(fault, name) for name in ("family", "wrong", "conditions", "seen")}
        return fields


def verified(
    backend: str, search_s: float, whole: bool, plugin: str = "faults.py", more: Sequence[str] = ()
) -> Verified:
    """Run `convbench verify` on one backend of `plugin`, with `more` options and results of its own: what an earlier
    run found would be asked first.

    Ended at the first failure unless `whole`.
    """
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "convbench", "verify", "--plugin", str(HERE / plugin)]
        command += [*more, "--backend", backend, "--search-time", str(search_s)]
        command += ["--jobs", "1", "--json", "--results", results]
        output, errors = Path(results, "output"), Path(results, "errors")
        start, first, seconds = time.monotonic(), None, 0.0
        with output.open("wb") as to, errors.open("wb") as aside:
            run = subprocess.Popen(command, stdout=to, stderr=aside)
            while run.poll() is None:
                time.sleep(_POLL_S)
                if first is None:
                    seconds, first = time.monotonic() - start, first_failure(Path(results), backend)
                    if first is not None and not whole:
                        run.send_signal(signal.SIGINT)
        rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        if not rows:
            return Verified("no report", 0, seconds, reason=errors.read_text(encoding="utf-8").strip()[-500:])
        [row] = rows
        first = first or first_failure(Path(results), backend)
        if first is None:
            return Verified(row["status"], row["cases"] + row["searched"], seconds, reason=row["reason"])
        questions, finding = first
        return Verified(row["status"], questions, seconds, finding["check"], finding["question"], finding["reason"])


def first_failure(results: Path, backend: str) -> tuple[int, dict[str, Any]] | None:
    """The first failure of a backend in the log of a verification, with the number of questions asked until then."""
    for log in results.glob("*/*.verification"):
        asked = 0
        for line in log.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # being written
                break
            if event.get("event") == "answered" and event.get("backend") == backend:
                asked += 1
                if event["finding"]:
                    return asked, event["finding"]
    return None


def judge_plain_calls(judged: Judged, case_ids: Sequence[str]) -> None:
    """Let the criteria say what they object to, on these problems, and note it in `judged`."""
    command = [sys.executable, str(HERE / "plain_calls.py"), "--backend", judged.backend]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null, text=True) as run:
        assert run.stdin is not None
        run.stdin.write("\n".join(case_ids))
        run.stdin.close()
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_pass_on, args=(run, lines), daemon=True).start()
        last = ""
        while True:
            try:
                line = lines.get(timeout=_LONGEST_CALL_S)
            except queue.Empty:
                run.kill()
                judged.breakdown = f"hangs after {last}"
                break
            if not line:
                break
            last = json.loads(line)["case"]
            _note(judged, json.loads(line))
    if judged.breakdown is None and judged.problems < len(case_ids):
        judged.breakdown = f"ends with {run.returncode} after {last}"
    if judged.breakdown is not None:  # that is not taken for an answer; the node tests may have passed before
        for criterion in CRITERIA:
            judged.objections.setdefault(criterion.name, judged.breakdown)


def _pass_on(run: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert run.stdout is not None
    for line in run.stdout:
        lines.put(line)
    lines.put("")


def _note(judged: Judged, said: dict[str, Any]) -> None:
    judged.problems += said["case"] != ONNX
    judged.differs += said["differs"]
    for name in said["objecting"]:
        if name in said["mistaken"]:
            judged.mistakes[name] = judged.mistakes.get(name, 0) + 1
        else:
            judged.objections.setdefault(name, said["case"])
