"""A child process that runs a module of convbench: one JSON object goes in, one JSON object a line comes out.

For work that needs a process of its own but no arrays: `JsonChild` on the parent's side, `read_request` and
`send_message` in the child. Lines that are no JSON object, such as those that a library prints, are passed over.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from convbench.measurement.workers.child_process import ChildProcess
from convbench.measurement.workers.process_environment import apart


class JsonChild(ChildProcess):
    """The module `module` as a process that is sent `request`. A context manager: leaving it ends the process. It runs
    in this interpreter, or in the `python` of another environment. After `time_limit_s` seconds it is killed. With
    `keep_input_open` it may wait for `close_input`, which asks it to end early; a Ctrl-C does not reach it then."""

    def __init__(
        self,
        module: str,
        request: Mapping[str, Any],
        *,
        python: str | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        time_limit_s: float | None = None,
        keep_input_open: bool = False,
    ) -> None:
        self.timed_out = False
        if environment is None and python is not None:
            environment = apart()
        super().__init__(module, python, environment, folder, own_session=keep_input_open)
        self._limit = threading.Timer(time_limit_s, self._end_late) if time_limit_s is not None else None
        if self._limit is not None:
            self._limit.start()
        with contextlib.suppress(OSError):  # `failure` tells that it died
            self._stdin.write(json.dumps(request).encode() + b"\n")
            self._stdin.flush()
        if not keep_input_open:
            self.close_input()

    def __enter__(self) -> JsonChild:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.failure()
        self._stderr.close()

    def messages(self) -> Iterator[dict[str, Any]]:
        """The objects that it sends, until it ends."""
        for line in self._stdout:
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(message := json.loads(line), dict):
                    yield message

    def answer(self, field: str, waiting: Callable[[str], object]) -> Any:
        """The last `field` that it sends, None without; what it says of waiting for others is passed on at once."""
        value = None
        for message in self.messages():
            if "waiting" in message:
                waiting(str(message["waiting"]))
            value = message.get(field, value)
        return value

    def failure(self) -> str | None:
        """Wait for its end; None if it ended well, else how it ended, with the last line of its standard error."""
        code = self._process.wait()
        if self._limit is not None:
            self._limit.cancel()
        self.close_input()
        if code == 0:
            return None
        lines = self._stderr_tail().strip().splitlines()
        how = f"was ended by {self._signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return f"{how}: {lines[-1].strip()[:300]}" if lines else how

    def close_input(self) -> None:
        """Tell a child that reads its input to the end that it should end early."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def _end_late(self) -> None:
        self.timed_out = True
        self.end()


def read_request() -> Any:
    """In the child: the request, from standard input."""
    return json.loads(sys.stdin.readline())


def send_waiting(sentence: str) -> None:
    """In the child: say which process it waits for."""
    send_message(waiting=sentence)


def send_message(**fields: Any) -> None:
    """In the child: send one object on a line of its own, whatever was printed before."""
    sys.stdout.write("\n" + json.dumps(fields) + "\n")
    sys.stdout.flush()
