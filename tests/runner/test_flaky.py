"""What `convbench verify` says of a failure that only one process showed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PLUGIN = """
from pathlib import Path
from convbench.backend import Arithmetic, Backend, Ready

SEEN = Path({folder!r})


class InTheFirstProcess(Backend):
    name = "wrong-in-the-first-process"
    arithmetic = Arithmetic("direct")

    def limit_threads(self, n):
        number = len(list(SEEN.iterdir()))
        (SEEN / str(number)).touch()
        self.is_first = number == 0

    def prepare(self, problem, x, w, b):
        from convbench.verification.reference import convolve

        return Ready(lambda: convolve(problem, x, w, b).astype(x.dtype) + self.is_first)


BACKENDS = (InTheFirstProcess(),)
"""


def test_a_failure_that_no_fresh_process_shows_is_flaky(tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    (tmp_path / "mine.py").write_text(PLUGIN.format(folder=str(tmp_path / "seen")))
    words = ["--plugin", str(tmp_path / "mine.py"), "--question", "n1c1h2w2_o1k1", "--time-limit", "120"]
    command = [sys.executable, "-m", "convbench", "verify", *words, "--results", str(tmp_path / "results")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 1, done.stderr
    [failure] = json.loads(done.stdout)["failures"]
    assert not failure["reproduced"] and failure["flaky"] == {"failed": 0, "asked": 4}

    for path in (tmp_path / "seen").iterdir():
        path.unlink()
    text = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False).stdout
    assert "flaky (wrong), exact" in text and "fails in 0 of 5 fresh processes" in text
